package telemetry

import (
	"io"
	"sync"
	"time"
)

// Buffered collects what is written and passes it on in large pieces, at the
// latest after a quarter of a second. It is for lines that come once per
// request, where a system call each would cost as much as a small answer; a
// process that is killed loses the last of them.
type Buffered struct {
	mu    sync.Mutex
	w     io.Writer
	buf   []byte
	armed bool
	timer *time.Timer
}

const (
	bufferSize = 32 << 10
	bufferTime = 250 * time.Millisecond
)

// NewBuffered returns a Buffered in front of w. Flush it at the end.
func NewBuffered(w io.Writer) *Buffered {
	b := &Buffered{w: w, buf: make([]byte, 0, bufferSize)}
	b.timer = time.AfterFunc(time.Hour, b.tick)
	b.timer.Stop()
	return b
}

// Write implements io.Writer. What cannot be written any more is dropped: there
// is no better place to complain than the log.
func (b *Buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.buf)+len(p) > bufferSize {
		b.flush()
	}
	if len(p) > bufferSize {
		_, _ = b.w.Write(p)
		return len(p), nil
	}
	b.buf = append(b.buf, p...)
	if !b.armed {
		b.armed = true
		b.timer.Reset(bufferTime)
	}
	return len(p), nil
}

// Flush passes on what is there.
func (b *Buffered) Flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush()
}

func (b *Buffered) tick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.armed = false
	b.flush()
}

func (b *Buffered) flush() {
	if len(b.buf) > 0 {
		_, _ = b.w.Write(b.buf)
		b.buf = b.buf[:0]
	}
}
