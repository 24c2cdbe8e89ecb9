package idp

import (
	"net/http"
	"slices"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// serveUserInfo answers OpenID Connect Core 1.0 section 5.3: who the user of an
// access token with the scope openid is, as far as its scopes let the
// application know. The token stands in the Authorization header (RFC 6750
// section 2.1); it may be for any part of this server.
func (p *Provider) serveUserInfo(w http.ResponseWriter, r *http.Request) error {
	claims, err := p.bearer(r)
	if err != nil {
		challenge := `Bearer realm="hygeia"`
		if r.Header.Get("Authorization") != "" {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		return err
	}
	p.d.Who(r, claims.Subject, claims.ClientID)
	u, ok := p.user(claims.Subject)
	if !ok || !slices.Contains(claims.Scope, "openid") {
		w.Header().Set("WWW-Authenticate", `Bearer realm="hygeia", error="insufficient_scope", scope="openid"`)
		return fault.New(fault.Forbidden, "the token was not given for a user with the scope openid")
	}
	out := map[string]string{"sub": u.ID}
	name, fhirUser := p.describe(r, claims.Scope, auth.ScopeOf(claims.Audience), u)
	if name != "" {
		out["name"] = name
	}
	if fhirUser != "" {
		out["fhirUser"] = fhirUser
	}
	respond(w, http.StatusOK, out)
	return nil
}

// bearer returns what the access token of a request says, or an Unauthenticated fault.
func (p *Provider) bearer(r *http.Request) (*auth.Claims, error) {
	token, err := auth.BearerToken(r.Header.Get("Authorization"))
	if err != nil {
		return nil, err
	}
	claims, err := p.own(r.Context(), token)
	if err != nil {
		return nil, err
	}
	if !p.Active(r.Context(), claims) {
		return nil, auth.ErrTakenBack
	}
	return claims, nil
}
