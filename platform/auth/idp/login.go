package idp

import (
	"bytes"
	_ "embed"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

//go:embed pages.html
var pagesSource string

var pages = template.Must(template.New("pages").Parse(pagesSource))

type loginPage struct {
	Client, Complaint string
	Action            template.URL
}

type consentPage struct {
	Client, User, Service, Complaint string
	Action                           template.URL
	Scopes                           []scopeLine
	Patient                          string
	AskPatient                       bool
}

type problemPage struct{ Text string }

// formAction is where a form goes: the request for authorization comes along, so
// that nothing has to be kept between two pages.
func formAction(path string, req *authRequest) template.URL {
	return template.URL(path + "?" + req.query) //nolint:gosec // a query behind our own path; the template still escapes it for the attribute
}

type scopeLine struct{ Scope, Text string }

// page renders one of the templates. They need no script and load nothing.
func (p *Provider) page(w http.ResponseWriter, _ *http.Request, status int, name string, data any, origin string) error {
	var out bytes.Buffer
	if err := pages.ExecuteTemplate(&out, name, data); err != nil {
		return fault.Wrap("idp: page", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self' "+origin)
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the client is gone when this fails
	return nil
}

// The session of a browser.
const (
	sessionCookie = "hygeia_session"
	sessionTime   = 8 * time.Hour
)

// session is what the ticket of a browser holds.
type session struct {
	User  string    `json:"user"`
	Epoch string    `json:"epoch,omitempty"` // of the user
	At    time.Time `json:"at"`
}

// session returns the user who is logged in, or nil.
func (p *Provider) session(r *http.Request) (*User, error) {
	s, err := p.readSession(r)
	if err != nil || s.User == "" {
		return nil, err
	}
	var u *User
	if !p.caughtUp(r.Context(), func() bool { u, _ = p.user(s.User); return u.proven(s.Epoch, s.At) }) {
		return nil, nil
	}
	return u, nil
}

func (p *Provider) readSession(r *http.Request) (s session, err error) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return s, nil // no cookie
	}
	_, _, err = p.store.get(r.Context(), hashSecret(c.Value), ticketSession, p.d.Now(), &s)
	return s, err
}

// justLoggedIn reports whether the login is newer than a prompt=login could ask for.
func (p *Provider) justLoggedIn(r *http.Request) bool {
	s, err := p.readSession(r)
	return err == nil && p.d.Now().Sub(s.At) < 30*time.Second
}

// The lockout of a user: after some failures, for a while.
const (
	maxUserFailures = 5
	lockTime        = 15 * time.Minute
)

// refusalTime is how long a refused login takes at least: more than the hash and
// the write that counts the failures of those who exist.
const refusalTime = 200 * time.Millisecond

// serveLogin checks name and password. Whatever is wrong, the answer is the same
// and takes as long.
func (p *Provider) serveLogin(w http.ResponseWriter, r *http.Request) error {
	refusable := time.After(refusalTime)
	if err := crossOrigin.Check(r); err != nil {
		return fault.New(fault.Forbidden, "the form does not come from this server")
	}
	req, err := p.readAuthorize(r)
	if err != nil {
		return p.refuseAuthorize(w, r, err)
	}
	if wait := p.fails.blocked(p.d.ClientIP(r)); wait > 0 {
		return throttled(wait)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return fault.New(fault.Invalid, "the form cannot be read")
	}
	u, err := p.login(r, r.PostForm.Get("username"), r.PostForm.Get("password"), r.PostForm.Get("code"))
	if err != nil {
		return err
	}
	if u == nil {
		p.failed(r)
		select {
		case <-refusable:
		case <-r.Context().Done():
		}
		page := loginPage{Client: req.client.label(), Action: formAction("login", req), Complaint: "Name, password or code is wrong, or the account is locked."}
		return p.page(w, r, http.StatusUnauthorized, "login", page, "")
	}
	secret := newSecret()
	now := p.d.Now()
	_, err = p.store.put(r.Context(), ticket{hash: hashSecret(secret), kind: ticketSession, expires: now.Add(sessionTime), body: session{u.ID, u.epoch(), now.UTC()}})
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(p.d.BaseURL(r), "https:"), MaxAge: int(sessionTime / time.Second),
	})
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", p.d.BaseURL(r)+"/auth/authorize?"+req.query)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// login returns the user when everything fits, else nil. It counts failures.
func (p *Provider) login(r *http.Request, name, password, code string) (*User, error) {
	if len(password) > maxPassword {
		password = ""
	}
	u, ok := p.user(name)
	hash := nobody
	if ok {
		hash = u.PasswordHash
	}
	fits := checkPassword(hash, password)
	if !ok {
		return nil, nil
	}
	p.d.Who(r, u.ID, "") // a name that nobody has may be a password in the wrong field
	var out *User
	err := p.changing(r.Context(), func() (err error) {
		out, err = p.countLogin(r, name, code, hash, fits)
		return err
	})
	return out, err
}

// countLogin returns the user when password and code fit and nothing else is in
// the way, else nil; it counts what failed. hash is what the password was checked
// against; whoever got another one meanwhile has to log in with that.
func (p *Provider) countLogin(r *http.Request, name, code, hash string, fits bool) (*User, error) {
	u, ok := p.user(name)
	if !ok || u.PasswordHash != hash {
		return nil, nil
	}
	now, next := p.d.Now(), *u
	if u.Disabled || now.Before(u.LockedUntil) {
		return nil, nil
	}
	if fits && u.TOTP != "" {
		secret, err := p.d.Sealer.Open("totp "+u.ID, u.TOTP)
		if err != nil {
			return nil, fault.Wrap("idp: login", err)
		}
		next.TOTPLast, fits = checkTOTP(secret, strings.TrimSpace(code), now, u.TOTPLast)
	}
	if fits {
		next.Failed = 0
		if u.Failed == 0 && next.TOTPLast == u.TOTPLast {
			return u, nil
		}
	} else {
		next.TOTPLast = u.TOTPLast
		if next.Failed++; next.Failed >= maxUserFailures {
			next.Failed, next.LockedUntil = 0, now.Add(lockTime).UTC()
			p.log.LogAttrs(r.Context(), slog.LevelWarn, "a user is locked after failed logins", slog.String("user", u.ID))
		}
	}
	if err := p.keepUser(&adminRequest{ctx: r.Context()}, &next); err != nil {
		return nil, err
	}
	if !fits {
		return nil, nil
	}
	return &next, nil
}

// serveLogout ends the session of the browser.
func (p *Provider) serveLogout(w http.ResponseWriter, r *http.Request) error {
	if err := crossOrigin.Check(r); err != nil {
		return fault.New(fault.Forbidden, "the form does not come from this server")
	}
	if c, err := r.Cookie(sessionCookie); err == nil {
		if err := p.store.remove(r.Context(), hashSecret(c.Value)); err != nil {
			return err
		}
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: -1})
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// explain says in words what a scope lets an application do.
func explain(scope string) string {
	switch scope {
	case "openid", "profile", "fhirUser":
		return "know who you are"
	case "launch", "launch/patient":
		return "know which patient you are working with"
	case "offline_access":
		return "keep this access when you are away"
	case "online_access":
		return "keep this access while you are logged in"
	case auth.ScopeImpersonation:
		return "do everything that you may do"
	}
	s, err := auth.ParseScope(scope)
	if err != nil {
		return ""
	}
	var can []string
	for _, v := range []struct {
		p    auth.Perms
		text string
	}{{auth.PermRead | auth.PermSearch, "see"}, {auth.PermCreate, "add"}, {auth.PermUpdate, "change"}, {auth.PermDelete, "delete"}} {
		if s.Perms&v.p != 0 {
			can = append(can, v.text)
		}
	}
	what := s.Type + " records"
	if s.Type == "*" {
		what = "all records"
	}
	if s.For == auth.ForPatient {
		what += " of the patient"
	} else {
		what += " that you may use"
	}
	if s.Query != "" {
		text, err := url.QueryUnescape(s.Query)
		if err != nil {
			text = s.Query
		}
		what += " where " + text
	}
	return strings.Join(can, ", ") + " " + what
}
