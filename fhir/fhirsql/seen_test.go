package fhirsql

import (
	"fmt"
	"hash/maphash"
	"path/filepath"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/spec/search"
)

func TestBloom(t *testing.T) {
	const n = 20_000
	b, seed := newBloom(n), maphash.MakeSeed()
	hash := func(i int) uint64 { return maphash.Comparable(seed, i) }
	for i := range n {
		b.add(hash(i))
	}
	wrong := 0
	for i := range 2 * n {
		switch has := b.has(hash(i)); {
		case i < n && !has:
			t.Fatalf("%d is lost", i)
		case i >= n && has:
			wrong++
		}
	}
	if wrong > n/40 {
		t.Errorf("%d of %d are believed to be there", wrong, n)
	}
}

// TestSeen imports while the filter is made, when it is there, and when it is
// full: a name never gets a second rid, which the key of the table would refuse.
func TestSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fhir.db")
	var s *Store
	open := func() {
		var err error
		if s, err = Open(t.Context(), path, search.Default(), Options{}); err != nil {
			t.Fatal(err)
		}
	}
	put := func(from, to int, want fhir.Outcome) {
		t.Helper()
		var ops []fhir.ImportOp
		for i := from; i < to; i++ {
			v := &search.Values{}
			ops = append(ops, fhir.ImportOp{Op: fhir.Op{Kind: fhir.OpPut, Key: fhir.Key{Type: "Basic", ID: fmt.Sprint(i)}, Method: "PUT", Values: v, Stored: fmt.Append(nil, "\x00\"x\":", i)}})
		}
		got, err := s.Import(t.Context(), ops)()
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i].Err != nil || got[i].Outcome != want {
				t.Fatalf("%d: %+v, want outcome %d", from+i, got[i], want)
			}
		}
	}
	open()
	put(0, 500, fhir.Created)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open()
	defer func() { _ = s.Close() }()
	at := 500
	for end := time.Now().Add(time.Minute); s.seen.state != seenReady; at += 50 {
		if time.Now().After(end) {
			t.Fatal("there is no filter")
		}
		put(at, at+50, fhir.Created)
		put(at-300, at, fhir.Unchanged)
	}
	s.rids.forget()
	put(0, at, fhir.Unchanged)
	put(at, at+50, fhir.Created)
	s.seen.filter.room = 1 // it is made anew
	for s.seen.state = seenReady; s.seen.state == seenReady; at += 50 {
		put(at+50, at+100, fhir.Created)
	}
	s.rids.forget()
	put(0, at, fhir.Unchanged)
}

// TestImportTakenBack imports in a transaction that cannot be committed, and
// then again: names that were given in it are given anew, those from before and
// resources that were only referred to are still known.
func TestImportTakenBack(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "fhir.db"), search.Default(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	broken := false
	s.db.OnFlush(func(*db.Conn) error {
		if broken {
			return errEnough
		}
		return nil
	})
	subject := search.Default().Param("Flag", "author")
	flags := func(from, to int) (ops []fhir.ImportOp) {
		for i := from; i < to; i++ {
			v := &search.Values{References: []search.ReferenceValue{{Param: subject, Type: "Flag", ID: fmt.Sprint(i + 100)}}}
			ops = append(ops, fhir.ImportOp{Op: fhir.Op{Kind: fhir.OpPut, Key: fhir.Key{Type: "Flag", ID: fmt.Sprint(i)}, Method: "PUT", Values: v, Stored: []byte("\x00\"x\":1")}})
		}
		return ops
	}
	created := func(wait func() ([]fhir.Imported, error)) {
		t.Helper()
		got, err := wait()
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i].Err != nil || got[i].Outcome != fhir.Created {
				t.Fatalf("%d: %+v", i, got[i])
			}
		}
	}
	created(s.Import(t.Context(), flags(0, 10)))
	for end := time.Now().Add(time.Minute); s.seen.state != seenReady; {
		if time.Now().After(end) {
			t.Fatal("there is no filter")
		}
		if err := s.db.Write(t.Context(), &db.Work{Do: func(*db.Conn) error { return nil }}); err != nil {
			t.Fatal(err)
		}
	}
	broken = true
	if _, err := s.Import(t.Context(), flags(10, 60))(); err == nil {
		t.Fatal("the import is not taken back")
	}
	broken = false
	created(s.Import(t.Context(), flags(10, 60)))
	created(s.Import(t.Context(), flags(100, 160))) // all referred to
	created(s.Import(t.Context(), flags(60, 100)))
	err = s.db.Read(t.Context(), func(c *db.Conn) error {
		const text = "SELECT count(*) FROM ref JOIN body ON body.rid = ref.h JOIN res ON res.rid = ref.h"
		return c.Query(text, func(st *db.Stmt) error {
			if n := st.ColInt(0); n != 60 {
				t.Errorf("%d of 60 references lead to what was imported", n)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSeenImpossible asks for a filter once, when there are too many names for one.
func TestSeenImpossible(t *testing.T) {
	n := &seen{state: seenMaking}
	n.built.Store(&bloom{})
	n.settle(nil)
	if n.want(); n.state == seenWanted {
		t.Error("the names are counted again for each import")
	}
	n.give(1, []byte("a"))
	n.store(1)
	if n.absent(1, []byte("a")) || n.bare(1) || len(n.fresh)+len(n.stored) > 0 {
		t.Error("something is said without a filter, or kept for one")
	}
}
