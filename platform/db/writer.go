package db

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Work is one unit that the writer runs inside a transaction shared with others.
type Work struct {
	// Do runs on the writing connection. An error that it returns belongs to
	// this work alone, so Do must have written nothing when it returns
	// one that is not a Broken; it checks first and writes then. It may be
	// called again when the transaction could not be committed.
	Do func(*Conn) error
	// Size counts towards Options.MaxGroup; 0 means 1.
	Size int
	// Bulk work waits while other work is there.
	Bulk bool
	// Data is for the functions of OnBegin: what the work is going to need.
	Data any

	err   error
	done  chan struct{}
	state atomic.Int32 // waiting, taken by the writer, or given up by the caller
}

const (
	waiting = iota
	taken
	givenUp
)

// Broken marks an error after which the transaction must not be committed:
// every work of the group fails with it.
type Broken struct{ Err error }

// Error implements error.
func (b *Broken) Error() string { return b.Err.Error() }

// Unwrap returns the cause.
func (b *Broken) Unwrap() error { return b.Err }

// WriterStats are counters of a writer since it was opened.
type WriterStats struct {
	Queue   int   // work waiting now
	Commits int64 // transactions
	Works   int64 // works committed
}

type writer struct {
	eng        engine
	db         *DB
	renewed    time.Time // when idle readers gave up their snapshots
	conn       *Conn
	maxGroup   int
	maxBulk    int
	fast, bulk chan *Work
	left       []*Work       // bulk work that was taken from the queue and made room for others
	nLeft      atomic.Int64  // len(left), for Stats
	lastFast   time.Time     // when interactive work began last
	lastBulk   time.Time     // when bulk work ended last, or made room
	alone      bool          // the works of a group that failed run one by one
	cost       time.Duration // of one unit of bulk work lately, COMMIT included
	stop       chan struct{}
	stopped    chan struct{}
	mu         sync.RWMutex // held for reading while submitting, for writing to close
	closed     bool
	begin      []func(*Conn, []*Work) error // called at the beginning of each transaction
	flush      []func(*Conn) error          // called before each COMMIT
	end        []func(committed bool)       // called after each transaction

	commits, works atomic.Int64
	observe        atomic.Pointer[func(commit time.Duration, works int)]
}

const (
	maxBulk    = 4000 // units of work in a transaction of bulk work
	queueLimit = 4096 // works that wait before Submit answers Throttled
)

func newWriter(c *Conn, d *DB, opt Options) *writer {
	w := &writer{
		conn: c, db: d, eng: d.eng, maxGroup: opt.MaxGroup, maxBulk: max(maxBulk, opt.MaxGroup),
		fast: make(chan *Work, queueLimit), bulk: make(chan *Work, queueLimit),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	go w.run()
	return w
}

// OnEnd registers f, which the writer calls after each transaction and before
// the works of it return, so that caches can follow: what was filled inside a
// transaction that was rolled back, what a committed one made old. It must be
// called before the first Write.
func (d *DB) OnEnd(f func(committed bool)) { d.w.end = append(d.w.end, f) }

// OnFlush registers f, which the writer calls before each COMMIT, so that rows
// of several works can be inserted together. An error rolls the group back. It
// must be called before the first Write.
func (d *DB) OnFlush(f func(*Conn) error) { d.w.flush = append(d.w.flush, f) }

// OnBegin registers f, which the writer calls at the beginning of each
// transaction, before the works: a cache of the writer can follow what other
// nodes wrote, and what the works need can be read at once. An error fails the group. It must be called before the first Write.
func (d *DB) OnBegin(f func(*Conn, []*Work) error) { d.w.begin = append(d.w.begin, f) }

// OnCommit sets a function that is called after each commit with its duration.
func (d *DB) OnCommit(f func(commit time.Duration, works int)) { d.w.observe.Store(&f) }

// Stats returns the writer's counters.
func (d *DB) Stats() WriterStats {
	w := d.w
	return WriterStats{Queue: len(w.fast) + len(w.bulk) + int(w.nLeft.Load()), Commits: w.commits.Load(), Works: w.works.Load()}
}

// Write runs work in the writer and returns when it is on disk. When the
// context ends while the work still waits, the answer is Timeout and the work
// is never done; once the writer has taken it, Write waits for its end, so
// that the caller always knows and may use the memory of the work again.
func (d *DB) Write(ctx context.Context, work *Work) error {
	if err := d.Submit(work); err != nil {
		return err
	}
	return work.Wait(ctx)
}

// Submit gives work to the writer, which does all bulk work in the order in
// which it was submitted, and all other work too. Wait tells how it ended.
func (d *DB) Submit(work *Work) error {
	w := d.w
	work.done = make(chan struct{})
	w.mu.RLock()
	if w.closed {
		w.mu.RUnlock()
		return fault.New(fault.Transient, "the database is closed")
	}
	q := w.fast
	if work.Bulk {
		q = w.bulk
	}
	select {
	case q <- work:
		w.mu.RUnlock()
	default:
		w.mu.RUnlock()
		return &fault.Error{Kind: fault.Throttled, Op: "db: write", Msg: "too many writes are waiting; try again", RetryAfter: time.Second}
	}
	return nil
}

// Wait is the second half of Write, for work that was submitted.
func (work *Work) Wait(ctx context.Context) error {
	select {
	case <-work.done:
		return work.err
	case <-ctx.Done():
		if work.state.CompareAndSwap(waiting, givenUp) {
			return dbError("wait for the writer", ctx.Err())
		}
		<-work.done
		return work.err
	}
}

func (w *writer) run() {
	defer close(w.stopped)
	group := make([]*Work, 0, 64)
	for {
		first := w.next()
		if first == nil {
			return
		}
		group = w.gather(append(group[:0], first))
		w.conn.c.turn()
		group = w.gather(group)
		w.commit(group)
		// Those whose work is on disk answer now: they stand in the queue of this
		// processor, and the next group with its sync would go before them.
		runtime.Gosched()
		clear(group[:cap(group)])
	}
}

// next waits for work, interactive first; nil when the writer was told to stop and nothing is left.
func (w *writer) next() *Work {
	if x := w.waits(); x != nil {
		return x
	}
	select {
	case x := <-w.fast:
		return x
	case x := <-w.bulk:
		return x
	case <-w.stop:
		return w.waits()
	}
}

// waits returns work, interactive first; nil when there is none. Where interactive
// work never ends, bulk work has a turn now and then all the same.
func (w *writer) waits() *Work {
	if time.Since(w.lastBulk) > bulkTurn {
		if x := w.takeBulk(); x != nil {
			return x
		}
	}
	if x := w.takeFast(); x != nil {
		return x
	}
	return w.takeBulk()
}

// gather adds the work that waits now, up to the size of a group. Interactive
// and bulk work do not share a group: who waits for a commit should not wait for
// bulk work too, whose groups may be larger.
func (w *writer) gather(group []*Work) []*Work {
	size, limit, take := sizeOf(group), w.maxGroup, w.takeFast
	if group[0].Bulk {
		limit, take = w.bulkLimit(), w.takeBulk
	}
	for size < limit {
		x := take()
		if x == nil {
			return group
		}
		group = append(group, x)
		size += max(x.Size, 1)
	}
	return group
}

// takeFast returns interactive work, nil when none waits.
func (w *writer) takeFast() *Work {
	select {
	case x := <-w.fast:
		return x
	default:
		return nil
	}
}

// takeBulk returns bulk work, nil when none waits.
func (w *writer) takeBulk() *Work {
	if len(w.left) > 0 {
		x := w.left[0]
		w.left = w.left[1:]
		w.nLeft.Store(int64(len(w.left)))
		return x
	}
	select {
	case x := <-w.bulk:
		return x
	default:
		return nil
	}
}

// leave puts bulk work back to where it came from.
func (w *writer) leave(list []*Work) {
	w.left = append(slices.Clone(list), w.left...)
	w.nLeft.Store(int64(len(w.left)))
}

// bulkTime is how long a group of bulk work goes on, so that other nodes of a
// shared database get their turn. Interactive work that comes meanwhile takes
// the turn of a group (see errMakeRoom), and for as long as it was there a
// while ago, groups of bulk work are about as short as sharedTime.
const (
	bulkTime   = 300 * time.Millisecond
	sharedTime = 4 * time.Millisecond
	recent     = time.Second
	bulkTurn   = 50 * time.Millisecond // how long bulk work waits while interactive work never ends
)

func sizeOf(group []*Work) (n int) {
	for _, x := range group {
		n += max(x.Size, 1)
	}
	return n
}

// bulkLimit is the size of a group of bulk work: small when somebody may wait
// behind it, but for one work.
func (w *writer) bulkLimit() int {
	if time.Since(w.lastFast) >= recent {
		return w.maxBulk
	}
	return min(w.maxBulk, int(sharedTime/max(w.cost, 10*time.Microsecond)))
}

// measure notes what a group of bulk work took.
func (w *writer) measure(group []*Work, took time.Duration) {
	if !group[0].Bulk {
		return
	}
	w.lastBulk = time.Now()
	now := took / time.Duration(max(sizeOf(group), 1))
	if w.cost == 0 {
		w.cost = now
	}
	w.cost += (now - w.cost) / 4
}

// enough reports whether a group should end before its next work.
func (w *writer) enough(next *Work, since time.Time) bool {
	if !next.Bulk || next.state.Load() != waiting {
		return false
	}
	return len(w.fast) > 0 || time.Since(since) > bulkTime
}

// errMakeRoom ends the attempt at a group of bulk work for which interactive
// work would have to wait long. What it did is taken back and done again later.
var errMakeRoom = errors.New("db: interactive work waits")

// room returns what tells the statements of a group whether to give up for
// others; nil if the group is not to be disturbed. What a shared database takes
// back it has to clean up, and a short group is soon over: it would be taken
// back again and again.
func (w *writer) room(group []*Work) func() bool {
	if !group[0].Bulk || w.alone || w.eng.dialect() != SQLite || time.Since(w.lastFast) < recent {
		return nil
	}
	return func() bool { return len(w.fast) > 0 }
}

// patience is how long a group is run again and again: because another
// transaction got in the way, or because the server is being restarted.
const patience = 8 * time.Second

// panicked reports whether err stands for a panic.
func panicked(err error) bool {
	_, ok := errors.AsType[*fault.Panic](err)
	return ok
}

// commit runs a group. An engine may ask for another try. When a group fails on
// a shared database, or one of its works panics, each of them is run alone, so that
// the error finds the one that it belongs to.
func (w *writer) commit(group []*Work) {
	start := time.Now()
	if !group[0].Bulk {
		w.lastFast = start
	}
	w.conn.room = w.room(group)
	took, done, err := w.attempt(&group)
	w.conn.room = nil
	if errors.Is(err, errMakeRoom) {
		for _, x := range group {
			x.state.CompareAndSwap(taken, waiting)
		}
		w.leave(group)
		w.lastBulk = time.Now()
		return
	}
	for n := 1; err != nil && w.eng.again(err) && time.Since(start) < patience; n++ {
		time.Sleep(min(time.Duration(n)*5*time.Millisecond, 200*time.Millisecond))
		took, done, err = w.attempt(&group)
	}
	if done < len(group) {
		w.leave(group[done:])
		group = group[:done]
	}
	if err != nil && len(group) > 1 && (panicked(err) || w.eng.dialect() == Postgres && !w.eng.again(err)) {
		w.alone = true // and in their order: nothing joins one, and none makes room
		for i := range group {
			w.commit(group[i : i+1])
		}
		w.alone = false
		return
	}
	if err != nil {
		for _, x := range group {
			x.err = err
		}
	}
	w.commits.Add(1)
	w.works.Add(int64(len(group)))
	w.measure(group, time.Since(start))
	if f := w.observe.Load(); f != nil && err == nil {
		(*f)(took, len(group))
	}
	for _, x := range group {
		close(x.done)
	}
}

// attempt runs a group in one transaction, or the first done works of it.
// Bulk work that came meanwhile joins it.
func (w *writer) attempt(group *[]*Work) (took time.Duration, done int, err error) {
	done = len(*group)
	if now := time.Now(); now.Sub(w.renewed) > renewTime {
		w.renewed = now
		w.db.renew()
	}
	if err = w.conn.c.begin(true); err == nil {
		done, err = w.do(group)
	}
	for _, f := range w.flush {
		if err == nil {
			err = fault.Guard("db: flush", func() error { return f(w.conn) })
		}
	}
	if err == nil {
		at := time.Now()
		w.db.version.Add(1)
		err = w.conn.c.commit()
		w.db.version.Add(1)
		took = time.Since(at)
	}
	if err != nil {
		w.db.note(err)
		_ = w.conn.c.rollback()
	}
	for _, f := range w.end {
		f(err == nil)
	}
	return took, done, err
}

// do calls the works of a group, or the first ones of it when others should
// have their turn, and returns how many. The error is one that breaks the transaction.
func (w *writer) do(group *[]*Work) (int, error) {
	for _, f := range w.begin {
		if err := fault.Guard("db: begin", func() error { return f(w.conn, *group) }); err != nil {
			return len(*group), err
		}
	}
	start := time.Now()
	for i := 0; i < len(*group) || w.join(group); i++ {
		x := (*group)[i]
		if i > 0 && w.enough(x, start) {
			return i, nil
		}
		if x.state.Load() != taken && !x.state.CompareAndSwap(waiting, taken) {
			continue
		}
		x.err = fault.Guard("db: write", func() error { return x.Do(w.conn) })
		w.db.note(x.err)
		if panicked(x.err) { // it may have written a part
			return len(*group), x.err
		}
		if b, ok := errors.AsType[*Broken](x.err); ok {
			return len(*group), b.Err
		}
		if x.err != nil && w.conn.c.failed() { // the server refuses all that comes after
			return len(*group), x.err
		}
	}
	return len(*group), nil
}

// join adds bulk work that came while the group ran; false when there is none.
// What a shared database needs was read at the beginning of the group.
func (w *writer) join(group *[]*Work) bool {
	before := len(*group)
	if (*group)[0].Bulk && !w.alone && w.eng.dialect() == SQLite && len(w.fast) == 0 {
		*group = w.gather(*group)
	}
	return len(*group) > before
}

func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	close(w.stop)
	<-w.stopped
}
