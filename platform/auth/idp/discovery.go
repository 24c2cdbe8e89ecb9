package idp

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// endpoints are the paths of the provider with their methods. HEAD is as GET.
func (p *Provider) endpoints() map[string]map[string]func(http.ResponseWriter, *http.Request) error {
	return map[string]map[string]func(http.ResponseWriter, *http.Request) error{
		"/auth/token":      {http.MethodPost: p.serveToken},
		"/auth/authorize":  {http.MethodGet: p.serveAuthorize, http.MethodPost: p.serveConsent},
		"/auth/login":      {http.MethodPost: p.serveLogin},
		"/auth/logout":     {http.MethodPost: p.serveLogout},
		"/auth/launch":     {http.MethodPost: p.serveLaunch},
		"/auth/userinfo":   {http.MethodGet: p.serveUserInfo, http.MethodPost: p.serveUserInfo},
		"/auth/introspect": {http.MethodPost: p.serveIntrospect},
		"/auth/revoke":     {http.MethodPost: p.serveRevoke},
		"/auth/jwks.json":  {http.MethodGet: p.serveJWKS},
		// The same document under the names of OpenID Connect Discovery and RFC 8414.
		"/.well-known/openid-configuration":       {http.MethodGet: p.serveDiscovery},
		"/.well-known/oauth-authorization-server": {http.MethodGet: p.serveDiscovery},
	}
}

// Paths are what Handler answers.
var Paths = slices.Sorted(maps.Keys((*Provider)(nil).endpoints()))

// Routes lists every method of every path, those of the management API too.
func Routes() []auth.Route {
	var out []auth.Route
	for path, methods := range (*Provider)(nil).endpoints() {
		for m := range methods {
			out = append(out, auth.Route{Method: m, Path: path})
		}
	}
	for name, c := range collections {
		for path, methods := range c.paths(name) {
			for m := range methods {
				out = append(out, auth.Route{Method: m, Path: path})
			}
		}
	}
	return out
}

// Handler answers the paths of the provider.
func (p *Provider) Handler() http.Handler {
	routes := p.endpoints()
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
	UserInfoEndpoint      string   `json:"userinfo_endpoint"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
}

// Metadata returns what the provider offers, as the client of r reaches it.
func (p *Provider) Metadata(r *http.Request) Metadata {
	base := p.issuer(r)
	return Metadata{
		Issuer: base, JWKSURI: base + "/auth/jwks.json", AuthorizationEndpoint: base + "/auth/authorize", TokenEndpoint: base + "/auth/token",
		AuthMethods: []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}, SigningAlgs: []string{"RS384", "ES384"},
		GrantTypes: []string{grantCode, grantClient, grantRefresh},
		Scopes: []string{
			"openid", "profile", "fhirUser", "launch", "launch/patient", "offline_access", "online_access", auth.ScopeImpersonation,
			"patient/*.cruds", "user/*.cruds", "system/*.cruds", "patient/*.read", "user/*.read", "system/*.read",
		},
		ResponseTypes: []string{"code"}, UserInfoEndpoint: base + "/auth/userinfo", IntrospectionEndpoint: base + "/auth/introspect", RevocationEndpoint: base + "/auth/revoke",
		ChallengeMethods: []string{"S256"},
	}
}

func (p *Provider) serveDiscovery(w http.ResponseWriter, r *http.Request) error {
	methods := p.Metadata(r).AuthMethods
	able := slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return m == "none" })
	doc := struct {
		Metadata
		SubjectTypes      []string `json:"subject_types_supported"`
		IDAlgs            []string `json:"id_token_signing_alg_values_supported"`
		Claims            []string `json:"claims_supported"`
		ResponseModes     []string `json:"response_modes_supported"`
		Prompts           []string `json:"prompt_values_supported"`
		IntrospectMethods []string `json:"introspection_endpoint_auth_methods_supported"`
		IntrospectAlgs    []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
		RevokeMethods     []string `json:"revocation_endpoint_auth_methods_supported"`
		RevokeAlgs        []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
		IssInResponse     bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
		ClaimsParameter   bool     `json:"claims_parameter_supported"`
		RequestParameter  bool     `json:"request_parameter_supported"`
		RequestURI        bool     `json:"request_uri_parameter_supported"` // left out it would mean true
	}{
		Metadata: p.Metadata(r), SubjectTypes: []string{"public"}, IDAlgs: []string{algID},
		Claims:        []string{"iss", "sub", "aud", "exp", "iat", "nonce", "name", "fhirUser"},
		ResponseModes: []string{"query"}, Prompts: []string{"login", "none"},
		IntrospectMethods: able, IntrospectAlgs: p.Metadata(r).SigningAlgs, RevokeMethods: methods, RevokeAlgs: p.Metadata(r).SigningAlgs,
		IssInResponse: true,
	}
	respond(w, http.StatusOK, doc)
	return nil
}
