package fhirhttp

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// Service is what the edge needs from the room. *fhir.Service is one. Errors
// are *fault.Error. No Body is used after a method has returned, unless ctx ended before.
type Service interface {
	Do(ctx context.Context, in *fhir.Interaction) (*fhir.Response, error)
	// Transaction answers one Response per interaction, in the same order, or fails as a whole.
	Transaction(ctx context.Context, ins []*fhir.Interaction) ([]*fhir.Response, error)
	// Batch answers one Response per interaction, in the same order; failures are in Response.Err.
	Batch(ctx context.Context, ins []*fhir.Interaction) []*fhir.Response
}

// Options configure the edge. The zero value serves at the root with safe limits.
type Options struct {
	// BasePath is the path of the service without a slash at its end, such as
	// "/default/fhir". Requests keep it in their URL.
	BasePath string
	// BaseURL returns scheme, host and the prefix of a proxy ("https://host/x")
	// for links; BasePath is appended to it. nil means web.BaseURL.
	BaseURL func(*http.Request) string
	// MaxBody limits a request body, after decompression; 0 means 32 MiB.
	MaxBody int64
	// Bodies bounds the memory of large bodies that are worked on; nil bounds nothing.
	Bodies *web.Budget
	// Pages bounds the memory of large pages of results that clients did not read yet; nil bounds nothing.
	Pages *web.Budget
	// MaxDepth and MaxNodes limit a JSON text; 0 means 100 and 4 million.
	MaxDepth, MaxNodes int
	// MaxBundleEntries limits a batch or transaction before it reaches the
	// service; 0 leaves it to the service.
	MaxBundleEntries int
	// AHDS gives answers the form of Azure Health Data Services: the entries of a
	// batch-response or transaction-response have the resources when Prefer says
	// nothing, what a search left out is said in its first entry, and only the
	// first page has the total that _total asks for.
	AHDS bool
	// Strict makes handling=strict the default.
	Strict bool
	// Search describes the search parameters in the CapabilityStatement; nil means search.Default().
	Search *search.Registry
	// Versioning returns the policy of a type for the CapabilityStatement; nil means "versioned" for all.
	Versioning func(resourceType string) string
	// Name and Version are those of the software, for the CapabilityStatement.
	Name, Version string
	// Bulk does $export and $import; nil means that it is not offered.
	Bulk Bulk
	// Handlers answer exact paths below the base, without a leading slash: ".well-known/smart-configuration".
	Handlers map[string]http.Handler
	// OAuth returns where the client of a request gets a token, for the
	// CapabilityStatement; nil means that none is needed.
	OAuth func(*http.Request) OAuth
	// Observe, if set, is called after every request but those to Handlers,
	// with the sizes of the request body and of the response body.
	Observe func(verb, resourceType string, status int, d time.Duration, in, out int)
	// Log receives internal errors: operation and cause, never a body. nil means slog.Default().
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// New returns the handler of one FHIR service.
func New(svc Service, opt Options) http.Handler {
	if opt.MaxBody <= 0 {
		opt.MaxBody = 32 << 20
	}
	if opt.MaxNodes <= 0 {
		opt.MaxNodes = 4_000_000
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Search == nil {
		opt.Search = search.Default()
	}
	if opt.BaseURL == nil {
		opt.BaseURL = web.BaseURL
	}
	opt.BasePath = strings.TrimSuffix(opt.BasePath, "/")
	h := &handler{svc: svc, opt: opt}
	h.started = opt.Now().UTC()
	for i, p := range patterns {
		h.patterns[i] = opt.BasePath + p
	}
	return h
}

type handler struct {
	svc     Service
	opt     Options
	started time.Time
	// patterns are the paths with names for values, for logs and metrics.
	patterns [len(patterns)]string
	caps     capabilities
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchanges.Get().(*exchange)
	x.h, x.w, x.r = h, w, r
	if h.opt.Observe != nil {
		x.begun = time.Now()
	}
	defer x.end()
	x.caching()
	if err := x.serve(); err != nil {
		x.fail(err)
	}
}

// private makes a cache ask again before it gives out an answer. Without it a
// browser may guess from Last-Modified how long a resource stays as it is (RFC
// 9111 section 4.2.2); with the ETag, asking again costs a 304.
var private = []string{"private, no-cache"}

// caching says what caches may do with an answer. X-Frame-Options makes room for
// it, because a map of eight headers is one allocation and a ninth costs more:
// what FHIR answers shows in no frame, and a raw Binary has its own policy.
func (x *exchange) caching() {
	head := x.w.Header()
	delete(head, "X-Frame-Options")
	head["Cache-Control"] = private
}

// exchange is one request and its answer. Its buffers are used again.
type exchange struct {
	h     *handler
	w     http.ResponseWriter
	r     *http.Request
	begun time.Time

	target target
	in     fhir.Interaction
	format format
	prefer prefer
	view   view
	base   string // see baseURL
	quoted []byte // see baseJSON

	body   []byte       // of the request
	held   int64        // of the budget of bodies
	doc    resource.Doc // parsed body
	extra  resource.Doc // Provenance, or a resource that gets subsetted
	out    []byte       // of the response
	tmp    []byte
	pretty []byte

	wrote  bool
	status int
	sent   int
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// keepBuffer is the largest buffer that is worth keeping for the next request: a
// large patient bundle.
const keepBuffer = 8 << 20

// end recovers from a panic, reports to the observer and gives the exchange back.
func (x *exchange) end() {
	if v := recover(); v != nil {
		if v == http.ErrAbortHandler {
			panic(v)
		}
		x.h.opt.Log.Error("panic in a FHIR request", "verb", string(x.in.Verb), "type", x.in.Type, "panic", v, "stack", string(debug.Stack()))
		x.fail(fault.New(fault.Internal, "internal error"))
	}
	if f := x.h.opt.Observe; f != nil && x.status != 0 {
		f(x.operationName(), x.in.Type, x.status, time.Since(x.begun), len(x.body), x.sent)
	}
	x.h.opt.Bodies.Leave(x.held)
	x.held = 0
	if x.r.Context().Err() != nil {
		return // somebody may still be working with the body
	}
	keep := exchange{out: kept(x.out), tmp: kept(x.tmp), pretty: kept(x.pretty), body: kept(x.body), doc: x.doc, extra: x.extra}
	keep.doc.Trim(keepBuffer)
	keep.extra.Trim(keepBuffer)
	*x = keep
	exchanges.Put(x)
}

func kept(b []byte) []byte {
	if cap(b) > keepBuffer {
		return nil
	}
	if overwrite {
		clear(b[:cap(b)])
	}
	return b[:0]
}

// overwrite makes the memory of a request useless at its end, as the next one will
// sooner or later: tests see who still looks at it.
var overwrite bool

// serve answers the request, or returns why not.
func (x *exchange) serve() error {
	path, ok := x.path()
	if !ok {
		return unknownRoute()
	}
	if h := x.h.opt.Handlers[strings.TrimPrefix(path, "/")]; h != nil {
		x.wrote = true
		h.ServeHTTP(x.w, x.r)
		return nil
	}
	if err := x.target.parse(path); err != nil {
		return err
	}
	if x.r.Method == http.MethodOptions {
		return x.options()
	}
	if err := x.target.interaction(x.r.Method, &x.in); err != nil {
		return err
	}
	if q := web.From(x.r.Context()); q != nil {
		q.Type, q.Operation, q.Route, q.ResourceID = x.in.Type, x.operationName(), x.h.pattern(&x.target), x.in.ID
	}
	if err := x.setQuery(x.r.URL.RawQuery); err != nil {
		return err
	}
	if x.in.Verb == fhir.VerbExport || x.in.Verb == fhir.VerbImport {
		return x.bulk()
	}
	if err := x.negotiate(); err != nil {
		return err
	}
	return x.dispatch()
}

// operationName names the interaction for logs and metrics.
func (x *exchange) operationName() string {
	if x.target.op != nil {
		return "$" + x.target.op.name
	}
	return string(x.in.Verb)
}

// path returns the path below the base, still percent-encoded.
func (x *exchange) path() (string, bool) {
	path := x.r.URL.RawPath
	if path == "" {
		path = x.r.URL.Path
		if strings.IndexByte(path, '%') >= 0 {
			path = x.r.URL.EscapedPath()
		}
	}
	rest, ok := strings.CutPrefix(path, x.h.opt.BasePath)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// dispatch calls the handler of the interaction.
func (x *exchange) dispatch() error {
	switch x.in.Verb {
	case fhir.VerbRead, fhir.VerbVRead:
		return x.read()
	case fhir.VerbCreate, fhir.VerbUpdate, fhir.VerbPatch:
		return x.write()
	case fhir.VerbDelete, fhir.VerbPurgeHistory:
		return x.delete()
	case fhir.VerbSearch, fhir.VerbHistory:
		return x.page()
	case fhir.VerbBundle:
		return x.bundle()
	case fhir.VerbCapabilities:
		return x.capabilities()
	case fhir.VerbReindex:
		return x.reindex()
	case fhir.VerbParamStatus:
		return x.paramStatus()
	case fhir.VerbParamSwitch:
		return x.switchParams()
	case fhir.VerbVersions:
		return x.versions()
	}
	return fault.At(fault.NotImplemented, "not-supported", "", "interaction %q is not offered here", x.in.Verb)
}

// options answers OPTIONS: the CapabilityStatement for the service itself, else
// the methods.
func (x *exchange) options() error {
	x.in.Method = http.MethodOptions
	x.w.Header()["Allow"] = []string{x.target.allow()}
	if x.target.offers(fhir.VerbPatch) {
		x.w.Header()["Accept-Patch"] = acceptPatch
	}
	if x.target.place != atSystem && x.target.place != atMetadata {
		x.finish(http.StatusNoContent, nil)
		return nil
	}
	x.in.Verb = fhir.VerbCapabilities
	if err := x.setQuery(x.r.URL.RawQuery); err != nil {
		return err
	}
	if err := x.negotiate(); err != nil {
		return err
	}
	return x.capabilities()
}

// baseURL returns the absolute URL of the service, for links.
func (x *exchange) baseURL() string {
	if x.base != "" {
		return x.base
	}
	x.base = strings.TrimSuffix(x.h.opt.BaseURL(x.r), "/") + x.h.opt.BasePath
	return x.base
}

// baseJSON returns baseURL as it stands inside a JSON string.
func (x *exchange) baseJSON() []byte {
	if len(x.quoted) == 0 {
		b := resource.AppendString(x.quoted[:0], x.baseURL())
		x.quoted = b[1 : len(b)-1]
	}
	return x.quoted
}

// newURN returns a placeholder urn:uuid for a reference inside one transaction.
func newURN() string {
	const hex = "0123456789abcdef"
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := []byte("urn:uuid:")
	for i, v := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			s = append(s, '-')
		}
		s = append(s, hex[v>>4], hex[v&15])
	}
	return string(s)
}
