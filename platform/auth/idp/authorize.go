package idp

import (
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// codeTime is how long a code may be exchanged (RFC 6749 section 4.1.2 allows ten minutes).
const codeTime = time.Minute

// authRequest is a request for authorization that was checked.
type authRequest struct {
	client   *Client
	redirect string
	state    string
	scopes   []string
	at       string // scope of this server
	audience string
	nonce    string
	prompt   string
	launch   *launch // of an EHR; nil = standalone

	challenge    string
	launchTicket string
	query        string // as it came
}

// redirectError is an error that the client hears about (RFC 6749 section 4.1.2.1).
type redirectError struct {
	req        *authRequest
	code, text string
}

func (e *redirectError) Error() string { return e.code + ": " + e.text }

// challengeForm is the S256 of RFC 7636 section 4.2: 32 bytes in base64url.
var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// challengeOf returns the challenge that a verifier fits.
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// readAuthorize checks a request. What is wrong with client or redirect URI is
// shown to the user; it must not be sent to an address that nobody registered.
func (p *Provider) readAuthorize(r *http.Request) (*authRequest, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the query cannot be read")
	}
	for name, vals := range q {
		if len(vals) > 1 {
			return nil, fault.New(fault.Invalid, "the parameter %s is there twice", clip(name))
		}
	}
	c, ok := p.findClient(r.Context(), q.Get("client_id"))
	if !ok {
		return nil, fault.New(fault.Invalid, "the application is not registered here")
	}
	req := &authRequest{client: c, redirect: q.Get("redirect_uri"), state: q.Get("state"), nonce: q.Get("nonce"), prompt: q.Get("prompt"), query: r.URL.RawQuery}
	if !slices.Contains(c.RedirectURIs, req.redirect) {
		return nil, fault.New(fault.Invalid, "the redirect URI is not one that the application registered")
	}
	bad := func(code, text string) (*authRequest, error) { return nil, &redirectError{req, code, text} }
	req.challenge = q.Get("code_challenge")
	switch {
	case !c.may(grantCode):
		return bad("unauthorized_client", "the client may not use authorization_code")
	case q.Get("response_type") != "code":
		return bad("unsupported_response_type", "response_type must be code")
	case q.Get("code_challenge_method") != "S256" || !challengeForm.MatchString(req.challenge):
		return bad("invalid_request", "PKCE is required: code_challenge with code_challenge_method=S256")
	}
	if err := p.readScopes(r, req, q); err != nil {
		return nil, err
	}
	return req, p.readLaunch(r, req, q.Get("launch"))
}

// knownScopes are those that are no clinical ones.
var knownScopes = []string{"openid", "profile", "fhirUser", "launch", "launch/patient", "offline_access", "online_access", auth.ScopeImpersonation}

// readScopes reads scope and aud. Scopes that are unknown here, or that the
// client may not have, are left out, and the token answer says what is granted
// (RFC 6749 section 3.3).
func (p *Provider) readScopes(r *http.Request, req *authRequest, q url.Values) error {
	clinical := false
	for _, s := range words(q.Get("scope")) {
		if auth.IsClinical(s) {
			if _, err := auth.ParseScope(s); err != nil {
				return &redirectError{req, "invalid_scope", err.Error()}
			}
			if strings.HasPrefix(s, auth.ForSystem+"/") {
				return &redirectError{req, "invalid_scope", "system/ scopes are for client_credentials"}
			}
			clinical = true
		} else if !slices.Contains(knownScopes, s) {
			continue
		}
		if allowedScope(req.client, s) && !slices.Contains(req.scopes, s) {
			req.scopes = append(req.scopes, s)
		}
	}
	if len(req.scopes) == 0 {
		return &redirectError{req, "invalid_scope", "none of the scopes can be granted"}
	}
	req.at = "/"
	if req.audience = q.Get("aud"); req.audience == "" {
		req.audience = q.Get("resource")
	}
	if req.audience != "" {
		req.at = p.scopeOf(r, req.audience)
	}
	if req.at == "" || clinical && strings.Count(req.at, "/") != 2 {
		return &redirectError{req, "invalid_request", "aud must be the base URL of a FHIR service here"}
	}
	return nil
}

// needsPatient reports whether the scopes need a patient in context.
func (a *authRequest) needsPatient(scopes []string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool {
		return s == "launch/patient" || strings.HasPrefix(s, auth.ForPatient+"/")
	}) || a.launch != nil && a.launch.Patient != ""
}

func (p *Provider) serveAuthorize(w http.ResponseWriter, r *http.Request) error {
	req, err := p.readAuthorize(r)
	if err != nil {
		return p.refuseAuthorize(w, r, err)
	}
	u, err := p.session(r)
	if err != nil {
		return err
	}
	if u == nil || req.prompt == "login" && !p.justLoggedIn(r) {
		if req.prompt == "none" {
			return p.refuseAuthorize(w, r, &redirectError{req, "login_required", "nobody is logged in"})
		}
		return p.page(w, r, http.StatusOK, "login", loginPage{Client: req.client.label(), Action: formAction("login", req)}, "")
	}
	if req.prompt == "none" {
		return p.refuseAuthorize(w, r, &redirectError{req, "consent_required", "the user has to consent"})
	}
	return p.consentPage(w, r, req, u, "")
}

// refuseAuthorize sends the browser back to the client with an error, or shows it.
func (p *Provider) refuseAuthorize(w http.ResponseWriter, r *http.Request, err error) error {
	re, ok := err.(*redirectError) //nolint:errorlint // never wrapped
	if !ok {
		e := fault.From(err)
		if e.Kind != fault.Invalid {
			return err
		}
		return p.page(w, r, http.StatusBadRequest, "problem", problemPage{e.Msg}, "")
	}
	return p.back(w, r, re.req, url.Values{"error": {re.code}, "error_description": {re.text}})
}

// back redirects to the client (RFC 6749 section 4.1.2; iss is RFC 9207).
func (p *Provider) back(w http.ResponseWriter, r *http.Request, req *authRequest, params url.Values) error {
	u, err := url.Parse(req.redirect)
	if err != nil { // cannot happen: it was checked when it was registered
		return fault.New(fault.Invalid, "the redirect URI cannot be read")
	}
	q := u.Query()
	for name, vals := range params {
		q[name] = vals
	}
	if req.state != "" {
		q.Set("state", req.state)
	}
	q.Set("iss", p.issuer(r))
	u.RawQuery = q.Encode()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", u.String())
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// consentPage asks the user.
func (p *Provider) consentPage(w http.ResponseWriter, r *http.Request, req *authRequest, u *User, complaint string) error {
	page := consentPage{Client: req.client.label(), User: u.label(), Service: req.at, Action: formAction("authorize", req), Complaint: complaint}
	for _, s := range req.scopes {
		page.Scopes = append(page.Scopes, scopeLine{s, explain(s)})
	}
	if req.needsPatient(req.scopes) {
		page.Patient = req.patientOf(u)
		page.AskPatient = page.Patient == ""
	}
	status := http.StatusOK
	if complaint != "" {
		status = http.StatusBadRequest
	}
	return p.page(w, r, status, "consent", page, originOf(req.redirect))
}

// patientOf returns the patient in context when nobody needs to be asked.
func (a *authRequest) patientOf(u *User) string {
	if a.launch != nil {
		return a.launch.Patient
	}
	id, _ := strings.CutPrefix(u.FHIRUser, "Patient/")
	if id == u.FHIRUser {
		return ""
	}
	return id
}

// crossOrigin refuses forms that another site sends.
var crossOrigin = http.NewCrossOriginProtection()

// serveConsent takes the answer of the user.
func (p *Provider) serveConsent(w http.ResponseWriter, r *http.Request) error {
	if r.URL.RawQuery == "" {
		return p.servePosted(w, r)
	}
	if err := crossOrigin.Check(r); err != nil {
		return fault.New(fault.Forbidden, "the form does not come from this server")
	}
	req, err := p.readAuthorize(r)
	if err != nil {
		return p.refuseAuthorize(w, r, err)
	}
	u, err := p.session(r)
	if err != nil {
		return err
	}
	if u == nil {
		return p.page(w, r, http.StatusOK, "login", loginPage{Client: req.client.label(), Action: formAction("login", req)}, "")
	}
	p.d.Who(r, u.ID, req.client.ID)
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return fault.New(fault.Invalid, "the form cannot be read")
	}
	if r.PostForm.Get("decision") != "allow" {
		return p.refuseAuthorize(w, r, &redirectError{req, "access_denied", "the user did not consent"})
	}
	var granted []string
	for _, s := range req.scopes {
		if slices.Contains(r.PostForm["scope"], s) {
			granted = append(granted, s)
		}
	}
	if len(granted) == 0 {
		return p.refuseAuthorize(w, r, &redirectError{req, "access_denied", "the user did not consent to any scope"})
	}
	g := &grant{
		Client: req.client.ID, User: u.ID, Scopes: granted, At: req.at, Audience: req.audience, Nonce: req.nonce,
		Epoch: loginEpoch(req.client, u), AuthTime: p.d.Now().UTC(), RedirectURI: req.redirect, Challenge: req.challenge,
	}
	if complaint := p.contextOf(r, req, u, g); complaint != "" {
		return p.consentPage(w, r, req, u, complaint)
	}
	return p.giveCode(w, r, req, g)
}

// servePosted answers a request for authorization that came as a form (OpenID
// Connect Core 1.0 section 3.1.2.1, SMART authorize-post): the browser asks again
// with GET, so that cookies that other sites must not use come along.
func (p *Provider) servePosted(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil || len(r.PostForm) == 0 {
		return fault.New(fault.Invalid, "the request for authorization cannot be read")
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", p.d.BaseURL(r)+"/auth/authorize?"+r.PostForm.Encode())
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// contextOf puts the launch context into a grant; it returns what is wrong.
func (p *Provider) contextOf(r *http.Request, req *authRequest, u *User, g *grant) (complaint string) {
	if req.launch != nil {
		// The EHR vouches for those who care for patients. A patient never gets a
		// token for another one, whatever handle it got hold of.
		if id := req.launch.Patient; id != "" && strings.HasPrefix(u.FHIRUser, "Patient/") && p.patientFor(r, g.At, u, id) != nil {
			return "This patient is not one that you may see."
		}
		g.Patient, g.Encounter, g.Banner = req.launch.Patient, req.launch.Encounter, req.launch.Banner
		return ""
	}
	if !req.needsPatient(g.Scopes) {
		return ""
	}
	g.Banner = true
	own := req.patientOf(u)
	if own != "" {
		g.Patient = own
		return ""
	}
	id := strings.TrimPrefix(strings.TrimSpace(r.PostForm.Get("patient")), "Patient/")
	if id == "" {
		return "Choose a patient."
	}
	if p.patientFor(r, g.At, u, id) != nil {
		return "There is no such patient that you may see."
	}
	g.Patient = id
	return ""
}

// patientFor asks the FHIR service whether a user may see a patient.
func (p *Provider) patientFor(r *http.Request, at string, u *User, id string) error {
	who := &auth.Principal{ID: u.ID, FHIRUser: u.FHIRUser, Grants: p.Grants("", []string{u.ID}, nil, at), Limited: true}
	who.Scopes = []auth.Scope{{For: auth.ForUser, Type: "*", Perms: auth.PermRead}}
	return p.d.Patient(r.Context(), at, who, id)
}

// giveCode sends the browser back with a code. The login that began here is a family.
func (p *Provider) giveCode(w http.ResponseWriter, r *http.Request, req *authRequest, g *grant) error {
	code, family := newSecret(), newSecret()[:22]
	// Kept longer than it is valid as a sign of theft: see use.
	_, err := p.store.put(r.Context(), ticket{hash: hashSecret(code), kind: ticketCode, family: family, expires: p.d.Now().Add(codeTime), body: g})
	if err != nil {
		return err
	}
	if req.launchTicket != "" {
		if err := p.store.remove(r.Context(), req.launchTicket); err != nil {
			return err
		}
	}
	p.log.LogAttrs(r.Context(), slog.LevelInfo, "authorization granted", slog.String("client", g.Client), slog.String("scope", strings.Join(g.Scopes, " ")))
	return p.back(w, r, req, url.Values{"code": {code}})
}

// originOf returns what form-action must allow for a redirect: browsers apply
// it to the redirect that follows a form too.
func originOf(redirect string) string {
	u, err := url.Parse(redirect)
	if err != nil {
		return ""
	}
	if u.Host == "" {
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}

func (c *Client) label() string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}

func (u *User) label() string {
	if u.Name != "" {
		return u.Name
	}
	return u.ID
}
