package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/server"
)

// secured is a server with authentication and a client for it.
type secured struct {
	t     *testing.T
	url   string
	dir   string
	owner string // token of the bootstrap client
	srv   *server.Server
}

func openSecured(t *testing.T, edit func(*server.Config)) *secured {
	t.Helper()
	cfg := server.Defaults()
	cfg.Data, cfg.Log.Level = t.TempDir(), "error"
	if edit != nil {
		edit(&cfg)
	}
	s, err := server.New(context.Background(), cfg, server.Options{Version: "test", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		hs.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	x := &secured{t: t, url: hs.URL, dir: cfg.Data, srv: s}
	var b map[string]string
	text, err := os.ReadFile(filepath.Join(cfg.Data, "bootstrap.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	x.owner = x.token(b["client_id"], b["client_secret"], "")
	return x
}

// bootstrapToken returns a token of the bootstrap client.
func bootstrapToken(t testing.TB, dir string, h http.Handler) string {
	t.Helper()
	var b map[string]string
	text, err := os.ReadFile(filepath.Join(dir, "bootstrap.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/auth/token", strings.NewReader("grant_type=client_credentials"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(b["client_id"], b["client_secret"])
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var a map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	token, _ := a["access_token"].(string)
	return token
}

// do sends a request; token "" sends none.
func (x *secured) do(method, path, token, body string, headers ...string) *http.Response {
	x.t.Helper()
	req, err := http.NewRequest(method, x.url+path, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		if strings.HasPrefix(path, "/default/") {
			req.Header.Set("Content-Type", "application/fhir+json")
		}
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { res.Body.Close() })
	return res
}

// json sends a request that must be answered with status, and reads the answer.
func (x *secured) json(status int, method, path, token, body string, headers ...string) map[string]any {
	x.t.Helper()
	res := x.do(method, path, token, body, headers...)
	text, err := io.ReadAll(res.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	if res.StatusCode != status {
		x.t.Fatalf("%s %s: got %s, want %d: %s", method, path, res.Status, status, text)
	}
	out := map[string]any{}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			x.t.Fatalf("%s %s: %v: %s", method, path, err, text)
		}
	}
	return out
}

func (x *secured) form(status int, path string, form url.Values, basic ...string) map[string]any {
	x.t.Helper()
	headers := []string{"Content-Type", "application/x-www-form-urlencoded"}
	if len(basic) == 2 {
		headers = append(headers, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(basic[0]+":"+basic[1])))
	}
	return x.json(status, "POST", path, "", form.Encode(), headers...)
}

func (x *secured) token(id, secret, scope string) string {
	x.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	if scope != "" {
		form.Set("scope", scope)
	}
	return x.form(200, "/auth/token", form, id, secret)["access_token"].(string)
}

// client registers a client with a role and returns its token.
func (x *secured) client(id, role, scope string) (token, secret string) {
	x.t.Helper()
	secret = x.json(201, "PUT", "/manage/v1/workspaces/default/clients/"+id, x.owner, "{}")["clientSecret"].(string)
	if role != "" {
		x.json(201, "PUT", "/manage/v1/workspaces/default/roleassignments/"+id, x.owner, `{"principal":"`+id+`","role":"`+role+`","scope":"`+scope+`"}`)
	}
	return x.token(id, secret, ""), secret
}

const patientBody = `{"resourceType":"Patient","id":"p1","name":[{"family":"Chalmers"}]}`

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

// TestSecondFactor logs in with a password and a code.
func TestSecondFactor(t *testing.T) {
	x := openSMART(t)
	secret := x.json(200, "PUT", "/manage/v1/workspaces/default/users/alice", x.owner, `{"fhirUser":"Practitioner/7","totp":true}`)["totpSecret"].(string)
	if len(secret) != 32 {
		t.Errorf("the secret is %q", secret)
	}
	if back := x.authorize(newBrowser(t), "alice", "correct horse", nil, nil); !strings.HasPrefix(back.Get("status"), "401") {
		t.Errorf("without a code: %v", back)
	}
	x.json(200, "PUT", "/manage/v1/workspaces/default/users/alice", x.owner, `{"fhirUser":"Practitioner/7","totp":false}`)
	if back := x.authorize(newBrowser(t), "alice", "correct horse", nil, url.Values{"patient": {"p1"}}); back.Get("code") == "" {
		t.Errorf("after it was removed: %v", back)
	}
	x.json(200, "PUT", "/manage/v1/workspaces/default/users/alice", x.owner, `{"disabled":true}`)
	if back := x.authorize(newBrowser(t), "alice", "correct horse", nil, nil); !strings.HasPrefix(back.Get("status"), "401") {
		t.Errorf("a disabled user: %v", back)
	}
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

// browser is a user with cookies.
type browser struct {
	*http.Client
	t *testing.T
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), "https://app.example.org/") {
			return http.ErrUseLastResponse
		}
		return nil
	}}, t}
}

func (b *browser) read(res *http.Response, err error) (*http.Response, string) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(text)
}

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorize goes through login and consent and returns the parameters with
// which the browser comes back to the application.
func (x *secured) authorize(b *browser, user, password string, query url.Values, answers url.Values) url.Values {
	x.t.Helper()
	q := url.Values{
		"response_type": {"code"}, "client_id": {"growth"}, "redirect_uri": {"https://app.example.org/cb"}, "state": {"s1"}, "aud": {x.url + "/default/fhir"},
		"code_challenge": {challenge()}, "code_challenge_method": {"S256"}, "scope": {"openid fhirUser launch/patient patient/*.rs offline_access"},
	}
	for k, v := range query {
		if q[k] = v; len(v) == 0 {
			delete(q, k)
		}
	}
	at := x.url + "/auth/authorize?" + q.Encode()
	res, page := b.read(b.Get(at))
	if strings.Contains(page, `name="password"`) {
		res, page = b.read(b.PostForm(x.url+"/auth/login?"+q.Encode(), url.Values{"username": {user}, "password": {password}}))
	}
	if strings.Contains(page, `name="decision"`) {
		form := url.Values{"decision": {"allow"}}
		for _, m := range regexp.MustCompile(`name="scope" value="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			form.Add("scope", m[1])
		}
		for k, v := range answers {
			form[k] = v
		}
		res, page = b.read(b.PostForm(at, form))
	}
	if res.StatusCode != http.StatusSeeOther {
		return url.Values{"status": {res.Status}, "page": {page}}
	}
	u, err := url.Parse(res.Header.Get("Location"))
	if err != nil {
		x.t.Fatal(err)
	}
	return u.Query()
}

func (x *secured) exchange(status int, code string, edit url.Values) map[string]any {
	x.t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {"growth"}, "redirect_uri": {"https://app.example.org/cb"}, "code": {code}, "code_verifier": {verifier}}
	for k, v := range edit {
		form[k] = v
	}
	return x.form(status, "/auth/token", form)
}

// openSMART has a user, a public application and a patient.
func openSMART(t *testing.T) *secured {
	x := openSecured(t, nil)
	x.json(201, "PUT", "/default/fhir/Patient/p1", x.owner, patientBody)
	x.json(201, "PUT", "/manage/v1/workspaces/default/clients/growth", x.owner, `{"public":true,"name":"Growth Chart","redirectUris":["https://app.example.org/cb"]}`)
	x.json(201, "PUT", "/manage/v1/workspaces/default/users/alice", x.owner, `{"name":"Alice","password":"correct horse","fhirUser":"Practitioner/7"}`)
	x.json(201, "PUT", "/manage/v1/workspaces/default/roleassignments/alice", x.owner, `{"principal":"alice","role":"FHIR Data Reader","scope":"/default/fhir"}`)
	return x
}

// TestStandaloneLaunch is the whole authorization code flow of SMART App Launch.
func TestStandaloneLaunch(t *testing.T) {
	x := openSMART(t)
	back := x.authorize(newBrowser(t), "alice", "correct horse", nil, url.Values{"patient": {"p1"}})
	if back.Get("state") != "s1" || back.Get("iss") != x.url || back.Get("code") == "" {
		t.Fatalf("got %v", back)
	}
	a := x.exchange(200, back.Get("code"), nil)
	if a["patient"] != "p1" || a["fhirUser"] != x.url+"/default/fhir/Practitioner/7" || a["refresh_token"] == nil || a["id_token"] == nil || a["need_patient_banner"] != true {
		t.Errorf("got %v", a)
	}
	access, refresh := a["access_token"].(string), a["refresh_token"].(string)
	x.json(200, "GET", "/default/fhir/Patient/p1", access, "")
	// An id token opens nothing.
	x.json(401, "GET", "/default/fhir/Patient/p1", a["id_token"].(string), "")
	// Who the user is, as far as the scopes tell it.
	if u := x.json(200, "GET", "/auth/userinfo", access, ""); u["sub"] != "alice" || u["name"] != "Alice" || u["fhirUser"] != x.url+"/default/fhir/Practitioner/7" {
		t.Errorf("userinfo: %v", u)
	}
	if res := x.do("POST", "/auth/userinfo", x.owner, ""); res.StatusCode != 403 || !strings.Contains(res.Header.Get("WWW-Authenticate"), "insufficient_scope") {
		t.Errorf("userinfo of a client: %s", res.Status)
	}
	x.json(401, "GET", "/auth/userinfo", a["id_token"].(string), "")
	// Introspection, by a client that can keep a secret.
	_, secret := x.client("resource-server", "", "")
	if i := x.form(200, "/auth/introspect", url.Values{"token": {access}}, "resource-server", secret); i["active"] != true || i["patient"] != "p1" || i["sub"] != "alice" || i["fhirUser"] != "Practitioner/7" {
		t.Errorf("introspection: %v", i)
	}
	x.form(401, "/auth/introspect", url.Values{"token": {access}, "client_id": {"growth"}})
	x.form(400, "/auth/introspect", url.Values{}, "resource-server", secret)
	// Rotation: the old refresh token ends everything.
	b := x.form(200, "/auth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "scope": {"patient/*.rs"}})
	if b["patient"] != "p1" || b["scope"] != "patient/*.rs" || b["refresh_token"] == refresh {
		t.Errorf("got %v", b)
	}
	x.form(400, "/auth/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"growth"}, "refresh_token": {b["refresh_token"].(string)}, "scope": {"patient/*.cruds"}})
	x.form(400, "/auth/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"growth"}, "refresh_token": {refresh}})
	x.form(400, "/auth/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"growth"}, "refresh_token": {b["refresh_token"].(string)}})
	x.json(401, "GET", "/default/fhir/Patient/p1", access, "")
	x.json(401, "GET", "/auth/userinfo", access, "")
	x.json(401, "GET", "/default/fhir/Patient/p1", b["access_token"].(string), "")
	if i := x.form(200, "/auth/introspect", url.Values{"token": {access}}, "resource-server", secret); i["active"] != false || len(i) != 1 {
		t.Errorf("introspection of what was taken back: %v", i)
	}
}

// TestPostedAuthorization sends the request for authorization as a form from
// another site: authorize-post of SMART.
func TestPostedAuthorization(t *testing.T) {
	x := openSMART(t)
	form := url.Values{"response_type": {"code"}, "client_id": {"growth"}, "scope": {"openid"}, "state": {"a b&c"}}.Encode()
	res := x.do("POST", "/auth/authorize", "", form, "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://app.example.org", "Sec-Fetch-Site", "cross-site")
	if at := res.Header.Get("Location"); res.StatusCode != 303 || at != x.url+"/auth/authorize?"+form {
		t.Errorf("got %s, %s", res.Status, at)
	}
	x.json(400, "POST", "/auth/authorize", "", "")
}

// TestDiscovery: what the documents name is there.
func TestDiscovery(t *testing.T) {
	x := openSMART(t)
	docs := []map[string]any{
		x.json(200, "GET", "/.well-known/openid-configuration", "", ""), x.json(200, "GET", "/.well-known/oauth-authorization-server", "", ""),
		x.json(200, "GET", "/default/fhir/.well-known/smart-configuration", "", ""),
	}
	for i, doc := range docs {
		if doc["issuer"] != x.url {
			t.Errorf("document %d: the issuer is %v", i, doc["issuer"])
		}
		for _, name := range []string{"jwks_uri", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "introspection_endpoint", "revocation_endpoint"} {
			at, _ := doc[name].(string)
			path, ok := strings.CutPrefix(at, x.url)
			if !ok {
				t.Errorf("document %d: %s is %q", i, name, at)
				continue
			}
			if res := x.do("OPTIONS", path, "", ""); res.StatusCode != 204 {
				t.Errorf("document %d: %s: %s", i, name, res.Status)
			}
		}
	}
	if docs[0]["request_uri_parameter_supported"] != false || docs[0]["authorization_response_iss_parameter_supported"] != true {
		t.Errorf("got %v", docs[0])
	}
}

// TestHostNames asks a service by a host name of its own for everything that a
// SMART application needs.
func TestHostNames(t *testing.T) {
	x := openSecured(t, func(c *server.Config) { c.Domain = "example.org" })
	handler := x.srv.Handler()
	get := func(method, path, body string, headers ...string) (int, map[string]any) {
		t.Helper()
		r := httptest.NewRequest(method, "http://default-fhir.fhir.example.org"+path, strings.NewReader(body))
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		out := map[string]any{}
		_ = json.Unmarshal(w.Body.Bytes(), &out) // an empty body is fine
		return w.Code, out
	}
	code, conf := get("GET", "/.well-known/smart-configuration", "")
	if code != 200 || conf["token_endpoint"] != "http://default-fhir.fhir.example.org/auth/token" {
		t.Fatalf("%d %v", code, conf)
	}
	if code, _ := get("GET", "/Patient", ""); code != 401 {
		t.Errorf("without a token: %d", code)
	}
	_, secret := x.client("app", "FHIR Data Reader", "/default/fhir")
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"app"}, "client_secret": {secret}, "resource": {"http://default-fhir.fhir.example.org"}}
	code, a := get("POST", "/auth/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if code != 200 {
		t.Fatalf("%d %v", code, a)
	}
	if code, _ := get("GET", "/Patient", "", "Authorization", "Bearer "+a["access_token"].(string)); code != 200 {
		t.Errorf("with a token: %d", code)
	}
}

// TestProviderCORS lets the pages of registered applications call the provider.
func TestProviderCORS(t *testing.T) {
	x := openSMART(t)
	for origin, want := range map[string]string{"https://app.example.org": "https://app.example.org", "https://evil.example.org": ""} {
		res := x.do("OPTIONS", "/auth/token", "", "", "Origin", origin, "Access-Control-Request-Method", "POST")
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: %q", origin, got)
		}
	}
}

// TestCodes tries to use a code wrongly.
func TestCodes(t *testing.T) {
	x := openSMART(t)
	b := newBrowser(t)
	code := func() string {
		return x.authorize(b, "alice", "correct horse", nil, url.Values{"patient": {"p1"}}).Get("code")
	}
	x.exchange(400, code(), url.Values{"code_verifier": {"wrong"}})
	x.exchange(400, code(), url.Values{"redirect_uri": {"https://app.example.org/other"}})
	x.exchange(400, "nonsense", nil)
	c := code()
	a := x.exchange(200, c, nil)
	x.exchange(400, c, nil) // stolen: everything ends
	x.json(401, "GET", "/default/fhir/Patient/p1", a["access_token"].(string), "")
	// Revocation of a refresh token ends the access token too.
	a = x.exchange(200, code(), nil)
	x.form(200, "/auth/revoke", url.Values{"token": {"nonsense"}, "client_id": {"growth"}})
	x.json(200, "GET", "/default/fhir/Patient/p1", a["access_token"].(string), "")
	x.form(200, "/auth/revoke", url.Values{"token": {a["refresh_token"].(string)}, "client_id": {"growth"}})
	x.json(401, "GET", "/default/fhir/Patient/p1", a["access_token"].(string), "")
}

// TestAuthorizeErrors goes wrong at each step.
func TestAuthorizeErrors(t *testing.T) {
	x := openSMART(t)
	for _, tc := range []struct {
		name  string
		query url.Values
		want  string // error that the application gets; "" = shown to the user
	}{
		{"unknown client", url.Values{"client_id": {"nobody"}}, ""},
		{"foreign redirect", url.Values{"redirect_uri": {"https://app.example.org/cb/../evil"}}, ""},
		{"token flow", url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		{"no PKCE", url.Values{"code_challenge": {}}, "invalid_request"},
		{"plain PKCE", url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		{"foreign audience", url.Values{"aud": {"https://elsewhere.example.org/fhir"}}, "invalid_request"},
		{"no audience", url.Values{"aud": {}}, "invalid_request"},
		{"no scope", url.Values{"scope": {"unknown"}}, "invalid_scope"},
		{"system scope", url.Values{"scope": {"system/*.rs"}}, "invalid_scope"},
		{"bad scope", url.Values{"scope": {"patient/*.sr"}}, "invalid_scope"},
		{"bad launch", url.Values{"launch": {"nonsense"}}, "invalid_request"},
		{"silent", url.Values{"prompt": {"none"}}, "login_required"},
	} {
		back := x.authorize(newBrowser(t), "alice", "correct horse", tc.query, url.Values{"patient": {"p1"}})
		if got := back.Get("error"); got != tc.want || tc.want == "" && !strings.HasPrefix(back.Get("status"), "400") || tc.want != "" && back.Get("state") != "s1" {
			t.Errorf("%s: got %v", tc.name, back)
		}
	}
	if back := x.authorize(newBrowser(t), "alice", "correct horse", nil, url.Values{"decision": {"deny"}}); back.Get("error") != "access_denied" {
		t.Errorf("got %v", back)
	}
	if back := x.authorize(newBrowser(t), "alice", "correct horse", nil, url.Values{"patient": {"p2"}}); !strings.Contains(back.Get("page"), "no such patient") {
		t.Errorf("got %v", back)
	}
	wrong := x.authorize(newBrowser(t), "alice", "wrong", nil, nil)
	nobody := x.authorize(newBrowser(t), "nobody", "wrong", nil, nil)
	if wrong.Get("page") != nobody.Get("page") || !strings.HasPrefix(wrong.Get("status"), "401") {
		t.Errorf("the answer tells whether there is a user:\n%s\n%s", wrong, nobody)
	}
}

// TestLockout fails five times and then has the right password.
func TestLockout(t *testing.T) {
	x := openSMART(t)
	for range 5 {
		x.authorize(newBrowser(t), "alice", "wrong", nil, nil)
	}
	if back := x.authorize(newBrowser(t), "alice", "correct horse", nil, nil); !strings.HasPrefix(back.Get("status"), "401") {
		t.Errorf("a locked user logs in: %v", back)
	}
	x.json(200, "PUT", "/manage/v1/workspaces/default/users/alice", x.owner, `{"password":"another horse"}`)
	if back := x.authorize(newBrowser(t), "alice", "another horse", nil, url.Values{"patient": {"p1"}}); back.Get("code") == "" {
		t.Errorf("after a new password: %v", back)
	}
}

// TestEHRLaunch starts the application from an EHR that knows the patient.
func TestEHRLaunch(t *testing.T) {
	x := openSMART(t)
	ehr, _ := x.client("ehr", "FHIR Data Reader", "/default/fhir")
	body := `{"aud":"` + x.url + `/default/fhir","patient":"p1","encounter":"e1"}`
	x.json(401, "POST", "/auth/launch", "", body)
	nobody, _ := x.client("stranger", "", "")
	x.json(403, "POST", "/auth/launch", nobody, body)
	handle := x.json(200, "POST", "/auth/launch", ehr, body)["launch"].(string)
	query := url.Values{"launch": {handle}, "scope": {"launch patient/Observation.rs"}}
	back := x.authorize(newBrowser(t), "alice", "correct horse", query, nil)
	a := x.exchange(200, back.Get("code"), nil)
	if a["patient"] != "p1" || a["encounter"] != "e1" || a["refresh_token"] != nil || a["id_token"] != nil {
		t.Errorf("got %v", a)
	}
	if back := x.authorize(newBrowser(t), "alice", "correct horse", query, nil); back.Get("error") != "invalid_request" {
		t.Errorf("a launch is used twice: %v", back)
	}
}
