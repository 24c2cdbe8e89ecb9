package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Options configure the Chain. The zero value has no limits and logs nothing.
type Options struct {
	Log     *slog.Logger   // panics; nil = none
	Proxies []netip.Prefix // whose X-Forwarded-* count
	CORS    CORS
	// CORSOf returns the CORS of a request that has its own, else nil. nil = all have CORS.
	CORSOf func(r *http.Request) *CORS

	MaxBody           int64         // bytes; 0 = no limit
	MaxHeaders        int           // bytes of request line and headers; 0 = no limit
	HandleTime        time.Duration // deadline of the context of a request; 0 = none
	Concurrent        int           // requests in flight; 0 = no limit
	RequestsPerSecond float64       // 0 = no limit

	// Stall is how long a client may take no piece of a large answer before the
	// connection is given up; 0 = for ever.
	Stall time.Duration

	// Exempt names requests that the limits do not count: a health check has
	// to be answered by a busy server too. nil = none.
	Exempt func(r *http.Request) bool
	// Error answers for the chain: Throttled and Internal. nil = Problem.
	Error func(w http.ResponseWriter, r *http.Request, e *fault.Error)
	// Record writes an audited request into the audit trail before the header
	// of its answer goes out. When it fails, so does the request. nil = no trail.
	Record func(r *http.Request, q *Request, status int) error
	// Observe are called after every request: the access log (AccessJSON,
	// AccessLog) and the metrics.
	Observe []func(Observation)
}

// Observation is what is known after a request. Request belongs to the chain
// and may not be kept.
type Observation struct {
	Request  *Request
	Method   string
	Status   int
	BytesIn  int64 // Content-Length; -1 = unknown
	BytesOut int64
	End      time.Time
	Duration time.Duration
}

type chain struct {
	opt     Options
	proxies proxies
	rate    *rate
	active  atomic.Int64
	next    http.Handler
	start   time.Time // zero of the monotonic clock of rate
}

// Chain returns next behind everything that this package does.
func Chain(next http.Handler, opt Options) http.Handler {
	if opt.Error == nil {
		opt.Error = Problem
	}
	return &chain{opt: opt, proxies: opt.Proxies, rate: newRate(opt.RequestsPerSecond), next: next, start: time.Now()}
}

// The constant headers; net/http never changes a slice that it was given.
var (
	nosniff = []string{"nosniff"}
	deny    = []string{"DENY"}
	hsts    = []string{"max-age=31536000"}
	vary    = []string{"Accept, Accept-Encoding"}
)

// ServeHTTP implements http.Handler.
func (c *chain) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	sc := &scope{Context: r.Context()}
	if c.opt.HandleTime > 0 {
		var cancel context.CancelFunc
		sc.Context, cancel = context.WithDeadline(sc.Context, begin.Add(c.opt.HandleTime))
		defer cancel()
	}
	q := &sc.request
	q.ID = newID()
	c.proxies.address(q, r)
	r = r.WithContext(sc)

	w := writers.Get().(*writer)
	w.ResponseWriter, w.stall = rw, c.opt.Stall
	if c.opt.Record != nil {
		w.record = func(status int) error {
			if !q.Audited {
				return nil
			}
			return c.opt.Record(r, q, status)
		}
		w.refuse = func(err error) { c.opt.Error(w, r, fault.From(err)) }
	}
	c.headers(w, r, sc)
	length := r.ContentLength
	completed := false
	defer func() {
		// A handler that aborted leaves an answer that must not look complete.
		if completed {
			w.finish()
			drain(r)
		} else {
			w.abandon()
		}
		c.done(w, r.Method, length, q, begin)
		w.free()
	}()
	c.guarded(w, r, begin)
	completed = true
}

// drain reads what a refused request still has of its body, when the client closes
// the connection after it. Otherwise net/http closes with bytes unread, the system
// answers with a reset, and the client may lose the answer that it was sent. On
// connections that go on net/http does the same. It ends where that gives up.
func drain(r *http.Request) {
	if r.Close && r.Header["Expect"] == nil { // who expects a 100 has sent nothing
		_, _ = io.CopyN(io.Discard, r.Body, 256<<10)
	}
}

// headers puts on the answer what every answer has. They are few on purpose: a
// map of up to eight entries is one allocation for net/http, more are several.
// What only matters to pages (Referrer-Policy and the like) is the portal's.
func (c *chain) headers(w *writer, r *http.Request, sc *scope) {
	h, q := w.Header(), &sc.request
	sc.id[0] = q.ID
	h["X-Request-Id"] = sc.id[:]
	if id := r.Header["X-Request-Id"]; len(id) > 0 {
		if q.Correlation = correlation(id[0]); q.Correlation != "" {
			sc.correlationID[0] = q.Correlation
			h["X-Correlation-Id"] = sc.correlationID[:]
		}
	}
	h["X-Content-Type-Options"] = nosniff
	h["X-Frame-Options"] = deny
	if q.Scheme == "https" {
		h["Strict-Transport-Security"] = hsts
	}
	h["Vary"] = vary
	if accept := r.Header["Accept-Encoding"]; len(accept) > 0 {
		w.gzip = r.Method != http.MethodHead && acceptsGzip(accept[0])
	}
}

// guarded does what may answer instead of the next handler.
func (c *chain) guarded(w *writer, r *http.Request, begin time.Time) {
	defer c.recover(w, r)
	cors := &c.opt.CORS
	if c.opt.CORSOf != nil {
		if own := c.opt.CORSOf(r); own != nil {
			cors = own
		}
	}
	if cors.apply(w, r) {
		return
	}
	if c.opt.MaxHeaders > 0 && headerSize(r) > c.opt.MaxHeaders {
		w.Header()["Connection"] = []string{"close"}
		c.opt.Error(w, r, fault.New(fault.HeadersTooLarge, "the request line and the headers are larger than %d bytes; send long queries as POST _search", c.opt.MaxHeaders))
		return
	}
	if c.opt.Exempt == nil || !c.opt.Exempt(r) {
		if wait := c.rate.admit(int64(begin.Sub(c.start))); wait > 0 {
			c.opt.Error(w, r, &fault.Error{Kind: fault.Throttled, Msg: "too many requests per second", RetryAfter: wait})
			return
		}
		if c.opt.Concurrent > 0 {
			defer c.active.Add(-1)
			if c.active.Add(1) > int64(c.opt.Concurrent) {
				c.opt.Error(w, r, &fault.Error{Kind: fault.Throttled, Msg: "too many requests at the same time", RetryAfter: time.Second})
				return
			}
		}
	}
	if c.opt.MaxBody > 0 && r.Body != nil && r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(w.ResponseWriter, r.Body, c.opt.MaxBody)
	}
	c.next.ServeHTTP(w, r)
}

// recover turns a panic into a 500, or cuts the connection when the answer has
// begun: a client must not take half an answer for a whole one.
func (c *chain) recover(w *writer, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // the sentinel of net/http, compared as it does
		panic(v)
	}
	if c.opt.Log != nil {
		c.opt.Log.LogAttrs(r.Context(), slog.LevelError, "panic",
			slog.String("request_id", w.Header().Get("X-Request-Id")), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	}
	if w.sent {
		panic(http.ErrAbortHandler)
	}
	w.status, w.pending = 0, w.pending[:0]
	h := w.Header()
	h.Del("Content-Length")
	h.Del("ETag")
	h.Del("Location")
	c.opt.Error(w, r, &fault.Error{Kind: fault.Internal, Msg: "internal error"})
}

// done reports a request to those who observe.
func (c *chain) done(w *writer, method string, in int64, q *Request, begin time.Time) {
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	end := time.Now()
	o := Observation{Request: q, Method: method, Status: status, BytesIn: in, BytesOut: w.bytes, End: end, Duration: end.Sub(begin)}
	for _, f := range c.opt.Observe {
		f(o)
	}
}
