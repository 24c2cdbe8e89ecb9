package db_test

import (
	"context"
	"path/filepath"
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
