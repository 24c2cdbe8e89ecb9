package managehttp

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

//go:embed openapi.json
var openapi []byte

// base is where the edge lives.
const base = "/manage/v1"

// maxBody is far more than the largest set of tags.
const maxBody = 1 << 20

type handler struct {
	plane *manage.Plane
	log   *slog.Logger
	mux   *http.ServeMux
	jobs  Jobs
}

// Options configure the edge.
type Options struct {
	Log  *slog.Logger // internal errors; nil = slog.Default()
	Jobs Jobs         // nil: there is no /jobs
}

// endpoint is a row of the table.
type endpoint struct {
	method, path string
	serve        func(w http.ResponseWriter, r *http.Request) error
	params       []string // of the query; one that is not here is refused
}

// endpoints is the table, below base.
func (h *handler) endpoints() []endpoint {
	const workspace = "/workspaces/{workspace}"
	list := []endpoint{
		{"GET", "/openapi.json", h.openapi, nil},
		{"GET", "/workspaces", h.listWorkspaces, nil},
		{"GET", workspace, h.showWorkspace, nil},
		{"PUT", workspace, h.putWorkspace, nil},
		{"DELETE", workspace, h.deleteWorkspace, []string{"force"}},
	}
	if h.jobs != nil {
		list = append(list,
			endpoint{"GET", "/jobs", h.listJobs, []string{"kind", "service", "state", "after", "limit"}},
			endpoint{"GET", "/jobs/{job}", h.showJob, nil},
			endpoint{"DELETE", "/jobs/{job}", h.cancelJob, nil})
	}
	for _, k := range kinds {
		services := workspace + "/" + k.collection
		list = append(list,
			endpoint{"GET", services, h.listServices(k.kind), nil},
			endpoint{"GET", services + "/{service}", h.showService(k.kind), nil},
			endpoint{"PUT", services + "/{service}", h.putService(k.kind), nil},
			endpoint{"DELETE", services + "/{service}", h.deleteService(k.kind), nil})
	}
	return list
}

// Routes lists every method of every path.
func Routes() []auth.Route {
	var out []auth.Route
	for _, e := range (&handler{jobs: noJobs{}}).endpoints() {
		out = append(out, auth.Route{Method: e.method, Path: base + e.path})
	}
	return out
}

// noJobs stands for some jobs where only the table is needed.
type noJobs struct{ Jobs }

// New returns the handler of everything below /manage/v1.
func New(p *manage.Plane, opt Options) http.Handler {
	h := &handler{plane: p, log: opt.Log, mux: http.NewServeMux(), jobs: opt.Jobs}
	if h.log == nil {
		h.log = slog.Default()
	}
	for _, e := range h.endpoints() {
		h.route(e)
	}
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		web.Problem(w, r, fault.New(fault.NotFound, "there is nothing at this path; see %s/openapi.json", base))
	})
	return h
}

// ServeHTTP implements http.Handler. The mux answers 405 in plain text, so its
// choice is looked at first.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := h.mux.Handler(r); pattern == "" || pattern == "/" {
		if allow := h.allowed(r); allow != "" {
			w.Header().Set("Allow", allow)
			if r.Method == http.MethodOptions {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			web.Problem(w, r, fault.New(fault.NotAllowed, "%.16s is not possible here; allowed are %s", r.Method, allow))
			return
		}
	}
	h.mux.ServeHTTP(w, r)
}

// allowed lists the methods that the path of r knows; "" when it knows none.
func (h *handler) allowed(r *http.Request) string {
	allow := ""
	for _, m := range []string{"GET", "HEAD", "PUT", "DELETE"} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := h.mux.Handler(probe); pattern != "" && pattern != "/" {
			if allow != "" {
				allow += ", "
			}
			allow += m
		}
	}
	return allow
}

func (h *handler) route(e endpoint) {
	path := e.path
	h.mux.HandleFunc(e.method+" "+base+path, func(w http.ResponseWriter, r *http.Request) {
		if q := web.From(r.Context()); q != nil {
			q.Route = base + path
		}
		err := h.authorize(r, path)
		if err == nil {
			err = known(r, e.params)
		}
		if err == nil {
			err = e.serve(w, r)
		}
		if err == nil {
			return
		}
		e := fault.From(err)
		if e.Kind == fault.Internal {
			h.log.LogAttrs(r.Context(), slog.LevelError, "management failed", slog.String("route", path), slog.Any("err", err))
		}
		web.Problem(w, r, e)
	})
}

// known refuses a query with a parameter that nothing would come of.
func known(r *http.Request, params []string) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &fault.Error{Kind: fault.Invalid, Msg: "the query is not encoded as one", Err: err}
	}
	for name, list := range values {
		if !slices.Contains(params, name) {
			return fault.New(fault.Invalid, "there is no parameter %.64q", name)
		}
		if len(list) > 1 {
			return fault.New(fault.Invalid, "%s is there more than once", name)
		}
	}
	return nil
}

// authorize asks for manage/read or manage/write at the workspace of the path.
// The list of workspaces is for everybody who has a token: it shows to each what
// it may see. Jobs ask for the workspace of the job.
func (h *handler) authorize(r *http.Request, path string) error {
	if path == "/openapi.json" || path == "/workspaces" || strings.HasPrefix(path, "/jobs") {
		return nil
	}
	action := auth.ManageWrite
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		action = auth.ManageRead
	}
	return h.plane.Authorize(r.Context(), r.PathValue("workspace"), action)
}

func (h *handler) openapi(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openapi) // the client is gone when this fails
	return nil
}

// workspaceView is a workspace as the API shows it, with all its services.
type workspaceView struct {
	Name     string            `json:"name"`
	Tags     map[string]string `json:"tags,omitempty"`
	Services []serviceView     `json:"services"`
	Created  time.Time         `json:"created"`
	Changed  time.Time         `json:"changed"`
}

// serviceView is a service as the API shows it.
type serviceView struct {
	Name      string `json:"name"`
	Workspace string `json:"workspace"`
	manage.Spec
	State   manage.State `json:"state"`
	URL     string       `json:"url"`
	Created time.Time    `json:"created"`
	Changed time.Time    `json:"changed"`
}

func viewWorkspace(r *http.Request, w manage.Workspace) workspaceView {
	v := workspaceView{Name: w.Name, Tags: w.Tags, Created: w.Created, Changed: w.Changed, Services: []serviceView{}}
	for _, s := range w.Services {
		v.Services = append(v.Services, viewService(r, w.Name, s))
	}
	return v
}

func viewService(r *http.Request, workspace string, s manage.Service) serviceView {
	return serviceView{
		Name: s.Name, Workspace: workspace, Spec: s.Spec, State: s.State,
		URL: web.BaseURL(r) + "/" + workspace + "/" + s.Name, Created: s.Created, Changed: s.Changed,
	}
}

type list[T any] struct {
	Value []T `json:"value"`
}

func (h *handler) listWorkspaces(w http.ResponseWriter, r *http.Request) error {
	out := list[workspaceView]{Value: []workspaceView{}}
	for _, ws := range h.plane.Workspaces() {
		if err := h.plane.Authorize(r.Context(), ws.Name, auth.ManageRead); err != nil {
			continue
		}
		out.Value = append(out.Value, viewWorkspace(r, ws))
	}
	return respond(w, http.StatusOK, out)
}

func (h *handler) showWorkspace(w http.ResponseWriter, r *http.Request) error {
	ws, err := h.plane.Workspace(r.PathValue("workspace"))
	if err != nil {
		return err
	}
	return respond(w, http.StatusOK, viewWorkspace(r, ws))
}

func (h *handler) putWorkspace(w http.ResponseWriter, r *http.Request) error {
	var spec manage.WorkspaceSpec
	if err := decode(w, r, &spec); err != nil {
		return err
	}
	ws, created, err := h.plane.PutWorkspace(r.Context(), r.PathValue("workspace"), spec)
	if err != nil {
		return err
	}
	return respond(w, status(w, r, created), viewWorkspace(r, ws))
}

func (h *handler) deleteWorkspace(w http.ResponseWriter, r *http.Request) error {
	force := false
	if text := r.URL.Query().Get("force"); text != "" {
		var err error
		if force, err = strconv.ParseBool(text); err != nil {
			return fault.New(fault.Invalid, "force is neither true nor false")
		}
	}
	if err := h.plane.DeleteWorkspace(r.Context(), r.PathValue("workspace"), force); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func refOf(r *http.Request) manage.Ref {
	return manage.Ref{Workspace: r.PathValue("workspace"), Service: r.PathValue("service")}
}

// status says 201 with Location for what is new.
func status(w http.ResponseWriter, r *http.Request, created bool) int {
	if !created {
		return http.StatusOK
	}
	w.Header().Set("Location", web.BaseURL(r)+r.URL.Path)
	return http.StatusCreated
}

// decode reads a JSON object strictly; no body is an empty object.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	text, err := readObject(w, r)
	if err != nil || len(text) == 0 {
		return err
	}
	return decodeStrict(text, into)
}

// readObject reads the text of a JSON object, or nothing.
func readObject(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		if media, _, err := mime.ParseMediaType(ct); err != nil || media != "application/json" {
			return nil, fault.New(fault.Unsupported, "the body must be application/json")
		}
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, fault.New(fault.TooLarge, "the body is larger than 1 MiB")
	}
	if err != nil {
		return nil, &fault.Error{Kind: fault.Invalid, Msg: "the body is incomplete", Err: err}
	}
	if text = bytes.TrimSpace(text); len(text) > 0 && text[0] != '{' {
		return nil, fault.New(fault.Invalid, "the body is no JSON object")
	}
	return text, nil
}

// decodeStrict takes one JSON object whose members into all has.
func decodeStrict(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fault.New(fault.Invalid, "the body is not what is expected: %.200s", plain(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "there is more after the JSON object")
	}
	return nil
}

// plain says what is wrong with a JSON text without the names of Go.
func plain(err error) string {
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return strings.TrimPrefix(te.Field, ".") + " may not be a JSON " + te.Value
	}
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("%s at byte %d", se.Error(), se.Offset)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "the JSON text ends too early"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

func respond(w http.ResponseWriter, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fault.Wrap("managehttp: encode", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client is gone when this fails
	return nil
}
