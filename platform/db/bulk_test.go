package db_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

func TestBulkMakesRoom(t *testing.T) { dbtest.Each(t, bulkMakesRoom) }

// bulkMakesRoom submits bulk work, and interactive work while the first of it
// runs: the interactive work is committed before the rest, which keeps its order.
func bulkMakesRoom(t *testing.T, path string) {
	d := open(t, path)
	before := d.Stats().Commits
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
	if n := d.Stats().Commits - before; n > 5 {
		t.Errorf("%d transactions: bulk work does not share them", n)
	}
}

// TestBulkFails sees that an error of one bulk work in a shared transaction is
// told to the right ones, and that what made room for others is done later.
func TestBulkFails(t *testing.T) { dbtest.Each(t, bulkFails) }

func bulkFails(t *testing.T, path string) {
	d := open(t, path)
	var list []*db.Work
	for i := range 8 {
		w := &db.Work{Bulk: true, Size: 500, Do: func(c *db.Conn) error {
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
	for i, w := range list {
		if err := w.Wait(t.Context()); (err != nil) != (i == 3) {
			t.Errorf("work %d: %v", i, err)
		}
	}
	if got := count(t, d); got != 7 {
		t.Errorf("rows = %d, want 7", got)
	}
}
