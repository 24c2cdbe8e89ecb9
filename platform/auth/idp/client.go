package idp

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// oauthError is an answer of RFC 6749 section 5.2.
type oauthError struct {
	code   string
	text   string
	status int // 0 = 400
}

func (e *oauthError) Error() string { return e.code + ": " + e.text }

func refused(code, text string) error { return &oauthError{code: code, text: text} }

// badClient says nothing about which part was wrong, or whether there is such a client.
var badClient = &oauthError{code: "invalid_client", text: "the client is unknown or did not prove who it is", status: http.StatusUnauthorized}

// assertionType is that of RFC 7523 section 2.2.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// authenticate finds out which client sends a form: by HTTP Basic or in the body
// (RFC 6749 section 2.3.1), by an assertion (RFC 7523), or, for a public client,
// by its id alone.
func (p *Provider) authenticate(r *http.Request, form url.Values) (*Client, error) {
	c, err := p.proven(r, form)
	if err == nil {
		p.d.Who(r, c.ID, c.ID)
	}
	return c, err
}

func (p *Provider) proven(r *http.Request, form url.Values) (*Client, error) {
	id, secret, basic := r.BasicAuth()
	assertion := form.Get("client_assertion")
	if basic {
		if form.Get("client_secret") != "" || assertion != "" {
			return nil, refused("invalid_request", "the client proves itself in two ways")
		}
		var err1, err2 error
		id, err1 = url.QueryUnescape(id)
		secret, err2 = url.QueryUnescape(secret)
		if err1 != nil || err2 != nil {
			return nil, badClient
		}
	} else {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	if assertion != "" {
		return p.byAssertion(r, form, id)
	}
	if id == "" && !basic && form.Get("grant_type") == grantRefresh {
		return p.byRefreshToken(r.Context(), form.Get("refresh_token"))
	}
	c, ok := p.findClient(r.Context(), id)
	switch {
	case !ok:
		_ = sameHash(hashSecret(secret), hashSecret("")) // takes as long as with a client
		return nil, badClient
	case c.Public:
		if secret != "" {
			return nil, badClient
		}
		return c, nil
	case c.SecretHash == "" || !sameHash(hashSecret(secret), c.SecretHash):
		return nil, badClient
	}
	return c, nil
}

// byRefreshToken finds the public client that a refresh token was made for: one
// need not name itself (RFC 6749 section 6), and widespread libraries do not.
func (p *Provider) byRefreshToken(ctx context.Context, token string) (*Client, error) {
	var g grant
	ok, _, err := p.store.get(ctx, hashSecret(token), ticketRefresh, p.d.Now(), &g)
	if err != nil {
		return nil, err
	}
	if c, known := p.client(g.Client); ok && known && c.Public {
		return c, nil
	}
	return nil, badClient
}

// maxAssertion is how long an assertion may live (SMART Backend Services: five minutes).
const maxAssertion = 5 * time.Minute

// byAssertion checks private_key_jwt.
func (p *Provider) byAssertion(r *http.Request, form url.Values, id string) (*Client, error) {
	if form.Get("client_assertion_type") != assertionType {
		return nil, refused("invalid_request", "client_assertion_type must be "+assertionType)
	}
	token := form.Get("client_assertion")
	claimed, err := auth.UnverifiedClaims(token)
	if err != nil || id != "" && id != claimed.Subject {
		return nil, badClient
	}
	c, ok := p.findClient(r.Context(), claimed.Subject)
	if !ok {
		return nil, badClient
	}
	claims, err := p.verifyAssertion(r.Context(), c, token)
	if err != nil {
		return nil, badClient
	}
	now, base := p.d.Now(), p.issuer(r)
	own := p.d.BaseURL(r)
	meant := slices.ContainsFunc(claims.Audience, func(a string) bool {
		return a == base || a == own || a == base+"/auth/token" || a == own+"/auth/token"
	})
	switch {
	case claims.Issuer != c.ID || claims.Subject != c.ID || !meant || claims.ID == "" || claims.Expiry == nil:
		return nil, badClient
	case !now.Before(claims.Expiry.Time()) || claims.Expiry.Time().After(now.Add(maxAssertion+time.Minute)):
		return nil, badClient
	case claims.NotBefore != nil && now.Add(time.Minute).Before(claims.NotBefore.Time()):
		return nil, badClient
	}
	fresh, err := p.store.put(r.Context(), ticket{
		hash: "assertion:" + hashSecret(c.ID+"\x00"+claims.ID), kind: ticketAssertion, expires: claims.Expiry.Time().Add(time.Minute), body: c.ID,
	})
	if err != nil {
		return nil, err
	}
	if !fresh {
		return nil, badClient // it was used before (RFC 7523 section 3, jti)
	}
	return c, nil
}

// verifyAssertion checks the signature against the keys of the client.
func (p *Provider) verifyAssertion(ctx context.Context, c *Client, token string) (*auth.Claims, error) {
	algs := []string{"RS384", "ES384"} // SMART App Launch 2.2, asymmetric authentication
	if len(c.JWKS) > 0 {
		keys, err := auth.ParseJWKS(c.JWKS)
		if err != nil {
			return nil, err
		}
		return auth.VerifyAssertion(token, keys, algs...)
	}
	if c.JWKSURI == "" {
		return nil, errors.New("the client has no key")
	}
	for _, refresh := range []bool{false, true} {
		keys, err := p.jwks.get(ctx, c.JWKSURI, refresh)
		if err != nil {
			return nil, err
		}
		if claims, err := auth.VerifyAssertion(token, keys, algs...); err == nil {
			return claims, nil
		}
	}
	return nil, errors.New("no key of the client made the signature")
}

// remoteKeys keeps the key sets that clients publish.
type remoteKeys struct {
	now func() time.Time
	mu  sync.Mutex
	set map[string]remoteSet
}

type remoteSet struct {
	keys    []auth.PublicKey
	fetched time.Time
	err     error
}

func (k *remoteKeys) get(ctx context.Context, address string, refresh bool) ([]auth.PublicKey, error) {
	k.mu.Lock()
	s, ok := k.set[address]
	k.mu.Unlock()
	age := k.now().Sub(s.fetched)
	if ok && (age < 30*time.Second || age < time.Hour && !refresh && s.err == nil) {
		return s.keys, s.err
	}
	text, err := auth.Fetch(ctx, auth.Fetcher(), address)
	s = remoteSet{fetched: k.now()}
	if err == nil {
		s.keys, err = auth.ParseJWKS(text)
	}
	s.err = err
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.set == nil {
		k.set = map[string]remoteSet{}
	}
	k.set[address] = s // as many as there are clients
	return s.keys, s.err
}

// failures slows down those who guess: per address, whatever they guess at.
type failures struct {
	now func() time.Time
	mu  sync.Mutex
	by  map[string]failure
}

type failure struct {
	count int
	until time.Time // forgotten after
}

const (
	maxFailures = 20
	failureTime = 10 * time.Minute
)

// blocked returns how long an address has to wait.
func (f *failures) blocked(who string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.by[who]
	if wait := x.until.Sub(f.now()); x.count >= maxFailures && wait > 0 {
		return wait
	}
	return 0
}

// failed counts a failure of the client of r, on all nodes.
func (p *Provider) failed(r *http.Request) {
	who := p.d.ClientIP(r)
	p.fails.note(who)
	if !p.shared() {
		return
	}
	now := p.d.Now()
	n, err := p.store.failure(r.Context(), who, now, now.Add(failureTime))
	if err != nil {
		p.log.LogAttrs(r.Context(), slog.LevelWarn, "a failed login is counted on this node only", slog.Any("err", err))
		return
	}
	p.fails.know(who, int(n))
}

// know raises a count to that of all nodes together.
func (f *failures) know(who string, count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.by[who]
	x.count = max(x.count, count)
	f.by[who] = x
}

func (f *failures) note(who string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if len(f.by) > 10_000 {
		maps.DeleteFunc(f.by, func(_ string, x failure) bool { return now.After(x.until) })
	}
	if f.by == nil {
		f.by = map[string]failure{}
	}
	x := f.by[who]
	if now.After(x.until) {
		x = failure{}
	}
	x.count++
	x.until = now.Add(failureTime)
	f.by[who] = x
}

// throttled is the answer to an address that guesses.
func throttled(wait time.Duration) *fault.Error {
	return &fault.Error{Kind: fault.Throttled, Msg: "too many attempts failed; wait before the next one", RetryAfter: wait}
}

// words splits the value of scope.
func words(s string) []string { return strings.Fields(s) }
