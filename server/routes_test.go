package server_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/dicom/dicomhttp"
	"github.com/hygeia-health/hygeia/events/eventshttp"
	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
	"github.com/hygeia-health/hygeia/manage/managehttp"
	"github.com/hygeia-health/hygeia/medtech/medtechhttp"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/auth/idp"
	"github.com/hygeia-health/hygeia/platform/db"
)

// openRoutes holds every route that answers without a bearer token, with the reason.
var openRoutes = map[string]string{
	"GET /":        "the portal page names nothing",
	"GET /healthz": "a probe", "GET /readyz": "a probe", "GET /metrics": "counts, nothing of a patient",
	"GET /default/fhir/metadata":                        "how to get a token",
	"GET /default/fhir/$versions":                       "the versions of FHIR",
	"GET /default/fhir/.well-known/smart-configuration": "how to get a token",
	"GET /default/dicom/health/check":                   "a probe",
	"GET /manage/v1/openapi.json":                       "the description of the API",
	"GET /default/events/validate":                      "the code in the address is the permission", "POST /default/events/validate": "the same",
	"GET /.well-known/openid-configuration": "how to get a token", "GET /.well-known/oauth-authorization-server": "the same",
	"GET /auth/jwks.json": "public keys",
	"GET /auth/authorize": "shows the login", "POST /auth/authorize": "needs a session", "POST /auth/login": "is how a session begins",
	"POST /auth/logout": "ends the session of its own cookie",
	"POST /auth/token":  "the client proves itself", "POST /auth/introspect": "the same", "POST /auth/revoke": "the same",
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// values stand for the names in braces; what is not here becomes "x1".
var values = map[string]string{"{workspace}": "default", "{type}": "Patient", "{compartment}": "Observation", "{vid}": "1", "{study}": "1.2", "{series}": "1.3", "{instance}": "1.4", "{frames}": "1"}

// everyRoute lists what the edges say they answer.
func everyRoute(x *secured) []auth.Route {
	var out []auth.Route
	add := func(base string, list []auth.Route) {
		for _, r := range list {
			r.Path = placeholder.ReplaceAllStringFunc(base+r.Path, func(s string) string {
				if v, ok := values[s]; ok {
					return v
				}
				return "x1"
			})
			out = append(out, r)
			if r.Method == http.MethodGet {
				out = append(out, auth.Route{Method: http.MethodHead, Path: r.Path})
			}
		}
	}
	add("/default/fhir", fhirhttp.Routes())
	add("/default/fhir", []auth.Route{{Method: "GET", Path: "/.well-known/smart-configuration"}, {Method: "GET", Path: "/nothing/x/y"}})
	add("/default/dicom", dicomhttp.Routes())
	add("/default/dicom", []auth.Route{{Method: "GET", Path: "/v2"}, {Method: "GET", Path: "/v2/partitions/a/studies"}, {Method: "GET", Path: "/v9/studies"}})
	add("/default/medtech", medtechhttp.Routes())
	add("", eventshttp.Routes())
	add("", managehttp.Routes())
	add("", idp.Routes())
	add("", []auth.Route{{Method: "GET", Path: "/manage/v1/audit"}, {Method: "GET", Path: "/manage/v1/workspaces/{workspace}/audit"}, {Method: "GET", Path: "/manage/v1/nothing"}})
	for _, path := range x.srv.PlatformPaths() {
		if !slices.Contains(idp.Paths, path) {
			add("", []auth.Route{{Method: "GET", Path: path}})
		}
	}
	return out
}

// signingKey takes the key of the provider out of its database.
func (x *secured) signingKey() (key crypto.Signer, kid string) {
	x.t.Helper()
	sealer, err := idp.OpenSealer(filepath.Join(x.dir, "identity.key"))
	if err != nil {
		x.t.Fatal(err)
	}
	d, err := db.Open(filepath.Join(x.dir, "identity.db"), db.Options{Readers: 1})
	if err != nil {
		x.t.Fatal(err)
	}
	defer d.Close()
	var stored struct{ ID, Alg, Private string }
	err = d.Read(context.Background(), func(c *db.Conn) error {
		return c.Query("SELECT body FROM object WHERE kind = $1", func(r *db.Stmt) error {
			if text := []byte(r.ColText(0)); bytes.Contains(text, []byte(`"ES256"`)) {
				return json.Unmarshal(text, &stored)
			}
			return nil
		}, "key")
	})
	if err != nil {
		x.t.Fatal(err)
	}
	text, err := sealer.Open("key "+stored.ID, stored.Private)
	if err != nil {
		x.t.Fatal(err)
	}
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		x.t.Fatal(err)
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		x.t.Fatal(err)
	}
	return private.(crypto.Signer), stored.ID
}

// badTokens are Authorization headers that must open nothing. All but the first
// few are one change away from the token of the owner of everything.
func (x *secured) badTokens() map[string]string {
	x.t.Helper()
	key, kid := x.signingKey()
	parts := strings.Split(x.owner, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		x.t.Fatal(err)
	}
	claims := func(edit func(map[string]any)) map[string]any {
		out := map[string]any{}
		if err := json.Unmarshal(payload, &out); err != nil {
			x.t.Fatal(err)
		}
		edit(out)
		return out
	}
	sign := func(k crypto.Signer, kid, typ string, edit func(map[string]any)) string {
		token, err := auth.Sign(k, "ES256", kid, typ, claims(edit))
		if err != nil {
			x.t.Fatal(err)
		}
		return "Bearer " + token
	}
	same := func(map[string]any) {}
	if res := x.do("GET", "/manage/v1/roles", strings.TrimPrefix(sign(key, kid, "at+jwt", same), "Bearer "), ""); res.StatusCode != 200 {
		x.t.Fatalf("the token that is right is refused: %s", res.Status) // or the others would prove nothing
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		x.t.Fatal(err)
	}
	now := time.Now()
	out := map[string]string{
		"none": "", "nonsense": "Bearer a.b.c", "basic": "Basic " + base64.StdEncoding.EncodeToString([]byte("bootstrap:x")), "no scheme": x.owner,
		"empty": "Bearer ", "twice": "Bearer " + x.owner + " " + x.owner, "cut": "Bearer " + x.owner[:len(x.owner)-3],
		"expired":          sign(key, kid, "at+jwt", func(c map[string]any) { c["exp"] = now.Add(-2 * time.Minute).Unix() }),
		"never expires":    sign(key, kid, "at+jwt", func(c map[string]any) { delete(c, "exp") }),
		"not yet":          sign(key, kid, "at+jwt", func(c map[string]any) { c["nbf"] = now.Add(time.Hour).Unix() }),
		"of the future":    sign(key, kid, "at+jwt", func(c map[string]any) { c["iat"] = now.Add(time.Hour).Unix() }),
		"other audience":   sign(key, kid, "at+jwt", func(c map[string]any) { c["aud"] = auth.ScopeAudience("/elsewhere") }),
		"foreign audience": sign(key, kid, "at+jwt", func(c map[string]any) { c["aud"] = x.url + "/default/fhir" }),
		"no audience":      sign(key, kid, "at+jwt", func(c map[string]any) { delete(c, "aud") }),
		"no issuer":        sign(key, kid, "at+jwt", func(c map[string]any) { delete(c, "iss") }),
		"no subject":       sign(key, kid, "at+jwt", func(c map[string]any) { delete(c, "sub") }),
		"unknown client":   sign(key, kid, "at+jwt", func(c map[string]any) { c["client_id"], c["sub"] = "ghost", "ghost" }),
		"of another epoch": sign(key, kid, "at+jwt", func(c map[string]any) { c["epoch"] = "0" }),
		"older than it": sign(key, kid, "at+jwt", func(c map[string]any) { // as versions without epochs signed it
			delete(c, "epoch")
			c["iat"] = now.Add(-24 * time.Hour).Unix()
		}),
		"other type":  sign(key, kid, "logout+jwt", same),
		"other key":   sign(own, kid, "at+jwt", same),
		"unknown key": sign(own, "mine", "at+jwt", same),
	}
	maps.Copy(out, x.forgeries(parts, claims(same), key, kid, own))
	return out
}

// forgeries are tokens that no library makes.
func (x *secured) forgeries(parts []string, claims map[string]any, key crypto.Signer, kid string, own *ecdsa.PrivateKey) map[string]string {
	enc := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			x.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	hs := func(secret []byte) string {
		body := enc(map[string]string{"alg": "HS256", "typ": "at+jwt", "kid": kid}) + "." + parts[1]
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(body))
		return "Bearer " + body + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		x.t.Fatal(err)
	}
	point, err := key.Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		x.t.Fatal(err)
	}
	es := func(header map[string]any) string { // signed by a key of one's own that the header brings along
		body := enc(header) + "." + parts[1]
		sum := sha256.Sum256([]byte(body))
		r, s, err := ecdsa.Sign(rand.Reader, own, sum[:])
		if err != nil {
			x.t.Fatal(err)
		}
		return "Bearer " + body + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
	mine, err := own.PublicKey.Bytes()
	if err != nil {
		x.t.Fatal(err)
	}
	jwk := map[string]string{"kty": "EC", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(mine[1:33]), "y": base64.RawURLEncoding.EncodeToString(mine[33:])}
	claims["sub"], claims["client_id"] = "root", "root"
	out := map[string]string{
		"HS256 with PEM":     hs(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})),
		"HS256 with DER":     hs(spki),
		"HS256 with a point": hs(point),
		"HS256 with nothing": hs(nil),
		"other claims":       "Bearer " + parts[0] + "." + enc(claims) + "." + parts[2],
		"other header":       "Bearer " + enc(map[string]string{"alg": "ES256", "typ": "at+jwt", "kid": kid, "x": "y"}) + "." + parts[1] + "." + parts[2],
		"zero signature":     "Bearer " + parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		"no signature":       "Bearer " + parts[0] + "." + parts[1] + ".",
		"two parts":          "Bearer " + parts[0] + "." + parts[1],
		"jwk":                es(map[string]any{"alg": "ES256", "typ": "at+jwt", "jwk": jwk}),
		"jku":                es(map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": "mine", "jku": x.url + "/mine"}),
		"crit":               es(map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": kid, "crit": []string{"b64"}, "b64": false}),
	}
	for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
		head := enc(map[string]string{"alg": alg, "typ": "at+jwt"})
		out["alg "+alg], out["alg "+alg+" signed"] = "Bearer "+head+"."+parts[1]+".", "Bearer "+head+"."+parts[1]+"."+parts[2]
	}
	return out
}

// TestEveryRoute asks for every route of every edge with each wrong token. What
// answers all the same has to stand in openRoutes.
func TestEveryRoute(t *testing.T) {
	x := openSecured(t, nil)
	bad := x.badTokens()
	h := x.srv.Handler()
	asked, open := 0, map[string]bool{}
	for _, route := range everyRoute(x) {
		name := route.Method + " " + route.Path
		if _, ok := openRoutes[name]; ok || route.Method == "HEAD" && openRoutes["GET "+route.Path] != "" {
			open[name] = true
			continue
		}
		asked++
		for what, header := range bad {
			if what == "other audience" && strings.HasPrefix(route.Path, "/auth/") {
				continue // the provider itself asks for a token of any part of this server
			}
			r := httptest.NewRequest(route.Method, route.Path+"?access_token="+x.owner, nil) // a token in a query is none
			if header != "" {
				r.Header.Set("Authorization", header)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			want := "application/problem+json"
			switch {
			case strings.HasPrefix(route.Path, "/default/fhir"):
				want = "application/fhir+json; charset=utf-8"
			case strings.HasPrefix(route.Path, "/default/dicom"):
				want = "text/plain; charset=utf-8"
			}
			if w.Code != 401 || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer ") || w.Header().Get("Content-Type") != want || w.Body.Len() == 0 && route.Method != "HEAD" {
				t.Errorf("%s with token %q: %d, %q, %s", name, what, w.Code, w.Header().Get("WWW-Authenticate"), w.Header().Get("Content-Type"))
			}
		}
	}
	for name := range openRoutes {
		if !open[name] {
			t.Errorf("%s is in the table and nowhere else", name)
		}
	}
	if asked < 150 || len(bad) < 40 {
		t.Errorf("only %d routes were asked with %d tokens", asked, len(bad))
	}
	t.Logf("%d routes, %d wrong tokens each", asked, len(bad))
}
