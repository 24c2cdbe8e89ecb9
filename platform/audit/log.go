package audit

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Options of a Log. The zero value is useful, but signs nothing.
type Options struct {
	Key ed25519.PrivateKey // signs the heads; nil = no heads
	Now func() time.Time   // nil means time.Now
	// Sync makes Append wait for the disk: one fsync for all who wait.
	Sync bool
	// SegmentSize is when a new file begins; 0 means 64 MiB.
	SegmentSize int64
	// HeadEvery is the number of records and the time after which a head is
	// written; 0 means 10,000 and a minute.
	HeadEvery int64
	HeadTime  time.Duration
	// SyncTime is how long records may wait for the disk without Sync; 0 means a second.
	SyncTime time.Duration
	// Failed is told when writing began to fail, with nil when it goes on.
	Failed func(error)
}

// maxWaiting bounds the bytes of records that wait for the writer.
const maxWaiting = 8 << 20

// Log is the trail of one data folder. One goroutine writes.
type Log struct {
	dir string
	opt Options

	mu      sync.Mutex
	waiting []Record
	size    int          // estimate of the bytes in waiting
	waiters []chan error // of those who wait for what is in waiting
	failure error        // of the last write; nil when it went well
	closed  bool
	wake    chan struct{} // something waits
	hurry   chan struct{} // somebody waits for it
	done    chan struct{}

	// Of the writer alone.
	seg      *segment
	n        int64
	prev     hash
	lastHead time.Time
	headAt   int64 // n of the last head
	dirty    time.Time
	buf      []byte
}

// Open continues the trail in a folder, or begins one.
func Open(dir string, opt Options) (*Log, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.SegmentSize == 0 {
		opt.SegmentSize = 64 << 20
	}
	if opt.HeadEvery == 0 {
		opt.HeadEvery = 10_000
	}
	if opt.HeadTime == 0 {
		opt.HeadTime = time.Minute
	}
	if opt.SyncTime == 0 {
		opt.SyncTime = time.Second
	}
	if opt.Failed == nil {
		opt.Failed = func(error) {}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := &Log{dir: dir, opt: opt, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), done: make(chan struct{})}
	if err := l.resume(); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if err := l.publishKey(); err != nil {
		return nil, errors.Join(fmt.Errorf("audit: %w", err), l.seg.close())
	}
	l.lastHead = opt.Now()
	l.begin(&Record{Kind: "start"})
	if err := l.write(); err != nil {
		return nil, errors.Join(fmt.Errorf("audit: %w", err), l.seg.close())
	}
	go l.run()
	return l, nil
}

// unavailable is the answer while records cannot be written.
func unavailable(err error) error {
	return &fault.Error{
		Kind: fault.Transient, Op: "audit: append", RetryAfter: 5 * time.Second, Err: err,
		Msg: "the audit trail cannot be written now; what is not recorded is not answered",
	}
}

// Ready returns nil when the last record could be written, else a Transient
// fault: what is to be recorded should not be begun.
func (l *Log) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return unavailable(l.failure)
	}
	return nil
}

// Append adds records in one piece. With wait it returns when they are written;
// without, when they will be unless the process is killed in that moment.
func (l *Log) Append(ctx context.Context, wait bool, records ...Record) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return unavailable(os.ErrClosed)
	}
	if l.size > maxWaiting {
		err := l.failure
		l.mu.Unlock()
		if err == nil {
			err = errors.New("the writer does not keep up")
		}
		return unavailable(err)
	}
	failing := l.failure
	var done chan error
	if wait || l.opt.Sync || failing != nil {
		done = make(chan error, 1)
		l.waiters = append(l.waiters, done)
	}
	first := len(l.waiting) == 0
	l.waiting = append(l.waiting, records...)
	l.size += 300 * len(records)
	l.mu.Unlock()
	if done == nil {
		if first {
			signal(l.wake)
		}
		return nil
	}
	signal(l.hurry)
	select {
	case err := <-done:
		if err != nil {
			return unavailable(err)
		}
		return nil
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// lazyTime is how long records for which nobody waits are gathered.
const lazyTime = 5 * time.Millisecond

// run writes what waits until the log is closed.
func (l *Log) run() {
	defer close(l.done)
	tick := time.NewTicker(min(l.opt.SyncTime, l.opt.HeadTime))
	defer tick.Stop()
	lazy := time.NewTimer(time.Hour)
	lazy.Stop()
	var spare []Record // memory of the batch before the last
	for {
		select {
		case <-l.wake:
			lazy.Reset(lazyTime)
			select {
			case <-lazy.C:
			case <-l.hurry:
				lazy.Stop()
			}
		case <-l.hurry:
		case <-tick.C:
		}
		l.mu.Lock()
		batch, waiters, closed := l.waiting, l.waiters, l.closed
		l.waiting, l.waiters, l.size = spare[:0], nil, 0
		l.mu.Unlock()
		err := l.step(batch, closed)
		clear(batch)
		spare = batch
		l.mu.Lock()
		was := l.failure
		if l.failure = err; err != nil {
			l.size += len(l.buf) // still in memory
		}
		l.mu.Unlock()
		if (was == nil) != (err == nil) {
			l.opt.Failed(err)
		}
		for _, w := range waiters {
			w <- err
		}
		if closed {
			return
		}
	}
}

// step writes a batch, a head when one is due, and syncs when that is due.
func (l *Log) step(batch []Record, last bool) error {
	now := l.opt.Now()
	for i := range batch {
		l.begin(&batch[i])
	}
	if l.opt.Key != nil && l.n > l.headAt && (last || l.n-l.headAt >= l.opt.HeadEvery || now.Sub(l.lastHead) >= l.opt.HeadTime) {
		l.head(now)
	}
	if len(l.buf) > 0 {
		if err := l.write(); err != nil {
			return err
		}
		if l.dirty.IsZero() {
			l.dirty = now
		}
	}
	if !l.dirty.IsZero() && (last || l.opt.Sync || now.Sub(l.dirty) >= l.opt.SyncTime) {
		if err := l.seg.file.Sync(); err != nil {
			return err
		}
		l.dirty = time.Time{}
	}
	return nil
}

// begin appends the line of a record to the buffer.
func (l *Log) begin(r *Record) {
	l.n++
	r.N = l.n
	if r.Time.IsZero() {
		r.Time = l.opt.Now()
	}
	from := len(l.buf)
	l.buf = seal(appendRecord(l.buf, r), from, &l.prev)
}

// head appends a signature of the hash so far.
func (l *Log) head(now time.Time) {
	sig := ed25519.Sign(l.opt.Key, headText(l.n, l.prev))
	l.begin(&Record{Kind: "head", Time: now, Signature: base64.StdEncoding.EncodeToString(sig)})
	l.lastHead, l.headAt = now, l.n
}

// headText is what a head signs: how many records there are and the hash of the last.
func headText(n int64, h hash) []byte { return fmt.Appendf(nil, "hygeia audit head %d %x", n, h) }

// write hands the buffer to the operating system. What was written in part is
// cut off again, and the records stay in the buffer for the next attempt.
func (l *Log) write() error {
	if l.seg.size > 0 && l.seg.size+int64(len(l.buf)) > l.opt.SegmentSize {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.seg.file.WriteAt(l.buf, l.seg.size)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, l.seg.file.Truncate(l.seg.size))
		}
		return err
	}
	l.seg.size += int64(n)
	l.buf = l.buf[:0]
	return nil
}

// Close writes what waits, signs a last head and closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	signal(l.hurry)
	<-l.done
	return errors.Join(l.failure, l.seg.close())
}
