package eventshttp

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/events"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

// Bounds of the pull cursor.
const (
	defaultLimit = 100
	maxLimit     = 1000
	maxBody      = 1 << 20
	beatTime     = 15 * time.Second // between comments of a quiet stream
)

// Handler serves the events of one workspace.
type Handler struct {
	svc     *events.Service
	log     *slog.Logger
	leaving <-chan struct{}
}

// New returns the edge of a service. Streams end when leaving is closed: a server
// that stops would wait for them.
func New(svc *events.Service, log *slog.Logger, leaving <-chan struct{}) *Handler {
	return &Handler{svc, log, leaving}
}

// answer shows an error, and logs what is a defect.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.From(err)
	if e.Kind == fault.Internal {
		h.log.LogAttrs(r.Context(), slog.LevelError, "events failed", slog.Any("err", err))
	}
	web.Problem(w, r, e)
}

// serve answers one method of a path; name is that of the subscription.
type serve func(h *Handler, w http.ResponseWriter, r *http.Request, name string) error

// endpoint is a path with its methods. GET stands for HEAD too.
type endpoint struct {
	path    string // {name} stands for one segment
	methods map[string]serve
}

// cursor holds the paths below /{workspace}/events, subscriptions those below
// .../eventsubscriptions of the management API.
var (
	cursor = []endpoint{
		{"", map[string]serve{http.MethodGet: (*Handler).pull}},
		{"/validate", map[string]serve{http.MethodGet: (*Handler).validate, http.MethodPost: (*Handler).validate}},
	}
	subscriptions = []endpoint{
		{"", map[string]serve{http.MethodGet: (*Handler).list}},
		{"/{name}", map[string]serve{http.MethodGet: (*Handler).show, http.MethodPut: (*Handler).put, http.MethodDelete: (*Handler).remove}},
		{"/{name}/deadletters", map[string]serve{http.MethodGet: (*Handler).letters}},
		{"/{name}/redrive", map[string]serve{http.MethodPost: (*Handler).redrive}},
	}
)

// Routes lists every method of every path.
func Routes() []auth.Route {
	var out []auth.Route
	for base, list := range map[string][]endpoint{"/{workspace}/events": cursor, "/manage/v1/workspaces/{workspace}/eventsubscriptions": subscriptions} {
		for _, e := range list {
			for m := range e.methods {
				out = append(out, auth.Route{Method: m, Path: base + e.path})
			}
		}
	}
	return out
}

// ServeCursor answers what is below /{workspace}/events; rest is the path there.
func (h *Handler) ServeCursor(w http.ResponseWriter, r *http.Request, rest string) {
	h.dispatch(w, r, cursor, "", rest, "events are at /{workspace}/events")
}

// ServeManage answers the event subscriptions of the management API; rest is the
// path behind /eventsubscriptions.
func (h *Handler) ServeManage(w http.ResponseWriter, r *http.Request, rest string) {
	name, verb, more := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	path := ""
	if name != "" {
		path = "/{name}"
	}
	if more {
		path += "/" + verb
	}
	h.dispatch(w, r, subscriptions, name, path, "see /manage/v1/openapi.json")
}

// dispatch finds the endpoint of a path and its method.
func (h *Handler) dispatch(w http.ResponseWriter, r *http.Request, list []endpoint, name, path, hint string) {
	at := slices.IndexFunc(list, func(e endpoint) bool { return e.path == strings.TrimSuffix(path, "/") })
	if at < 0 {
		h.answer(w, r, fault.New(fault.NotFound, "there is nothing at this path; %s", hint))
		return
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	do := list[at].methods[method]
	if do == nil {
		h.answer(w, r, notAllowed(w, r, list[at].methods))
		return
	}
	if err := do(h, w, r, name); err != nil {
		h.answer(w, r, err)
	}
}

// Public reports whether a path below /{workspace}/events needs no token: the
// code in the address of a validation is its permission.
func Public(rest string) bool { return rest == "/validate" }

func notAllowed(w http.ResponseWriter, r *http.Request, methods map[string]serve) error {
	var names []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if methods[m] != nil || m == http.MethodHead && methods[http.MethodGet] != nil {
			names = append(names, m)
		}
	}
	list := strings.Join(names, ", ")
	w.Header().Set("Allow", list)
	return fault.New(fault.NotAllowed, "%.16s is not possible here; allowed are %s", r.Method, list)
}

// query is what a request of the cursor asks for.
type query struct {
	after  int64
	kinds  []events.Kind
	limit  int
	stream bool
}

// parseQuery reads what a request of the cursor asks for.
func parseQuery(r *http.Request) (q query, err error) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		if q.after, err = strconv.ParseInt(id, 10, 64); err != nil || q.after < 0 {
			return q, fault.New(fault.Invalid, "Last-Event-ID is not a position")
		}
	}
	values := r.URL.Query()
	if types, ok := values["types"]; ok {
		for t := range strings.SplitSeq(strings.Join(types, ","), ",") {
			k, ok := events.KindOf(strings.TrimSpace(t))
			if !ok {
				return q, fault.New(fault.Invalid, "types: there is no event type %.100q", t)
			}
			q.kinds = append(q.kinds, k)
		}
		delete(values, "types")
	}
	if err := q.parsePage(values, "after, types and limit"); err != nil {
		return q, err
	}
	for _, a := range strings.Split(r.Header.Get("Accept"), ",") {
		t, _, _ := strings.Cut(a, ";")
		q.stream = q.stream || strings.TrimSpace(t) == "text/event-stream"
	}
	return q, nil
}

// parsePage reads after and limit; there is nothing else, of all that is known.
func (q *query) parsePage(all url.Values, known string) (err error) {
	q.limit = defaultLimit
	for name, values := range all {
		if len(values) != 1 {
			return fault.New(fault.Invalid, "%.40s is there %d times", name, len(values))
		}
		switch name {
		case "after":
			if q.after, err = strconv.ParseInt(values[0], 10, 64); err != nil || q.after < 0 {
				return fault.New(fault.Invalid, "after is a position: a number that is not negative")
			}
		case "limit":
			if q.limit, err = strconv.Atoi(values[0]); err != nil || q.limit < 1 || q.limit > maxLimit {
				return fault.New(fault.Invalid, "limit is between 1 and %d", maxLimit)
			}
		default:
			return fault.New(fault.Invalid, "there is no parameter %.40q; use %s", name, known)
		}
	}
	return nil
}

// pull answers a page of the cursor: a batch of CloudEvents. The Link header has
// the next page, also when it is still empty.
func (h *Handler) pull(w http.ResponseWriter, r *http.Request, _ string) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	if q.stream {
		return h.stream(w, r, q)
	}
	list, last, err := h.svc.Pull(r.Context(), q.after, q.kinds, q.limit)
	if err != nil {
		return err
	}
	n := h.svc.Names()
	b := []byte{'['}
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = n.AppendCursor(b, &list[i])
	}
	b = append(b, ']')
	next := *r.URL
	args := next.Query()
	args.Set("after", strconv.FormatInt(last, 10))
	head := w.Header()
	head.Set("Content-Type", "application/cloudevents-batch+json; charset=utf-8")
	head.Set("Cache-Control", "no-store")
	head.Set("Link", "<"+strings.TrimSuffix(web.BaseURL(r), "/")+next.Path+"?"+args.Encode()+`>; rel="next"`)
	head.Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(b) // the client is gone when this fails
	}
	return nil
}

// stream sends events as they come (HTML, section 9.2, server-sent events).
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, q query) error {
	ctl := http.NewResponseController(w)
	n, after, begun := h.svc.Names(), q.after, false
	beat := time.NewTicker(beatTime)
	defer beat.Stop()
	for {
		grown := h.svc.Grown()
		list, last, err := h.svc.Pull(r.Context(), after, q.kinds, q.limit)
		if err != nil {
			if !begun {
				return err
			}
			return nil // the client comes back with Last-Event-ID and gets the error then
		}
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusOK)
		}
		var b []byte
		for i := range list {
			b = strconv.AppendInt(append(b, "id: "...), list[i].Seq, 10)
			b = append(append(append(b, "\nevent: "...), list[i].Kind.Type()...), "\ndata: "...)
			b = append(n.AppendCursor(b, &list[i]), "\n\n"...)
		}
		if len(b) > 0 {
			if _, err := w.Write(b); err != nil {
				return nil
			}
		}
		if ctl.Flush() != nil {
			return nil
		}
		select {
		case <-h.leaving: // the client comes back with Last-Event-ID, here or elsewhere
			return nil
		default:
		}
		more := last > after
		if after = last; more {
			continue
		}
		select {
		case <-h.leaving:
			return nil
		case <-r.Context().Done():
			return nil
		case <-grown:
		case <-beat.C:
			if _, err := io.WriteString(w, ": still here\n\n"); err != nil {
				return nil
			}
		}
	}
}

// validate is opened by a receiver, or by its operator in a browser.
func (h *Handler) validate(w http.ResponseWriter, r *http.Request, _ string) error {
	q := r.URL.Query()
	if err := h.svc.Validate(r.Context(), q.Get("name"), q.Get("code"), events.AllowedRate(r.Header)); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "The event subscription is validated.\n")
	return nil
}

func sendJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap("eventshttp: marshal", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client is gone when this fails
	return nil
}

func (h *Handler) list(w http.ResponseWriter, r *http.Request, _ string) error {
	list, err := h.svc.Subscriptions(r.Context())
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, map[string]any{"value": list})
}

func (h *Handler) show(w http.ResponseWriter, r *http.Request, name string) error {
	info, err := h.svc.Subscription(r.Context(), name)
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, info)
}

func (h *Handler) put(w http.ResponseWriter, r *http.Request, name string) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	sub, err := events.ParseSubscription(name, body)
	if err != nil {
		return err
	}
	info, created, err := h.svc.PutSubscription(r.Context(), sub, web.BaseURL(r))
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return sendJSON(w, status, info)
}

func (h *Handler) remove(w http.ResponseWriter, r *http.Request, name string) error {
	if err := h.svc.DeleteSubscription(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, fault.New(fault.TooLarge, "the body has more than %d bytes", maxBody)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "the body cannot be read to its end")
	}
	return body, nil
}

// letter is a dead letter as it is shown.
type letter struct {
	Position int64          `json:"position"`
	Reason   string         `json:"deadLetterReason"`
	Attempts int            `json:"deliveryAttempts"`
	Outcome  events.Outcome `json:"lastDeliveryOutcome,omitempty"`
	Last     *time.Time     `json:"lastDeliveryAttemptTime,omitempty"`
	Time     time.Time      `json:"deadLetterTime"`
	Blob     string         `json:"blob,omitempty"`
}

func (h *Handler) letters(w http.ResponseWriter, r *http.Request, name string) error {
	var q query
	if err := q.parsePage(r.URL.Query(), "after and limit"); err != nil {
		return err
	}
	list, err := h.svc.Letters(r.Context(), name, q.after, q.limit)
	if err != nil {
		return err
	}
	out := make([]letter, len(list))
	for i := range list {
		l := &list[i]
		out[i] = letter{Position: l.Seq, Reason: l.Reason, Attempts: l.Try.Attempts, Outcome: l.Try.Outcome, Time: l.Time, Blob: l.Blob}
		if !l.Try.Last.IsZero() {
			out[i].Last = &l.Try.Last
		}
	}
	return sendJSON(w, http.StatusOK, map[string]any{"value": out})
}

// redrive tries dead letters again: those of the positions in the body, or all.
func (h *Handler) redrive(w http.ResponseWriter, r *http.Request, name string) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	var which struct {
		Positions []int64 `json:"positions"`
	}
	if len(strings.TrimSpace(string(body))) > 0 {
		dec := json.NewDecoder(strings.NewReader(string(body)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&which); err != nil {
			return fault.New(fault.Invalid, `the body is {"positions": [...]} or empty, for all`)
		}
		if len(which.Positions) > maxLimit {
			return fault.New(fault.Invalid, "at most %d positions at once", maxLimit)
		}
	}
	n, err := h.svc.Redrive(r.Context(), name, which.Positions)
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, map[string]int{"redriven": n})
}
