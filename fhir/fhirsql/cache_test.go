package fhirsql

import (
	"bytes"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestCacheIsTheSnapshot searches while every resource is written again and
// again: the bodies of a page, cached or not, are those that matched.
func TestCacheIsTheSnapshot(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "x.db"), search.Default(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	store := func(id, family string) {
		if _, err := s.Apply(t.Context(), put(t, search.Default(), id, `{"resourceType":"Patient","name":[{"family":"`+family+`"}]}`)); err != nil {
			t.Error(err)
		}
	}
	families := []string{"Red", "Green", "Blue"}
	var all sync.WaitGroup
	for w := range 2 {
		all.Go(func() {
			for i := range 150 {
				store(fmt.Sprintf("p%d%d", w, i%4), families[i%3])
			}
		})
	}
	for r := range 3 {
		all.Go(func() {
			for range 150 {
				page, err := s.Search(t.Context(), asked(t, "family="+families[r]))
				if err != nil {
					t.Error(err)
					return
				}
				for i := range page.Records {
					if x := &page.Records[i]; !bytes.Contains(x.Stored, []byte(families[r])) {
						t.Errorf("family=%s found %s, version %d: %s", families[r], x.Key, x.Version, x.Stored)
					}
				}
			}
		})
	}
	all.Wait()
	if page, err := s.Search(t.Context(), asked(t, "name:missing=false")); err != nil || len(page.Records) != 8 {
		t.Errorf("at the end %d records, %v", len(page.Records), err)
	}
	k := fhir.Key{Type: "Patient", ID: "p00"}
	if _, ok, _ := s.cache.get(k); !ok {
		t.Error("what a search read is not kept")
	}
	store("p00", "Grey")
	if rec, ok, _ := s.cache.get(k); ok {
		t.Errorf("a version that is old is kept: %s", rec.Stored)
	}
}

// TestCacheGenerations drops what nobody asked for, under both of its names.
func TestCacheGenerations(t *testing.T) {
	c := newCache(64 * (1000 + recordOverhead))
	rec := func(i int) fhir.Record {
		return fhir.Record{Key: fhir.Key{Type: "Patient", ID: fmt.Sprint(i)}, Stored: make([]byte, 1000)}
	}
	for i := range 1000 {
		c.put(rec(i), int64(i+1), 0)
		if _, ok := c.at(1, 0); !ok {
			t.Fatalf("what is asked for all the time is gone after %d others", i)
		}
	}
	if _, ok := c.at(500, 0); ok {
		t.Error("what nobody asked for is still there")
	}
	if n := len(c.young.keys) + len(c.old.keys); n > 64 || len(c.young.rids)+len(c.old.rids) != n {
		t.Errorf("%d names and %d rids in a cache of 64", n, len(c.young.rids)+len(c.old.rids))
	}
	c.begin(false)
	if _, ok := c.at(1, 0); ok {
		t.Error("a snapshot may be newer than the cache while a commit is under way")
	}
	c.change(rec(0).Key)
	c.settle()
	if _, ok := c.at(1, 1); ok {
		t.Error("an old version is found by its rid")
	}
	if _, ok := c.at(1000, 0); ok {
		t.Error("a snapshot of before the commit finds what is current")
	}
	if _, ok := c.at(1000, 1); !ok {
		t.Error("what did not change is gone")
	}
}
