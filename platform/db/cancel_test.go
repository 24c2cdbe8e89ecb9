package db_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// TestCancel: a statement ends with its context, also on a connection that still
// has to be told how the snapshot before ended, and the connection is of use after it.
func TestCancel(t *testing.T) {
	d, err := db.Open(dbtest.Postgres(t), db.Options{Readers: 1, StatementTime: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	one := func(c *db.Conn) error { return c.Query("SELECT 1", func(*db.Stmt) error { return nil }) }
	long := func(c *db.Conn) error {
		return c.Query("SELECT pg_sleep(200)", func(*db.Stmt) error { return nil })
	}
	for name, read := range map[string]func(context.Context, func(*db.Conn) error) error{"statement": d.Read, "snapshot": d.ReadTx} {
		for range 3 {
			if err := d.ReadTx(t.Context(), one); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			begin := time.Now()
			err := read(ctx, long)
			cancel()
			if took := time.Since(begin); took > time.Minute || !fault.Is(err, fault.Timeout) {
				t.Errorf("%s: %v after %v", name, err, took)
			}
		}
	}
}

// TestCancelHitsNobodyElse: a request to end a statement comes when that is over; the next
// one on the connection goes on. The time is simulated, so that no pause lets the request pass.
func TestCancelHitsNobodyElse(t *testing.T) {
	path := dbtest.Postgres(t)
	synctest.Test(t, func(t *testing.T) {
		d, err := db.Open(path, db.Options{Readers: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		next := func(c *db.Conn) error {
			return c.Query("SELECT pg_sleep(0.002)", func(*db.Stmt) error { return nil })
		}
		for i := range 300 {
			ctx, cancel := context.WithCancel(t.Context())
			var spins atomic.Int64
			go func() {
				for spins.Load() < int64(i)*1000 {
					spins.Add(1)
				}
				cancel()
			}()
			err := d.Read(ctx, func(c *db.Conn) error {
				return c.Query("SELECT pg_sleep(0.001)", func(s *db.Stmt) error { return nil })
			})
			cancel()
			if err != nil && !fault.Is(err, fault.Timeout) {
				t.Fatalf("%d: %v", i, err)
			}
			if err := d.Read(t.Context(), next); err != nil {
				t.Fatalf("after %d: %v", i, err)
			}
		}
	})
}
