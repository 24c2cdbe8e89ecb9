package dicomhttp

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// scanner splits a multipart/related body (RFC 2046 section 5.1) into its parts
// without buffering them. It looks for the boundary with bytes.Index over a
// large window, which costs a tenth of what mime/multipart does.
type scanner struct {
	r     io.Reader
	delim []byte // CRLF, two hyphens, the boundary
	buf   []byte // from window
	lo    int    // buf[lo:hi] is what was read and not given out
	hi    int
	eof   bool

	inPart  bool
	partEnd int // where in buf the delimiter of the part begins; -1 = not seen yet
	last    bool
	root    string // the media type of parts that do not say theirs
}

var windows = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

var _ dicom.Parts = (*scanner)(nil)

// newScanner reads the parts of a request. Release gives its memory back.
func newScanner(r io.Reader, boundary, root string) (s *scanner, release func()) {
	window := windows.Get().(*[]byte)
	s = &scanner{r: r, delim: []byte("\r\n--" + boundary), buf: *window, partEnd: -1, root: root}
	// The first boundary may stand at the very beginning, without a line before it.
	s.hi = copy(s.buf, "\r\n")
	s.inPart = true // the preamble, which is passed over like a part
	return s, func() { windows.Put(window) }
}

func errMultipart(msg string) error {
	return fault.New(fault.Invalid, "The multipart body is not valid: %s.", msg)
}

// fill reads more; false at the end of the body.
func (s *scanner) fill() (bool, error) {
	if s.eof {
		return false, nil
	}
	if s.lo > 0 && len(s.buf)-s.hi < len(s.buf)/4 {
		copy(s.buf, s.buf[s.lo:s.hi])
		s.hi -= s.lo
		if s.partEnd >= 0 {
			s.partEnd -= s.lo
		}
		s.lo = 0
	}
	if s.hi == len(s.buf) {
		return false, errMultipart("a line is too long")
	}
	n, err := s.r.Read(s.buf[s.hi:])
	s.hi += n
	if errors.Is(err, io.EOF) {
		s.eof = true
		return n > 0, nil
	}
	return err == nil, err
}

// Read gives bytes of the current part.
func (s *scanner) Read(p []byte) (int, error) {
	for {
		if s.partEnd < 0 {
			if i := bytes.Index(s.buf[s.lo:s.hi], s.delim); i >= 0 {
				s.partEnd = s.lo + i
			}
		}
		end := s.partEnd
		if end < 0 {
			end = s.hi - len(s.delim) + 1 // what follows may begin the delimiter
		}
		if end > s.lo {
			n := copy(p, s.buf[s.lo:end])
			s.lo += n
			return n, nil
		}
		if s.partEnd >= 0 {
			return 0, io.EOF
		}
		more, err := s.fill()
		if err != nil {
			return 0, readError(err)
		}
		if !more {
			return 0, errMultipart("it ends inside a part")
		}
	}
}

// readError is what a failed read of the request means.
func readError(err error) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fault.New(fault.TooLarge, "The request is larger than %d bytes.", e.Limit)
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	return &fault.Error{Kind: fault.Invalid, Op: "dicomhttp: read", Msg: "The request broke off.", Err: err}
}

// Next implements dicom.Parts.
func (s *scanner) Next() (io.Reader, error) {
	p, err := s.nextPart()
	if err != nil {
		return nil, err
	}
	if p.typ != "" && p.typ != typeDICOM && p.typ != typeOctets {
		return nil, fault.New(fault.Unsupported, "A part has the media type %.60q; application/dicom is supported.", p.typ)
	}
	return p.body, nil
}

// part is a part of a multipart body: what its headers say, and the reader of it.
type part struct {
	typ      string
	params   map[string]string
	location string // Content-Location
	body     io.Reader
	absent   bool // neither a header line nor a body: some write this when they have no part
}

// nextPart moves on to the next part; io.EOF after the last.
func (s *scanner) nextPart() (p part, err error) {
	for !s.last {
		if s.inPart {
			if _, err := io.Copy(io.Discard, onlyReader{s}); err != nil {
				return p, err
			}
		}
		if err := s.delimiter(); err != nil {
			return p, err
		}
		if s.last {
			break
		}
		if p, err = s.headers(); err != nil {
			return p, err
		}
		s.inPart, p.body = true, onlyReader{s}
		if !p.absent {
			return p, nil
		}
	}
	return p, io.EOF
}

// onlyReader hides everything but Read.
type onlyReader struct{ io.Reader }

// need makes n bytes available; false at the end of the body.
func (s *scanner) need(n int) (bool, error) {
	for s.hi-s.lo < n {
		more, err := s.fill()
		if err != nil {
			return false, readError(err)
		}
		if !more {
			return false, nil
		}
	}
	return true, nil
}

// delimiter takes the boundary: two hyphens after it end the body.
func (s *scanner) delimiter() error {
	s.lo, s.partEnd, s.inPart = s.partEnd+len(s.delim), -1, false
	if ok, err := s.need(2); err != nil {
		return err
	} else if !ok {
		return errMultipart("it ends at a boundary")
	}
	if s.buf[s.lo] == '-' && s.buf[s.lo+1] == '-' {
		s.last = true
	}
	return nil
}

// maxHeader bounds the header lines of a part.
const maxHeader = 8 << 10

// line takes a line without its end.
func (s *scanner) line() (string, error) {
	for seen := 0; ; {
		if i := bytes.IndexByte(s.buf[s.lo+seen:s.hi], '\n'); i >= 0 {
			text := s.buf[s.lo : s.lo+seen+i]
			s.lo += seen + i + 1
			return string(bytes.TrimRight(text, "\r")), nil
		}
		if seen = s.hi - s.lo; seen > maxHeader {
			return "", errMultipart("a header line is too long")
		}
		more, err := s.fill()
		if err != nil {
			return "", readError(err)
		}
		if !more {
			return "", errMultipart("it ends inside the headers of a part")
		}
	}
}

// headers reads the header lines of a part.
func (s *scanner) headers() (p part, err error) {
	if rest, err := s.line(); err != nil {
		return p, err
	} else if strings.TrimSpace(rest) != "" {
		return p, errMultipart("there is text after a boundary")
	}
	p.typ = s.root
	for size := 0; ; {
		l, err := s.line()
		if err != nil {
			return p, err
		}
		if l == "" {
			at, err := s.endsHere()
			p.absent = at && size == 0
			return p, err
		}
		if size += len(l); size > maxHeader {
			return p, errMultipart("the headers of a part are too long")
		}
		name, value, _ := strings.Cut(l, ":")
		value = strings.TrimSpace(value)
		switch textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)) {
		case "Content-Type":
			if p.typ, p.params, err = mime.ParseMediaType(value); err != nil {
				p.typ, p.params = lenientType(value)
			}
		case "Content-Location":
			p.location = value
		}
	}
}

// endsHere looks after the headers of a part whether it has no body: then their
// line end is given back, because it is also that of the delimiter.
func (s *scanner) endsHere() (bool, error) {
	if s.lo < 2 || s.buf[s.lo-2] != '\r' {
		return false, nil
	}
	s.lo -= 2
	if bytes.HasPrefix(s.buf[s.lo:s.hi], s.delim[:min(len(s.delim), s.hi-s.lo)]) {
		ok, err := s.need(len(s.delim))
		if err != nil || ok && bytes.HasPrefix(s.buf[s.lo:s.hi], s.delim) {
			return true, err
		}
	}
	s.lo += 2
	return false, nil
}

// single is a request that is one file.
type single struct {
	r    io.Reader
	done bool
}

// Next implements dicom.Parts.
func (s *single) Next() (io.Reader, error) {
	if s.done {
		return nil, io.EOF
	}
	s.done = true
	return s, nil
}

// Read implements io.Reader.
func (s *single) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = readError(err)
	}
	return n, err
}

// patient is a body whose client may take its time as long as something comes.
type patient struct {
	r     io.Reader
	c     *http.ResponseController
	stall time.Duration
	until time.Time
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	if now := time.Now(); now.Add(p.stall / 2).After(p.until) {
		p.until = now.Add(p.stall)
		_ = p.c.SetReadDeadline(p.until) // not every connection can
	}
	return p.r.Read(b)
}
