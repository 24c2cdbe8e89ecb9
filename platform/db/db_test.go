package db_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

func open(t *testing.T, path string) *db.DB {
	t.Helper()
	d, err := db.Open(path, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	err = d.Migrate(t.Context(), fstest.MapFS{"migrations/0001_init.sql": {Data: []byte("CREATE TABLE n (v INTEGER PRIMARY KEY, b BLOB);\n")}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func count(t *testing.T, d *db.DB) (n int64) {
	t.Helper()
	err := d.ReadTx(t.Context(), func(c *db.Conn) error {
		return c.Query("SELECT count(*) FROM n", func(s *db.Stmt) error { n = s.ColInt(0); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWritersShareCommits(t *testing.T) { dbtest.Each(t, writersShareCommits) }

func writersShareCommits(t *testing.T, path string) {
	d := open(t, path)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			err := d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
				return c.Exec("INSERT INTO n (v, b) VALUES ($1, $2)", i, []byte("x"))
			}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := count(t, d); got != 200 {
		t.Errorf("rows = %d, want 200", got)
	}
	if s := d.Stats(); s.Works < 200 || s.Commits > s.Works {
		t.Errorf("stats = %+v", s)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := count(t, open(t, path)); got != 200 {
		t.Errorf("rows after reopening = %d, want 200", got)
	}
}

func TestErrorOfOneWorkLeavesTheOthers(t *testing.T) { dbtest.Each(t, errorOfOneWorkLeavesTheOthers) }

func errorOfOneWorkLeavesTheOthers(t *testing.T, path string) {
	d := open(t, path)
	mine := errors.New("mine")
	if err := d.Write(t.Context(), &db.Work{Do: func(*db.Conn) error { return mine }}); !errors.Is(err, mine) {
		t.Errorf("err = %v", err)
	}
	if err := d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { return c.Exec("INSERT INTO n (v) VALUES (1)") }}); err != nil {
		t.Fatal(err)
	}
	if got := count(t, d); got != 1 {
		t.Errorf("rows = %d", got)
	}
}

func TestBrokenRollsBack(t *testing.T) { dbtest.Each(t, brokenRollsBack) }

func brokenRollsBack(t *testing.T, path string) {
	d := open(t, path)
	rolled := false
	d.OnEnd(func(committed bool) { rolled = !committed })
	err := d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		if err := c.Exec("INSERT INTO n (v) VALUES (1)"); err != nil {
			return err
		}
		return &db.Broken{Err: errors.New("half done")}
	}})
	if err == nil || !rolled || count(t, d) != 0 {
		t.Errorf("err %v, rolled %v, rows %d", err, rolled, count(t, d))
	}
}

func TestGivenUpWorkIsNotDone(t *testing.T) { dbtest.Each(t, givenUpWorkIsNotDone) }

func givenUpWorkIsNotDone(t *testing.T, path string) {
	d := open(t, path)
	hold, held := make(chan struct{}), make(chan struct{})
	go func() {
		_ = d.Write(context.Background(), &db.Work{Do: func(*db.Conn) error { close(held); <-hold; return nil }})
	}()
	<-held
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := d.Write(ctx, &db.Work{Do: func(c *db.Conn) error { return c.Exec("INSERT INTO n (v) VALUES (7)") }})
	close(hold)
	if !fault.Is(err, fault.Timeout) {
		t.Errorf("err = %v, want Timeout", err)
	}
	if err := d.Write(t.Context(), &db.Work{Do: func(*db.Conn) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	if got := count(t, d); got != 0 {
		t.Errorf("rows = %d, want 0", got)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) { dbtest.Each(t, newerSchemaIsRefused) }

func newerSchemaIsRefused(t *testing.T, path string) {
	d := open(t, path)
	if err := d.Migrate(t.Context(), fstest.MapFS{"migrations/0000_old.sql": {Data: []byte("SELECT 1;\n")}}); err == nil {
		t.Error("an older program opened a newer database")
	}
}
