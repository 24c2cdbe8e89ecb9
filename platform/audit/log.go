package audit

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"runtime"
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
	// SegmentTime is the age of the first record at which a new file begins, so
	// that Retain finds old files also where little happens; 0 means never.
	SegmentTime time.Duration
	// HeadEvery is the number of records after which a head is written, if headTime
	// has not passed before; 0 means 10,000.
	HeadEvery int64
	// SyncTime is how long records may wait for the disk without Sync; 0 means a second.
	SyncTime time.Duration
	// Failed is told when writing began to fail, with nil when it goes on.
	Failed func(error)
}

// headTime is the time after which a head is written in any case.
const headTime = time.Minute

// maxWaiting bounds the bytes of records that wait for the writer.
const maxWaiting = 8 << 20

// Log is the trail of one data folder. Who appends makes the line and the hash;
// who waits for it writes, and with it the lines of all who came meanwhile. One
// goroutine writes what nobody waits for.
type Log struct {
	dir  string
	opt  Options
	wake chan struct{} // something waits
	stop chan struct{}
	done chan struct{}

	mu       sync.Mutex // after io where both are held
	buf      []byte     // lines that are not written yet
	n        int64      // of the last line
	prev     hash       // of the last line
	sum      hasher
	failure  error // of the last write; nil when it went well
	closed   bool
	lastHead time.Time
	headAt   int64 // n of the last head

	io      sync.Mutex // held while writing
	seg     *segment
	written int64     // n of the last line that was written
	settled int64     // n of the last line for which nobody has to wait any more
	spare   []byte    // memory of the buffer before
	dirty   time.Time // since when something is not on disk; zero = all is
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
	if opt.SyncTime == 0 {
		opt.SyncTime = time.Second
	}
	if opt.Failed == nil {
		opt.Failed = func(error) {}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := &Log{dir: dir, opt: opt, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), sum: newHasher()}
	if err := l.resume(); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if err := l.publishKey(); err != nil {
		return nil, errors.Join(fmt.Errorf("audit: %w", err), l.seg.close())
	}
	l.lastHead = opt.Now()
	l.begin(&Record{Kind: "start"})
	if err := l.flush(false); err != nil {
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
	switch {
	case l.closed:
		return unavailable(os.ErrClosed)
	case l.failure != nil:
		return unavailable(l.failure)
	}
	return nil
}

// Append adds records in one piece. With wait it returns when they are written;
// without, when they will be unless the process is killed in that moment.
func (l *Log) Append(_ context.Context, wait bool, records ...Record) error {
	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		return unavailable(os.ErrClosed)
	case len(l.buf) > maxWaiting:
		err := cmp.Or(l.failure, errSlow)
		l.mu.Unlock()
		return unavailable(err)
	}
	first := len(l.buf) == 0
	for i := range records {
		l.begin(&records[i])
	}
	mine, failing := l.n, l.failure != nil
	l.mu.Unlock()
	if !wait && !l.opt.Sync && !failing {
		if first {
			signal(l.wake)
		}
		return nil
	}
	// Those who were woken by the same commit append first, and one writes for all.
	runtime.Gosched()
	l.io.Lock()
	defer l.io.Unlock()
	if l.settled >= mine {
		return nil
	}
	if err := l.flush(false); err != nil {
		return unavailable(err)
	}
	return nil
}

var errSlow = errors.New("the writer does not keep up")

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// lazyTime is how long records for which nobody waits are gathered.
const lazyTime = 5 * time.Millisecond

// run writes what nobody waits for, heads when they are due, and syncs.
func (l *Log) run() {
	defer close(l.done)
	tick := time.NewTicker(min(l.opt.SyncTime, headTime))
	defer tick.Stop()
	lazy := time.NewTimer(time.Hour)
	lazy.Stop()
	for last := false; !last; {
		select {
		case <-l.wake:
			lazy.Reset(lazyTime)
			continue
		case <-lazy.C:
		case <-tick.C:
		case <-l.stop:
			last = true
		}
		l.io.Lock()
		_ = l.flush(last) // who asks next hears of it
		l.io.Unlock()
	}
}

// flush writes all lines, a head when one is due, and syncs when that is due; the
// caller holds io. Lines that could not be written stay in the buffer.
func (l *Log) flush(last bool) error {
	now := l.opt.Now()
	l.mu.Lock()
	if l.opt.Key != nil && l.n > l.headAt && (last || l.n-l.headAt >= l.opt.HeadEvery || now.Sub(l.lastHead) >= headTime) {
		l.head(now)
	}
	text, upto, was := l.buf, l.n, l.failure
	l.buf = l.spare[:0]
	l.mu.Unlock()
	err := l.write(text, now)
	if err == nil {
		l.written, l.spare = upto, text
		if !l.dirty.IsZero() && (last || l.opt.Sync || now.Sub(l.dirty) >= l.opt.SyncTime) {
			if err = l.seg.file.Sync(); err == nil {
				l.dirty = time.Time{}
			}
		}
	} else {
		l.spare = nil
	}
	if err == nil {
		l.settled = upto
	}
	if err != nil || was != nil {
		l.mu.Lock()
		if l.written < upto { // what came meanwhile stays behind it
			l.buf = append(text, l.buf...)
		}
		l.failure = err
		l.mu.Unlock()
		if (was == nil) != (err == nil) {
			l.opt.Failed(err)
		}
	}
	return err
}

// begin appends the line of a record to the buffer.
func (l *Log) begin(r *Record) {
	l.n++
	r.N = l.n
	if r.Time.IsZero() {
		r.Time = l.opt.Now()
	}
	from := len(l.buf)
	l.buf = l.sum.seal(appendRecord(l.buf, r), from, &l.prev)
}

// head appends a signature of the hash so far.
func (l *Log) head(now time.Time) {
	sig := ed25519.Sign(l.opt.Key, headText(l.n, l.prev))
	l.begin(&Record{Kind: "head", Time: now, Signature: base64.StdEncoding.EncodeToString(sig)})
	l.lastHead, l.headAt = now, l.n
}

// headText is what a head signs: how many records there are and the hash of the last.
func headText(n int64, h hash) []byte { return fmt.Appendf(nil, "hygeia audit head %d %x", n, h) }

// write hands lines to the operating system. What was written in part is cut off again.
func (l *Log) write(text []byte, now time.Time) error {
	if len(text) == 0 {
		return nil
	}
	old := l.opt.SegmentTime > 0 && now.Sub(l.seg.born) >= l.opt.SegmentTime
	if l.seg.size > 0 && (old || l.seg.size+int64(len(text)) > l.opt.SegmentSize) {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if l.seg.size == 0 {
		l.seg.born = now
	}
	n, err := l.seg.file.WriteAt(text, l.seg.size)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, l.seg.file.Truncate(l.seg.size))
		}
		return err
	}
	l.seg.size += int64(n)
	if l.dirty.IsZero() {
		l.dirty = now
	}
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
	close(l.stop)
	<-l.done
	return errors.Join(l.failure, l.seg.close())
}
