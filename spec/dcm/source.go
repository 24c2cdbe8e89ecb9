package dcm

import (
	"io"
)

// source gives the bytes of a file, from memory or from a stream, and knows
// where it is.
type source struct {
	buf  []byte
	pos  int       // next byte of buf
	base int64     // offset of buf[0]
	r    io.Reader // nil: buf is all there is
	err  error     // the reader's, io.EOF at its end
}

// window is how much of a stream is held; headers and most values fit.
const window = 64 << 10

func (s *source) offset() int64 { return s.base + int64(s.pos) }

// peek returns the next n bytes (n <= window) without taking them, fewer at the end.
func (s *source) peek(n int) []byte {
	if len(s.buf)-s.pos < n && s.r != nil {
		s.fill(n)
	}
	return s.buf[s.pos:min(len(s.buf), s.pos+n)]
}

func (s *source) fill(n int) {
	if s.err != nil {
		return
	}
	if cap(s.buf) < window {
		s.buf = append(make([]byte, 0, window), s.buf[s.pos:]...)
		s.base += int64(s.pos)
		s.pos = 0
	} else if s.pos > 0 && cap(s.buf)-s.pos < max(n, window/4) {
		left := copy(s.buf, s.buf[s.pos:])
		s.base += int64(s.pos)
		s.buf, s.pos = s.buf[:left], 0
	}
	for len(s.buf)-s.pos < n && s.err == nil {
		var got int
		got, s.err = s.r.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+got]
	}
}

// failed is the reader's error unless it is the regular end.
func (s *source) failed() error {
	if s.err == io.EOF {
		return nil
	}
	return s.err
}

// drop takes n bytes that were seen by peek.
func (s *source) drop(n int) { s.pos += n }

// take returns the next n bytes: a part of the memory, or a copy of the stream's.
// What there is of them comes back with ok false when the source ends before.
func (s *source) take(n int64) (b []byte, ok bool) {
	if s.r == nil {
		have := int64(len(s.buf) - s.pos)
		got := min(n, have)
		b = s.buf[s.pos : s.pos+int(got) : s.pos+int(got)]
		s.pos += int(got)
		return b, got == n
	}
	// Grow as bytes arrive, so that a length that lies costs nothing.
	b = make([]byte, 0, min(n, window))
	for int64(len(b)) < n {
		part := s.peek(int(min(n-int64(len(b)), window/2)))
		if len(part) == 0 {
			return b, false
		}
		b = append(b, part...)
		s.drop(len(part))
	}
	return b, true
}

// skip passes over n bytes and returns how many there were.
func (s *source) skip(n int64) int64 {
	done := int64(0)
	for done < n {
		if have := int64(len(s.buf) - s.pos); have > 0 {
			step := min(have, n-done)
			s.pos += int(step)
			done += step
			continue
		}
		if s.r == nil || s.err != nil {
			break
		}
		s.fill(1)
	}
	return done
}
