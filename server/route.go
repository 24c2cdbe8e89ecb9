package server

import (
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/dicom/dicomhttp"
	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/auth/idp"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

// router finds who answers a request: by the host name when it is one of a
// service, else by the first segments of the path.
type router struct {
	services *services
	events   *eventRooms
	plane    *manage.Plane
	suffix   string // ".DOMAIN"; "" without a domain
	platform map[string]http.Handler
	manage   http.Handler
	identity *identity // nil: authentication is off
	trail    *trail    // nil: no audit trail
	log      *slog.Logger
}

// ServeHTTP implements http.Handler.
func (rt *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, path := web.From(r.Context()), r.URL.Path
	if label, ok := rt.label(q); ok && !slices.Contains(idp.Paths, path) { // the provider answers at every host name
		rt.byHost(w, r, q, label)
		return
	}
	if h, ok := rt.platform[path]; ok {
		q.Route = path
		if name, ok := strings.CutPrefix(path, "/auth/"); ok && (r.Method == http.MethodPost || name == "userinfo") {
			q.Operation = name
			if !rt.audited(w, r) {
				return
			}
		}
		h.ServeHTTP(w, r)
		return
	}
	if path == "/manage" || strings.HasPrefix(path, "/manage/") {
		q.Route, q.Operation, q.ResourceID = "/manage", "manage", path
		rt.serveManage(w, r)
		return
	}
	if workspace, rest, ok := eventsPath(path); ok {
		rt.serveEvents(w, r, workspace, rest)
		return
	}
	name := servicePath(path)
	sv, ok := rt.services.table.Load().byPath[name]
	if !ok {
		q.Route = "/{unknown}"
		if strings.Contains(name, "/") {
			outcome(w, r, fault.New(fault.NotFound, "there is no service at this path"))
			return
		}
		web.Problem(w, r, fault.New(fault.NotFound, "there is nothing at this path; services are at /{workspace}/{service}"))
		return
	}
	q.Service, q.Route = name, "/"+name // the edge knows the rest
	rt.serveService(w, r, sv, path[1+len(name):], false)
}

// serveService finds out who asks and passes the request on. rest is the path
// below the base of the service.
func (rt *router) serveService(w http.ResponseWriter, r *http.Request, sv *service, rest string, byHost bool) {
	public := isPublic(sv.kind, r.Method, rest)
	if !public && !rt.audited(w, r) {
		return
	}
	if err := sv.gateway.Load().gate.Admit(web.From(r.Context()).ClientIP); err != nil {
		web.From(r.Context()).Operation = "admit"
		rt.refuse(w, r, err)
		return
	}
	if !public {
		if r = rt.authenticate(w, r, sv.realm.Load()); r == nil {
			return
		}
	}
	pass, ok := rt.enter(w, r, sv)
	if !ok {
		return
	}
	defer pass.Leave()
	sv.serve(w, r, byHost)
}

// serveManage answers the management API: users, clients and roles are those of
// the identity provider, the rest is of the management plane.
func (rt *router) serveManage(w http.ResponseWriter, r *http.Request) {
	if !isOpenAPI(r) {
		if !rt.audited(w, r) {
			return
		}
		if r = rt.authenticate(w, r, rt.identity.realmOf()); r == nil {
			return
		}
	}
	if ws, ok := auditPath(r.URL.Path); ok && rt.trail != nil {
		rt.trail.serve(w, r, ws, rt.identity != nil)
		return
	}
	if rt.identity == nil {
		rt.serveManaged(w, r)
		return
	}
	if p, ok := idp.ParseAdminPath(r.URL); ok {
		web.From(r.Context()).Route = p.Route()
		rt.identity.provider.ServeAdmin(w, r, p)
		return
	}
	rt.serveManaged(w, r)
}

// serveManaged answers for event subscriptions, or passes on to the management plane.
func (rt *router) serveManaged(w http.ResponseWriter, r *http.Request) {
	workspace, rest, ok := subscriptionsPath(r.URL.Path)
	if !ok {
		rt.manage.ServeHTTP(w, r)
		return
	}
	web.From(r.Context()).Route = "/manage/v1/workspaces/{workspace}/eventsubscriptions"
	if room := rt.eventRoom(w, r, workspace); room != nil {
		room.edge.ServeManage(w, r, rest)
	}
}

// isOpenAPI reports whether r asks for the description of the API, which holds
// nothing of this server.
func isOpenAPI(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == "/manage/v1/openapi.json"
}

func (rt *router) byHost(w http.ResponseWriter, r *http.Request, q *web.Request, label string) {
	sv, ok := rt.services.table.Load().byHost[label]
	if !ok {
		q.Route = "/{unknown}"
		outcome(w, r, fault.New(fault.NotFound, "there is no service with this host name"))
		return
	}
	q.Service, q.Route = sv.ref.String(), "/" // the edge knows the rest
	rt.serveService(w, r, sv, r.URL.Path, true)
}

// servicePath cuts "workspace/service" out of /workspace/service/rest.
func servicePath(path string) string {
	path = strings.TrimPrefix(path, "/")
	i := strings.IndexByte(path, '/')
	if i < 0 {
		return path
	}
	if j := strings.IndexByte(path[i+1:], '/'); j >= 0 {
		return path[:i+1+j]
	}
	return path
}

// hostName strips the port and the letter case of a Host.
func hostName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(host)
}

// outcome answers with an OperationOutcome (R4 section 2.39), for faults on FHIR
// paths that happen before the FHIR edge.
func outcome(w http.ResponseWriter, r *http.Request, e *fault.Error) { fhirhttp.Render(w, r, e) }

// label returns what a host name says about a service: {workspace}-{service}.{kind}
// in front of the domain.
func (rt *router) label(q *web.Request) (string, bool) {
	if rt.suffix == "" || q == nil {
		return "", false
	}
	label, ok := strings.CutSuffix(hostName(q.Host), rt.suffix)
	_, kind, dot := strings.Cut(label, ".")
	return label, ok && dot && hasHost(manage.Kind(kind))
}

// refuse answers for the request chain, in the form of the place that was asked.
func (rt *router) refuse(w http.ResponseWriter, r *http.Request, e *fault.Error) {
	t := rt.services.table.Load()
	sv := t.byPath[servicePath(r.URL.Path)]
	if label, ok := rt.label(web.From(r.Context())); ok {
		if sv = t.byHost[label]; sv == nil {
			outcome(w, r, e)
			return
		}
	}
	if sv != nil {
		refuseFor(sv, w, r, e)
		return
	}
	web.Problem(w, r, e)
}

// refuseFor answers in the form of a service: an OperationOutcome, the line of
// text that DICOM services answer with, or a problem.
func refuseFor(sv *service, w http.ResponseWriter, r *http.Request, e *fault.Error) {
	switch sv.kind {
	case manage.KindFHIR:
		outcome(w, r, e)
	case manage.KindDICOM:
		dicomhttp.Refuse(w, r, e)
	default:
		web.Problem(w, r, e)
	}
}
