package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// pgConn is one session. The writer's sends statements that return nothing
// together with the next one that does, so that a group of works takes a few
// round trips and not one for each row.
type pgConn struct {
	eng   *pgEngine
	write bool
	pc    *pgconn.PgConn
	met   session
	tag   string // in the names of its statements: those of others are not taken for them
	gen   int    // grows with each connection made; statements are prepared for one
	names int    // statements named so far
	done  <-chan struct{}
	watch *ctxwatch.ContextWatcher // of a use that began with an open pipeline, see interrupt

	pipe   *pgconn.Pipeline
	late   context.CancelFunc // ends the watch of the pipeline for silence
	unsent int                // bytes of parameters since something was given to the network
	queue  []*pgStmt          // sent and not answered yet; nil where the rows do not matter
	inTx   bool
	others bool  // other nodes write, too
	begun  bool  // turn has begun the transaction
	clean  bool  // nothing was answered since the connection was taken: it may be replaced
	group  int64 // the number of the open transaction in hygeia_writer
	alone  bool  // the last commit is in the log of the server, but not of its standby; see waitsForStandby

	fixed map[string]*pgStmt
}

// until is the context of a connection that is interrupted by a channel.
type until struct {
	context.Context
	done <-chan struct{}
}

func (u until) Done() <-chan struct{} { return u.done }

func (u until) Err() error {
	select {
	case <-u.done:
		return context.Canceled
	default:
		return nil
	}
}

func (c *pgConn) ctx() context.Context {
	if c.done == nil || c.watch != nil {
		return context.Background()
	}
	return until{context.Background(), c.done}
}

// within is the context of what is asked now: a writer gives up a server that is silent.
func (c *pgConn) within() (context.Context, context.CancelFunc) {
	if c.write {
		return context.WithTimeout(c.ctx(), c.eng.silence())
	}
	return c.ctx(), func() {}
}

// connect makes a new session; see dial for settles.
func (c *pgConn) connect(settles bool) error {
	c.drop()
	ctx := context.Background()
	pc, met, err := c.eng.dial(ctx, settles, func(cfg *pgconn.Config) {
		cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { c.alone = c.alone || n.Routine == waitsForStandby }
	})
	if err != nil {
		return dbError("connect", &connError{err})
	}
	c.pc, c.met = pc, met
	c.gen++
	c.tag = strconv.FormatUint(uint64(rand.Uint32()), 36)
	c.fixed = map[string]*pgStmt{}
	c.inTx, c.queue, c.pipe, c.clean = false, c.queue[:0], nil, true
	ctx, cancel := context.WithTimeout(ctx, c.eng.hosts[0].ConnectTimeout)
	defer cancel()
	if _, err := pc.Exec(ctx, c.eng.settings(c.write)).ReadAll(); err != nil {
		c.drop()
		return c.fault("connect", err)
	}
	return nil
}

// drop ends the connection without a word.
func (c *pgConn) drop() {
	c.unwatch()
	if c.late != nil {
		c.late()
	}
	if c.pc != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = c.pc.Close(ctx)
		cancel()
	}
	c.pc, c.pipe, c.queue, c.inTx = nil, nil, c.queue[:0], false
}

func (c *pgConn) close() { c.drop() }

// dead: a session with a server in whose place another was promoted is none any more.
func (c *pgConn) dead() bool {
	return c.pc == nil || c.pc.IsClosed() || c.met.era != c.eng.server.era.Load()
}

// interrupt also marks the beginning of a new use of a reader. A pipeline has the
// context that it was begun with: one that the end of the snapshot before left
// open has none, and is watched here.
func (c *pgConn) interrupt(ctx context.Context) {
	c.unwatch()
	c.done = nil
	if ctx != nil {
		c.done = ctx.Done()
	}
	c.clean = true
	if c.done != nil && c.pipe != nil && !c.dead() {
		c.watch = ctxwatch.NewContextWatcher(c.eng.cancelling(c.pc))
		c.watch.Watch(until{context.Background(), c.done})
	}
}

// unwatch returns when what the watch may have begun has ended.
func (c *pgConn) unwatch() {
	if c.watch != nil {
		c.watch.Unwatch()
		c.watch = nil
	}
}

// fault makes an error of ours, seeing to it that one of the connection is known as such.
func (c *pgConn) fault(op string, err error) error {
	pe := (*pgconn.PgError)(nil)
	if !errors.As(err, &pe) {
		if c.done != nil && (until{done: c.done}).Err() != nil {
			return dbError(op, context.Canceled)
		}
		err = &connError{err}
	}
	return dbError(op, err)
}

// simple runs one statement without parameters by the simple protocol.
func (c *pgConn) simple(text string, any *bool) error {
	if err := c.sync(); err != nil {
		return err
	}
	if c.dead() {
		return c.fault("script", errors.New("the connection is closed"))
	}
	ctx, cancel := c.within()
	defer cancel()
	r, err := c.pc.Exec(ctx, text).ReadAll()
	if err != nil {
		return c.fault("script", fmt.Errorf("%w in %s", err, text))
	}
	if any != nil {
		*any = len(r) > 0 && len(r[0].Rows) > 0
	}
	return nil
}

func (c *pgConn) script(text string) error {
	for part := range strings.SplitSeq(text, ";\n") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		if err := c.simple(part, nil); err != nil {
			return err
		}
	}
	return nil
}

func (c *pgConn) prepare(text string) (stmt, error) {
	s := &pgStmt{c: c, text: text}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	return s, nil
}

// fix returns a statement that the connection itself uses.
func (c *pgConn) fix(text string) (*pgStmt, error) {
	if s := c.fixed[text]; s != nil {
		return s, nil
	}
	s := &pgStmt{c: c, text: text}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	c.fixed[text] = s
	return s, nil
}

const (
	sqlLock = "SELECT pg_advisory_xact_lock($1)"
	// A process of the server that hung may wake up and find a group before it, with its commit, after
	// the node has run it again elsewhere: it fails, by a division by zero.
	sqlGroup = `INSERT INTO hygeia_writer (node, grp, at) VALUES ($1, $2, now()) ON CONFLICT (node) DO UPDATE
SET grp=CASE WHEN hygeia_writer.grp<excluded.grp THEN excluded.grp ELSE 1/(hygeia_writer.grp-hygeia_writer.grp) END, at=excluded.at`
	// sqlSettled makes the number of a group the last one: one that is not there then stays away.
	sqlSettled = "INSERT INTO hygeia_writer (node, grp, at) VALUES (%d, %d, now()) ON CONFLICT (node) DO UPDATE SET grp=excluded.grp, at=excluded.at"
)

// begin only queues: the first query of the transaction carries it along.
func (c *pgConn) begin(write bool) error {
	if c.begun {
		c.begun = false
		if !c.dead() {
			return nil
		}
	}
	if c.eng.moved() {
		return dbError("begin", errMoved)
	}
	if c.dead() {
		if err := c.connect(false); err != nil {
			return err
		}
	}
	if !write {
		return c.enqueue("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	}
	if err := c.enqueue("BEGIN"); err != nil {
		return err
	}
	c.group++
	return c.enqueue(sqlLock, c.eng.lock)
}

// turn waits for the lock before the writer gathers its group, so that all who
// come meanwhile are in it. Without others that would be a round trip for nothing.
func (c *pgConn) turn() {
	if !c.others {
		return
	}
	err := c.begin(true)
	if err == nil {
		err = c.sync()
	}
	if err != nil {
		_ = c.rollback()
		return
	}
	c.begun = true
}

func (c *pgConn) enqueue(text string, args ...int64) error {
	s, err := c.fix(text)
	if err != nil {
		return err
	}
	for i, v := range args {
		s.bindInt(i, v)
	}
	c.inTx = true
	return c.send(s, nil)
}

// commit ends the transaction. When the connection is lost on the way, a
// writer asks a new one how it ended.
func (c *pgConn) commit() error {
	if !c.write {
		// Nobody waits for the end of a snapshot; the next statement reads the answer.
		err := c.enqueue("COMMIT")
		c.inTx = false
		if err == nil && c.pipe != nil {
			err = c.pipe.Flush()
		}
		if err != nil {
			c.drop()
		}
		return nil
	}
	if err := c.enqueue(sqlGroup, c.eng.node, c.group); err != nil {
		return err
	}
	err := c.enqueue("COMMIT")
	if err == nil {
		c.alone = false
		err = c.sync()
	}
	if err == nil && !c.alone && !c.dead() {
		c.inTx = false
		return nil
	}
	// A server that stops says so by an error that ends the connection (57P01,
	// 57P02), and may say it after it has committed.
	if err != nil && !isConnError(err) && !c.dead() {
		return err
	}
	if err == nil {
		err = dbError("commit", &connError{errors.New("the standby has not confirmed the commit")})
	}
	switch done, known := c.outcome(); {
	case done:
		return nil
	case known:
		return err
	}
	return dbError("commit", &unsure{err})
}

// waitsForStandby is where PostgreSQL waits until a synchronous standby has a commit. When that
// wait is given up - we lost patience, or an operator - the commit is
// answered like any other, with a warning from there.
const waitsForStandby = "SyncRepWaitForLSN"

// outcome finds out whether the transaction whose commit got no answer is
// there. The lock makes it wait until the old session has ended, if that has begun; if
// not, it cannot succeed any more. What is there may be on the primary alone: it counts as
// soon as a later commit is on the standby, which is why something is written in any case: with the
// number of the group where it is there, else with the next one, so that another look, should
// this commit get no answer either, does not take one for the other.
func (c *pgConn) outcome() (done, known bool) {
	group := c.group
	c.group++
	for end := time.Now().Add(reconnectTime); time.Now().Before(end); time.Sleep(reconnectStep) {
		if err := c.connect(true); err != nil {
			continue
		}
		var have bool
		err := c.simple(fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(%d)", c.eng.lock), nil)
		if err == nil {
			err = c.simple(fmt.Sprintf("SELECT 1 FROM hygeia_writer WHERE node=%d AND grp=%d", c.eng.node, group), &have)
		}
		if err == nil {
			last := c.group
			if have {
				last = group
			}
			err = c.simple(fmt.Sprintf(sqlSettled, c.eng.node, last), nil)
		}
		if err == nil {
			c.alone = false
			err = c.simple("COMMIT", nil)
		}
		if err == nil && !c.alone && !c.dead() {
			return have, true
		}
	}
	c.drop() // it may hold the lock of the writers
	return false, false
}

func (c *pgConn) rollback() error {
	if c.dead() || !c.inTx {
		c.inTx = false
		return nil
	}
	err := c.sync() // what was queued is rolled back with the rest
	c.inTx = false
	if c.dead() {
		return err
	}
	return c.simple("ROLLBACK", nil)
}

func (c *pgConn) failed() bool { return c.dead() || c.pc.TxStatus() == 'E' }

// early is how many statements are queued before they are given to the
// network, so that the server works while the next ones are made.
const (
	early      = 64
	earlyBytes = 32 << 10 // the same for their parameters
)

// send queues a statement with its parameters. Its rows go to into, if not nil.
func (c *pgConn) send(s, into *pgStmt) error {
	if c.dead() {
		return c.fault("run", errors.New("the connection is closed"))
	}
	if c.watch != nil && (until{done: c.done}).Err() != nil { // its cancellation may be over
		return c.fault("run", context.Canceled)
	}
	if c.pipe == nil {
		var ctx context.Context
		ctx, c.late = c.within()
		c.pipe, c.unsent = c.pc.StartPipeline(ctx), 0
	}
	c.pipe.SendQueryStatement(s.desc, s.params, s.pformats, s.rformats)
	c.queue = append(c.queue, into)
	c.unsent += len(s.buf)
	s.unbind()
	if len(c.queue)%early == 0 || c.unsent > earlyBytes {
		c.unsent = 0
		if err := c.pipe.Flush(); err != nil {
			return c.fault("run", err)
		}
	}
	return nil
}

// sync sends what is queued and reads all answers. The first error is returned;
// the server does nothing that comes after it.
func (c *pgConn) sync() error {
	if c.pipe == nil {
		return nil
	}
	pipe, queue := c.pipe, c.queue
	c.pipe, c.queue = nil, c.queue[:0]
	defer c.late()
	first := pipe.Sync()
	for i := 0; first == nil || isServerError(first); {
		res, err := pipe.GetResults()
		if err != nil {
			if first == nil || !isServerError(err) {
				first = err
			}
			continue
		}
		if res == nil {
			break
		}
		if _, end := res.(*pgconn.PipelineSync); end {
			break
		}
		r, ok := res.(*pgconn.ResultReader)
		if !ok {
			continue
		}
		if i < len(queue) && queue[i] != nil {
			queue[i].take(r)
		}
		i++
		if _, err := r.Close(); err != nil && (first == nil || !isServerError(err)) {
			first = err
		}
	}
	if err := pipe.Close(); first == nil && err != nil {
		first = err
	}
	if first != nil {
		return c.fault("run", first)
	}
	c.clean = false
	return nil
}

func isServerError(err error) bool {
	pe := (*pgconn.PgError)(nil)
	return errors.As(err, &pe)
}

// revive replaces a connection that was lost before it answered anything to
// its user: a server that restarted has closed those that were idle.
func (c *pgConn) revive() error {
	if c.write || !c.clean {
		return errors.New("in use")
	}
	tx := c.inTx
	if err := c.connect(false); err != nil {
		return err
	}
	if tx {
		return c.begin(false)
	}
	return nil
}

func (s *pgStmt) prepare() error {
	c := s.c
	if err := c.sync(); err != nil {
		if !isConnError(err) || c.revive() != nil {
			return err
		}
		if err := c.sync(); err != nil {
			return err
		}
	}
	if c.dead() {
		if err := c.revive(); err != nil {
			return c.fault("prepare", errors.New("the connection is closed"))
		}
		if err := c.sync(); err != nil {
			return err
		}
	}
	c.names++
	name := "s" + c.tag + "_" + strconv.Itoa(c.names)
	ctx, cancel := c.within()
	defer cancel()
	desc, err := c.pc.Prepare(ctx, name, s.text, nil)
	if err != nil && !isServerError(err) && c.revive() == nil {
		if err := c.sync(); err != nil {
			return err
		}
		desc, err = c.pc.Prepare(ctx, name, s.text, nil)
	}
	if err != nil {
		return c.fault("prepare", fmt.Errorf("%w in %s", err, s.text))
	}
	s.describe(desc)
	s.gen = c.gen
	return nil
}
