package idp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// adminBase is where the management API is.
const adminBase = "/manage/v1"

// AdminPath is a path of the management API that the provider answers:
// /manage/v1[/workspaces/{workspace}]/{collection}[/{name}[/secret]].
type AdminPath struct {
	Workspace  string // "" = of the platform
	Collection string
	Name       string
	Secret     bool
}

// adminServe answers one method of a path.
type adminServe func(*Provider, *adminRequest) error

// collection has the endpoints of a collection; nil for what it has not.
type collection struct {
	list, show, put, remove, secret, add adminServe
}

// of returns the methods of the collection, of one of its members, or of the secret of one.
func (c collection) of(member, secret bool) map[string]adminServe {
	methods := map[string]adminServe{}
	switch {
	case secret:
		methods[http.MethodPost] = c.secret
	case member:
		methods[http.MethodGet], methods[http.MethodPut], methods[http.MethodDelete] = c.show, c.put, c.remove
	default:
		methods[http.MethodGet], methods[http.MethodPost] = c.list, c.add
	}
	maps.DeleteFunc(methods, func(_ string, serve adminServe) bool { return serve == nil })
	return methods
}

// paths lists the paths of a collection with their methods.
func (c collection) paths(name string) map[string]map[string]adminServe {
	out := map[string]map[string]adminServe{}
	for _, at := range []string{adminBase + "/", adminBase + "/workspaces/{workspace}/"} {
		if at += name; c.inWorkspaces(name) || !strings.Contains(at, "{") {
			out[at], out[at+"/{name}"], out[at+"/{name}/secret"] = c.of(false, false), c.of(true, false), c.of(true, true)
		}
	}
	return out
}

// inWorkspaces reports whether workspaces have a collection of that name too.
func (collection) inWorkspaces(name string) bool { return name != "roles" && name != "signingkeys" }

// collections are the endpoints of each collection.
var collections = map[string]collection{
	"clients":         {(*Provider).listClients, (*Provider).showClient, (*Provider).putClient, (*Provider).deleteClient, (*Provider).newClientSecret, nil},
	"users":           {(*Provider).listUsers, (*Provider).showUser, (*Provider).putUser, (*Provider).deleteUser, nil, nil},
	"roles":           {(*Provider).listRoles, (*Provider).showRole, (*Provider).putRole, (*Provider).deleteRole, nil, nil},
	"roleassignments": {(*Provider).listAssignments, (*Provider).showAssignment, (*Provider).putAssignment, (*Provider).deleteAssignment, nil, nil},
	"signingkeys":     {list: (*Provider).listKeys, add: (*Provider).rotateKeys},
}

// ParseAdminPath reads the path of a request; ok is false when it is not for the provider.
func ParseAdminPath(u *url.URL) (p AdminPath, ok bool) {
	rest, ok := strings.CutPrefix(u.EscapedPath(), adminBase+"/")
	if !ok {
		return p, false
	}
	parts := strings.Split(rest, "/")
	for i := range parts {
		text, err := url.PathUnescape(parts[i])
		if err != nil {
			return p, false
		}
		parts[i] = text
	}
	if parts[0] == "workspaces" && len(parts) >= 3 {
		p.Workspace, parts = parts[1], parts[2:]
		if p.Workspace == "" || !(collection{}).inWorkspaces(parts[0]) {
			return p, false
		}
	}
	c, known := collections[parts[0]]
	if !known || len(parts) > 3 || len(parts) > 1 && c.show == nil || len(parts) == 3 && (parts[2] != "secret" || c.secret == nil) {
		return p, false
	}
	p.Collection = parts[0]
	if len(parts) > 1 {
		p.Name, p.Secret = parts[1], len(parts) == 3
	}
	return p, len(parts) == 1 || p.Name != ""
}

// Route returns the path with names for values, for logs and metrics.
func (p AdminPath) Route() string {
	out := adminBase
	if p.Workspace != "" {
		out += "/workspaces/{workspace}"
	}
	out += "/" + p.Collection
	if p.Name != "" {
		out += "/{name}"
	}
	if p.Secret {
		out += "/secret"
	}
	return out
}

// adminRequest is one request to the management API.
type adminRequest struct {
	AdminPath
	w   http.ResponseWriter
	r   *http.Request
	ctx context.Context
}

// ServeAdmin answers a request whose path ParseAdminPath has read. The guard
// asks for the action manage/access at the workspace.
func (p *Provider) ServeAdmin(w http.ResponseWriter, r *http.Request, path AdminPath) {
	q := &adminRequest{AdminPath: path, w: w, r: r, ctx: r.Context()}
	if err := p.admin(q); err != nil {
		p.fail(w, r, err)
	}
}

func (p *Provider) admin(q *adminRequest) error {
	if err := auth.NewGuard("/"+q.Workspace).Authorize(q.ctx, auth.ManageAccess); err != nil {
		return err
	}
	if q.Workspace != "" && !p.d.Workspace(q.Workspace) {
		return fault.New(fault.NotFound, "there is no workspace %.64q", q.Workspace)
	}
	c := collections[q.Collection]
	methods := c.of(q.Name != "", q.Secret)
	method := q.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if serve := methods[method]; serve != nil {
		return serve(p, q)
	}
	allow := make([]string, 0, 3)
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if methods[m] != nil {
			allow = append(allow, m)
		}
	}
	q.w.Header().Set("Allow", strings.Join(allow, ", "))
	if method == http.MethodOptions {
		q.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return fault.New(fault.NotAllowed, "%.16s is not possible here; allowed are %s", method, strings.Join(allow, ", "))
}

// decode reads a JSON object strictly.
func (q *adminRequest) decode(into any) error {
	if ct := q.r.Header.Get("Content-Type"); ct != "" {
		if media, _, err := mime.ParseMediaType(ct); err != nil || media != "application/json" {
			return fault.New(fault.Unsupported, "the body must be application/json")
		}
	}
	dec := json.NewDecoder(http.MaxBytesReader(q.w, q.r.Body, maxForm))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return fault.New(fault.Invalid, "there is more after the JSON object")
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fault.New(fault.TooLarge, "the body is larger than 64 KiB")
	}
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fault.New(fault.Invalid, "the body is no JSON: see byte %d", se.Offset)
	}
	// Not the text of the error, which may hold a value such as a password: the name of the member.
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && te.Field != "" {
		return fault.New(fault.Invalid, "the member %.64q is of the wrong type; see %s/openapi.json", te.Field, adminBase)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fault.New(fault.Invalid, "there is no member %.64s here; see %s/openapi.json", name, adminBase)
	}
	return fault.New(fault.Invalid, "the body is no JSON object, or ends too early; see %s/openapi.json", adminBase)
}

// answer responds to a put.
func (q *adminRequest) answer(created bool, body any) error {
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	respond(q.w, status, body)
	return nil
}

func listOf[T, V any](q *adminRequest, list []*T, view func(*T) V) error {
	out := struct {
		Value []V `json:"value"`
	}{Value: []V{}}
	for _, x := range list {
		out.Value = append(out.Value, view(x))
	}
	respond(q.w, http.StatusOK, out)
	return nil
}

func (q *adminRequest) missing(what string) error {
	return fault.New(fault.NotFound, "there is no %s %.64q here", what, q.Name)
}

// taken refuses a name that a client or user of any workspace has: both are
// principals, and tokens name them by it.
func (p *Provider) taken(q *adminRequest) error {
	c, isClient := p.client(q.Name)
	u, isUser := p.user(q.Name)
	if isClient && (q.Collection != "clients" || c.Workspace != q.Workspace) || isUser && (q.Collection != "users" || u.Workspace != q.Workspace) {
		return fault.New(fault.Conflict, "the name %s is taken", q.Name)
	}
	return nil
}

// held returns the edits that delete the assignments of a principal of ours;
// the caller holds change.
func (p *Provider) held(principal string) []edit {
	var out []edit
	for _, a := range p.byHolder[holder{"", principal}] {
		out = append(out, edit{kindAssignment, a.id(), nil})
	}
	return out
}

// forget removes from memory what was deleted on disk.
func (p *Provider) forget(edits []edit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range edits {
		switch e.kind {
		case kindClient:
			delete(p.clients, e.id)
		case kindUser:
			delete(p.users, e.id)
		case kindRole:
			delete(p.roles, e.id)
		case kindAssignment:
			delete(p.assigned, e.id)
		}
	}
	p.index()
}

// ForgetScope deletes what belongs to a scope that is gone, so that a workspace
// or service of the same name starts with nobody.
func (p *Provider) ForgetScope(ctx context.Context, scope string) error {
	return p.changing(ctx, func() error {
		var edits []edit
		below := func(s string) bool { return s == scope || strings.HasPrefix(s, scope+"/") }
		for _, a := range p.assigned {
			if below(a.Scope) || a.Workspace != "" && below("/"+a.Workspace) {
				edits = append(edits, edit{kindAssignment, a.id(), nil})
			}
		}
		for _, c := range p.clients {
			if c.Workspace != "" && below("/"+c.Workspace) {
				edits = append(append(edits, edit{kindClient, c.ID, nil}), p.held(c.ID)...)
			}
		}
		for _, u := range p.users {
			if u.Workspace != "" && below("/"+u.Workspace) {
				edits = append(append(edits, edit{kindUser, u.ID, nil}), p.held(u.ID)...)
			}
		}
		if len(edits) == 0 {
			return nil
		}
		if err := p.save(ctx, edits...); err != nil {
			return err
		}
		p.forget(edits)
		return nil
	})
}

// remove deletes an object with the assignments of its principal.
func (p *Provider) remove(q *adminRequest, kind, id string) error {
	edits := []edit{{kind, id, nil}}
	if kind == kindClient || kind == kindUser {
		edits = append(edits, p.held(id)...)
	}
	if err := p.save(q.ctx, edits...); err != nil {
		return err
	}
	p.forget(edits)
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// within reports whether an object of a workspace is in reach of the request.
func (q *adminRequest) within(workspace string) bool { return workspace == q.Workspace }

// roleNames lists what can be assigned.
func (p *Provider) roleKnown(name string) bool {
	if _, ok := auth.BuiltinRole(name); ok {
		return true
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.roles[name] != nil
}

func unique(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
