package db_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// TestListen: a commit is announced to another handle of the database, a
// transaction that was rolled back is not.
func TestListen(t *testing.T) {
	path := dbtest.Postgres(t)
	a, b := open(t, path), open(t, path)
	heard := make(chan struct{}, 16)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Listen(ctx, "things", func(context.Context) { heard <- struct{}{} })
	}()
	wait := func(what string) {
		t.Helper()
		select {
		case <-heard:
		case <-time.After(time.Minute):
			t.Fatal("nothing was heard of " + what)
		}
	}
	wait("the beginning")
	_ = a.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		if err := c.Notify("things"); err != nil {
			return err
		}
		return &db.Broken{Err: errors.New("rolled back")}
	}})
	if err := a.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { return c.Notify("other") }}); err != nil {
		t.Fatal(err)
	}
	if err := a.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { return c.Notify("things") }}); err != nil {
		t.Fatal(err)
	}
	wait("the change")
	cancel()
	<-done
	if n := len(heard); n != 0 {
		t.Errorf("heard of %d changes more", n)
	}
}

// TestErrorFindsItsOwner: on PostgreSQL the error of a statement may come when
// others have run; it fails only the work that it belongs to.
func TestErrorFindsItsOwner(t *testing.T) { dbtest.Each(t, errorFindsItsOwner) }

func errorFindsItsOwner(t *testing.T, path string) {
	d := open(t, path)
	insert := func(v int) *db.Work {
		return &db.Work{Do: func(c *db.Conn) error {
			if err := c.Exec("INSERT INTO n (v) VALUES ($1)", v); err != nil {
				return &db.Broken{Err: err}
			}
			return nil
		}}
	}
	hold, held := make(chan struct{}), make(chan struct{})
	go func() {
		_ = d.Write(context.Background(), &db.Work{Do: func(*db.Conn) error { close(held); <-hold; return nil }})
	}()
	<-held
	errs := make([]chan error, 5)
	for i, v := range []int{1, 2, 2, 3, 4} {
		errs[i] = make(chan error, 1)
		go func() { errs[i] <- d.Write(context.Background(), insert(v)) }()
		for d.Stats().Queue < i+1 { // in this order
			time.Sleep(time.Millisecond)
		}
	}
	close(hold)
	failed := 0
	for i := range errs {
		if err := <-errs[i]; err != nil {
			failed++
		}
	}
	if d.Dialect() == db.Postgres && (failed != 1 || count(t, d) != 4) {
		t.Errorf("%d works failed, %d rows; want the one that was there twice", failed, count(t, d))
	}
	if got := count(t, d); got != int64(len(errs)-failed) {
		t.Errorf("%d works failed, and there are %d rows", failed, got)
	}
}

// TestTwoWriters: what a work reads stays true until it commits, also when
// another handle writes; nobody's change is lost.
func TestTwoWriters(t *testing.T) {
	path := dbtest.Postgres(t)
	list := []*db.DB{open(t, path), open(t, path), open(t, path)}
	if err := list[0].Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { return c.Exec("INSERT INTO n (v) VALUES (0)") }}); err != nil {
		t.Fatal(err)
	}
	const each = 50
	done := make(chan error, len(list)*each)
	for _, d := range list {
		for range each {
			go func() {
				done <- d.Write(context.Background(), &db.Work{Do: func(c *db.Conn) error {
					v := int64(0)
					if err := c.Query("SELECT v FROM n", func(s *db.Stmt) error { v = s.ColInt(0); return nil }); err != nil {
						return err
					}
					return c.Exec("UPDATE n SET v=$1", v+1)
				}})
			}()
		}
	}
	for range len(list) * each {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	err := list[1].Read(t.Context(), func(c *db.Conn) error {
		return c.Query("SELECT v FROM n", func(s *db.Stmt) error {
			if got := s.ColInt(0); got != int64(len(list)*each) {
				t.Errorf("counted %d, want %d", got, len(list)*each)
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// TestGroupAtItsTurn: where others write, the group holds what came while its
// node waited for its turn.
func TestGroupAtItsTurn(t *testing.T) {
	path := dbtest.Postgres(t)
	a, b := open(t, path), open(t, path)
	if err := b.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { c.Others(true); return nil }}); err != nil {
		t.Fatal(err)
	}
	hold, held := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- a.Write(context.Background(), &db.Work{Do: func(c *db.Conn) error {
			err := c.Query("SELECT 1", func(*db.Stmt) error { return nil }) // now it has the lock
			close(held)
			<-hold
			return err
		}})
	}()
	<-held
	before := b.Stats().Commits
	works := make([]*db.Work, 4)
	for i := range works {
		works[i] = &db.Work{Do: func(c *db.Conn) error { return c.Exec("INSERT INTO n (v) VALUES ($1)", i) }}
		if err := b.Submit(works[i]); err != nil {
			t.Fatal(err)
		}
		for i == 0 && b.Stats().Queue > 0 { // the writer has taken it, and waits
			time.Sleep(time.Millisecond)
		}
	}
	close(hold)
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, w := range works {
		if err := w.Wait(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if n := b.Stats().Commits - before; n != 1 {
		t.Errorf("%d transactions for what came while one waited", n)
	}
}
