package db

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Inspection looks through a file that was not closed in order, beside everything else.
// PostgreSQL has recovered by itself when it lets somebody in. The zero value is
// ready to use.
type Inspection struct {
	d      *DB
	cancel context.CancelFunc
	done   sync.WaitGroup
	result atomic.Pointer[error] // nil while it is not known
}

// Start begins the check of d, if it is needed. It is called once.
func (k *Inspection) Start(d *DB, needed bool) {
	k.d = d
	if !needed || d.Dialect() == Postgres {
		var ok error
		k.result.Store(&ok)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.done.Go(func() {
		err := fault.Guard("db: inspect", func() error { return d.QuickCheck(ctx) })
		if ctx.Err() == nil || err == nil {
			k.result.Store(&err)
		}
	})
}

// Running reports whether the result is not known yet.
func (k *Inspection) Running() bool { return k.result.Load() == nil }

// Err returns the damage that was found.
func (k *Inspection) Err() error {
	if err := k.result.Load(); err != nil {
		return *err
	}
	return nil
}

// Stop ends the check, which may take minutes for a large file, and returns whether
// the file is known to be sound. If it is not, it has to be checked when it is opened
// again, so that its store must not note that it was closed in order.
func (k *Inspection) Stop() (sound bool) {
	if k.cancel != nil {
		k.cancel()
	}
	k.done.Wait()
	return !k.Running() && k.Err() == nil && k.d.damage.Load() == nil
}

// QuickCheck runs SQLite's structural check on a reading connection.
func (d *DB) QuickCheck(ctx context.Context) error {
	return d.Read(ctx, func(c *Conn) error {
		return c.Query("PRAGMA quick_check(1)", func(s *Stmt) error {
			if r := s.ColText(0); r != "ok" {
				return damageError("quick_check", errors.New(r))
			}
			return nil
		})
	})
}
