package server

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/auth/idp"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// smartPath is where an application finds out how to get a token (SMART App
// Launch 2.2, "Conformance").
const smartPath = ".well-known/smart-configuration"

// smartCapabilities are the sets and single abilities that the built-in provider has.
var smartCapabilities = []string{
	"launch-ehr", "launch-standalone", "client-public", "client-confidential-symmetric", "client-confidential-asymmetric",
	"sso-openid-connect", "authorize-post", "context-banner", "context-ehr-patient", "context-ehr-encounter", "context-standalone-patient",
	"permission-offline", "permission-online", "permission-patient", "permission-user", "permission-v1", "permission-v2",
}

// smartHandlers answers the configuration of a FHIR service; none without
// authentication: there is nothing to be configured.
func (i *identity) smartHandlers(spec manage.Spec) (map[string]http.Handler, error) {
	if i == nil {
		return nil, nil
	}
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := i.provider.Metadata(r)
		answerSMART(w, struct {
			idp.Metadata
			Capabilities []string `json:"capabilities"`
		}{m, smartCapabilities})
	})
	if spec.Authority == "" {
		return map[string]http.Handler{smartPath: own}, nil
	}
	ext, err := auth.NewExternal(spec.Authority, nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%v", err)
	}
	return map[string]http.Handler{smartPath: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		doc, err := ext.Metadata(r.Context())
		if err != nil {
			outcome(w, r, &fault.Error{Kind: fault.Transient, Msg: "the identity provider of this service does not answer", RetryAfter: 30 * time.Second, Err: err})
			return
		}
		answerSMART(w, smartOf(doc))
	})}, nil
}

// oauth returns where clients of a FHIR service get tokens; nil without
// authentication, and for services of another provider: those are asked when
// smart-configuration is.
func (i *identity) oauth(spec manage.Spec) func(*http.Request) fhirhttp.OAuth {
	if i == nil || spec.Authority != "" {
		return nil
	}
	return func(r *http.Request) fhirhttp.OAuth {
		m := i.provider.Metadata(r)
		return fhirhttp.OAuth{Authorize: m.AuthorizationEndpoint, Token: m.TokenEndpoint, Introspect: m.IntrospectionEndpoint, Revoke: m.RevocationEndpoint}
	}
}

// smartOf makes the configuration of the metadata of another provider: all that
// they say, and what every SMART server has to say.
func smartOf(doc map[string]json.RawMessage) map[string]json.RawMessage {
	out := map[string]json.RawMessage{"capabilities": json.RawMessage(`["permission-patient","permission-user","permission-v1","permission-v2"]`)}
	for name, value := range doc {
		out[name] = value
	}
	if _, ok := out["code_challenge_methods_supported"]; !ok {
		out["code_challenge_methods_supported"] = json.RawMessage(`["S256"]`)
	}
	return out
}

func answerSMART(w http.ResponseWriter, doc any) {
	text, err := json.Marshal(doc)
	if err != nil { // cannot happen: texts and lists of texts
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(append(text, '\n')) // the client is gone when this fails
}
