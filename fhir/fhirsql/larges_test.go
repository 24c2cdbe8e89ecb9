package fhirsql

import (
	"fmt"
	"testing"
	"time"
)

func TestLarges(t *testing.T) {
	var l larges
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l.add("more", 1000, 1000, now)
	l.add("all", 700, 1000, now)
	l.add("huge", 8000, 8000, now)
	for _, c := range []struct {
		key   string
		limit int64
		late  time.Duration
		want  int64 // 0: not known
	}{
		{"more", 500, 0, 500}, {"more", 1000, 0, 1000}, {"more", 1001, 0, 0}, {"none", 1, 0, 0}, {"more", 500, largeTime, 0},
		{"all", 500, 0, 500}, {"all", 128_000, 0, 700}, {"all", 1000, largeTime, 0},
		{"huge", 8000, largeTime, 8000}, {"huge", 8001, 0, 0}, {"huge", 8000, hugeTime, 0},
	} {
		if n, ok := l.rows(c.key, c.limit, now.Add(c.late)); n != c.want || ok != (c.want > 0) {
			t.Errorf("%s up to %d after %s: %d, %t; want %d", c.key, c.limit, c.late, n, ok, c.want)
		}
	}
	for i := range 3 * largeCount {
		l.add(fmt.Sprint(i), 1, 1, now)
	}
	if len(l.m) > largeCount {
		t.Errorf("%d are remembered", len(l.m))
	}
}

// TestRangeKeys tells ranges apart that have the same text.
func TestRangeKeys(t *testing.T) {
	a := &pred{alts: []alt{tokAlt(1, "x", 2)}}
	for _, b := range []*pred{
		{alts: []alt{tokAlt(1, "y", 2)}}, {alts: []alt{tokAlt(2, "x", 2)}}, {alts: []alt{tokAlt(1, "x", 2), tokAlt(1, "x", 3)}},
		{alts: []alt{{table: "str", k: a.alts[0].k}}}, {alts: []alt{{table: "tok", k: cond{a.alts[0].k.text, []any{int64(1), "x", "2"}}}}},
	} {
		if a.key(1) == b.key(1) {
			t.Errorf("%v and %v have the key %s", a.alts, b.alts, a.key(1))
		}
	}
	times := func(lo int64) *pred {
		return &pred{alts: []alt{{table: "res", k: cond{"r.d1>=?", []any{lo}}}}}
	}
	if times(1600000000000).key(1) == times(1600000000001).key(1) {
		t.Error("two times have the same key")
	}
	if a.key(1) == a.key(2) {
		t.Error("two types have the same key")
	}
	if (&pred{alts: []alt{{nest: &nest{}}}}).key(1) != "" {
		t.Error("what a chain gathers is not in its text")
	}
}
