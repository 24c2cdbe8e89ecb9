package idp

import (
	"context"
	"net/http"
	"strings"

	"github.com/hygeia-health/hygeia/platform/auth"
)

// serveIntrospect answers RFC 7662. Only clients that can keep a secret may
// ask; what is not a valid token of ours is not active, and no more is said.
func (p *Provider) serveIntrospect(w http.ResponseWriter, r *http.Request) error {
	form, c, err := p.clientForm(w, r)
	if err != nil {
		return err
	}
	if c.Public {
		return badClient
	}
	token := form.Get("token")
	if token == "" {
		return refused("invalid_request", "token is missing")
	}
	claims, err := p.own(r.Context(), token)
	if err != nil || !p.Active(r.Context(), claims) {
		respond(w, http.StatusOK, map[string]bool{"active": false})
		return nil
	}
	out := map[string]any{
		"active": true, "client_id": claims.ClientID, "sub": claims.Subject, "scope": strings.Join(claims.Scope, " "), "token_type": "Bearer",
		"iss": claims.Issuer, "aud": claims.Audience, "exp": claims.Expiry, "iat": claims.IssuedAt, "nbf": claims.NotBefore, "jti": claims.ID,
	}
	if claims.Patient != "" {
		out["patient"] = claims.Patient
	}
	if claims.FHIRUser != "" {
		out["fhirUser"] = claims.FHIRUser
	}
	respond(w, http.StatusOK, out)
	return nil
}

// own checks an access token of the provider but for whether it was taken back.
func (p *Provider) own(ctx context.Context, token string) (*auth.Claims, error) {
	keys, err := p.Keys(ctx, false)
	if err != nil {
		return nil, err
	}
	claims, err := auth.VerifyOwn(token, keys, p.d.Now())
	if err == nil || !p.shared() {
		return claims, err
	}
	if keys, err = p.Keys(ctx, true); err != nil { // another node may have made the key a moment ago
		return nil, err
	}
	return auth.VerifyOwn(token, keys, p.d.Now())
}

// serveRevoke answers RFC 7009: an access token ends, or with a refresh token
// everything that came from the same login. What is unknown is gone already.
func (p *Provider) serveRevoke(w http.ResponseWriter, r *http.Request) error {
	form, c, err := p.clientForm(w, r)
	if err != nil {
		return err
	}
	token := form.Get("token")
	if token == "" {
		return refused("invalid_request", "token is missing")
	}
	if claims, err := p.own(r.Context(), token); err == nil {
		if claims.ClientID == c.ID {
			if err := p.revoke(r.Context(), claims.ID, claims.Expiry.Time().Add(p.d.AccessTime)); err != nil {
				return err
			}
		}
	} else {
		var g grant
		ok, family, err := p.store.get(r.Context(), hashSecret(token), ticketRefresh, p.d.Now(), &g)
		if err != nil {
			return err
		}
		if ok && g.Client == c.ID {
			if err := p.endFamily(r.Context(), family); err != nil {
				return err
			}
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}
