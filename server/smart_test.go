package server_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/server"
)

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

// TestNewPassword: whoever logged in with the old one is logged out.
func TestNewPassword(t *testing.T) {
	for name, change := range map[string]string{
		"password": `{"fhirUser":"Practitioner/7","password":"another horse"}`, "second factor": `{"fhirUser":"Practitioner/7","totp":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			x := openSMART(t)
			b := newBrowser(t)
			login := func(query url.Values) url.Values {
				return x.authorize(b, "alice", "correct horse", query, url.Values{"patient": {"p1"}})
			}
			tokens := x.exchange(200, login(nil).Get("code"), nil)
			code := login(nil).Get("code")
			x.json(200, "GET", "/default/fhir/Patient/p1", tokens["access_token"].(string), "")
			x.json(200, "PUT", "/manage/v1/workspaces/default/users/alice", x.owner, `{"fhirUser":"Practitioner/7","name":"A"}`)
			x.json(200, "GET", "/default/fhir/Patient/p1", tokens["access_token"].(string), "") // another name ends nothing
			x.json(200, "PUT", "/manage/v1/workspaces/default/users/alice", x.owner, change)
			x.json(401, "GET", "/default/fhir/Patient/p1", tokens["access_token"].(string), "")
			x.form(400, "/auth/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"growth"}, "refresh_token": {tokens["refresh_token"].(string)}})
			x.exchange(400, code, nil)
			if back := login(nil); !strings.HasPrefix(back.Get("status"), "401") {
				t.Errorf("the session of the browser goes on: %v", back)
			}
		})
	}
}

// TestRefusalTime: how long a login takes does not tell whether there is a user.
func TestRefusalTime(t *testing.T) {
	x := openSMART(t)
	for _, user := range []string{"alice", "nobody"} {
		begin := time.Now()
		x.authorize(newBrowser(t), user, "wrong", nil, nil)
		if d := time.Since(begin); d < 200*time.Millisecond {
			t.Errorf("%s: refused after %v", user, d)
		}
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
