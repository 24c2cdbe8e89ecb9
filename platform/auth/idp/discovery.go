package idp

import (
	"net/http"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Paths are what Handler answers.
var Paths = []string{
	"/auth/token", "/auth/authorize", "/auth/login", "/auth/logout", "/auth/launch", "/auth/introspect", "/auth/revoke", "/auth/jwks.json",
	"/.well-known/openid-configuration",
}

// Handler answers the paths of the provider.
func (p *Provider) Handler() http.Handler {
	routes := map[string]map[string]func(http.ResponseWriter, *http.Request) error{
		"/auth/token":                       {http.MethodPost: p.serveToken},
		"/auth/authorize":                   {http.MethodGet: p.serveAuthorize, http.MethodPost: p.serveConsent},
		"/auth/login":                       {http.MethodPost: p.serveLogin},
		"/auth/logout":                      {http.MethodPost: p.serveLogout},
		"/auth/launch":                      {http.MethodPost: p.serveLaunch},
		"/auth/introspect":                  {http.MethodPost: p.serveIntrospect},
		"/auth/revoke":                      {http.MethodPost: p.serveRevoke},
		"/auth/jwks.json":                   {http.MethodGet: p.serveJWKS},
		"/.well-known/openid-configuration": {http.MethodGet: p.serveDiscovery},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		methods := routes[r.URL.Path]
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		serve := methods[method]
		if serve == nil {
			var allow []string
			for m := range methods {
				allow = append(allow, m)
			}
			slices.Sort(allow)
			w.Header().Set("Allow", strings.Join(allow, ", "))
			if method == http.MethodOptions {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			p.fail(w, r, fault.New(fault.NotAllowed, "%.16s is not possible here; allowed are %s", r.Method, strings.Join(allow, ", ")))
			return
		}
		if err := serve(w, r); err != nil {
			p.fail(w, r, err)
		}
	})
}

func (p *Provider) serveJWKS(w http.ResponseWriter, r *http.Request) error {
	// The key of id tokens is made when it is first needed; who asks for keys is about to.
	if _, err := p.signing(r.Context(), algID); err != nil {
		return err
	}
	keys, err := p.Keys(r.Context(), false)
	if err != nil {
		return err
	}
	text, err := auth.MarshalJWKS(keys)
	if err != nil {
		return fault.Wrap("idp: jwks", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(text) // the client is gone when this fails
	return nil
}

// Metadata are the endpoints and abilities of an authorization server, as
// OpenID Connect Discovery and SMART's smart-configuration name them.
type Metadata struct {
	Issuer                string   `json:"issuer"`
	JWKSURI               string   `json:"jwks_uri"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	SigningAlgs           []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	Scopes                []string `json:"scopes_supported"`
	ResponseTypes         []string `json:"response_types_supported"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
}

// Metadata returns what the provider offers, as the client of r reaches it.
func (p *Provider) Metadata(r *http.Request) Metadata {
	base := p.issuer(r)
	return Metadata{
		Issuer: base, JWKSURI: base + "/auth/jwks.json", AuthorizationEndpoint: base + "/auth/authorize", TokenEndpoint: base + "/auth/token",
		AuthMethods: []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}, SigningAlgs: []string{"RS384", "ES384"},
		GrantTypes: []string{grantCode, grantClient, grantRefresh},
		Scopes: []string{
			"openid", "profile", "fhirUser", "launch", "launch/patient", "offline_access", "online_access", auth.ScopeImpersonation,
			"patient/*.cruds", "user/*.cruds", "system/*.cruds", "patient/*.read", "user/*.read", "system/*.read",
		},
		ResponseTypes: []string{"code"}, IntrospectionEndpoint: base + "/auth/introspect", RevocationEndpoint: base + "/auth/revoke",
		ChallengeMethods: []string{"S256"},
	}
}

func (p *Provider) serveDiscovery(w http.ResponseWriter, r *http.Request) error {
	doc := struct {
		Metadata
		SubjectTypes []string `json:"subject_types_supported"`
		IDAlgs       []string `json:"id_token_signing_alg_values_supported"`
		Claims       []string `json:"claims_supported"`
	}{p.Metadata(r), []string{"public"}, []string{algID}, []string{"iss", "sub", "aud", "exp", "iat", "nonce", "name", "fhirUser"}}
	respond(w, http.StatusOK, doc)
	return nil
}
