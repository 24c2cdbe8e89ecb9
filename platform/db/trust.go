package db

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// Trust lets a node use what it remembers of a schema without asking whether
// another node has written since. While a grant lasts no other node commits
// anything: whoever wants to, takes the grant away first (Conn.Revoke), and waits
// until it was given back or has run out.
//
//   - A grant is a row of hygeia_trust. It is written with the lock of the writers
//     held, so that whoever gets the lock later sees it.
//   - It is good for Time, counted by the holder from before it saw that its row
//     was there and not revoked. It looks again, which is a read of one row, as long
//     as the grant is used.
//   - A writer that finds the row of another node marks it as revoked and notifies
//     the holder, which stops at once and deletes the row. A holder that says
//     nothing is waited for for Time, counted by the writer from after its mark was
//     committed: a holder that looks later sees the mark, and what it saw before has
//     run out by then. So clocks have to run at the same pace, but need not show the
//     same time.
//
// A node whose own commit failed, or ended nobody knows how, gives its grant up.
type Trust struct {
	e      *pgEngine
	follow func(context.Context) error
	opt    TrustOptions

	grant  atomic.Pointer[grant]
	used   atomic.Bool
	asked  atomic.Int64 // how often a grant was missed
	breaks atomic.Int64 // grants that the node itself gave up

	mu      sync.Mutex
	running bool
	closed  bool
	cancel  context.CancelFunc
	done    sync.WaitGroup
	number  int64 // of the last grant
}

// TrustOptions say when a node asks for a Trust. The zero value is ready to use.
type TrustOptions struct {
	Time  time.Duration // for how long a grant is good without a look at it; default 500 ms
	Quiet time.Duration // for how long no other node must have written; default 2 s
	Uses  int           // how often it must have been missed; default 32
}

func (o TrustOptions) withDefaults() TrustOptions {
	if o.Time <= 0 {
		o.Time = 500 * time.Millisecond
	}
	if o.Quiet <= 0 {
		o.Quiet = 2 * time.Second
	}
	if o.Uses <= 0 {
		o.Uses = 32
	}
	return o
}

// grant is what a node was promised, and until when, unless it breaks.
type grant struct {
	number int64
	until  time.Time
	breaks int64 // Trust.breaks before it was given
}

// Trust returns the Trust of this node in what it remembers; nil for a file,
// which has one process. The function follow brings what is remembered up to
// everything that was committed before its call. Stores that ask for a Trust see to it
// that each of their transactions reads Trusting. It is called once.
func (d *DB) Trust(follow func(context.Context) error) *Trust {
	e, ok := d.eng.(*pgEngine)
	if !ok {
		return nil
	}
	d.trust = &Trust{e: e, follow: follow, opt: d.opt.Trust}
	return d.trust
}

// Grant returns the number of the grant that is good now, 0 when there is none.
// What was remembered when it is called is what is committed. The clock of
// the wall counts, too: it goes on while a machine sleeps.
func (t *Trust) Grant() int64 {
	if t == nil {
		return 0
	}
	if g := t.grant.Load(); g != nil && g.breaks == t.breaks.Load() && !t.e.moved() {
		if now := time.Now(); now.Before(g.until) && now.Round(0).Before(g.until.Round(0)) {
			if !t.used.Load() {
				t.used.Store(true)
			}
			return g.number
		}
	}
	if t.asked.Add(1) >= int64(t.opt.Uses) {
		t.seek()
	}
	return 0
}

// Drop gives up the grant of this node, because it does not know what it wrote itself.
func (t *Trust) Drop() {
	if t != nil {
		t.breaks.Add(1)
		t.grant.Store(nil)
	}
}

// seek starts the holder unless it is there.
func (t *Trust) seek() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running || t.closed {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.running, t.cancel = true, cancel
	t.done.Go(func() {
		defer cancel()
		// Without a grant everything is asked for; the checks of readiness tell why.
		if err := t.hold(ctx); !errors.Is(err, errUnused) {
			select { // others write, or the server is away
			case <-time.After(t.opt.Quiet):
			case <-ctx.Done():
			}
		}
		t.asked.Store(0)
		t.mu.Lock()
		t.running = false
		t.mu.Unlock()
	})
}

// stop ends the holder and gives its grant back.
func (t *Trust) stop() {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.closed = true
	if t.cancel != nil {
		t.cancel()
	}
	t.mu.Unlock()
	t.done.Wait()
}

// Trusting is an expression that counts the grants of other nodes; its $1 is
// Conn.Node. A transaction of the writer that finds any calls Conn.Revoke.
const Trusting = "(SELECT count(*) FROM hygeia_trust WHERE node<>$1)"

const (
	sqlTrustWritten = "SELECT 1 FROM hygeia_writer WHERE node<>%d AND at>clock_timestamp()-%d*interval '1 microsecond'"
	sqlTrustTake    = "BEGIN; SELECT pg_advisory_xact_lock(%d); INSERT INTO hygeia_trust (node, number) VALUES (%d, %d) ON CONFLICT (node) DO UPDATE SET number=excluded.number, revoked=false; COMMIT"
	sqlTrustLook    = "SELECT 1 FROM hygeia_trust WHERE node=%d AND number=%d AND NOT revoked"
	// What these lose when the server dies makes somebody wait, or ask again.
	sqlTrustBack   = "SET synchronous_commit=off; DELETE FROM hygeia_trust WHERE node=%d"
	sqlTrustRevoke = "SET synchronous_commit=off; UPDATE hygeia_trust SET revoked=true WHERE node<>%d; NOTIFY %s"
	sqlTrustOthers = "SELECT 1 FROM hygeia_trust WHERE node<>%d LIMIT 1"
	sqlTrustLapsed = "SET synchronous_commit=off; DELETE FROM hygeia_trust WHERE node<>%d AND revoked"
)

// trustChannel is where revocations are told.
const trustChannel = "trust"

// plain connects for statements of the simple protocol. The answer to an
// interrupted one is not waited for.
func (e *pgEngine) plain(ctx context.Context, notified func()) (*pgconn.PgConn, error) {
	pc, _, err := e.dial(ctx, false, func(cfg *pgconn.Config) {
		cfg.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { notified() }
		cfg.BuildContextWatcherHandler = func(pc *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.DeadlineContextWatcherHandler{Conn: pc.Conn()}
		}
	})
	if err != nil {
		return nil, err
	}
	ms := e.opt.StatementTime.Milliseconds()
	if _, err := ask(ctx, pc, "SET statement_timeout=%d; SET lock_timeout=%[1]d; SET idle_in_transaction_session_timeout=%[1]d", ms); err != nil {
		hangUp(pc)
		return nil, err
	}
	return pc, nil
}

// hangUp closes a connection without waiting long for it.
func hangUp(pc *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = pc.Close(ctx)
}

// ask runs statements and reports whether the last one had a row.
func ask(ctx context.Context, pc *pgconn.PgConn, text string, args ...any) (found bool, err error) {
	res, err := pc.Exec(ctx, fmt.Sprintf(text, args...)).ReadAll()
	if err != nil || len(res) == 0 {
		return false, err
	}
	return len(res[len(res)-1].Rows) > 0, nil
}

// errUnused ends a grant that nobody used.
var errUnused = errors.New("db: the grant is not used")

// hold asks for a grant and keeps it for as long as it is used and nobody else writes.
func (t *Trust) hold(ctx context.Context) error {
	heard := false // of a revocation, since the last look
	pc, err := t.e.plain(ctx, func() { heard = true })
	if err != nil {
		return err
	}
	defer hangUp(pc)
	busy, err := ask(ctx, pc, sqlTrustWritten, t.e.node, t.opt.Quiet.Microseconds())
	if err != nil || busy {
		return err
	}
	breaks := t.breaks.Load()
	t.number++
	if _, err := ask(ctx, pc, "LISTEN %s", quoteName(t.e.channel(trustChannel))); err != nil {
		return err
	}
	if _, err := ask(ctx, pc, sqlTrustTake, t.e.lock, t.e.node, t.number); err != nil {
		return err
	}
	defer func() {
		t.grant.Store(nil)
		out, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = ask(out, pc, sqlTrustBack, t.e.node) // or it is waited for
	}()
	if err := t.follow(ctx); err != nil {
		return err
	}
	const idle = 8 // looks
	for unused := 0; unused < idle; unused++ {
		if t.used.Swap(false) {
			unused = 0
		}
		heard = false
		before := time.Now()
		good, err := ask(ctx, pc, sqlTrustLook, t.e.node, t.number)
		if err != nil || !good || t.breaks.Load() != breaks {
			return err
		}
		if !heard {
			t.grant.Store(&grant{t.number, before.Add(t.opt.Time * 4 / 5), breaks})
			err = t.wait(ctx, pc)
		}
		if err != nil {
			return err
		}
		if heard { // it is looked at before it is used again
			t.grant.Store(nil)
		}
	}
	return errUnused
}

// wait returns when there is a notification, and after a quarter of the time of a grant.
func (t *Trust) wait(ctx context.Context, pc *pgconn.PgConn) error {
	within, cancel := context.WithTimeout(ctx, t.opt.Time/4)
	defer cancel()
	err := pc.WaitForNotification(within)
	if err != nil && ctx.Err() == nil && errors.Is(within.Err(), context.DeadlineExceeded) && !pc.IsClosed() {
		return nil
	}
	return err
}

// Node is the number of this node among those that have the schema open, for Trusting.
func (c *Conn) Node() int64 {
	if pc, ok := c.c.(*pgConn); ok {
		return pc.eng.node
	}
	return 0
}

// Revoke takes the grants of all other nodes away and returns when none is left.
// The writer calls it inside its transaction, so that no new one is given meanwhile.
func (c *Conn) Revoke() error {
	pc, ok := c.c.(*pgConn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), pc.eng.opt.StatementTime)
	defer cancel()
	own, err := pc.eng.plain(ctx, func() {})
	if err != nil {
		return dbError("revoke", &connError{err})
	}
	defer hangUp(own)
	if err := pc.eng.revoke(ctx, own); err != nil {
		return pc.fault("revoke", err)
	}
	return nil
}

// revokeAny is Revoke if there is anything to take away.
func (c *Conn) revokeAny() error {
	pc, ok := c.c.(*pgConn)
	if !ok {
		return nil
	}
	others := int64(0)
	err := c.Query("SELECT "+Trusting, func(s *Stmt) error { others = s.ColInt(0); return nil }, pc.eng.node)
	if err != nil || others == 0 {
		return err
	}
	return c.Revoke()
}

// revoke takes the grants of all nodes but this one away.
func (e *pgEngine) revoke(ctx context.Context, pc *pgconn.PgConn) error {
	if _, err := ask(ctx, pc, sqlTrustRevoke, e.node, quoteName(e.channel(trustChannel))); err != nil {
		return err
	}
	since, pause := time.Now(), 500*time.Microsecond
	for {
		left, err := ask(ctx, pc, sqlTrustOthers, e.node)
		if err != nil || !left {
			return err
		}
		rest := time.Until(since.Add(e.opt.Trust.Time))
		if rest <= 0 {
			break
		}
		select {
		case <-time.After(min(pause, rest)):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, 10*time.Millisecond)
	}
	_, err := ask(ctx, pc, sqlTrustLapsed, e.node)
	return err
}
