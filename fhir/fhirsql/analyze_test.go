package fhirsql

import (
	"fmt"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestAnalyze loads a store of PostgreSQL, which knows nothing of its tables
// then: a look after many changes gathers what is known of them, as Analyze
// does, but only when the store has doubled.
func TestAnalyze(t *testing.T) {
	s, err := Open(t.Context(), dbtest.Postgres(t), search.Default(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	err = s.db.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		for _, table := range analyzed { // or it may be faster
			if err := c.Exec("ALTER TABLE " + table + " SET (autovacuum_enabled=false)"); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	load := func(from, to int) {
		t.Helper()
		var ops []fhir.ImportOp
		for i := from; i < to; i++ {
			v := &search.Values{}
			ops = append(ops, fhir.ImportOp{Op: fhir.Op{Kind: fhir.OpPut, Key: fhir.Key{Type: "Basic", ID: fmt.Sprint(i)}, Method: "PUT", Values: v, Stored: []byte("\x00\"x\":1")}})
		}
		if _, err := s.Import(t.Context(), ops)(); err != nil {
			t.Fatal(err)
		}
	}
	known := func(table string) (rows int64) {
		t.Helper()
		err := s.db.Read(t.Context(), func(c *db.Conn) error {
			return c.Query("SELECT CAST(reltuples AS BIGINT) FROM pg_class WHERE oid=CAST(CAST($1 AS TEXT) AS regclass)",
				func(st *db.Stmt) error { rows = st.ColInt(0); return nil }, table)
		})
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	const first, more = ridBlock + 10, 2*ridBlock + 20 // names in two blocks, in three
	load(0, first)
	if n := known("body"); n > 0 {
		t.Fatalf("%d rows of body are known before anything gathered them", n)
	}
	s.Analyze(t.Context())
	for _, table := range []string{"body", "res", "key"} {
		if n := known(table); n != first {
			t.Errorf("%d rows of %s are known, want %d", n, table, first)
		}
	}
	load(first, first+10)
	s.Analyze(t.Context())
	if n := known("body"); n != first {
		t.Errorf("%d rows of body are known: statistics are gathered again after ten more", n)
	}
	load(first+10, more-1)
	s.changes = analyzeEvery
	load(more-1, more)
	for end := time.Now().Add(time.Minute); known("key") != more; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d names are known after many changes", known("key"))
		}
	}
}
