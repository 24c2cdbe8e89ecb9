package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
)

// TestNobody asks for everything without a token, and with tokens that are wrong.
func TestNobody(t *testing.T) {
	x := openSecured(t, nil)
	x.json(201, "PUT", "/default/fhir/Patient/p1", x.owner, patientBody)
	other, _ := x.client("elsewhere", "", "")
	_ = other
	wrongAudience := x.form(200, "/auth/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"elsewhere"},
		"client_secret": {x.json(200, "POST", "/manage/v1/workspaces/default/clients/elsewhere/secret", x.owner, "")["clientSecret"].(string)},
		"resource":      {x.url + "/default/other"}})["access_token"].(string)
	cut := x.owner[:len(x.owner)-3]
	for _, r := range []struct{ method, path string }{
		{"GET", "/default/fhir/Patient/p1"}, {"HEAD", "/default/fhir/Patient/p1"}, {"GET", "/default/fhir/Patient"}, {"POST", "/default/fhir/Patient/_search"},
		{"GET", "/default/fhir"}, {"POST", "/default/fhir"}, {"POST", "/default/fhir/Patient"}, {"PUT", "/default/fhir/Patient/p1"},
		{"DELETE", "/default/fhir/Patient/p1"}, {"PATCH", "/default/fhir/Patient/p1"}, {"GET", "/default/fhir/_history"}, {"GET", "/default/fhir/Patient/p1/_history/1"},
		{"DELETE", "/default/fhir/Patient/p1/$purge-history"}, {"GET", "/default/fhir/Patient/p1/Observation"}, {"GET", "/default/fhir/nonsense/x/y/z"},
		{"GET", "/default/fhir/$export"}, {"POST", "/default/fhir/metadata"}, {"GET", "/default/fhir/metadata/"}, {"GET", "/default/fhir//metadata"},
		{"GET", "/default/fhir/%2e%2e/metadata"}, {"GET", "/default/fhir/Patient/../metadata"},
		{"GET", "/manage/v1/workspaces"}, {"PUT", "/manage/v1/workspaces/mine"}, {"DELETE", "/manage/v1/workspaces/default"},
		{"GET", "/manage/v1/workspaces/default/fhirservices"}, {"GET", "/manage/v1/workspaces/default/clients"}, {"PUT", "/manage/v1/clients/evil"},
		{"PUT", "/manage/v1/workspaces/default/roleassignments/x"}, {"PUT", "/manage/v1/workspaces/default/users/x"}, {"GET", "/manage/v1/roles"}, {"GET", "/manage/v1/nothing"},
	} {
		for name, token := range map[string]string{"none": "", "nonsense": "a.b.c", "cut": cut, "wrong audience": wrongAudience} {
			res := x.do(r.method, r.path, token, "")
			if res.StatusCode != 401 || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("%s %s with token %s: %s, %v", r.method, r.path, name, res.Status, res.Header["Www-Authenticate"])
			}
			want := "application/problem+json"
			if strings.HasPrefix(r.path, "/default/") {
				want = "application/fhir+json; charset=utf-8"
			}
			if got := res.Header.Get("Content-Type"); got != want {
				t.Errorf("%s %s: content type %s", r.method, r.path, got)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/", "/default/fhir/metadata", "/default/fhir/.well-known/smart-configuration", "/.well-known/openid-configuration", "/auth/jwks.json", "/manage/v1/openapi.json"} {
		if res := x.do("GET", path, "", ""); res.StatusCode != 200 {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

// TestSecurityStatement finds the provider in the CapabilityStatement, which must
// stay a right one.
func TestSecurityStatement(t *testing.T) {
	x := openSecured(t, nil)
	doc := x.json(200, "GET", "/default/fhir/metadata", "", "")
	security := doc["rest"].([]any)[0].(map[string]any)["security"].(map[string]any)
	if text := marshal(t, security); !strings.Contains(text, x.url+"/auth/token") || !strings.Contains(text, "SMART-on-FHIR") {
		t.Errorf("got %s", text)
	}
	doc["id"] = "own"
	x.json(201, "PUT", "/default/fhir/CapabilityStatement/own", x.owner, marshal(t, doc))
}

// TestKeys rotates the signing keys: old tokens stay valid, new ones have a new key.
func TestKeys(t *testing.T) {
	x := openSecured(t, nil)
	reader, secret := x.client("reader", "FHIR Data Reader", "/default/fhir")
	kids := func() string { return marshal(t, x.json(200, "GET", "/auth/jwks.json", "", "")) }
	before := kids()
	x.json(403, "POST", "/manage/v1/signingkeys", reader, "")
	x.json(201, "POST", "/manage/v1/signingkeys", x.owner, "")
	if kids() == before || len(x.json(200, "GET", "/manage/v1/signingkeys", x.owner, "")["value"].([]any)) != 4 {
		t.Error("there are no new keys")
	}
	x.json(200, "GET", "/default/fhir/Patient", reader, "")
	x.json(200, "GET", "/default/fhir/Patient", x.token("reader", secret, ""), "")
	x.json(405, "DELETE", "/manage/v1/signingkeys", x.owner, "")
	x.json(404, "GET", "/manage/v1/signingkeys/x", x.owner, "")
}

// TestRolesAtScopes gives roles to clients and tries what they may do.
func TestRolesAtScopes(t *testing.T) {
	x := openSecured(t, nil)
	x.json(201, "PUT", "/default/fhir/Patient/p1", x.owner, patientBody)
	x.json(201, "PUT", "/manage/v1/workspaces/clinic", x.owner, "")
	x.json(201, "PUT", "/manage/v1/workspaces/clinic/fhirservices/records", x.owner, "")
	reader, _ := x.client("reader", "FHIR Data Reader", "/default/fhir")
	writer, secret := x.client("writer", "FHIR Data Writer", "/default")
	nobody, _ := x.client("nobody", "", "")
	x.json(200, "GET", "/default/fhir/Patient/p1", reader, "")
	x.json(403, "PUT", "/default/fhir/Patient/p1", reader, patientBody)
	x.json(403, "GET", "/clinic/records/Patient", reader, "")
	x.json(403, "GET", "/default/fhir/Patient/p1", nobody, "")
	x.json(200, "PUT", "/default/fhir/Patient/p1", writer, patientBody)
	x.json(403, "DELETE", "/default/fhir/Patient/p1?_hardDelete=true", writer, "")
	x.json(403, "GET", "/manage/v1/workspaces/default", writer, "")
	x.json(403, "PUT", "/manage/v1/workspaces/default/roleassignments/me", writer, `{"principal":"writer","role":"Workspace Owner"}`)
	// An owner of a workspace reaches no further than it.
	owner, _ := x.client("owner", "Workspace Owner", "/default")
	x.json(200, "GET", "/manage/v1/workspaces/default", owner, "")
	if list := x.json(200, "GET", "/manage/v1/workspaces", owner, "")["value"].([]any); len(list) != 1 {
		t.Errorf("an owner of one workspace sees %d", len(list))
	}
	x.json(403, "GET", "/manage/v1/workspaces/clinic", owner, "")
	x.json(403, "PUT", "/manage/v1/workspaces/clinic/clients/evil", owner, "{}")
	x.json(403, "PUT", "/manage/v1/clients/evil", owner, "{}")
	x.json(400, "PUT", "/manage/v1/workspaces/default/roleassignments/far", owner, `{"principal":"owner","role":"Workspace Owner","scope":"/clinic"}`)
	x.json(400, "PUT", "/manage/v1/workspaces/default/roleassignments/far", owner, `{"principal":"owner","role":"Workspace Owner","scope":"/"}`)
	x.json(409, "PUT", "/manage/v1/workspaces/default/clients/bootstrap", owner, "{}")
	x.json(404, "POST", "/manage/v1/workspaces/default/clients/bootstrap/secret", owner, "")
	// Own roles.
	x.json(201, "PUT", "/manage/v1/roles/registrar", x.owner, `{"actions":["fhir/create"]}`)
	x.json(400, "PUT", "/manage/v1/roles/bad", x.owner, `{"actions":["fhir/everything"]}`)
	x.json(409, "PUT", "/manage/v1/roles/FHIR%20Data%20Reader", x.owner, `{"actions":["*"]}`)
	x.json(200, "PUT", "/manage/v1/workspaces/default/roleassignments/reader", x.owner, `{"principal":"reader","role":"registrar","scope":"/default/fhir"}`)
	x.json(403, "GET", "/default/fhir/Patient/p1", reader, "")
	x.json(201, "POST", "/default/fhir/Patient", reader, `{"resourceType":"Patient"}`)
	x.json(409, "DELETE", "/manage/v1/roles/registrar", x.owner, "")
	// What is deleted ends at once.
	x.json(204, "DELETE", "/manage/v1/workspaces/default/clients/writer", x.owner, "")
	x.json(401, "GET", "/default/fhir/Patient/p1", writer, "")
	x.form(401, "/auth/token", url.Values{"grant_type": {"client_credentials"}}, "writer", secret)
	x.json(201, "PUT", "/manage/v1/workspaces/default/clients/writer", x.owner, "{}")
	if list := x.json(200, "GET", "/manage/v1/workspaces/default/roleassignments", x.owner, "")["value"].([]any); len(list) != 2 {
		t.Errorf("%d assignments are left, want those of reader and owner", len(list))
	}
	x.json(204, "DELETE", "/manage/v1/workspaces/default?force=true", x.owner, "")
	x.json(201, "PUT", "/manage/v1/workspaces/default", x.owner, "")
	x.json(403, "GET", "/manage/v1/workspaces/default", x.token2(t, owner), "")
}

// token2 returns the token itself; its client went with its workspace, so it is refused by 401 before roles count.
func (x *secured) token2(t *testing.T, token string) string {
	t.Helper()
	if res := x.do("GET", "/manage/v1/workspaces", token, ""); res.StatusCode != 401 {
		t.Errorf("a client of a deleted workspace: %s", res.Status)
	}
	nobody := x.json(201, "PUT", "/manage/v1/clients/nobody2", x.owner, "{}")["clientSecret"].(string)
	return x.token("nobody2", nobody, "")
}

// TestClientAuthentication tries the ways in which a client proves who it is.
func TestClientAuthentication(t *testing.T) {
	x := openSecured(t, nil)
	_, secret := x.client("app", "FHIR Data Reader", "/default/fhir")
	grant := url.Values{"grant_type": {"client_credentials"}}
	x.form(401, "/auth/token", grant, "app", "wrong")
	x.form(401, "/auth/token", grant, "nobody", secret)
	x.form(401, "/auth/token", grant)
	x.form(400, "/auth/token", url.Values{"grant_type": {"password"}}, "app", secret)
	x.form(400, "/auth/token", url.Values{"grant_type": {"authorization_code"}}, "app", secret)
	x.form(400, "/auth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"patient/*.rs"}}, "app", secret)
	x.form(400, "/auth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.sr"}}, "app", secret)
	x.form(400, "/auth/token", url.Values{"grant_type": {"client_credentials"}, "resource": {"https://elsewhere.example.org"}}, "app", secret)
	// private_key_jwt
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := auth.MarshalJWKS([]auth.PublicKey{{ID: "k", Alg: "ES384", Key: key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	x.json(201, "PUT", "/manage/v1/workspaces/default/clients/backend", x.owner, `{"jwks":`+string(set)+`}`)
	x.json(201, "PUT", "/manage/v1/workspaces/default/roleassignments/backend", x.owner, `{"principal":"backend","role":"FHIR Data Reader"}`)
	assertion := func(edit func(map[string]any)) url.Values {
		now := time.Now()
		c := map[string]any{"iss": "backend", "sub": "backend", "aud": x.url + "/auth/token", "exp": now.Add(4 * time.Minute).Unix(), "jti": now.String()}
		if edit != nil {
			edit(c)
		}
		s, err := auth.Sign(key, "ES384", "k", "JWT", c)
		if err != nil {
			t.Fatal(err)
		}
		return url.Values{"grant_type": {"client_credentials"}, "scope": {"system/Patient.rs"}, "client_assertion": {s},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
	}
	good := assertion(nil)
	a := x.form(200, "/auth/token", good)
	if a["scope"] != "system/Patient.rs" || a["token_type"] != "Bearer" {
		t.Errorf("got %v", a)
	}
	x.form(401, "/auth/token", good) // replayed
	for name, edit := range map[string]func(map[string]any){
		"audience": func(c map[string]any) { c["aud"] = "https://elsewhere.example.org" },
		"issuer":   func(c map[string]any) { c["iss"] = "app" },
		"late":     func(c map[string]any) { c["exp"] = time.Now().Add(time.Hour).Unix() },
		"expired":  func(c map[string]any) { c["exp"] = time.Now().Add(-time.Second).Unix() },
		"no jti":   func(c map[string]any) { delete(c, "jti") },
	} {
		t.Run(name, func(t *testing.T) { x.form(401, "/auth/token", assertion(edit)) })
	}
}
