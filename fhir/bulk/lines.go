package bulk

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// open opens the file where the part goes on. A part that begins inside the
// file leaves the line that it falls into to the part before.
func (l *loader) open(ctx context.Context) (io.Closer, error) {
	in, from := l.part.Import.Inputs[0], l.mark.Next
	skip := from > 0 && !l.mark.Begun
	if skip {
		from-- // a line that begins exactly there is ours
	}
	ctx, cancel := context.WithCancel(ctx)
	src := &source{cancel: cancel, stalled: time.AfterFunc(stallTime, cancel)}
	r, err := l.s.d.Sources.Open(ctx, in.URL, in.Tag, from)
	src.stalled.Stop()
	if err != nil {
		cancel()
	}
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Precondition) {
		return nil, l.changed()
	}
	if err != nil {
		return nil, err
	}
	src.ReadCloser = r
	l.in, l.at = bufio.NewReaderSize(src, 256<<10), from
	if skip {
		if err := l.skipLine(); err != nil {
			_ = src.Close()
			return nil, err
		}
	}
	l.mark.Begun = true
	return src, nil
}

// stallTime is how long a source may give nothing until it is given up, and opened
// again later: others may wait for the end of a large line.
const stallTime = time.Minute

// source is a file that is read until its source stalls.
type source struct {
	io.ReadCloser
	cancel  context.CancelFunc
	stalled *time.Timer
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	s.stalled.Reset(stallTime)
	defer s.stalled.Stop()
	return s.ReadCloser.Read(p)
}

// Close implements io.Closer.
func (s *source) Close() error {
	defer s.cancel()
	return s.ReadCloser.Close()
}

// skipLine reads to the end of a line, or to the end of the part when no line
// begins in it: the parts of a file with one long line do not read it again and again.
func (l *loader) skipLine() error {
	for l.part.To < 0 || l.at < l.part.To {
		chunk, err := l.in.ReadSlice('\n')
		l.at += int64(len(chunk))
		switch {
		case err == nil || errors.Is(err, io.EOF):
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return unread(err)
		}
	}
	return nil
}

// unread makes an error of a source one that is tried again, unless it says what it is.
func unread(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	return &fault.Error{Kind: fault.Transient, Op: "bulk: read", Msg: "the file of an input cannot be read now", Err: err}
}

// largeLine is the size from which on a line is alone in memory: it takes a
// multiple of its bytes as text, tree, stored form, index rows and compressed.
const largeLine = 2 << 20

// looseBytes are how many bytes of large lines may be left to the collector,
// which would let the memory grow to twice of what is in use.
const looseBytes = 16 << 20

// Large lets the large lines of all imports of a node have the memory one after
// the other.
type Large struct{ turn chan struct{} }

// NewLarge returns a Large for the services of one node.
func NewLarge() *Large { return &Large{turn: make(chan struct{}, 1)} }

// enter waits until nobody else has a large line. What this part has in memory
// is stored before.
func (l *loader) enter(ctx context.Context) error {
	if err := l.settleAll(ctx); err != nil {
		return err
	}
	for _, x := range l.free {
		x.drop()
	}
	select {
	case l.s.d.Large.turn <- struct{}{}:
		l.large = true
		tidy.begin()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave ends the turn of a large line.
func (l *loader) leave() {
	if l.large {
		l.large = false
		tidy.end()
		<-l.s.d.Large.turn
	}
}

// empty gives the memory of a batch with a large line back.
func (l *loader) empty(x *slot) {
	n := len(x.arena)
	x.drop()
	l.loosen(n)
}

// loosen ends the turn of a large line that nobody holds any more.
func (l *loader) loosen(n int) {
	if l.loose += n; l.loose >= looseBytes {
		debug.FreeOSMemory()
		l.loose = 0
	}
	l.leave()
}

// tidy makes the collector run more often while large lines are in memory, so
// that what is left of one step is gone before the next one needs as much.
var tidy collector

type collector struct {
	mu            sync.Mutex
	users, before int
}

// tidyPercent is how much garbage there may be for what is in use (GOGC).
const tidyPercent = 25

func (c *collector) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users++; c.users > 1 {
		return
	}
	if c.before = debug.SetGCPercent(tidyPercent); c.before >= 0 && c.before < tidyPercent {
		debug.SetGCPercent(c.before)
	}
}

func (c *collector) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users--; c.users == 0 {
		debug.SetGCPercent(c.before)
	}
}

// drop forgets the lines of a batch and their memory.
func (x *slot) drop() {
	x.batch.Reset()
	x.arena = nil
}

// tooLong is the error of a line that is larger than a request may be.
func (l *loader) tooLong() error {
	return fault.At(fault.Invalid, "too-long", "", "the line is longer than %d bytes", l.s.d.LineSize)
}

// readLine appends a line without its end to dst.
func (l *loader) readLine(ctx context.Context, dst []byte) (_ []byte, long bool, err error) {
	start := len(dst)
	for {
		chunk, err := l.in.ReadSlice('\n')
		l.at += int64(len(chunk))
		size := len(dst) - start + len(chunk)
		switch {
		case long:
		case int64(size) > l.s.d.LineSize:
			n := len(dst) - start
			long, dst = true, slices.Clone(dst[:start]) // without what it grew to
			if l.large {
				l.loosen(n) // its rest is only skipped, however much there is
			}
		default:
			if size > largeLine && !l.large {
				if err := l.enter(ctx); err != nil {
					return dst, false, err
				}
			}
			dst = append(l.room(dst, start, len(chunk)), chunk...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil:
			return bytes.TrimSuffix(bytes.TrimSuffix(dst, []byte("\n")), []byte("\r")), long, nil
		case errors.Is(err, io.EOF) && l.at < l.part.Import.Inputs[0].Size:
			return dst, long, io.ErrUnexpectedEOF // it was cut off; when it is opened again it shows why
		case errors.Is(err, io.EOF) && l.at > 0 && (len(dst) > start || long):
			return dst, long, nil // the last line has no end
		}
		return dst, long, err
	}
}

// room makes room for n bytes more of a line that begins at start.
func (l *loader) room(dst []byte, start, n int) []byte {
	if need := len(dst) + n; need > cap(dst) {
		most := start + int(l.s.d.LineSize)
		dst = append(make([]byte, 0, max(need, min(2*cap(dst), most))), dst...)
	}
	return dst
}

// fill reads lines into the batch of a slot; false when the part is at its end.
func (l *loader) fill(ctx context.Context, x *slot) (more bool, err error) {
	x.arena, x.ends, x.lines, x.long = x.arena[:0], x.ends[:0], x.lines[:0], x.long[:0]
	x.batch.Reset()
	defer func() { x.next, x.last = l.at, l.line }()
	if more, err = l.readLines(ctx, x); err != nil {
		return false, err
	}
	start := 0
	for _, end := range x.ends {
		x.batch.Add(ctx, x.arena[start:end])
		start = end
	}
	return more, nil
}

// readLines reads the lines of a batch into the memory of a slot.
func (l *loader) readLines(ctx context.Context, x *slot) (more bool, err error) {
	for len(x.ends) < batchLines && len(x.arena) < batchBytes {
		if l.part.To >= 0 && l.at >= l.part.To {
			return false, nil
		}
		start := len(x.arena)
		buf, long, err := l.readLine(ctx, x.arena)
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, unread(err)
		}
		l.line++
		switch {
		case long:
			x.long = append(x.long, l.line)
			continue
		case len(bytes.TrimSpace(buf[start:])) == 0:
			continue
		}
		x.arena = buf
		x.ends, x.lines = append(x.ends, len(buf)), append(x.lines, l.line)
	}
	return true, nil
}
