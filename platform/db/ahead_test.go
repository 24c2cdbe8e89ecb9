package db_test

import (
	"testing"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// TestAhead: queries that are sent ahead give their own rows, whenever they are
// stepped through, and one that nobody steps through is in nobody's way.
func TestAhead(t *testing.T) { dbtest.Each(t, ahead) }

func ahead(t *testing.T, path string) {
	d := open(t, path)
	one := func(st *db.Stmt) int64 {
		t.Helper()
		defer st.Reset()
		if ok, err := st.Step(); err != nil || !ok {
			t.Fatalf("%t, %v", ok, err)
		}
		return st.ColInt(0)
	}
	f := func(c *db.Conn) error {
		send := func(text string, v int64) *db.Stmt {
			st, err := c.Prepare(text)
			if err != nil {
				t.Fatal(err)
			}
			st.Int(0, v)
			if err := st.Ahead(); err != nil {
				t.Fatal(err)
			}
			return st
		}
		const square, double = "SELECT CAST($1 AS INTEGER)*CAST($1 AS INTEGER)", "SELECT CAST($1 AS INTEGER)+CAST($1 AS INTEGER)"
		for range 2 {
			a, b := send(square, 5), send(double, 4)
			sum := int64(0)
			if err := c.Query("SELECT 1 UNION SELECT 2 ORDER BY 1", func(st *db.Stmt) error { sum += st.ColInt(0); return nil }); err != nil {
				return err
			}
			if got := []int64{sum, one(b), one(a)}; got[0] != 3 || got[1] != 8 || got[2] != 25 {
				t.Errorf("got %v", got)
			}
			send(square, 6) // nobody wants it
			if got := one(send(square, 7)); got != 49 {
				t.Errorf("got %d, want 49", got)
			}
			send(double, 1)
		}
		return nil
	}
	for range 2 {
		if err := d.Read(t.Context(), f); err != nil {
			t.Error(err)
		}
		if err := d.ReadTx(t.Context(), f); err != nil {
			t.Error(err)
		}
		if err := d.Write(t.Context(), &db.Work{Do: f}); err != nil {
			t.Error(err)
		}
	}
}
