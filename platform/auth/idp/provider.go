package idp

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Deps are what a Provider needs.
type Deps struct {
	DB     *db.DB // of its own; the Provider closes it
	Sealer *Sealer
	Now    func() time.Time // nil means time.Now
	Log    *slog.Logger     // internal errors, logins that failed; nil = slog.Default()

	// BaseURL returns scheme, host and prefix as the client sees them; it is the
	// issuer when Issuer is "".
	BaseURL func(*http.Request) string
	Issuer  string
	// Error answers with a fault where OAuth has no form of its own.
	Error func(w http.ResponseWriter, r *http.Request, e *fault.Error)
	// Patient returns nil when a principal may read a patient of the FHIR
	// service at scope.
	Patient func(ctx context.Context, scope string, p *auth.Principal, id string) error
	// Resource returns the scope that a URL stands for when that does not lie below
	// BaseURL, "" for none: services that have a host name of their own. nil = there are none.
	Resource func(resource string) string
	// Who is told who asks, for the audit trail: client is "" for a browser that
	// logs in; nil = nobody wants to know.
	Who func(r *http.Request, principal, client string)
	// Workspace reports whether there is a workspace of that name.
	Workspace func(name string) bool
	// ClientIP returns the address of the client, or its network, for the limit of
	// failed logins.
	ClientIP func(*http.Request) string

	AccessTime  time.Duration // of access tokens; 0 = one hour
	RefreshTime time.Duration // of refresh tokens that are not used; 0 = 30 days
}

// Provider is the identity provider.
type Provider struct {
	d     Deps
	store *store
	log   *slog.Logger
	jwks  remoteKeys
	fails failures

	change     sync.Mutex   // held for a whole change of objects
	version    atomic.Int64 // of the objects in memory; changed while change is held
	mu         sync.RWMutex
	clients    map[string]*Client
	users      map[string]*User
	roles      map[string]*Role
	assigned   map[string]*Assignment
	byHolder   map[holder][]*Assignment
	keys       []*signingKey // newest first
	public     []auth.PublicKey
	revoked    map[string]time.Time // ids of tokens and families
	generation atomic.Uint64
	origins    atomic.Pointer[origins]
}

// holder is whom an assignment is for.
type holder struct{ issuer, principal string }

var (
	_ auth.Directory = (*Provider)(nil)
	_ auth.Keys      = (*Provider)(nil)
)

// Open reads what is kept and makes what is missing.
func Open(ctx context.Context, d Deps) (*Provider, error) {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Log == nil {
		d.Log = slog.Default()
	}
	if d.AccessTime == 0 {
		d.AccessTime = time.Hour
	}
	if d.RefreshTime == 0 {
		d.RefreshTime = 30 * 24 * time.Hour
	}
	if d.ClientIP == nil {
		d.ClientIP = func(r *http.Request) string { return r.RemoteAddr }
	}
	if d.Who == nil {
		d.Who = func(*http.Request, string, string) {}
	}
	st, err := openStore(ctx, d.DB, d.Now)
	if err != nil {
		return nil, err
	}
	p := &Provider{
		d: d, store: st, log: d.Log, jwks: remoteKeys{now: d.Now}, fails: failures{now: d.Now},
		clients: map[string]*Client{}, users: map[string]*User{}, roles: map[string]*Role{},
		assigned: map[string]*Assignment{}, revoked: map[string]time.Time{},
	}
	if err := p.load(ctx); err != nil {
		return nil, err
	}
	return p, p.ensureKey(ctx, algAccess)
}

// Close gives the database back.
func (p *Provider) Close() error { return p.d.DB.Close() }

func (p *Provider) load(ctx context.Context) error {
	if err := p.store.write(ctx, func(c *db.Conn) error { return sweep(c, p.d.Now()) }); err != nil {
		return err
	}
	return p.read(ctx)
}

// read fills the empty maps of a provider.
func (p *Provider) read(ctx context.Context) error {
	version, err := p.store.version(ctx) // first: what is read may be newer, never older
	if err != nil {
		return fault.Wrap("idp: load", err)
	}
	p.version.Store(version)
	for kind, read := range map[string]func(id string, body []byte) error{
		kindClient:     func(id string, b []byte) error { return into(p.clients, id, b) },
		kindUser:       func(id string, b []byte) error { return into(p.users, id, b) },
		kindRole:       func(id string, b []byte) error { return into(p.roles, id, b) },
		kindAssignment: func(id string, b []byte) error { return into(p.assigned, id, b) },
		kindKey:        func(_ string, b []byte) error { return p.loadKey(b) },
	} {
		if err := p.store.load(ctx, kind, read); err != nil {
			return fault.Wrap("idp: load", err)
		}
	}
	p.sortKeys()
	p.index()
	return p.store.revoked(ctx, p.d.Now(), func(id string, until time.Time) { p.revoked[id] = until })
}

func into[T any](m map[string]*T, id string, body []byte) error {
	v := new(T)
	if err := json.Unmarshal(body, v); err != nil {
		return err
	}
	m[id] = v
	return nil
}

// index makes byHolder anew; the caller holds mu, or is the only one.
func (p *Provider) index() {
	p.byHolder = map[holder][]*Assignment{}
	for _, a := range p.assigned {
		h := holder{a.Issuer, a.Principal}
		p.byHolder[h] = append(p.byHolder[h], a)
	}
	p.generation.Add(1)
}

// Generation implements auth.Directory.
func (p *Provider) Generation() uint64 { return p.generation.Load() }

// Grants implements auth.Directory.
func (p *Provider) Grants(issuer string, names, roles []string, scope string) []auth.Grant {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var out []auth.Grant
	for _, n := range names {
		for _, a := range p.byHolder[holder{issuer, n}] {
			if actions := p.actions(a.Role); actions != 0 {
				out = append(out, auth.Grant{Scope: a.Scope, Actions: actions})
			}
		}
	}
	for _, r := range roles {
		if actions := p.actions(r); actions != 0 {
			out = append(out, auth.Grant{Scope: scope, Actions: actions})
		}
	}
	return out
}

// actions returns what a role allows; a role that is gone allows nothing.
func (p *Provider) actions(role string) auth.Actions {
	if a, ok := auth.BuiltinRole(role); ok {
		return a
	}
	if r := p.roles[role]; r != nil {
		if a, err := auth.ParseActions(r.Actions); err == nil { // checked when it was put
			return a
		}
	}
	return 0
}

// Active implements auth.Directory.
func (p *Provider) Active(ctx context.Context, c *auth.Claims) bool {
	if !p.caughtUp(ctx, func() bool { return p.counts(c) }) {
		return false
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, id := range []string{c.ID, c.Session} {
		if _, taken := p.revoked[id]; taken && id != "" {
			return false
		}
	}
	return true
}

// issuer returns the name of the provider, as the client of r sees it.
func (p *Provider) issuer(r *http.Request) string {
	if p.d.Issuer != "" {
		return p.d.Issuer
	}
	return p.d.BaseURL(r)
}

// scopeOf returns the scope of this server that a URL stands for; "" when it
// lies elsewhere.
func (p *Provider) scopeOf(r *http.Request, resource string) string {
	for _, base := range []string{p.d.BaseURL(r), p.issuer(r)} {
		if rest, ok := strings.CutPrefix(strings.TrimRight(resource, "/"), base); ok {
			if rest == "" {
				return "/"
			}
			if scopeForm.MatchString(rest) {
				return rest
			}
		}
	}
	if p.d.Resource != nil {
		return p.d.Resource(strings.TrimRight(resource, "/"))
	}
	return ""
}

// KnowsOrigin reports whether a page of an origin may call the endpoints: it is
// that of an application whose redirect URI lies there.
func (p *Provider) KnowsOrigin(origin string) bool {
	generation := p.generation.Load()
	o := p.origins.Load()
	if o == nil || o.generation != generation {
		o = &origins{generation: generation, of: map[string]bool{}}
		p.mu.RLock()
		for _, c := range p.clients {
			for _, uri := range c.RedirectURIs {
				o.of[originOf(uri)] = true
			}
		}
		p.mu.RUnlock()
		p.origins.Store(o)
	}
	return o.of[origin]
}

// origins are those of the redirect URIs of all clients.
type origins struct {
	generation uint64
	of         map[string]bool
}

// revoke takes back a token or a family until it would have ended.
func (p *Provider) revoke(ctx context.Context, id string, until time.Time) error {
	if id == "" {
		return nil
	}
	if _, err := p.store.put(ctx, ticket{hash: "revoked:" + hashSecret(id), kind: ticketRevoked, expires: until, body: id}); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.d.Now()
	maps.DeleteFunc(p.revoked, func(_ string, end time.Time) bool { return now.After(end) })
	p.revoked[id] = until
	p.generation.Add(1)
	return nil
}

// EnsureFirst makes the client with which everything begins, Workspace Owner on
// everything, when there is nothing at all. keep gets its secret and has to put
// it away before the client counts, or "" when another node was faster and what
// was put away is to be forgotten.
func (p *Provider) EnsureFirst(ctx context.Context, id string, keep func(secret string) error) error {
	kept := false
	return p.changing(ctx, func() error {
		if len(p.clients)+len(p.users)+len(p.assigned) > 0 {
			if kept {
				return keep("")
			}
			return nil
		}
		secret, now := newSecret(), p.d.Now().UTC()
		if err := keep(secret); err != nil {
			return err
		}
		kept = true
		c := &Client{ID: id, Name: "Bootstrap", SecretHash: hashSecret(secret), GrantTypes: []string{grantClient}, Created: now}
		a := &Assignment{Name: id, Principal: id, Role: auth.RoleWorkspaceOwner, Scope: "/", Created: now}
		if err := p.save(ctx, edit{kindClient, c.ID, c}, edit{kindAssignment, a.id(), a}); err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.clients[c.ID], p.assigned[a.id()] = c, a
		p.index()
		return nil
	})
}

func (p *Provider) client(id string) (*Client, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	c, ok := p.clients[id]
	return c, ok
}

// findClient finds a client that another node may have made a moment ago.
func (p *Provider) findClient(ctx context.Context, id string) (*Client, bool) {
	if c, ok := p.client(id); ok {
		return c, true
	}
	if p.catchUp(ctx) != nil {
		return nil, false
	}
	return p.client(id)
}

func (p *Provider) user(id string) (*User, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	u, ok := p.users[id]
	return u, ok
}

// sorted returns the objects of m that keep wants, by id.
func sorted[T any](m map[string]*T, keep func(*T) bool) []*T {
	var out []*T
	for _, id := range slices.Sorted(maps.Keys(m)) {
		if keep(m[id]) {
			out = append(out, m[id])
		}
	}
	return out
}
