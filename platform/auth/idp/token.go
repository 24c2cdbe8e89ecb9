package idp

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// maxForm bounds a request to the provider.
const maxForm = 64 << 10

// tokenAnswer is RFC 6749 section 5.1 with the launch context of SMART.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Patient      string `json:"patient,omitempty"`
	Encounter    string `json:"encounter,omitempty"`
	FHIRUser     string `json:"fhirUser,omitempty"`
	Banner       *bool  `json:"need_patient_banner,omitempty"`
}

// grant is what somebody consented to; refresh tokens and codes stand for it.
type grant struct {
	Client    string    `json:"client"`
	User      string    `json:"user"`
	Scopes    []string  `json:"scopes"`
	At        string    `json:"at"`       // scope of this server
	Audience  string    `json:"audience"` // as the client wrote it
	Patient   string    `json:"patient,omitempty"`
	Encounter string    `json:"encounter,omitempty"`
	Banner    bool      `json:"banner,omitempty"`
	Nonce     string    `json:"nonce,omitempty"`
	Epoch     string    `json:"epoch,omitempty"`
	AuthTime  time.Time `json:"authTime"`

	// For codes only.
	RedirectURI string `json:"redirectUri,omitempty"`
	Challenge   string `json:"challenge,omitempty"`
	// Used is set by the first use of a code or a refresh token.
	Used bool `json:"used,omitempty"`
}

func (p *Provider) serveToken(w http.ResponseWriter, r *http.Request) error {
	form, c, err := p.clientForm(w, r)
	if err != nil {
		return err
	}
	kind := form.Get("grant_type")
	switch kind {
	case "":
		return refused("invalid_request", "grant_type is missing")
	case grantClient, grantCode, grantRefresh:
		if !c.may(kind) {
			return refused("unauthorized_client", "the client may not use "+kind)
		}
	default:
		return refused("unsupported_grant_type", "grant_type is client_credentials, authorization_code or refresh_token")
	}
	var a *tokenAnswer
	switch kind {
	case grantClient:
		a, err = p.clientToken(r, c, form)
	case grantCode:
		a, err = p.codeToken(r, c, form)
	case grantRefresh:
		a, err = p.refreshToken(r, c, form)
	}
	if err != nil {
		return err
	}
	respond(w, http.StatusOK, a)
	return nil
}

// clientForm reads a form and finds out which client sends it.
func (p *Provider) clientForm(w http.ResponseWriter, r *http.Request) (url.Values, *Client, error) {
	form, err := p.form(w, r)
	if err != nil {
		return nil, nil, err
	}
	c, err := p.authenticate(r, form)
	return form, c, err
}

// form reads a body of application/x-www-form-urlencoded, with no parameter
// twice (RFC 6749 section 3.2).
func (p *Provider) form(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if wait := p.fails.blocked(p.d.ClientIP(r)); wait > 0 {
		return nil, throttled(wait)
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return nil, refused("invalid_request", "the body must be application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, refused("invalid_request", "the body is no form, or larger than 64 KiB")
	}
	for name, vals := range r.PostForm {
		if len(vals) > 1 {
			return nil, refused("invalid_request", "a parameter is there twice: "+clip(name))
		}
	}
	return r.PostForm, nil
}

// clientToken answers client_credentials (RFC 6749 section 4.4).
func (p *Provider) clientToken(r *http.Request, c *Client, form url.Values) (*tokenAnswer, error) {
	at, audience, err := p.target(r, form)
	if err != nil {
		return nil, err
	}
	scopes := words(form.Get("scope"))
	for _, s := range scopes {
		switch {
		case !allowedScope(c, s):
			return nil, refused("invalid_scope", "the client may not ask for "+clip(s))
		case strings.HasPrefix(s, auth.ForSystem+"/"):
			if _, err := auth.ParseScope(s); err != nil {
				return nil, refused("invalid_scope", err.Error())
			}
		default:
			return nil, refused("invalid_scope", clip(s)+" needs a user; a client on its own asks for system/ scopes, or for none")
		}
	}
	return p.issue(r, &grant{Client: c.ID, User: c.ID, Epoch: c.epoch(), Scopes: scopes, At: at, Audience: audience}, "")
}

// target reads which part of the server a token is for: resource (RFC 8707),
// or audience as others call it. Without one it is for all.
func (p *Provider) target(r *http.Request, form url.Values) (at, audience string, err error) {
	audience = form.Get("resource")
	if audience == "" {
		audience = form.Get("audience")
	}
	if audience == "" {
		return "/", "", nil
	}
	if at = p.scopeOf(r, audience); at == "" {
		return "", "", refused("invalid_target", "the resource is no service of this server")
	}
	return at, audience, nil
}

// allowedScope reports whether a client may ask for a scope: when its list is
// empty, or has it, or has a clinical scope that is as wide or wider.
func allowedScope(c *Client, asked string) bool {
	if len(c.Scopes) == 0 || slices.Contains(c.Scopes, asked) {
		return true
	}
	want, err := auth.ParseScope(asked)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(c.Scopes, func(text string) bool {
		have, err := auth.ParseScope(text)
		return err == nil && have.For == want.For && have.Covers(want.Type) && want.Perms&^have.Perms == 0 &&
			(have.Query == "" || have.Query == want.Query)
	})
}

// codeToken answers authorization_code (RFC 6749 section 4.1.3, RFC 7636).
func (p *Provider) codeToken(r *http.Request, c *Client, form url.Values) (*tokenAnswer, error) {
	bad := refused("invalid_grant", "the code is unknown, expired, used, or not for this client")
	hash := hashSecret(form.Get("code"))
	var g grant
	ok, family, err := p.store.get(r.Context(), hash, ticketCode, p.d.Now(), &g)
	if err != nil {
		return nil, err
	}
	if !ok || g.Client != c.ID || g.RedirectURI != form.Get("redirect_uri") {
		return nil, bad
	}
	if !sameHash(challengeOf(form.Get("code_verifier")), g.Challenge) {
		return nil, refused("invalid_grant", "code_verifier does not fit")
	}
	p.d.Who(r, g.User, c.ID)
	if !p.caughtUp(r.Context(), func() bool { return p.stands(&g) }) {
		return nil, bad
	}
	if err := p.use(r.Context(), hash, family, g); err != nil {
		return nil, errors.Join(bad, err)
	}
	g.RedirectURI, g.Challenge = "", ""
	return p.issue(r, &g, family)
}

// use marks a ticket as used. The second use means that somebody stole it: then
// everything that came from this login ends (RFC 6749 section 10.5, RFC 9700
// section 4.14).
func (p *Provider) use(ctx context.Context, hash, family string, g grant) error {
	if !g.Used {
		used := g
		used.Used = true
		if done, err := p.store.replace(ctx, hash, &g, &used); err != nil || done {
			return err
		}
	}
	p.log.LogAttrs(ctx, slog.LevelWarn, "a code or refresh token was used twice; the login is ended", slog.String("client", g.Client))
	return errors.Join(errUsed, p.endFamily(ctx, family))
}

var errUsed = errors.New("idp: used twice")

// endFamily takes back everything that came from a login.
func (p *Provider) endFamily(ctx context.Context, family string) error {
	if err := p.revoke(ctx, family, p.d.Now().Add(p.d.AccessTime+2*time.Minute)); err != nil {
		return err
	}
	return p.store.removeFamily(ctx, family)
}

// refreshToken answers refresh_token (RFC 6749 section 6).
func (p *Provider) refreshToken(r *http.Request, c *Client, form url.Values) (*tokenAnswer, error) {
	bad := refused("invalid_grant", "the refresh token is unknown, expired, used, or not for this client")
	hash := hashSecret(form.Get("refresh_token"))
	var g grant
	ok, family, err := p.store.get(r.Context(), hash, ticketRefresh, p.d.Now(), &g)
	if err != nil {
		return nil, err
	}
	if !ok || g.Client != c.ID {
		return nil, bad
	}
	p.d.Who(r, g.User, c.ID)
	if !p.caughtUp(r.Context(), func() bool { return p.stands(&g) }) {
		return nil, bad
	}
	narrowed := g.Scopes
	if text := form.Get("scope"); text != "" {
		narrowed = words(text)
		for _, s := range narrowed {
			if !slices.Contains(g.Scopes, s) {
				return nil, refused("invalid_scope", "a refresh cannot add "+clip(s))
			}
		}
	}
	if err := p.use(r.Context(), hash, family, g); err != nil {
		return nil, errors.Join(bad, err)
	}
	g.Nonce = ""
	return p.issueNarrowed(r, &g, family, narrowed)
}

func (p *Provider) issue(r *http.Request, g *grant, family string) (*tokenAnswer, error) {
	return p.issueNarrowed(r, g, family, g.Scopes)
}

// issueNarrowed makes the tokens for a grant, the access token with some of its scopes.
func (p *Provider) issueNarrowed(r *http.Request, g *grant, family string, scopes []string) (*tokenAnswer, error) {
	now := p.d.Now()
	claims := &auth.Claims{
		Issuer: p.issuer(r), Subject: g.User, Audience: auth.Strings{auth.ScopeAudience(g.At)},
		IssuedAt: auth.At(now), NotBefore: auth.At(now), Expiry: auth.At(now.Add(p.d.AccessTime)), ID: newSecret()[:22],
		ClientID: g.Client, Scope: scopes, Session: family, Patient: g.Patient, Epoch: g.Epoch,
	}
	if g.Audience != "" {
		claims.Audience = append(claims.Audience, g.Audience)
	}
	u, _ := p.user(g.User)
	if u != nil && g.User != g.Client {
		claims.FHIRUser = u.FHIRUser
	}
	access, err := p.sign(r.Context(), algAccess, "at+jwt", claims)
	if err != nil {
		return nil, err
	}
	a := &tokenAnswer{
		AccessToken: access, TokenType: "Bearer", ExpiresIn: int(p.d.AccessTime / time.Second), Scope: strings.Join(scopes, " "),
		Patient: g.Patient, Encounter: g.Encounter,
	}
	if g.Patient != "" {
		a.Banner = &g.Banner
	}
	if family == "" {
		return a, nil
	}
	return a, p.addUserTokens(r, a, g, u, family, scopes)
}

// addUserTokens adds the id token and the refresh token that were asked for.
func (p *Provider) addUserTokens(r *http.Request, a *tokenAnswer, g *grant, u *User, family string, scopes []string) error {
	now := p.d.Now()
	if slices.Contains(scopes, "openid") && u != nil {
		id := &auth.Claims{
			Issuer: p.issuer(r), Subject: u.ID, Audience: auth.Strings{g.Client}, IssuedAt: auth.At(now),
			Expiry: auth.At(now.Add(p.d.AccessTime)), Nonce: g.Nonce,
		}
		id.Name, id.FHIRUser = p.describe(r, scopes, g.At, u)
		a.FHIRUser = id.FHIRUser
		var err error
		if a.IDToken, err = p.sign(r.Context(), algID, "JWT", id); err != nil {
			return err
		}
	}
	if !slices.Contains(g.Scopes, "offline_access") && !slices.Contains(g.Scopes, "online_access") {
		return nil
	}
	if c, ok := p.client(g.Client); !ok || !c.may(grantRefresh) {
		return nil
	}
	a.RefreshToken = newSecret()
	next := *g
	next.Used = false
	_, err := p.store.put(r.Context(), ticket{
		hash: hashSecret(a.RefreshToken), kind: ticketRefresh, family: family, expires: now.Add(p.d.RefreshTime), body: &next,
	})
	return err
}

// describe returns what the scopes of an application let it know of a user.
func (p *Provider) describe(r *http.Request, scopes []string, at string, u *User) (name, fhirUser string) {
	if !slices.Contains(scopes, "profile") && !slices.Contains(scopes, "fhirUser") {
		return "", ""
	}
	return u.Name, absolute(p.issuer(r), at, u.FHIRUser)
}

// absolute makes the URL of fhirUser below the service at scope.
func absolute(base, at, ref string) string {
	if ref == "" || strings.Count(at, "/") != 2 {
		return ref
	}
	return base + at + "/" + ref
}

// respond writes JSON that nobody may keep (RFC 6749 section 5.1).
func respond(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // cannot happen: our own plain types
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client is gone when this fails
}

// fail answers with an error: of OAuth as OAuth wants it, else as a fault.
func (p *Provider) fail(w http.ResponseWriter, r *http.Request, err error) {
	if oe, ok := errors.AsType[*oauthError](err); ok {
		status := http.StatusBadRequest
		if oe.status != 0 {
			status = oe.status
		}
		if status == http.StatusUnauthorized {
			p.failed(r)
			w.Header().Set("WWW-Authenticate", `Basic realm="hygeia"`)
		}
		respond(w, status, map[string]string{"error": oe.code, "error_description": oe.text})
		return
	}
	e := fault.From(err)
	if e.Kind == fault.Internal {
		p.log.LogAttrs(r.Context(), slog.LevelError, "identity request failed", slog.Any("err", err))
	}
	p.d.Error(w, r, e)
}

// clip keeps what a client sent short in a message.
func clip(s string) string {
	if len(s) > 64 {
		s = s[:64] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
