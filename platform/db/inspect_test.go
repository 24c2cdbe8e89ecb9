package db_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
)

// openNumbers opens a file with many pages and one reader.
func openNumbers(t *testing.T, path string) *db.DB {
	t.Helper()
	d, err := db.Open(path, db.Options{Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	err = d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		return c.Script(`CREATE TABLE IF NOT EXISTS t (a TEXT, b TEXT);
INSERT INTO t SELECT hex(randomblob(200)), hex(randomblob(200)) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500) SELECT i FROM n)`)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestInspectionStops: who closes a store does not wait for the check of its file.
func TestInspectionStops(t *testing.T) {
	d := openNumbers(t, filepath.Join(t.TempDir(), "a.db"))
	var k db.Inspection
	err := d.Read(t.Context(), func(*db.Conn) error { // the check waits for the reader
		k.Start(d, true)
		if !k.Running() || k.Err() != nil {
			t.Errorf("running %v, %v; want a check that goes on", k.Running(), k.Err())
		}
		if k.Stop() {
			t.Error("a check that was stopped says that the file is sound")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if k.Err() != nil {
		t.Errorf("a check that was stopped found %v", k.Err())
	}
}

// TestInspection: only a file that is sound may be noted as closed in order.
func TestInspection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	d := openNumbers(t, path)
	check := func(needed bool) (found error, sound bool) {
		var k db.Inspection
		k.Start(d, needed)
		for k.Running() {
			time.Sleep(time.Millisecond)
		}
		return k.Err(), k.Stop()
	}
	for _, needed := range []bool{false, true} {
		if found, sound := check(needed); found != nil || !sound {
			t.Errorf("needed %v: %v, sound %v", needed, found, sound)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(text) / 2; i < len(text); i += 1000 {
		copy(text[i:], "\xff\xff\xff\xff\xff\xff\xff\xff")
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err = db.Open(path, db.Options{}); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if found, sound := check(true); found == nil || sound {
		t.Errorf("a damaged file: %v, sound %v", found, sound)
	}
}
