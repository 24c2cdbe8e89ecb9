package auth

import (
	"context"
	"strings"
)

// Principal is who asks. It is made once per token and not changed afterwards,
// because many requests share it.
type Principal struct {
	ID       string // subject of the token; a client is its own subject
	Client   string // the application that asks
	Issuer   string
	Grants   []Grant // what its roles allow
	FHIRUser string  // "Practitioner/123": who the user is in the FHIR service; may be empty
	Patient  string  // id of the patient in the launch context; may be empty

	// Limited is set when the token can do only what its Scopes permit, of
	// what the roles allow.
	Limited bool
	Scopes  []Scope

	internal bool
}

// Grant is a set of actions at a scope and everything below it.
type Grant struct {
	Scope   string // "/", "/workspace" or "/workspace/service"
	Actions Actions
}

// Internal returns the principal of work that the platform does on its own
// account. It may do everything; name says in the audit trail what it was.
func Internal(name string) *Principal {
	return &Principal{ID: "system:" + name, Client: "system", Grants: []Grant{{"/", All}}, internal: true}
}

// IsInternal reports whether p was made by Internal, which no token can.
func (p *Principal) IsInternal() bool { return p.internal }

// The actions in reach of a token with SMART scopes: those that the scopes know
// a permission for, and those that depend on the type of a resource.
const smartActions = FHIRRead | FHIRWrite | FHIRDelete | FHIRValidate | FHIRExport | FHIREditProfiles | FHIRSearchParams

// Allowed returns the actions that p may do at a scope. Which resources a
// Limited principal may do them with is decided by the FHIR room.
func (p *Principal) Allowed(scope string) Actions {
	s := p.roleActions(scope)
	if !p.Limited {
		return s
	}
	if s.Has(FHIRSMART) {
		s |= FHIRRead | FHIRWrite | FHIRDelete
	}
	return s & smartActions
}

// SMARTOnly reports whether p may read at a scope only because it is a SMART
// user: then it sees what belongs to it, not what everybody with a role sees.
func (p *Principal) SMARTOnly(scope string) bool { return !p.roleActions(scope).Has(FHIRRead) }

func (p *Principal) roleActions(scope string) Actions {
	var s Actions
	for _, g := range p.Grants {
		if covers(g.Scope, scope) {
			s |= g.Actions
		}
	}
	return s
}

// covers reports whether outer is scope or stands above it.
func covers(outer, scope string) bool {
	if outer == "/" || outer == scope {
		return true
	}
	return strings.HasPrefix(scope, outer) && len(outer) > 1 && scope[len(outer)] == '/'
}

// principalKey is the key of the Principal in a context.
type principalKey struct{}

// ContextKey is the key under which From looks for a *Principal, for contexts
// that carry several things at once.
var ContextKey any = principalKey{}

// WithPrincipal returns a context in which p asks.
func WithPrincipal(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From returns who asks, or nil.
func From(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	return p
}
