package fhirsql

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// larges remembers for a while how large ranges are, because a search by one of
// them counts a thousand rows to learn that it is large, and one by several up to
// 128,000, which takes longer than its page. That only decides about the way: a
// range that has become small is sorted a little later than it might be.
type larges struct {
	mu sync.Mutex
	m  map[string]large
}

// large is a range with n rows, or more if it was counted no further.
type large struct {
	n     int64
	more  bool
	until time.Time
}

const (
	largeCount = 1000             // bounds what is remembered
	largeTime  = 10 * time.Second // how long it is
	hugeTime   = 5 * time.Minute  // the same for hugeRows and more, which are counted in milliseconds
	hugeRows   = 8000
)

// rows returns how many rows a range had a moment ago, counted up to limit. ok is
// false when that is not known.
func (l *larges) rows(key string, limit int64, now time.Time) (n int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x, ok := l.m[key]
	if !ok || !now.Before(x.until) || x.more && x.n < limit {
		return 0, false
	}
	return min(x.n, limit), true
}

// add notes that n rows were counted, up to limit.
func (l *larges) add(key string, n, limit int64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil || len(l.m) >= largeCount {
		l.m = map[string]large{}
	}
	x := large{n, n >= limit, now.Add(largeTime)}
	if n >= hugeRows {
		x.until = now.Add(hugeTime)
	}
	l.m[key] = x
}

// key names the ranges of a predicate; "" if its text does not.
func (p *pred) key(t int64) string {
	if len(p.alts) > 8 || slices.ContainsFunc(p.alts, func(a alt) bool { return a.nest != nil || a.link }) {
		return ""
	}
	b := fmt.Appendf(nil, "%d", t)
	for i := range p.alts {
		a := &p.alts[i]
		b = fmt.Appendf(b, "|%s|%s|%s|%#v", a.table, a.index, a.k.text, a.k.args)
	}
	return string(b)
}
