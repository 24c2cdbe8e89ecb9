package db_test

import (
	"errors"
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
