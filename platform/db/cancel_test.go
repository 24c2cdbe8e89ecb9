package db_test

import (
	"context"
	"testing"
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
