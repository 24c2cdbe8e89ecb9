package web

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// minGzip is the least size of a body that is worth compressing: below it the
// answer fits one packet anyway.
const minGzip = 1024

// writer counts an answer and compresses it when that is wanted. As long as the
// size is unknown it holds back the first minGzip bytes, to see whether there
// is more.
type writer struct {
	http.ResponseWriter
	status  int
	bytes   int64         // on the wire, after compression
	gzip    bool          // the client accepts it and the method allows it
	sent    bool          // the header went out
	stall   time.Duration // how long the client may take no piece of a large answer
	hurried bool          // the connection has a deadline
	pending []byte
	zw      *gzip.Writer
	// record, if set, is asked once before the header goes out; when it fails the
	// answer is another one, and muted drops what the handler still writes.
	record func(status int) error
	refuse func(error)
	muted  bool
}

var (
	writers = sync.Pool{New: func() any { return &writer{pending: make([]byte, 0, minGzip)} }}
	zippers = sync.Pool{New: func() any {
		zw, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
		if err != nil {
			panic("web: " + err.Error()) // the level is a constant
		}
		return zw
	}}
)

// Unwrap lets http.ResponseController reach the connection.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status) // 1xx: the final one follows
		return
	}
	if w.status != 0 {
		return
	}
	if record := w.record; record != nil {
		w.record = nil
		if err := record(status); err != nil {
			h := w.Header()
			for _, name := range []string{"Content-Length", "Content-Encoding", "ETag", "Location", "Content-Location", "Last-Modified"} {
				h.Del(name)
			}
			w.refuse(err)
			w.muted = true
			return
		}
	}
	w.status = status
	if !w.gzip || !w.mayCompress() {
		w.gzip = false
		w.send()
	}
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.muted {
		return len(p), nil
	}
	if w.sent {
		return w.write(p)
	}
	if len(w.pending)+len(p) < minGzip {
		w.pending = append(w.pending, p...)
		return len(p), nil
	}
	w.startGzip()
	if err := w.release(); err != nil {
		return 0, err
	}
	return w.write(p)
}

// write sends body bytes after the header.
func (w *writer) write(p []byte) (int, error) {
	if w.zw != nil {
		return w.zw.Write(p)
	}
	return w.wire(p)
}

const (
	// piece is what a client that reads takes in stall at the very least.
	piece = 256 << 10
	// small is an answer, or its beginning, that holds little and needs no clock.
	small = 16 << 10
)

// wire sends bytes to the client. A large answer goes piece by piece, and is
// given up when the client does not take one: otherwise somebody who asks and
// does not read would hold the memory of the answer for as long as he likes.
func (w *writer) wire(p []byte) (sent int, err error) {
	if w.stall <= 0 || w.bytes+int64(len(p)) < small {
		sent, err = w.ResponseWriter.Write(p)
		w.bytes += int64(sent)
		return sent, err
	}
	for len(p) > 0 && err == nil {
		w.hurry(time.Now().Add(w.stall))
		var n int
		n, err = w.ResponseWriter.Write(p[:min(piece, len(p))])
		p, sent = p[n:], sent+n
	}
	w.bytes += int64(sent)
	return sent, err
}

// hurry sets the time until which the client has to take what is written; the
// zero time ends that. A writer that is no connection has no clock.
func (w *writer) hurry(until time.Time) {
	w.hurried = !until.IsZero()
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(until)
}

// send lets the header go out.
func (w *writer) send() {
	w.sent = true
	w.ResponseWriter.WriteHeader(w.status)
}

// release sends what was held back.
func (w *writer) release() error {
	if len(w.pending) == 0 {
		return nil
	}
	_, err := w.write(w.pending)
	w.pending = w.pending[:0]
	return err
}

// counted is the wire below the compressor.
type counted struct{ w *writer }

func (c counted) Write(p []byte) (int, error) {
	return c.w.wire(p)
}

func (w *writer) startGzip() {
	h := w.Header()
	h.Del("Content-Length")
	h["Content-Encoding"] = gzipValue
	w.zw = zippers.Get().(*gzip.Writer)
	w.zw.Reset(counted{w})
	w.send()
}

var gzipValue = []string{"gzip"}

// mayCompress looks at the header of the answer. A compressible answer varies by
// Accept-Encoding, whether it is compressed in the end or not.
func (w *writer) mayCompress() bool {
	if w.status == http.StatusNoContent || w.status == http.StatusNotModified ||
		w.status == http.StatusPartialContent || w.status == http.StatusSwitchingProtocols {
		return false
	}
	h := w.Header()
	if h.Get("Content-Encoding") != "" || !compressible(h.Get("Content-Type")) {
		return false
	}
	if n := h.Get("Content-Length"); n != "" && len(n) < 4 || len(n) == 4 && n < "1024" {
		return false
	}
	return true
}

// compressible reports whether a media type is text. An absent one is not
// touched, because net/http guesses it from the plain bytes.
func compressible(mediaType string) bool {
	t, _, _ := strings.Cut(mediaType, ";")
	t = strings.TrimSpace(t)
	if strings.HasPrefix(t, "text/") {
		return t != "text/event-stream"
	}
	return strings.HasSuffix(t, "json") || strings.HasSuffix(t, "xml") || t == "application/javascript"
}

// FlushError implements what http.ResponseController.Flush looks for. A flush
// says that the answer is a stream, so nothing is held back any longer.
func (w *writer) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.sent {
		w.startGzip()
		if err := w.release(); err != nil {
			return err
		}
	}
	if w.zw != nil {
		if err := w.zw.Flush(); err != nil {
			return err
		}
	}
	if w.hurried {
		w.hurry(time.Now().Add(w.stall))
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// Hijack implements http.Hijacker.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// finish completes the answer: what was held back was small and goes out plain.
func (w *writer) finish() {
	if w.status == 0 && w.record != nil {
		w.WriteHeader(http.StatusOK)
	}
	if w.status == 0 {
		w.status = http.StatusOK // net/http sends it when the handler returns
		return
	}
	if !w.sent {
		w.send()
		_ = w.release() // the client is gone when this fails
	}
	if w.zw != nil {
		_ = w.zw.Close()
	}
	if w.hurried {
		w.hurry(time.Time{}) // the connection is used again
	}
}

// abandon lets go of an answer that broke off in the middle.
func (w *writer) abandon() { w.pending = w.pending[:0] }

// free gives w and its compressor back; nobody may touch it afterwards.
func (w *writer) free() {
	if w.zw != nil {
		w.zw.Reset(io.Discard)
		zippers.Put(w.zw)
	}
	*w = writer{pending: w.pending[:0]}
	writers.Put(w)
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3): gzip is named, or
// meant by *, and its weight is not zero.
func acceptsGzip(header string) bool {
	if header == "" {
		return false
	}
	named, any := -1, -1
	for part := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(part, ";")
		ok := 1
		if weight, found := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q="); found && strings.Trim(weight, "0.") == "" {
			ok = 0
		}
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			named = ok
		case "*":
			any = ok
		}
	}
	if named >= 0 {
		return named == 1
	}
	return any == 1
}
