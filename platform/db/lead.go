package db

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Term is the time for which this node alone does something, see DB.Lead.
type Term struct {
	d     *DB
	name  string
	fence int64
	era   int64 // of the server, see DB.era
}

// ErrNotLeading says that another node does now what the term was for. Nothing
// was stored; the work is for the other node to do.
var ErrNotLeading error = &fault.Error{Kind: fault.Transient, Op: "db: lead", Msg: "another node has taken this over"}

// Fence returns the number of the term. Each term of a name has a larger one
// than those before it, on all nodes, so that it can also be given to others
// who have to tell an old owner from a new one.
func (t *Term) Fence() int64 { return t.fence }

// Check is called in a work of the same DB: ErrNotLeading when the term is over.
// Otherwise what the transaction writes is written in the term, whatever the clocks say: the
// next term begins with a transaction of its own, which takes its turn.
func (t *Term) Check(c *Conn) error {
	if t.d.Dialect() != Postgres {
		return nil
	}
	if t.d.era() != t.era {
		return ErrNotLeading
	}
	err := ErrNotLeading
	e := c.Query("SELECT 1 FROM hygeia_lease WHERE name=$1 AND fence=$2", func(*Stmt) error { err = nil; return nil }, t.name, t.fence)
	if e != nil {
		return e
	}
	return err
}

// Lead sees to it that one of all the nodes that call it with the same name does
// f, until ctx ends. It calls f when this node's term begins, and f's context
// ends with the term: when ctx ends, or when the node could not renew its lease
// because the database did not answer, or when a standby was promoted, which need
// not have what f remembers. A node that dies is followed by another
// after Options.LeaseTime; one whose ctx ends, at once. When f returns, the term is
// given up, and sought again after a pause.
//
// An f that is slow to see the end of its term may run beside its successor for
// a while. So every work in which it matters calls Term.Check.
//
// A file has one process: its term begins at once and ends with ctx.
func (d *DB) Lead(ctx context.Context, name string, f func(context.Context, *Term)) {
	l := &lease{Term: Term{d: d, name: name, fence: 1}, time: d.opt.LeaseTime}
	for ctx.Err() == nil {
		if l.acquire(ctx) {
			l.term(ctx, f)
		}
		select {
		case <-time.After(l.time / 10):
		case <-ctx.Done():
		}
	}
}

// era counts the promotions of standbys that sessions of this process met.
func (d *DB) era() int64 {
	if e, ok := d.eng.(*pgEngine); ok {
		return e.server.era.Load()
	}
	return 0
}

// lease is how a term is held: a row that says until when, by the clock of the
// database.
type lease struct {
	Term
	time time.Duration
	sent time.Time // before the last renewal that succeeded was sent
}

const (
	sqlLeaseHeld    = "SELECT 1 FROM hygeia_lease WHERE name=$1 AND until>=clock_timestamp()"
	sqlLeaseAcquire = `INSERT INTO hygeia_lease (name, fence, until) VALUES ($1, 1, clock_timestamp()+$2::bigint*interval '1 millisecond')
ON CONFLICT (name) DO UPDATE SET fence=hygeia_lease.fence+1, until=excluded.until WHERE hygeia_lease.until<clock_timestamp() RETURNING fence`
	sqlLeaseRenew   = "UPDATE hygeia_lease SET until=clock_timestamp()+$1::bigint*interval '1 millisecond' WHERE name=$2 AND fence=$3 RETURNING fence"
	sqlLeaseRelease = "UPDATE hygeia_lease SET until='-infinity' WHERE name=$1 AND fence=$2 RETURNING fence"
)

// acquire reports whether a term of this node has begun. When the answer to a
// successful try is lost, the row runs out.
func (l *lease) acquire(ctx context.Context) bool {
	if l.d.Dialect() != Postgres {
		return true
	}
	held := false
	err := l.d.Read(ctx, func(c *Conn) error {
		return c.Query(sqlLeaseHeld, func(*Stmt) error { held = true; return nil }, l.name)
	})
	if err != nil || held { // readiness tells of a database that is away
		return false
	}
	l.era = l.d.era()
	fence, err := l.write(ctx, sqlLeaseAcquire, l.name, l.time.Milliseconds())
	if err != nil || fence == 0 {
		return false
	}
	l.fence = fence
	return true
}

// write runs a statement on the row and returns its fence; 0 when it is not ours.
func (l *lease) write(ctx context.Context, text string, args ...any) (fence int64, err error) {
	sent := time.Now()
	err = l.d.Write(ctx, &Work{Do: func(c *Conn) error {
		fence = 0
		return c.Query(text, func(s *Stmt) error { fence = s.ColInt(0); return nil }, args...)
	}})
	if err == nil && fence != 0 {
		l.sent = sent
	}
	return fence, err
}

// left is how long this node may take its term for granted: less than the
// row says, and counted from before the row was written.
func (l *lease) left() time.Duration { return time.Until(l.sent.Add(l.time * 4 / 5)) }

// term runs f and renews the lease meanwhile.
func (l *lease) term(ctx context.Context, f func(context.Context, *Term)) {
	if l.d.Dialect() != Postgres {
		f(ctx, &l.Term)
		return
	}
	inside, cancel := context.WithCancel(ctx)
	end := time.AfterFunc(l.left(), cancel)
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		defer cancel()
		for {
			select {
			case <-time.After(l.time / 3):
			case <-inside.Done():
				return
			}
			fence, err := l.write(inside, sqlLeaseRenew, l.time.Milliseconds(), l.name, l.fence)
			if err == nil && fence == 0 || inside.Err() != nil || l.d.era() != l.era {
				return
			}
			if err == nil && !end.Reset(l.left()) {
				return // it had ended already
			}
		}
	}()
	t := l.Term
	f(inside, &t)
	cancel()
	<-renewing
	end.Stop()
	// Others need not wait; when this fails they do.
	out, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer stop()
	_, _ = l.write(out, sqlLeaseRelease, l.name, l.fence)
}
