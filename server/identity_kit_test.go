package server_test

import (
	"context"
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
