package dicomhttp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

// Options configure the edge. The zero value serves at the root.
type Options struct {
	// BasePath is the path of the service without a slash at its end, such as "/default/dicom".
	BasePath string
	// BaseURL returns scheme, host and the prefix of a proxy for links. nil means web.BaseURL.
	BaseURL func(*http.Request) string
	// Health says whether the service can work; nil means it can.
	Health func(ctx context.Context) error
	// Observe, if set, is called after every request with the sizes of the bodies.
	Observe func(op string, status int, d time.Duration, in, out int64)
	Log     *slog.Logger // internal errors; nil = none
	// Stall is how long a client may be silent while it sends files, or take
	// nothing of an answer; default one minute. Stores and retrievals have no
	// other limit of time, because they may be large.
	Stall time.Duration
}

// Handler is the http.Handler of a service.
type Handler struct {
	s     *dicom.Service
	opt   Options
	cache *metadataCache
}

// New returns the edge of a service.
func New(s *dicom.Service, opt Options) *Handler {
	if opt.BaseURL == nil {
		opt.BaseURL = web.BaseURL
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Stall <= 0 {
		opt.Stall = time.Minute
	}
	return &Handler{s: s, opt: opt, cache: newMetadataCache(64 << 20)}
}

// exchange is one request on its way.
type exchange struct {
	h  *Handler
	w  *recorder
	r  *http.Request
	rt route
}

// recorder counts the answer. What is small is gathered, so that head, parts and the
// end of an answer are one write.
type recorder struct {
	http.ResponseWriter
	status  int
	n       int64
	waiting *[]byte
}

// gathers has memory for answers that are gathered.
var gathers = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// room returns the memory that is left for gathering.
func (w *recorder) room() []byte {
	if w.waiting == nil {
		w.waiting = gathers.Get().(*[]byte)
	}
	b := *w.waiting
	return b[len(b):cap(b)]
}

// flush sends what was gathered.
func (w *recorder) flush() error {
	if w.waiting == nil || len(*w.waiting) == 0 {
		return nil
	}
	_, err := w.ResponseWriter.Write(*w.waiting)
	*w.waiting = (*w.waiting)[:0]
	return err
}

// end sends what was gathered and gives its memory back.
func (w *recorder) end() {
	if w.waiting == nil {
		return
	}
	_ = w.flush() // the client is gone when this fails
	gathers.Put(w.waiting)
	w.waiting = nil
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if len(p) <= len(w.room()) {
		*w.waiting = append(*w.waiting, p...)
		w.n += int64(len(p))
		return len(p), nil
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}

// gather reads r into what is left of the memory; more says that r is not at its end.
func (w *recorder) gather(r io.Reader) (more bool, err error) {
	for {
		b := w.room()
		if len(b) == 0 {
			return true, nil
		}
		n, err := r.Read(b)
		*w.waiting = (*w.waiting)[:len(*w.waiting)+n]
		w.n += int64(n)
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// ReadFrom lets large answers go from file to socket.
func (w *recorder) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.end() // what is large goes from file to socket, without our memory
	n, err := io.Copy(w.ResponseWriter, r)
	w.n += n
	return n, err
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	x := &exchange{h: h, w: &recorder{ResponseWriter: rw}, r: r}
	defer x.w.end()
	err := x.serve()
	if err != nil {
		x.fail(err)
	}
	x.w.end()
	if h.opt.Observe != nil {
		h.opt.Observe(x.rt.op, x.w.status, time.Since(begin), max(r.ContentLength, 0), x.w.n)
	}
}

func (x *exchange) serve() error {
	rt, err := parseRoute(x.r, x.h.opt.BasePath)
	x.rt = rt
	if q := web.From(x.r.Context()); q != nil { // before the answer: the trail is written first
		q.Route, q.Operation, q.ResourceID = x.h.opt.BasePath+rt.pattern, rt.op, rt.resource()
	}
	if err != nil {
		return err
	}
	if rt.version > 0 {
		x.w.Header()["Api-Supported-Versions"] = supported
	}
	return rt.serve(x)
}

var supported = []string{"1, 2"}

// status is the table from kinds of fault to codes of HTTP.
func status(k fault.Kind) int { return web.Status(k) }

// fail answers with a line of text. When the answer has begun the connection is
// cut: a client must not take half an answer for a whole one.
func (x *exchange) fail(err error) {
	e := fault.From(err)
	if e.Kind == fault.NotModified {
		x.w.WriteHeader(http.StatusNotModified)
		return
	}
	code := status(e.Kind)
	if code >= 500 && e.Err != nil && !errors.Is(e.Err, context.Canceled) {
		x.h.opt.Log.LogAttrs(x.r.Context(), slog.LevelError, "dicom request failed", slog.String("operation", x.rt.op), slog.Any("err", err))
	}
	if x.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	h := x.w.Header()
	web.SetRetryAfter(h, e)
	if e.Kind == fault.Unauthenticated && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", `Bearer realm="hygeia"`)
	}
	if e.Kind == fault.NotAllowed {
		h.Set("Allow", x.rt.allow)
	}
	msg := e.Msg
	if msg == "" && len(e.Issues) > 0 {
		msg = e.Issues[0].Diagnostics
	}
	h.Del("ETag")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(msg)))
	x.w.WriteHeader(code)
	if x.r.Method != http.MethodHead {
		_, _ = io.WriteString(x.w, msg) // the client is gone when this fails
	}
}

// root is the URL of the service with the version of the API.
func (x *exchange) root() string { return x.h.opt.BaseURL(x.r) + x.h.opt.BasePath + x.rt.prefix }

// base is the URL of the service up to /studies.
func (x *exchange) base() string {
	b := x.root()
	if x.rt.partition != "" {
		b += "/partitions/" + x.rt.partition
	}
	return b
}

func (x *exchange) target() dicom.Target {
	return dicom.Target{Partition: x.rt.partition, UIDs: x.rt.uids}
}

// long is the context of work that may take as long as data flow: it has no
// deadline. A client that goes away is seen by the connection.
func (x *exchange) long() context.Context { return context.WithoutCancel(x.r.Context()) }

// stall gives the client time to take the next piece of an answer.
func (x *exchange) stall() {
	_ = http.NewResponseController(x.w.ResponseWriter).SetWriteDeadline(time.Now().Add(x.h.opt.Stall)) // not every writer can
}

// health answers as AHDS does.
func (x *exchange) health() error {
	text, code, word := "", http.StatusOK, "Healthy"
	if f := x.h.opt.Health; f != nil {
		if err := f(x.r.Context()); err != nil {
			code, word, text = http.StatusServiceUnavailable, "Unhealthy", "The store does not answer."
		}
	}
	return x.json(code, []byte(`{"overallStatus":"`+word+`","details":[{"name":"Store","status":"`+word+`","description":"`+text+`"}]}`), "application/json")
}

// json answers with a body that is there as a whole.
func (x *exchange) json(code int, body []byte, mediaType string) error {
	h := x.w.Header()
	h["Content-Type"] = []string{mediaType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.w.WriteHeader(code)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(body) // the client is gone when this fails
	}
	return nil
}

// Refuse answers a request that was refused before it came here.
func Refuse(w http.ResponseWriter, r *http.Request, e *fault.Error) {
	x := &exchange{h: &Handler{opt: Options{Log: slog.New(slog.DiscardHandler)}}, w: &recorder{ResponseWriter: w}, r: r}
	defer x.w.end()
	x.fail(e)
	x.w.end()
}
