package db_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// A connection whose query was given up is as good as new for the next one,
// and the end of a context that it served before means nothing to it.
func TestInterrupt(t *testing.T) {
	d, err := db.Open(filepath.Join(t.TempDir(), "t.db"), db.Options{Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	const endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n"
	one := func(ctx context.Context) error {
		return d.ReadTx(ctx, func(c *db.Conn) error {
			return c.Query("SELECT 1", func(*db.Stmt) error { return nil })
		})
	}
	for range 3 {
		before, cancel := context.WithCancel(t.Context())
		if err := one(before); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := one(before); !fault.Is(err, fault.Timeout) {
			t.Errorf("a context that has ended: err = %v, want Timeout", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err := d.ReadTx(ctx, func(c *db.Conn) error {
			time.AfterFunc(10*time.Millisecond, cancel)
			return c.Query(endless, func(*db.Stmt) error { return nil })
		})
		if !fault.Is(err, fault.Timeout) {
			t.Errorf("a query without end: err = %v, want Timeout", err)
		}
		if err := one(t.Context()); err != nil {
			t.Errorf("the query behind it: %v", err)
		}
	}
}

// TestSnapshots reads in transactions that may be left open between two reads:
// each sees what was acknowledged before it began, whole works only, and the log
// of the file does not grow because a reader is idle.
func TestSnapshots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	d, err := db.Open(path, db.Options{CheckpointKB: 256})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	write := func(do func(c *db.Conn) error) {
		t.Helper()
		if err := d.Write(t.Context(), &db.Work{Do: do}); err != nil {
			t.Error(err)
		}
	}
	write(func(c *db.Conn) error {
		return errors.Join(c.Exec("CREATE TABLE a (n INTEGER, pad BLOB)"), c.Exec("CREATE TABLE b (n INTEGER)"),
			c.Exec("INSERT INTO a VALUES (0, NULL)"), c.Exec("INSERT INTO b VALUES (0)"))
	})
	var acknowledged atomic.Int64
	look := func(read func(context.Context, func(*db.Conn) error) error, both bool) {
		t.Helper()
		least, got := acknowledged.Load(), [2]int64{}
		err := read(t.Context(), func(c *db.Conn) error {
			for i, table := range []string{"a", "b"} {
				if err := c.Query("SELECT max(n) FROM "+table, func(st *db.Stmt) error { got[i] = st.ColInt(0); return nil }); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || got[0] < least || both && got[0] != got[1] {
			t.Errorf("read %d and %d after %d was acknowledged; %v", got[0], got[1], least, err)
		}
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for acknowledged.Load() < 150 && !t.Failed() {
				look(d.ReadTx, true)
				look(d.ReadTx, true)
				look(d.Read, false)
			}
		})
	}
	pad := make([]byte, 8000)
	for i := range int64(150) {
		write(func(c *db.Conn) error {
			return errors.Join(c.Exec("INSERT INTO a VALUES ($1, $2)", i+1, pad), c.Exec("INSERT INTO b VALUES ($1)", i+1))
		})
		acknowledged.Store(i + 1)
	}
	all.Wait()
	look(d.ReadTx, true)
	for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; { // idle readers give their snapshots up meanwhile
		write(func(c *db.Conn) error { return c.Exec("INSERT INTO a VALUES (1, $1)", make([]byte, 100_000)) })
	}
	if log, err := os.Stat(path + "-wal"); err != nil || log.Size() > 2<<20 {
		t.Errorf("the log grew to %d bytes beside idle readers; %v", log.Size(), err)
	}
	look(d.ReadTx, false)
}

// TestTwice: a file that is open twice is read as both wrote it.
func TestTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	var files [2]*db.DB
	for i := range files {
		d, err := db.Open(path, db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		files[i] = d
	}
	count := func(d *db.DB) (n int64) {
		t.Helper()
		err := d.ReadTx(t.Context(), func(c *db.Conn) error {
			return c.Query("SELECT count(*) FROM a", func(st *db.Stmt) error { n = st.ColInt(0); return nil })
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	write := func(d *db.DB, text string) {
		t.Helper()
		if err := d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { return c.Exec(text) }}); err != nil {
			t.Fatal(err)
		}
	}
	write(files[0], "CREATE TABLE a (n INTEGER)")
	for i := range int64(20) {
		for _, d := range files {
			if n := count(d); n != i {
				t.Errorf("%d rows, want %d", n, i)
			}
		}
		write(files[i%2], "INSERT INTO a VALUES (1)")
	}
}

// TestPrivate: a file, its log and its shared memory are for their owner, and a file
// that the operator gave other rights keeps them.
func TestPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	for _, want := range []os.FileMode{0o600, 0o640} {
		d, err := db.Open(path, db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { return c.Exec("CREATE TABLE IF NOT EXISTS a (n INTEGER)") }}); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{"", "-wal", "-shm"} {
			info, err := os.Stat(path + suffix)
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v; want %v", suffix, info.Mode(), err, want)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}
