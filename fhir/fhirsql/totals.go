package fhirsql

import (
	"sync"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/spec/search"
)

// totals remembers the numbers of matches until something is written, because
// each page of a search is sent with the total again. Where other nodes write
// unseen nothing is.
type totals struct {
	mu    sync.Mutex
	epoch uint64
	n     map[string]int64
}

// maxTotals bounds what is remembered.
const maxTotals = 1000

// now is the number of commits so far. What is counted in a snapshot that
// begins later is at least as new.
func (c *cache) now() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch
}

func (t *totals) get(epoch uint64, key string) (n int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.epoch != epoch {
		return 0, false
	}
	n, ok = t.n[key]
	return n, ok
}

func (t *totals) put(epoch uint64, key string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.epoch != epoch || len(t.n) >= maxTotals {
		t.epoch, t.n = epoch, map[string]int64{}
	}
	t.n[key] = n
}

// countKey names a search among those whose total is remembered; "" is none:
// who sees but a part, or asks for a time around now, has a total of their own.
func (r *run) countKey() string {
	if !r.cached || r.q.Access != nil {
		return ""
	}
	var around func(list []*search.Clause) bool
	around = func(list []*search.Clause) bool {
		for _, c := range list {
			if c == nil {
				continue
			}
			for i := range c.Values {
				if c.Values[i].Op == search.OpAp || hasAp(c.Values[i].Parts) {
					return true
				}
			}
			if around(c.Any) || around(c.All) || c.Has != nil && around([]*search.Clause{c.Has.Next}) {
				return true
			}
			for i := range c.Chain {
				if around([]*search.Clause{c.Chain[i].Next}) {
					return true
				}
			}
		}
		return false
	}
	if around(r.q.Where) || r.q.Contained != nil {
		return ""
	}
	key := r.print()
	if r.q.Total == search.TotalEstimate {
		key += "~"
	}
	return key
}

func hasAp(parts []search.Value) bool {
	for i := range parts {
		if parts[i].Op == search.OpAp {
			return true
		}
	}
	return false
}

// total counts all matches when the query wants to know. An estimate stops at probe.
func (r *run) total() error {
	if r.q.Total == search.TotalNone {
		return nil
	}
	key := r.countKey()
	if n, ok := r.s.totals.get(r.epoch, key); ok && key != "" {
		r.page.Total = n
		return nil
	}
	r.page.Total = 0
	if err := r.count(); err != nil {
		return err
	}
	if key != "" {
		r.s.totals.put(r.epoch, key, r.page.Total)
	}
	return nil
}

// count adds the matches of all plans to the total.
func (r *run) count() error {
	for _, pl := range r.plans {
		count := *pl
		switch { // all are counted, in whatever order
		case pl.whole != nil:
			count = *pl.whole
		case pl.fallback != nil:
			count = *pl.fallback
		}
		if pl.looks() {
			if pl.whole != nil {
				count.sort, count.cols = nil, nil
			} else {
				count = *pl
			}
			counter := &run{s: r.s, ctx: r.ctx, c: r.c, q: r.q, page: &fhir.Page{}}
			hits, err := counter.fill(nil, &count, nil, r.s.opt.ScanLimit+1)
			if err != nil {
				return err
			}
			r.page.Total += int64(len(hits))
			continue
		}
		if r.q.Total == search.TotalEstimate && count.estimated() {
			r.page.Total += count.driver.rows
			continue
		}
		count.sort, count.cols = nil, nil
		b := &sqlb{d: r.s.dialect}
		b.w("SELECT count(*) FROM (")
		count.compound(b, nil, nil)
		b.w(") n")
		if err := r.c.Query(string(b.text), func(st *db.Stmt) error { r.page.Total += st.ColInt(0); return nil }, b.args...); err != nil {
			return err
		}
	}
	return nil
}

// estimated reports whether the number of rows of the driver is good enough for
// an estimate of the matches: nothing else narrows them, and they are many.
func (pl *plan) estimated() bool {
	return len(pl.filters) == 0 && pl.driver.known && len(pl.driver.alts) == 1
}
