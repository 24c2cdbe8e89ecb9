package fhirtest

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// kit holds what every part of the suite needs. Its methods end the test on an
// unexpected error.
type kit struct {
	*testing.T
	s   fhir.Store
	reg *search.Registry
}

// put returns the operation that stores a resource written as JSON.
func (k kit) put(key fhir.Key, body string) fhir.Op {
	k.Helper()
	var d resource.Doc
	if err := d.Parse([]byte(body), resource.Options{}); err != nil {
		k.Fatalf("fixture %s: %v", key, err)
	}
	v := &search.Values{}
	if err := k.reg.Extract(d.Root(), nil, v); err != nil {
		k.Fatalf("fixture %s: extract: %v", key, err)
	}
	return fhir.Op{Kind: fhir.OpPut, Key: key, Method: "PUT", Stored: d.Root().AppendStored(nil, nil), Values: v}
}

// patient returns the operation that stores a Patient with a family name.
func (k kit) patient(id, family string) fhir.Op {
	k.Helper()
	return k.put(fhir.Key{Type: "Patient", ID: id}, fmt.Sprintf(`{"resourceType":"Patient","id":%q,"name":[{"family":%q}]}`, id, family))
}

func (k kit) try(ops ...fhir.Op) ([]fhir.Applied, error) {
	return k.s.Apply(context.Background(), &fhir.Change{Ops: ops})
}

func (k kit) apply(ops ...fhir.Op) []fhir.Applied {
	k.Helper()
	done, err := k.try(ops...)
	if err != nil {
		k.Fatalf("apply: %v", err)
	}
	if len(done) != len(ops) {
		k.Fatalf("apply: %d results for %d operations", len(done), len(ops))
	}
	return done
}

// want applies one operation and checks what it did.
func (k kit) want(op fhir.Op, outcome fhir.Outcome, version int64) fhir.Applied {
	k.Helper()
	got := k.apply(op)[0]
	if got.Outcome != outcome || got.Version != version {
		k.Fatalf("%s: outcome %d version %d, want outcome %d version %d", op.Key, got.Outcome, got.Version, outcome, version)
	}
	return got
}

// refused applies operations and checks that operation index fails with kind.
func (k kit) refused(kind fault.Kind, index int, ops ...fhir.Op) {
	k.Helper()
	_, err := k.try(ops...)
	if !fault.Is(err, kind) {
		k.Fatalf("error %v, want kind %d", err, kind)
	}
	if i, ok := opIndex(err); !ok || i != index {
		k.Fatalf("error names operation %d (%v), want %d", i, ok, index)
	}
}

func (k kit) read(key fhir.Key) fhir.Record {
	k.Helper()
	r, err := k.s.Read(context.Background(), key)
	if err != nil {
		k.Fatalf("read %s: %v", key, err)
	}
	return r
}

func (k kit) missing(key fhir.Key) {
	k.Helper()
	if r, err := k.s.Read(context.Background(), key); !fault.Is(err, fault.NotFound) {
		k.Fatalf("read %s: %+v, %v; want NotFound", key, r, err)
	}
}

// query parses a search such as "Patient?family=x".
func (k kit) query(typ, raw string) *search.Query {
	k.Helper()
	params, err := url.ParseQuery(raw)
	if err != nil {
		k.Fatal(err)
	}
	var types []string
	if typ != "" {
		types = []string{typ}
	}
	q, _, err := k.reg.Parse(types, nil, params, raw, search.ParseOptions{
		Strict: true, DefaultCount: 100, MaxCount: 1000, Now: time.Now(),
	})
	if err != nil {
		k.Fatalf("%s?%s: %v", typ, raw, err)
	}
	return q
}

// search follows all pages and returns "Type/id" of every hit in order.
func (k kit) search(q *search.Query) []string {
	k.Helper()
	var ids []string
	c := *q
	for range 1000 {
		page, err := k.s.Search(context.Background(), &c)
		if err != nil {
			k.Fatalf("search: %v", err)
		}
		if len(page.Records) > c.Count {
			k.Fatalf("a page of %d records for a count of %d", len(page.Records), c.Count)
		}
		for _, r := range page.Records {
			ids = append(ids, r.Key.String())
		}
		if len(ids) > 5000 {
			break
		}
		if page.Next == "" {
			return ids
		}
		if len(page.Records) == 0 {
			k.Fatal("an empty page that has a next one")
		}
		c.After = page.Next
	}
	k.Fatalf("the pages do not end: %q", ids[:min(len(ids), 2*q.Count+2)])
	return nil
}

// hits is search in the order of ids.
func (k kit) hits(typ, raw string) []string {
	k.Helper()
	ids := k.search(k.query(typ, raw))
	slices.Sort(ids)
	return ids
}

// history follows all pages.
func (k kit) history(q fhir.HistoryQuery) []fhir.Record {
	k.Helper()
	var all []fhir.Record
	for range 10_000 {
		page, err := k.s.History(context.Background(), q)
		if err != nil {
			k.Fatalf("history: %v", err)
		}
		if len(page.Records) > q.Count {
			k.Fatalf("a page of %d versions for a count of %d", len(page.Records), q.Count)
		}
		all = append(all, page.Records...)
		if page.Next == "" {
			return all
		}
		q.After = page.Next
	}
	k.Fatal("the pages do not end")
	return nil
}
