package idp

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// The kinds of objects.
const (
	kindClient     = "client"
	kindUser       = "user"
	kindRole       = "role"
	kindAssignment = "assignment"
	kindKey        = "key"
)

// The grant types.
const (
	grantClient  = "client_credentials"
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
)

// Client is an application.
type Client struct {
	ID           string          `json:"id"`
	Workspace    string          `json:"workspace,omitempty"` // whose owner manages it; "" = the platform's
	Name         string          `json:"name,omitempty"`      // shown to users
	Public       bool            `json:"public,omitempty"`    // has no secret: an application in a browser or on a phone
	SecretHash   string          `json:"secretHash,omitempty"`
	JWKS         json.RawMessage `json:"jwks,omitempty"`
	JWKSURI      string          `json:"jwksUri,omitempty"`
	RedirectURIs []string        `json:"redirectUris,omitempty"`
	LaunchURI    string          `json:"launchUri,omitempty"`
	GrantTypes   []string        `json:"grantTypes,omitempty"`
	Scopes       []string        `json:"scopes,omitempty"` // that it may ask for; none = all
	Created      time.Time       `json:"created"`
}

// check returns what is wrong with a client.
func (c *Client) check() error {
	if err := checkName("client", c.ID); err != nil {
		return err
	}
	if len(c.GrantTypes) == 0 {
		c.GrantTypes = []string{grantClient}
		if c.Public || len(c.RedirectURIs) > 0 {
			c.GrantTypes = []string{grantCode, grantRefresh}
		}
	}
	for _, g := range c.GrantTypes {
		if g != grantClient && g != grantCode && g != grantRefresh {
			return fault.New(fault.Invalid, "grant type %.64q is unknown; it is client_credentials, authorization_code or refresh_token", g)
		}
	}
	code := slices.Contains(c.GrantTypes, grantCode)
	switch {
	case c.Public && slices.Contains(c.GrantTypes, grantClient):
		return fault.New(fault.Invalid, "a public client has no secret and cannot use client_credentials")
	case c.Public && (len(c.JWKS) > 0 || c.JWKSURI != ""):
		return fault.New(fault.Invalid, "a public client has no key")
	case len(c.JWKS) > 0 && c.JWKSURI != "":
		return fault.New(fault.Invalid, "give jwks or jwksUri, not both")
	case code && len(c.RedirectURIs) == 0:
		return fault.New(fault.Invalid, "authorization_code needs a redirect URI")
	}
	for _, u := range c.RedirectURIs {
		if err := checkRedirect(u); err != nil {
			return err
		}
	}
	if c.JWKSURI != "" {
		if err := auth.CheckURL(c.JWKSURI); err != nil {
			return fault.New(fault.Invalid, "jwksUri: %v", err)
		}
	}
	if len(c.JWKS) > 0 {
		if keys, err := auth.ParseJWKS(c.JWKS); err != nil || len(keys) == 0 {
			return fault.New(fault.Invalid, "jwks holds no public key")
		}
	}
	for _, s := range c.Scopes {
		if auth.IsClinical(s) {
			if _, err := auth.ParseScope(s); err != nil {
				return fault.New(fault.Invalid, "%v", err)
			}
		}
	}
	return nil
}

// checkRedirect accepts absolute URIs without fragment (RFC 6749 section 3.1.2):
// https, http on this machine, or the private scheme of a phone application,
// which has a dot in it (RFC 8252 section 7.1).
func checkRedirect(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Fragment != "" || strings.ContainsAny(text, " *\t\r\n") {
		return fault.New(fault.Invalid, "redirect URI %.200q must be absolute, exact and without fragment", text)
	}
	if strings.Contains(u.Scheme, ".") && u.Opaque == "" {
		return nil
	}
	if err := auth.CheckURL(text); err != nil {
		return fault.New(fault.Invalid, "redirect URI: %v", err)
	}
	return nil
}

// may reports whether the client may use a grant type.
func (c *Client) may(grant string) bool { return slices.Contains(c.GrantTypes, grant) }

// User is a person with a password.
type User struct {
	ID           string    `json:"id"` // what is typed at login
	Workspace    string    `json:"workspace,omitempty"`
	Name         string    `json:"name,omitempty"`
	PasswordHash string    `json:"passwordHash"`
	TOTP         string    `json:"totp,omitempty"`     // sealed
	TOTPLast     int64     `json:"totpLast,omitempty"` // step of the last code
	FHIRUser     string    `json:"fhirUser,omitempty"` // Practitioner/123
	Disabled     bool      `json:"disabled,omitempty"`
	Failed       int       `json:"failed,omitempty"` // since the last success
	LockedUntil  time.Time `json:"lockedUntil,omitzero"`
	Created      time.Time `json:"created"`
	// Proofs is when the password or the second factor was last given by somebody
	// else than the user: whoever logged in before does not count any more.
	Proofs time.Time `json:"proofs,omitzero"`
}

// since is the time from which on logins of the user count.
func (u *User) since() time.Time {
	if u.Proofs.After(u.Created) {
		return u.Proofs
	}
	return u.Created
}

// fhirUserForm is a reference to one of the types that SMART allows.
var fhirUserForm = regexp.MustCompile(`^(Patient|Practitioner|PractitionerRole|RelatedPerson|Person|Device)/[A-Za-z0-9.-]{1,64}$`)

// minPassword follows NIST SP 800-63B section 5.1.1.2 with a margin.
const (
	minPassword = 10
	maxPassword = 256
)

// check returns what is wrong with a user.
func (u *User) check() error {
	if err := checkName("user", u.ID); err != nil {
		return err
	}
	if u.FHIRUser != "" && !fhirUserForm.MatchString(u.FHIRUser) {
		return fault.New(fault.Invalid, "fhirUser %.100q is no reference such as Practitioner/123", u.FHIRUser)
	}
	return nil
}

func checkNewPassword(p string) error {
	if n := len(p); n < minPassword || n > maxPassword {
		return fault.New(fault.Invalid, "a password has %d to %d bytes", minPassword, maxPassword)
	}
	return nil
}

// Role is a custom role.
type Role struct {
	Name    string    `json:"name"`
	Actions []string  `json:"actions"`
	Created time.Time `json:"created"`
}

// Assignment gives a role to a principal at a scope.
type Assignment struct {
	Name      string    `json:"name"`
	Workspace string    `json:"workspace,omitempty"`
	Principal string    `json:"principal"`        // client, user; with Issuer: sub, oid or group
	Issuer    string    `json:"issuer,omitempty"` // "" = the built-in provider
	Role      string    `json:"role"`
	Scope     string    `json:"scope"`
	Created   time.Time `json:"created"`
}

// id is the key of an assignment: names are unique in a workspace.
func (a *Assignment) id() string { return a.Workspace + "/" + a.Name }

var scopeForm = regexp.MustCompile(`^/([a-z][a-z0-9-]{1,23}(/[a-z][a-z0-9-]{1,23})?)?$`)

// check returns what is wrong with an assignment.
func (a *Assignment) check() error {
	if err := checkName("role assignment", a.Name); err != nil {
		return err
	}
	home := "/" + a.Workspace
	switch {
	case a.Principal == "" || len(a.Principal) > 256:
		return fault.New(fault.Invalid, "the principal is missing or too long")
	case !scopeForm.MatchString(a.Scope):
		return fault.New(fault.Invalid, "scope %.64q is not /, /workspace or /workspace/service", a.Scope)
	case a.Workspace != "" && a.Scope != home && !strings.HasPrefix(a.Scope, home+"/"):
		return fault.New(fault.Invalid, "scope %s lies outside workspace %s", a.Scope, a.Workspace)
	}
	return nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$`)

func checkName(what, name string) error {
	if !nameForm.MatchString(name) {
		return fault.New(fault.Invalid, "%.64q cannot name a %s: 1 to 128 letters, digits and . _ @ + -, beginning with a letter or digit", name, what)
	}
	return nil
}
