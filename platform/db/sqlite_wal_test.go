package db_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/hygeia-health/hygeia/platform/db"
)

// What a write acknowledged is in the files, not in a buffer: a copy of them,
// as a crash would leave them, holds it, and other readers see it. The
// transactions are of a page up to many buffers, some outgrow the page cache and are
// written in parts, and some are rolled back.
func TestLogHoldsWhatIsAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	d, err := db.Open(path, db.Options{WriterCache: 64, CheckpointKB: 1024})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	exec := func(do func(c *db.Conn) error) error { return d.Write(t.Context(), &db.Work{Do: do}) }
	if err := exec(func(c *db.Conn) error { return c.Exec("CREATE TABLE n (v INTEGER PRIMARY KEY, b BLOB)") }); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	model := map[int64][]byte{}
	broken := errors.New("given up")
	for round := range 40 {
		change := map[int64][]byte{}
		for range 1 << r.IntN(10) {
			change[r.Int64N(400)] = bytes.Repeat([]byte{byte(r.Int())}, 1+r.IntN(3000))
		}
		giveUp := r.IntN(4) == 0
		err := exec(func(c *db.Conn) error {
			for v, b := range change {
				if err := c.Exec("INSERT OR REPLACE INTO n (v, b) VALUES ($1, $2)", v, b); err != nil {
					return &db.Broken{Err: err}
				}
			}
			if giveUp {
				return &db.Broken{Err: broken}
			}
			return nil
		})
		if giveUp != errors.Is(err, broken) || !giveUp && err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if !giveUp {
			for v, b := range change {
				model[v] = b
			}
		}
		same(t, fmt.Sprintf("round %d", round), d, model)
		if round%8 == 0 {
			same(t, fmt.Sprintf("round %d, a copy", round), crashed(t, path), model)
		}
	}
}

// crashed opens a copy of the files of an open database.
func crashed(t *testing.T, path string) *db.DB {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "a.db")
	for _, end := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + end)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+end, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := db.Open(copied, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := d.QuickCheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func same(t *testing.T, what string, d *db.DB, model map[int64][]byte) {
	t.Helper()
	n := 0
	err := d.ReadTx(t.Context(), func(c *db.Conn) error {
		return c.Query("SELECT v, b FROM n", func(s *db.Stmt) error {
			n++
			if v := s.ColInt(0); !bytes.Equal(s.ColBlob(1, nil), model[v]) {
				return fmt.Errorf("row %d differs", v)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if n != len(model) {
		t.Fatalf("%s: %d rows, want %d", what, n, len(model))
	}
}
