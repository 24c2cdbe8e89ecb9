package fhirsql

import (
	"sync"

	"github.com/hygeia-health/hygeia/spec/search"
)

// totals remembers the numbers of matches until something is written, because
// each page of a search is sent with the total again. It is no wider than the
// database file of one process: other nodes would write unseen.
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
	if r.s.shared || !r.cached || r.q.Access != nil {
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
