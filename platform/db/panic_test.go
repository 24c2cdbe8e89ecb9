package db_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

func TestPanicOfOneWork(t *testing.T) { dbtest.Each(t, panicOfOneWork) }

// A panic fails the work that it is of. What that wrote is taken back, and those that
// shared its transaction are done.
func panicOfOneWork(t *testing.T, path string) {
	d := open(t, path)
	const works = 40
	errs := make([]error, works)
	var wg sync.WaitGroup
	for i := range works {
		wg.Go(func() {
			errs[i] = d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
				err := c.Exec("INSERT INTO n (v) VALUES ($1)", i)
				if err == nil && i%10 == 5 {
					panic("a defect")
				}
				return err
			}})
		})
	}
	wg.Wait()
	for i, err := range errs {
		_, panicked := errors.AsType[*fault.Panic](err)
		if want := i%10 == 5; panicked != want || (err != nil) != want {
			t.Errorf("work %d: %v", i, err)
		}
	}
	if n := count(t, d); n != works-works/10 {
		t.Errorf("%d rows, want %d", n, works-works/10)
	}
}

func TestPanicOfBulk(t *testing.T) {
	for _, busy := range []bool{false, true} {
		dbtest.Each(t, func(t *testing.T, path string) { panicOfBulk(t, path, busy) })
	}
}

// What shared a transaction with bulk work that panics is done once, in the order in
// which it was submitted, while more bulk work waits, and interactive work if busy.
func panicOfBulk(t *testing.T, path string, busy bool) {
	d := quiet(t, path)
	var order []int // as the writer ran them last
	var quick *db.Work
	if busy {
		quick = &db.Work{Do: func(*db.Conn) error { return nil }}
	}
	submitted := make(chan struct{})
	list := make([]*db.Work, 12) // eight make a group
	for i := range list {
		list[i] = &db.Work{Bulk: true, Size: 500, Do: func(c *db.Conn) error {
			if i == 0 {
				<-submitted
			}
			err := db.Insert(c, "INSERT INTO n (v)", 1, []int64{int64(i)}, func(s *db.Stmt, at int, v *int64) { s.Int(at, *v) })
			if err != nil {
				return err
			}
			order = append(slices.DeleteFunc(order, func(n int) bool { return n == i }), i)
			if i == 7 {
				if quick != nil {
					if err := d.Submit(quick); err != nil {
						t.Error(err)
					}
					quick = nil
				}
				panic("a defect")
			}
			return nil
		}}
		if err := d.Submit(list[i]); err != nil {
			t.Fatal(err)
		}
	}
	close(submitted)
	for i, w := range list {
		if err := w.Wait(t.Context()); (err != nil) != (i == 7) {
			t.Errorf("work %d: %v", i, err)
		}
	}
	if n := count(t, d); n != 11 {
		t.Errorf("%d rows, want 11", n)
	}
	if !slices.IsSorted(order) {
		t.Errorf("done in the order %v", order)
	}
}

func TestPanicOfReader(t *testing.T) { dbtest.Each(t, panicOfReader) }

// A panic between two rows leaves no connection in the middle of something.
func panicOfReader(t *testing.T, path string) {
	d := open(t, path)
	for i := range 3 {
		if err := d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { return c.Exec("INSERT INTO n (v) VALUES ($1)", i) }}); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 { // more than there are readers
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not reach the caller")
				}
			}()
			_ = d.ReadTx(t.Context(), func(c *db.Conn) error {
				return c.Query("SELECT v FROM n", func(*db.Stmt) error { panic("a defect") })
			})
		}()
	}
	for range 50 {
		if n := count(t, d); n != 3 {
			t.Fatalf("%d rows", n)
		}
	}
}
