package fhirtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
)

// scans reads a store as it was at a position while it goes on changing, and
// compares with what was there at that moment.
func scans(k kit) {
	sc, ok := k.s.(fhir.Scanner)
	if !ok {
		k.Fatal("the store cannot be scanned")
	}
	for seed := range uint64(3) {
		s := &scanner{kit: k, sc: sc, r: rand.New(rand.NewPCG(seed, 2)), space: fmt.Sprintf("scan%d-", seed)}
		for range 60 {
			s.change()
		}
		s.snapshot()
	}
}

type scanner struct {
	kit
	sc    fhir.Scanner
	r     *rand.Rand
	space string
	n     int
}

// change puts or deletes one of a dozen resources.
func (s *scanner) change() {
	s.Helper()
	s.n++
	key := fhir.Key{Type: "Patient", ID: fmt.Sprint(s.space, s.r.IntN(12))}
	if s.r.IntN(4) == 0 {
		s.apply(del(key))
		return
	}
	s.apply(s.patient(key.ID, fmt.Sprintf("Name%d", s.n)))
}

// versions returns every version in the store, by what it is at a position.
func (s *scanner) versions(at, since fhir.Seq) map[fhir.ScanWhat][]string {
	s.Helper()
	out := map[fhir.ScanWhat][]string{}
	newest := map[fhir.Key]bool{}
	for _, v := range s.history(fhir.HistoryQuery{Type: "Patient", Count: 100}) { // newest first
		if v.Seq > at {
			continue
		}
		what := fhir.ScanOld
		if !newest[v.Key] {
			newest[v.Key] = true
			what = fhir.ScanCurrent
			if v.Deleted {
				what = fhir.ScanDeleted
			}
		}
		if v.Seq >= since {
			out[what] = append(out[what], text(v))
		}
	}
	for _, l := range out {
		slices.Sort(l)
	}
	return out
}

func (s *scanner) snapshot() {
	s.Helper()
	ctx := context.Background()
	at, err := s.sc.Mark(ctx)
	if err != nil {
		s.Fatal(err)
	}
	since := fhir.FirstSeq
	all := s.history(fhir.HistoryQuery{Type: "Patient", Count: 100, Ascending: true})
	if s.r.IntN(2) == 0 {
		since = all[s.r.IntN(len(all))].Seq
	}
	want := s.versions(at, since)
	ranges, err := s.sc.Ranges(ctx, "Patient", 1+s.r.IntN(9))
	if err != nil || len(ranges) == 0 {
		s.Fatalf("ranges: %v, %v", ranges, err)
	}
	for range 10 {
		s.change()
	}
	for _, what := range []fhir.ScanWhat{fhir.ScanCurrent, fhir.ScanOld, fhir.ScanDeleted} {
		parts := ranges
		if what != fhir.ScanCurrent {
			parts = []fhir.ScanRange{fhir.EveryPosition()}
		}
		var got []string
		for _, r := range parts {
			got = append(got, s.scan(fhir.ScanQuery{Type: "Patient", What: what, At: at, Since: since, ScanRange: r})...)
		}
		slices.Sort(got)
		if !slices.Equal(got, want[what]) {
			s.Fatalf("scan %d:\n got %q\nwant %q", what, got, want[what])
		}
	}
	if r, err := s.sc.Ranges(ctx, "Basic", 10); err != nil || r != nil {
		s.Fatalf("ranges of an unknown type: %v, %v", r, err)
	}
}

// scan follows one range to its end, changing the store between the calls.
func (s *scanner) scan(q fhir.ScanQuery) (got []string) {
	s.Helper()
	for range 1000 {
		enough := 1 + s.r.IntN(4)
		next, more, err := s.sc.Scan(context.Background(), q, func(r *fhir.Record) bool {
			got = append(got, text(*r))
			enough--
			return enough > 0
		})
		if err != nil {
			s.Fatalf("scan: %v", err)
		}
		if !more {
			return got
		}
		q.After = next
		s.change()
	}
	s.Fatal("the scan does not end")
	return nil
}

// marks checks that a mark stands behind all that was done and before all that follows.
func marks(k kit) {
	sc := k.s.(fhir.Scanner)
	for i := range 20 {
		before := k.apply(k.patient(fmt.Sprint("m", i), "x"))[0].Seq
		m, err := sc.Mark(context.Background())
		if err != nil {
			k.Fatal(err)
		}
		after := k.apply(k.patient(fmt.Sprint("n", i), "x"))[0].Seq
		if m < before || m >= after || m.Time().After(time.Now().Add(time.Second)) {
			k.Fatalf("mark %d is not between %d and %d", m, before, after)
		}
	}
}
