package fhirtest

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

var p1 = fhir.Key{Type: "Patient", ID: "p1"}

func del(k fhir.Key) fhir.Op   { return fhir.Op{Kind: fhir.OpDelete, Key: k, Method: "DELETE"} }
func hard(k fhir.Key) fhir.Op  { return fhir.Op{Kind: fhir.OpHardDelete, Key: k, Method: "DELETE"} }
func purge(k fhir.Key) fhir.Op { return fhir.Op{Kind: fhir.OpPurgeHistory, Key: k, Method: "DELETE"} }

// readVersion checks one version of p1.
func readVersion(k kit, version int64, want fhir.Op) {
	k.Helper()
	r, err := k.s.ReadVersion(context.Background(), p1, version)
	if err != nil {
		k.Fatalf("version %d: %v", version, err)
	}
	if r.Version != version || r.Key != p1 || r.Deleted || !bytes.Equal(r.Stored, want.Stored) {
		k.Fatalf("version %d: got %+v %q", version, r, r.Stored)
	}
}

func noVersion(k kit, version int64) {
	k.Helper()
	if r, err := k.s.ReadVersion(context.Background(), p1, version); !fault.Is(err, fault.NotFound) {
		k.Fatalf("version %d: %+v, %v; want NotFound", version, r, err)
	}
}

// methods: a version remembers what made it, for the history.
func methods(k kit) {
	made := []string{"POST", "PATCH", "PUT", "PATCH"}
	for i, m := range made {
		op := k.patient("p1", fmt.Sprint("Name", i))
		if op.Method = m; i > 0 {
			op.IfMatch, op.MustExist = int64(i), true
		}
		k.apply(op)
		if r := k.read(p1); r.Method != m {
			k.Fatalf("version %d was made by %q, want %q", r.Version, r.Method, m)
		}
	}
	same := k.patient("p1", "Name3")
	same.Method, same.MustExist, same.IfMatch = "PATCH", true, 4
	k.want(same, fhir.Unchanged, 4)
	for _, r := range k.history(fhir.HistoryQuery{Type: p1.Type, ID: p1.ID, Count: 10}) {
		if want := made[r.Version-1]; r.Method != want {
			k.Errorf("history: version %d was made by %q, want %q", r.Version, r.Method, want)
		}
	}
}

func versions(k kit) {
	k.missing(p1)
	noVersion(k, 1)
	first, second := k.patient("p1", "One"), k.patient("p1", "Two")
	first.Method = "POST"
	a := k.want(first, fhir.Created, 1)
	b := k.want(second, fhir.Updated, 2)
	if b.Seq <= a.Seq {
		k.Fatalf("sequence %d does not follow %d", b.Seq, a.Seq)
	}
	cur := k.read(p1)
	if cur.Version != 2 || cur.Seq != b.Seq || cur.Method != "PUT" || string(cur.Stored) != string(second.Stored) {
		k.Fatalf("current: %+v %q", cur, cur.Stored)
	}
	readVersion(k, 1, first)
	readVersion(k, 2, second)
	noVersion(k, 3)
	// The same id on another type is another resource.
	o := fhir.Key{Type: "Observation", ID: "p1"}
	k.want(k.put(o, `{"resourceType":"Observation","status":"final","code":{"text":"x"}}`), fhir.Created, 1)
	if k.read(p1).Version != 2 {
		k.Fatal("a resource of another type changed this one")
	}
}

func noChange(k kit) {
	a := k.want(k.patient("p1", "One"), fhir.Created, 1)
	b := k.want(k.patient("p1", "One"), fhir.Unchanged, 1)
	if a.Seq != b.Seq {
		k.Fatalf("sequence of an unchanged resource went from %d to %d", a.Seq, b.Seq)
	}
	if h := k.history(fhir.HistoryQuery{Type: "Patient", ID: "p1", Count: 10}); len(h) != 1 {
		k.Fatalf("history has %d versions, want 1", len(h))
	}
	// The stored form of 1.0 is not that of 1.00.
	k.want(k.put(fhir.Key{Type: "Observation", ID: "n"}, `{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.0}}`), fhir.Created, 1)
	k.want(k.put(fhir.Key{Type: "Observation", ID: "n"}, `{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00}}`), fhir.Updated, 2)
}

func ifMatch(k kit) {
	k.apply(k.patient("p1", "One"))
	op := k.patient("p1", "Two")
	op.IfMatch = 2
	k.refused(fault.Precondition, 0, op)
	op.IfMatch = 1
	k.want(op, fhir.Updated, 2)
	k.refused(fault.Precondition, 0, op) // stale, though the content is the same
	d := del(p1)
	d.IfMatch = 1
	k.refused(fault.Precondition, 0, d)
	d.IfMatch = 2
	k.want(d, fhir.Deleted, 3)
}

func mustExist(k kit) {
	op := k.patient("p1", "One")
	op.MustExist = true
	k.refused(fault.NotFound, 0, op)
	op.IfMatch = 1
	k.refused(fault.NotFound, 0, op)
	op.MustExist, op.IfMatch, op.MustNotExist = false, 0, true
	k.want(op, fhir.Created, 1)
	k.refused(fault.Conflict, 0, op)
	k.apply(del(p1))
	gone := k.patient("p1", "Two")
	gone.MustExist = true
	k.refused(fault.Gone, 0, gone)
	k.want(op, fhir.Created, 3)
}

func deleteRevive(k kit) {
	k.want(del(p1), fhir.Absent, 0)
	k.missing(p1)
	k.apply(k.patient("p1", "One"))
	gone := k.want(del(p1), fhir.Deleted, 2)
	again := k.want(del(p1), fhir.Absent, 2)
	if gone.Seq != again.Seq {
		k.Fatal("the second delete moved the sequence")
	}
	r := k.read(p1)
	if !r.Deleted || r.Version != 2 || r.Method != "DELETE" || len(r.Stored) != 0 {
		k.Fatalf("deleted: %+v", r)
	}
	if v, err := k.s.ReadVersion(context.Background(), p1, 2); err != nil || !v.Deleted {
		k.Fatalf("version of the deletion: %+v, %v", v, err)
	}
	// The same content as before the deletion is a new version all the same.
	k.want(k.patient("p1", "One"), fhir.Created, 3)
	if r := k.read(p1); r.Deleted || r.Version != 3 {
		k.Fatalf("revived: %+v", r)
	}
	if got := k.hits("Patient", "family=One"); len(got) != 1 {
		k.Fatalf("a revived resource is not found: %v", got)
	}
}

func hardDelete(k kit) {
	k.want(hard(p1), fhir.Absent, 0)
	k.apply(k.patient("p1", "One"))
	k.apply(k.patient("p1", "Two"))
	if got := k.apply(hard(p1))[0].Outcome; got != fhir.Deleted {
		k.Fatalf("outcome %d, want Deleted", got)
	}
	k.missing(p1)
	noVersion(k, 1)
	noVersion(k, 2)
	if h := k.history(fhir.HistoryQuery{Count: 10}); len(h) != 0 {
		k.Fatalf("the history still has %d versions", len(h))
	}
	if got := k.hits("Patient", "family=Two"); len(got) != 0 {
		k.Fatalf("the search still finds %v", got)
	}
	k.want(k.patient("p1", "Three"), fhir.Created, 1)
	// A soft deletion goes too.
	k.apply(del(p1))
	k.apply(hard(p1))
	k.missing(p1)
}

func purgeHistory(k kit) {
	if got := k.apply(purge(p1))[0].Outcome; got != fhir.Absent {
		k.Fatalf("outcome %d, want Absent", got)
	}
	k.apply(k.patient("p1", "One"))
	k.apply(k.patient("p1", "Two"))
	last := k.patient("p1", "Three")
	k.apply(last)
	if got := k.apply(purge(p1))[0]; got.Outcome == fhir.Absent || got.Version != 3 {
		k.Fatalf("purge: %+v", got)
	}
	noVersion(k, 1)
	noVersion(k, 2)
	readVersion(k, 3, last)
	if h := k.history(fhir.HistoryQuery{Type: "Patient", ID: "p1", Count: 10}); len(h) != 1 || h[0].Version != 3 {
		k.Fatalf("history: %+v", h)
	}
	k.want(k.patient("p1", "Four"), fhir.Updated, 4)
}

func noHistory(k kit) {
	first := k.patient("p1", "One")
	k.apply(first)
	op := k.patient("p1", "Two")
	op.NoHistory = true
	k.want(op, fhir.Updated, 2)
	noVersion(k, 1)
	readVersion(k, 2, op)
	k.want(k.patient("p1", "Three"), fhir.Updated, 3)
	if h := k.history(fhir.HistoryQuery{Type: "Patient", ID: "p1", Count: 10}); len(h) != 2 {
		k.Fatalf("history has %d versions, want 2", len(h))
	}
}

// sequence: all versions have different places, in the order of their commits,
// and operations of one change in their own order.
func sequence(k kit) {
	var last fhir.Seq
	for i := range 20 {
		done := k.apply(k.patient(fmt.Sprint("a", i), "A"), k.patient(fmt.Sprint("b", i), "B"))
		for _, d := range done {
			if d.Seq <= last {
				k.Fatalf("sequence %d does not follow %d", d.Seq, last)
			}
			last = d.Seq
		}
	}
	if at := last.Time(); at.Year() < 2020 || at.Nanosecond()%1e6 != 0 {
		k.Fatalf("time of the sequence: %v", at)
	}
}

// keepsNothing: the memory of a Change is used again after Apply.
func keepsNothing(k kit) {
	op := k.patient("p1", "Precious")
	want := string(op.Stored)
	k.apply(op)
	for i := range op.Stored {
		op.Stored[i] = 'x'
	}
	v := op.Values
	v.Reset()
	v.Strings = append(v.Strings, search.StringValue{Param: k.reg.Param("Patient", "family"), Text: "Worthless", Norm: "worthless"})
	if got := string(k.read(p1).Stored); got != want {
		k.Fatalf("stored %q, want %q", got, want)
	}
	if got := k.hits("Patient", "family=Precious"); len(got) != 1 {
		k.Fatalf("the index lost its entry: %v", got)
	}
}

func concurrentUpdates(k kit) {
	const writers, each = 8, 10
	k.apply(k.patient("p1", "Start"))
	ops := make([][]fhir.Op, writers)
	for w := range ops {
		for i := range each {
			ops[w] = append(ops[w], k.patient("p1", fmt.Sprintf("W%dI%d", w, i)))
		}
	}
	var mu sync.Mutex
	seen := map[int64]bool{1: true}
	var wg sync.WaitGroup
	for w := range ops {
		wg.Go(func() {
			for _, op := range ops[w] {
				done, err := k.try(op)
				if err != nil {
					k.Errorf("apply: %v", err)
					return
				}
				mu.Lock()
				if seen[done[0].Version] {
					k.Errorf("version %d was given twice", done[0].Version)
				}
				seen[done[0].Version] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if v := k.read(p1).Version; v != writers*each+1 || len(seen) != writers*each+1 {
		k.Fatalf("current version %d and %d different ones, want %d", v, len(seen), writers*each+1)
	}
}
