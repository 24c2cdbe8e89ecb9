package auth

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Directory knows what principals may do.
type Directory interface {
	// Grants returns what the roles of the given names of one principal allow.
	// issuer is "" for the built-in provider, else the one that vouches for
	// the names; a role in roles is granted at scope.
	Grants(issuer string, names, roles []string, scope string) []Grant
	// Active reports whether a token of the built-in provider still counts:
	// it was not revoked, and its subject and client still exist.
	Active(ctx context.Context, c *Claims) bool
	// Generation changes whenever an answer of the others may.
	Generation() uint64
}

// Trust says which tokens of an issuer count.
type Trust struct {
	Keys     Keys
	Audience []string // one of them must be in the token
	BuiltIn  bool     // ours: the audience is a scope of this server, see ScopeAudience
}

// audiencePrefix marks the audience by which the built-in provider names a
// scope of this server, whatever host name it is reached by.
const audiencePrefix = "urn:hygeia:scope:"

// ScopeAudience returns the audience that stands for a scope of this server.
func ScopeAudience(scope string) string { return audiencePrefix + scope }

// ScopeOf returns the scope that the first audience of the built-in provider
// stands for; "" when there is none.
func ScopeOf(audience []string) string {
	for _, a := range audience {
		if at, ok := strings.CutPrefix(a, audiencePrefix); ok {
			return at
		}
	}
	return ""
}

// Realm authenticates the requests to one scope. It is safe for many goroutines.
type Realm struct {
	scope string
	trust []Trust
	dir   Directory
	now   func() time.Time

	mu    sync.Mutex
	known map[[sha256.Size]byte]known
}

// known is a token that was checked.
type known struct {
	p          *Principal
	until      time.Time
	generation uint64
}

// maxKnown bounds the cache of a realm: about 20 MB when it is full of large tokens.
const maxKnown = 10_000

// NewRealm returns the Realm of a scope. The built-in provider has to be first
// in trust. now is nil for time.Now.
func NewRealm(scope string, dir Directory, trust []Trust, now func() time.Time) *Realm {
	if now == nil {
		now = time.Now
	}
	return &Realm{scope: scope, trust: trust, dir: dir, now: now, known: map[[sha256.Size]byte]known{}}
}

// Authenticate returns who shows a token in an Authorization header (RFC 6750
// section 2.1), or an Unauthenticated fault. It is Transient when an external
// issuer does not answer.
func (r *Realm) Authenticate(ctx context.Context, header string) (*Principal, error) {
	token, err := BearerToken(header)
	if err != nil {
		return nil, err
	}
	key, now := sha256.Sum256([]byte(token)), r.now()
	r.mu.Lock()
	k, ok := r.known[key]
	r.mu.Unlock()
	if ok && k.generation == r.dir.Generation() && now.Before(k.until) {
		return k.p, nil
	}
	generation := r.dir.Generation()
	p, until, err := r.check(ctx, token, now)
	if err != nil {
		if ok {
			r.mu.Lock()
			delete(r.known, key)
			r.mu.Unlock()
		}
		return nil, err
	}
	r.remember(key, known{p, until, generation})
	return p, nil
}

// BearerToken cuts the token out of an Authorization header (RFC 6750 section 2.1).
func BearerToken(header string) (string, error) {
	if header == "" {
		return "", ErrNoPrincipal
	}
	scheme, token, _ := strings.Cut(header, " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", fault.At(fault.Unauthenticated, "login", "", "the Authorization header is no bearer token")
	}
	return token, nil
}

func (r *Realm) remember(key [sha256.Size]byte, k known) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxKnown {
		for old := range r.known { // any: which one hardly matters, forgetting one costs a check
			delete(r.known, old)
			break
		}
	}
	r.known[key] = k
}

// check verifies a token and returns its principal and until when that holds.
func (r *Realm) check(ctx context.Context, token string, now time.Time) (*Principal, time.Time, error) {
	sig, claimed, err := parseToken(token)
	if err != nil {
		return nil, time.Time{}, err
	}
	t, issuer, c, err := r.verified(ctx, sig, claimed.Issuer)
	if err != nil {
		return nil, time.Time{}, err
	}
	if err := c.checkTimes(now); err != nil {
		return nil, time.Time{}, err
	}
	if !t.accepts(c.Audience, r.scope) {
		return nil, time.Time{}, rejected("it is for another audience")
	}
	p, err := r.principal(ctx, c, issuer, t.BuiltIn)
	return p, c.Expiry.Time().Add(skew), err
}

// verified finds the issuer whose key made the signature. The built-in provider
// comes first, so that the failure of another one never locks out its clients.
func (r *Realm) verified(ctx context.Context, sig *jose.JSONWebSignature, name string) (*Trust, string, *Claims, error) {
	if name == "" {
		return nil, "", nil, rejected("it names no issuer")
	}
	var failure error
	for i := range r.trust {
		t := &r.trust[i]
		issuer := ""
		if !t.BuiltIn {
			var err error
			if issuer, err = t.Keys.Issuer(ctx); err != nil {
				failure = err
				continue
			}
			if issuer != name {
				continue
			}
		}
		for _, refresh := range []bool{false, true} {
			keys, err := t.Keys.Keys(ctx, refresh)
			if err != nil {
				return nil, "", nil, unreachable(err)
			}
			if c, ok := verify(sig, keys); ok {
				return t, issuer, c, nil
			}
			if t.BuiltIn {
				break // it is asked again when nobody else knows the token
			}
		}
		if !t.BuiltIn {
			return nil, "", nil, rejected("its signature is not that of its issuer")
		}
	}
	if c, t, err := r.late(ctx, sig); t != nil || err != nil {
		return t, "", c, err
	}
	if failure != nil {
		return nil, "", nil, unreachable(failure)
	}
	return nil, "", nil, rejected("no issuer that is trusted here made its signature")
}

// late looks for the key of a token among those that another node made a moment ago.
func (r *Realm) late(ctx context.Context, sig *jose.JSONWebSignature) (*Claims, *Trust, error) {
	for i := range r.trust {
		t := &r.trust[i]
		if !t.BuiltIn {
			continue
		}
		keys, err := t.Keys.Keys(ctx, false)
		if err != nil || slices.ContainsFunc(keys, func(k PublicKey) bool { return k.ID == sig.Signatures[0].Protected.KeyID }) {
			return nil, nil, err
		}
		if keys, err = t.Keys.Keys(ctx, true); err != nil {
			return nil, nil, unreachable(err)
		}
		if c, ok := verify(sig, keys); ok {
			return c, t, nil
		}
	}
	return nil, nil, nil
}

func unreachable(err error) error {
	return &fault.Error{Kind: fault.Transient, Op: "auth: issuer", Msg: "the issuer of the token does not answer", RetryAfter: keysPause, Err: err}
}

// accepts reports whether one of the audiences means scope.
func (t *Trust) accepts(audience []string, scope string) bool {
	return slices.ContainsFunc(audience, func(a string) bool {
		if t.BuiltIn {
			at, ok := strings.CutPrefix(a, audiencePrefix)
			return ok && covers(at, scope)
		}
		return slices.Contains(t.Audience, a)
	})
}

// ErrTakenBack is for tokens that were revoked, or whose user or client is gone.
var ErrTakenBack error = rejected("it was taken back")

// principal turns claims that were checked into a Principal.
func (r *Realm) principal(ctx context.Context, c *Claims, issuer string, builtin bool) (*Principal, error) {
	if c.Subject == "" && c.ObjectID == "" {
		return nil, rejected("it names no subject")
	}
	if builtin && !r.dir.Active(ctx, c) {
		return nil, ErrTakenBack
	}
	names := []string{c.Subject}
	if !builtin {
		names = nil
		for _, n := range append([]string{c.ObjectID, c.Subject}, c.Groups...) {
			if n != "" {
				names = append(names, n)
			}
		}
	}
	p := &Principal{ID: names[0], Client: c.client(), Issuer: c.Issuer, FHIRUser: relativeReference(c.FHIRUser), Patient: c.Patient}
	var roles []string
	if !builtin {
		roles = c.Roles
	}
	p.Grants = r.dir.Grants(issuer, names, roles, r.scope)
	p.Limited = c.narrowed(builtin)
	p.Scopes = clinical(c.scopes(builtin))
	return p, nil
}

// relativeReference cuts "Practitioner/123" out of an absolute URL.
func relativeReference(ref string) string {
	parts := strings.Split(strings.TrimRight(ref, "/"), "/")
	if len(parts) < 2 {
		return ""
	}
	return strings.Join(parts[len(parts)-2:], "/")
}
