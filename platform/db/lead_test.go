package db_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// many terms may be needed where a busy machine is late to renew a lease.
const many = 1000

// leading opens a database whose leases are short.
func leading(t *testing.T, path string) *db.DB { return leadingFor(t, path, 600*time.Millisecond) }

func leadingFor(t *testing.T, path string, lease time.Duration) *db.DB {
	t.Helper()
	d, err := db.Open(path, db.Options{LeaseTime: lease})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// check asks in a transaction whether a term goes on.
func check(d *db.DB, term *db.Term) error {
	return d.Write(context.Background(), &db.Work{Do: term.Check})
}

// TestLead: one of several does it; the next one begins when it stops, with a
// larger number, and what the first still wants to write is refused.
func TestLead(t *testing.T) { eachStill(t, lead) }

// lead lets the simulated time of the nodes pass, not that of the server: leases are
// renewed by the one and would run out by the other, on a machine that stands still
// for a minute.
func lead(t *testing.T, path string) {
	const lease = time.Minute
	list := []*db.DB{leadingFor(t, path, lease)}
	if list[0].Dialect() == db.Postgres {
		list = append(list, leadingFor(t, path, lease), leadingFor(t, path, lease))
	}
	type begun struct {
		node int
		term *db.Term
	}
	terms := make(chan begun, many)
	var now, most atomic.Int32
	var wg sync.WaitGroup
	var stop []context.CancelFunc
	for i, d := range list {
		ctx, cancel := context.WithCancel(t.Context())
		stop = append(stop, cancel)
		wg.Go(func() {
			d.Lead(ctx, "pipeline", func(ctx context.Context, term *db.Term) {
				most.Store(max(most.Load(), now.Add(1)))
				terms <- begun{i, term}
				<-ctx.Done()
				now.Add(-1)
			})
		})
	}
	var old *db.Term
	for range list {
		b := <-terms
		if err := check(list[b.node], b.term); err != nil {
			t.Errorf("the owner is refused: %v", err)
		}
		if old != nil {
			if b.term.Fence() <= old.Fence() {
				t.Errorf("term %d comes after term %d", b.term.Fence(), old.Fence())
			}
			if err := check(list[b.node], old); !errors.Is(err, db.ErrNotLeading) {
				t.Errorf("the owner before may write: %v", err)
			}
		}
		before := leaseOf(t, list[0])
		time.Sleep(3 * lease / 2) // it is renewed
		synctest.Wait()
		if len(terms) > 0 || most.Load() != 1 {
			t.Error("somebody took over from an owner that is alive")
		}
		if after := leaseOf(t, list[0]); list[0].Dialect() == db.Postgres && after <= before {
			t.Errorf("the lease ends at %d, as before the wait at %d", after, before)
		}
		old = b.term
		stop[b.node]()
	}
	wg.Wait()
}

// leaseOf returns when the lease of the pipeline ends, in microseconds; 0 on a file, which has none.
func leaseOf(t *testing.T, d *db.DB) (until int64) {
	t.Helper()
	if d.Dialect() != db.Postgres {
		return 0
	}
	err := d.Read(t.Context(), func(c *db.Conn) error {
		return c.Query("SELECT (extract(epoch FROM until)*1000000)::bigint FROM hygeia_lease WHERE name='pipeline'", func(s *db.Stmt) error {
			until = s.ColInt(0)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return until
}

// TestLeadLost: an owner whose term was taken away is told to stop, and is
// refused before that. Names do not know each other.
func TestLeadLost(t *testing.T) {
	path := dbtest.Postgres(t)
	a, b := leading(t, path), leading(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { b.Lead(ctx, "other", func(ctx context.Context, _ *db.Term) { <-ctx.Done() }) })
	began, ended := make(chan *db.Term, many), make(chan bool, many)
	wg.Go(func() {
		a.Lead(ctx, "pipeline", func(ctx context.Context, term *db.Term) {
			began <- term
			<-ctx.Done()
			ended <- true
		})
	})
	term := <-began
	err := b.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		return c.Exec("UPDATE hygeia_lease SET fence=fence+1, until=clock_timestamp()+interval '1 second' WHERE name='pipeline'")
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := check(a, term); !errors.Is(err, db.ErrNotLeading) {
		t.Errorf("an owner that was replaced may write: %v", err)
	}
	<-ended // at its next heartbeat
	cancel()
}

// TestLeadUnreachable: an owner that cannot renew stops by itself, before
// another begins.
func TestLeadUnreachable(t *testing.T) {
	path := dbtest.Postgres(t)
	a, b := leading(t, path), leading(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	began, ended := make(chan string, many), make(chan string, many)
	run := func(name string, d *db.DB) {
		wg.Go(func() {
			d.Lead(ctx, "pipeline", func(ctx context.Context, _ *db.Term) {
				began <- name
				<-ctx.Done()
				ended <- name
			})
		})
	}
	run("a", a)
	<-began
	run("b", b)
	hold, held := make(chan struct{}), make(chan struct{})
	wg.Go(func() { // a's writer hangs, outside of its lock
		_ = a.Write(context.Background(), &db.Work{Do: func(*db.Conn) error { close(held); <-hold; return nil }})
	})
	<-held
	order := []string{<-ended}
	close(hold)
	order = append(order, <-began)
	if order[0] != "a" || order[1] == "" {
		t.Errorf("order %v", order)
	}
	cancel()
}
