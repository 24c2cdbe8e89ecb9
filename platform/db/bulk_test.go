package db_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// eachStill is dbtest.Each in simulated time: it passes only when all wait, so that a
// busy machine does not look like a quiet time, or a group of bulk work like a long one.
func eachStill(t *testing.T, f func(t *testing.T, path string)) {
	dbtest.Each(t, func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) { f(t, path) })
	})
}

func TestBulkMakesRoom(t *testing.T) { eachStill(t, bulkMakesRoom) }

// bulkMakesRoom submits bulk work, and interactive work while the first of it
// runs: the interactive work is committed before the rest, which keeps its order.
func bulkMakesRoom(t *testing.T, path string) {
	d := open(t, path)
	var order []int
	running, resume := make(chan struct{}), make(chan struct{})
	work := func(i int, bulk bool) *db.Work {
		return &db.Work{Bulk: bulk, Size: 500, Do: func(c *db.Conn) error {
			if i == 0 {
				close(running)
				<-resume
			}
			order = append(order, i)
			return c.Exec("INSERT INTO n (v) VALUES ($1)", i)
		}}
	}
	gate := &db.Work{Do: func(*db.Conn) error { return nil }}
	if err := d.Write(t.Context(), gate); err != nil {
		t.Fatal(err)
	}
	var list []*db.Work
	for i := range 6 {
		list = append(list, work(i, true))
	}
	list = append(list, work(6, false))
	for _, w := range list[:6] {
		if err := d.Submit(w); err != nil {
			t.Fatal(err)
		}
	}
	<-running
	if err := d.Submit(list[6]); err != nil {
		t.Fatal(err)
	}
	close(resume)
	for _, w := range list {
		if err := w.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{0, 6, 1, 2, 3, 4, 5}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if got := count(t, d); got != 7 {
		t.Errorf("rows = %d, want 7", got)
	}
}

// quiet opens a database where nothing interactive was written yet, so that
// groups of bulk work are large.
func quiet(t *testing.T, path string) *db.DB {
	t.Helper()
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(path, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// TestBulkFails sees that an error of one bulk work in a shared transaction is
// told to the right ones.
func TestBulkFails(t *testing.T) { eachStill(t, bulkFails) }

func bulkFails(t *testing.T, path string) {
	d := quiet(t, path)
	var list []*db.Work
	submitted := make(chan struct{})
	for i := range 8 {
		w := &db.Work{Bulk: true, Size: 500, Do: func(c *db.Conn) error {
			if i == 0 {
				<-submitted
			}
			if i == 3 {
				return errors.New("refused")
			}
			return c.Exec("INSERT INTO n (v) VALUES ($1)", i)
		}}
		list = append(list, w)
		if err := d.Submit(w); err != nil {
			t.Fatal(err)
		}
	}
	close(submitted)
	for i, w := range list {
		if err := w.Wait(t.Context()); (err != nil) != (i == 3) {
			t.Errorf("work %d: %v", i, err)
		}
	}
	if got := count(t, d); got != 7 {
		t.Errorf("rows = %d, want 7", got)
	}
	if n := d.Stats().Commits; n > 2 {
		t.Errorf("%d transactions: bulk work does not share them", n)
	}
}

func TestBulkHasTurns(t *testing.T) { dbtest.Each(t, bulkHasTurns) }

// bulkHasTurns submits bulk work while the queue of interactive work is never
// empty: it has a turn now and then.
func bulkHasTurns(t *testing.T, path string) {
	d := open(t, path)
	var stop atomic.Bool
	var all sync.WaitGroup
	var submit func()
	submit = func() {
		w := &db.Work{}
		w.Do = func(*db.Conn) error {
			if !stop.Load() {
				submit() // before this one ends
			}
			return nil
		}
		if err := d.Submit(w); err != nil {
			t.Error(err)
			return
		}
		all.Go(func() {
			if err := w.Wait(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	submit()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range 3 {
		err := d.Write(ctx, &db.Work{Bulk: true, Do: func(c *db.Conn) error { return c.Exec("INSERT INTO n (v) VALUES ($1)", i) }})
		if err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	all.Wait()
	if got := count(t, d); got != 3 {
		t.Errorf("rows = %d, want 3", got)
	}
}

func TestBulkGivesUp(t *testing.T) { eachStill(t, bulkGivesUp) }

// bulkGivesUp submits interactive work while bulk work inserts its rows. A file
// takes back what it inserted of them, commits the interactive work, and does the
// bulk work again; a server goes on. Either way all is there once.
func bulkGivesUp(t *testing.T, path string) {
	d := quiet(t, path)
	const rows = 1000
	var once sync.Once
	submitted := make(chan struct{})
	var seen, runs int64
	quick := &db.Work{Do: func(c *db.Conn) error {
		if d.Dialect() == db.SQLite && d.Stats().Queue == 0 {
			t.Error("the work that makes room does not wait")
		}
		return c.Query("SELECT count(*) FROM n", func(s *db.Stmt) error { seen = s.ColInt(0); return nil })
	}}
	var list []*db.Work
	for i := range 3 {
		var mine []int64
		for n := range rows {
			mine = append(mine, int64(i*rows+n))
		}
		list = append(list, &db.Work{Bulk: true, Do: func(c *db.Conn) error {
			runs++
			err := db.Insert(c, "INSERT INTO n (v)", 1, mine, func(s *db.Stmt, at int, v *int64) {
				s.Int(at, *v)
				once.Do(func() {
					if err := d.Submit(quick); err != nil {
						t.Error(err)
					}
					close(submitted)
				})
			})
			if err != nil {
				return &db.Broken{Err: err}
			}
			return nil
		}})
		if err := d.Submit(list[i]); err != nil {
			t.Fatal(err)
		}
	}
	<-submitted
	for _, w := range append(list, quick) {
		if err := w.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, d); got != 3*rows {
		t.Errorf("rows = %d, want %d", got, 3*rows)
	}
	if d.Dialect() == db.SQLite && (seen != 0 || runs != 4) {
		t.Errorf("interactive work saw %d rows of bulk work, which ran %d times; want 0 and 4", seen, runs)
	}
	if d.Dialect() == db.Postgres && (seen == 0 || runs != 3) {
		t.Errorf("interactive work saw %d rows of bulk work, which ran %d times; want some and 3", seen, runs)
	}
}
