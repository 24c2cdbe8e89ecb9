package fhirtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// atomic: when one operation fails nothing of the change is visible, wherever it stands.
func atomic(k kit) {
	k.apply(k.patient("old", "Old"), k.patient("doomed", "Doomed"))
	before := k.history(fhir.HistoryQuery{Count: 100})
	for at := range 4 {
		ops := []fhir.Op{
			k.patient("new", "New"), k.patient("old", "Changed"),
			del(fhir.Key{Type: "Patient", ID: "doomed"}),
		}
		bad := k.patient("old", "Bad")
		if at <= 1 {
			bad = k.patient("doomed", "Bad")
		}
		bad.IfMatch = 7
		ops = append(ops[:at], append([]fhir.Op{bad}, ops[at:]...)...)
		k.refused(fault.Precondition, at, ops...)
		k.missing(fhir.Key{Type: "Patient", ID: "new"})
		if r := k.read(fhir.Key{Type: "Patient", ID: "doomed"}); r.Deleted {
			k.Fatal("a delete of a failed change is visible")
		}
		if got := k.hits("Patient", "family=Changed,New,Bad"); len(got) != 0 {
			k.Fatalf("the index shows a failed change: %v", got)
		}
		if after := k.history(fhir.HistoryQuery{Count: 100}); len(after) != len(before) {
			k.Fatalf("the history went from %d to %d versions", len(before), len(after))
		}
	}
	if got := k.hits("Patient", "family=Old,Doomed"); len(got) != 2 {
		k.Fatalf("found %v after failed changes", got)
	}
}

// sameKeyTwice: operations of one change see each other.
func sameKeyTwice(k kit) {
	done := k.apply(k.patient("p1", "One"), k.patient("p1", "Two"), del(p1), k.patient("p1", "Three"))
	for i, want := range []fhir.Applied{{Outcome: fhir.Created, Version: 1}, {Outcome: fhir.Updated, Version: 2}, {Outcome: fhir.Deleted, Version: 3}, {Outcome: fhir.Created, Version: 4}} {
		if done[i].Outcome != want.Outcome || done[i].Version != want.Version {
			k.Errorf("operation %d: %+v, want %+v", i, done[i], want)
		}
	}
	if got := k.hits("Patient", "family=One,Two,Three"); len(got) != 1 {
		k.Fatalf("found %v, want the one resource", got)
	}
	if got := k.hits("Patient", "family=Two"); len(got) != 0 {
		k.Fatalf("found %v by the name of an old version", got)
	}
}

func guards(k kit) {
	q := k.query("Patient", "family=Guarded")
	q.Count = 2
	try := func(ids ...fhir.Key) error {
		k.Helper()
		_, err := k.s.Apply(context.Background(), &fhir.Change{
			Ops: []fhir.Op{k.patient("p1", "Guarded")}, Guards: []fhir.Guard{{Query: q, IDs: ids}},
		})
		return err
	}
	if err := try(p1); !errors.Is(err, fhir.ErrStale) {
		k.Fatalf("a guard on a match that is not there: %v, want ErrStale", err)
	}
	k.missing(p1)
	if err := try(); err != nil {
		k.Fatalf("a guard on no match: %v", err)
	}
	if err := try(); !errors.Is(err, fhir.ErrStale) {
		k.Fatalf("a guard on no match, but there is one: %v, want ErrStale", err)
	}
	if err := try(p1); err != nil {
		k.Fatalf("a guard on the right match: %v", err)
	}
	if err := try(fhir.Key{Type: "Patient", ID: "other"}); !errors.Is(err, fhir.ErrStale) {
		k.Fatalf("a guard on another match: %v, want ErrStale", err)
	}
	k.apply(k.patient("p2", "Guarded"))
	if err := try(p1); !errors.Is(err, fhir.ErrStale) {
		k.Fatalf("a guard on one match of two: %v, want ErrStale", err)
	}
	k.apply(del(p1), del(fhir.Key{Type: "Patient", ID: "p2"}))
	if err := try(); err != nil {
		k.Fatalf("a guard must not see deleted resources: %v", err)
	}
}

// guardRace: 20 writers want to create the same thing unless it exists. One does.
func guardRace(k kit) {
	const writers = 20
	q := k.query("Patient", "identifier=urn:race|1")
	q.Count = 2
	ops := make([]fhir.Op, writers)
	for i := range ops {
		ops[i] = k.put(fhir.Key{Type: "Patient", ID: fmt.Sprint("r", i)},
			`{"resourceType":"Patient","identifier":[{"system":"urn:race","value":"1"}]}`)
	}
	var mu sync.Mutex
	var created, stale int
	var wg sync.WaitGroup
	for i := range ops {
		wg.Go(func() {
			_, err := k.s.Apply(context.Background(), &fhir.Change{Ops: ops[i : i+1], Guards: []fhir.Guard{{Query: q}}})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				created++
			case errors.Is(err, fhir.ErrStale):
				stale++
			default:
				k.Errorf("apply: %v", err)
			}
		})
	}
	wg.Wait()
	if created != 1 || stale != writers-1 {
		k.Fatalf("%d created and %d stale, want 1 and %d", created, stale, writers-1)
	}
	if got := k.hits("Patient", "identifier=urn:race|1"); len(got) != 1 {
		k.Fatalf("found %v, want one", got)
	}
}
