package fhirsql

import (
	"errors"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// put makes the change that stores a resource.
func put(t *testing.T, reg *search.Registry, id, text string) *fhir.Change {
	t.Helper()
	d := &resource.Doc{}
	if err := d.Parse([]byte(text), resource.Options{}); err != nil {
		t.Fatal(err)
	}
	n := d.Root()
	op := fhir.Op{Kind: fhir.OpPut, Method: "PUT", Key: fhir.Key{Type: n.Get("resourceType").Text(), ID: id}, Stored: n.AppendStored(nil, nil), Values: &search.Values{}}
	if err := reg.Extract(n, nil, op.Values); err != nil {
		t.Fatal(err)
	}
	return &fhir.Change{Ops: []fhir.Op{op}}
}

// TestNamesOfFailedCommit: names that were given in a transaction whose COMMIT
// failed are given again; a row never has the id of a name that nobody knows.
func TestNamesOfFailedCommit(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, where string) {
		reg := search.Default()
		s, err := Open(t.Context(), where, reg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		fails := true
		s.db.OnFlush(func(*db.Conn) error { // after that of the store
			if fails {
				return errors.New("the disk is full")
			}
			return nil
		})
		c := put(t, reg, "p", `{"resourceType":"Patient","identifier":[{"system":"urn:new","value":"1"}]}`)
		if _, err := s.Apply(t.Context(), c); err == nil {
			t.Fatal("the commit did not fail")
		}
		fails = false
		if _, err := s.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(t.Context(), where, reg, Options{}); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		page, err := s.Search(t.Context(), asked(t, "identifier=urn:new|1"))
		if err != nil || len(page.Records) != 1 {
			t.Errorf("%+v, %v", page, err)
		}
	})
}
