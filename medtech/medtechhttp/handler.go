package medtechhttp

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

// Options configure the edge.
type Options struct {
	BasePath string                                                                // /workspace/service, or "" on a host of its own
	MaxBody  int64                                                                 // largest body on the wire and inflated
	Bodies   *web.Budget                                                           // of large bodies that are worked on at the same time; nil bounds nothing
	Observe  func(operation string, status int, took time.Duration, in, out int64) // nil observes nothing
	Log      *slog.Logger                                                          // nil = slog.Default()
}

type handler struct {
	s     *medtech.Service
	opt   Options
	table []route
}

// New returns the handler of everything below the base of a service.
func New(s *medtech.Service, opt Options) http.Handler {
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	if opt.MaxBody <= 0 {
		opt.MaxBody = 32 << 20
	}
	h := &handler{s: s, opt: opt}
	h.table = h.routes()
	return h
}

type serve func(w http.ResponseWriter, r *http.Request, id string) error

// route is a row of the table: {id} stands for one segment.
type route struct {
	method, path string
	operation    string
	do           serve
}

func (h *handler) routes() []route {
	return []route{
		{"POST", "/messages", "messages", h.messages},
		{"GET", "/devicemapping", "read-mapping", h.getMapping(medtech.DeviceMapping)},
		{"PUT", "/devicemapping", "put-mapping", h.putMapping(medtech.DeviceMapping)},
		{"GET", "/fhirmapping", "read-mapping", h.getMapping(medtech.FHIRMapping)},
		{"PUT", "/fhirmapping", "put-mapping", h.putMapping(medtech.FHIRMapping)},
		{"POST", "/$test", "$test", h.trial},
		{"GET", "/deadletters", "deadletters", h.letters},
		{"POST", "/deadletters/$redrive", "$redrive", h.redrive},
		{"POST", "/deadletters/$discard", "$discard", h.discard},
		{"GET", "/deadletters/{id}", "deadletter", h.letter},
		{"PUT", "/deadletters/{id}", "edit-deadletter", h.editLetter},
		{"DELETE", "/deadletters/{id}", "$discard", h.discardOne},
		{"POST", "/deadletters/{id}/$redrive", "$redrive", h.redriveOne},
		{"GET", "/replays", "replays", h.replays},
		{"POST", "/replays", "replay", h.startReplay},
		{"DELETE", "/replays/{id}", "cancel-replay", h.cancelReplay},
		{"GET", "/status", "status", h.status},
	}
}

// Routes lists every method of every path below the base.
func Routes() []auth.Route {
	var out []auth.Route
	for _, rt := range (&handler{}).routes() {
		out = append(out, auth.Route{Method: rt.method, Path: rt.path})
	}
	return out
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, h.opt.BasePath), "/")
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allow []string
	for _, rt := range h.table {
		id, ok := match(rt.path, path)
		if !ok {
			continue
		}
		if rt.method != method {
			allow = append(allow, rt.method)
			continue
		}
		if r.URL.RawQuery != "" && rt.operation != "deadletters" {
			web.Problem(w, r, fault.New(fault.Invalid, "there are no parameters here; what there is to say stands in the body"))
			return
		}
		if q := web.From(r.Context()); q != nil {
			q.Route, q.Operation, q.ResourceID = "/{workspace}/{service}"+rt.path, rt.operation, id
		}
		h.answer(w, r, rt, id)
		return
	}
	e := fault.New(fault.NotFound, "there is nothing at this path of a MedTech service")
	if len(allow) > 0 {
		list := strings.Join(allow, ", ")
		w.Header().Set("Allow", list)
		e = fault.New(fault.NotAllowed, "%.16s is not possible here; allowed are %s", r.Method, list)
	}
	web.Problem(w, r, e)
}

func (h *handler) answer(w http.ResponseWriter, r *http.Request, rt route, id string) {
	begin := time.Now()
	sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	if err := rt.do(sw, r, id); err != nil {
		e := fault.From(err)
		if e.Kind == fault.Internal {
			h.opt.Log.LogAttrs(r.Context(), slog.LevelError, "medtech failed", slog.String("operation", rt.operation), slog.Any("err", err))
		}
		if e.Kind == fault.Unauthenticated {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		web.Problem(sw, r, e)
	}
	if h.opt.Observe != nil {
		h.opt.Observe(rt.operation, sw.status, time.Since(begin), max(r.ContentLength, 0), sw.size)
	}
}

// match compares a path with that of a route; id is the segment of {id}.
func match(pattern, path string) (id string, ok bool) {
	before, after, has := strings.Cut(pattern, "{id}")
	if !has {
		return "", pattern == path
	}
	rest, ok := strings.CutPrefix(path, before)
	if !ok {
		return "", false
	}
	id, ok = strings.CutSuffix(rest, after)
	return id, ok && id != "" && !strings.Contains(id, "/")
}

// statusWriter remembers the status and the size.
type statusWriter struct {
	http.ResponseWriter
	status int
	size   int64
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.size += int64(n)
	return n, err
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what is below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// reply answers with JSON.
func reply(w http.ResponseWriter, r *http.Request, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap("medtechhttp: answer", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // the client is gone when this fails
	}
	return nil
}

func number(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return 0, fault.New(fault.NotFound, "%.40q is no id", text)
	}
	return n, nil
}

func (h *handler) status(w http.ResponseWriter, r *http.Request, _ string) error {
	st, err := h.s.Status(r.Context())
	if err != nil {
		return err
	}
	return reply(w, r, http.StatusOK, st)
}
