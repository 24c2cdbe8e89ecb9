package blackbox

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecured starts the server as an operator does, without --insecure: without
// a token there is nothing but what describes the service.
func TestSecured(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startCommand(t, exec.Command(binary, "serve", "--data", dir, "--listen", "127.0.0.1:0"))
	token, _, code := command(t, dir, nil, "token", "--data", dir, "--to", p.url)
	if token = strings.TrimSpace(token); code != 0 || strings.Count(token, ".") != 2 {
		t.Fatalf("hygeia token: exit code %d, %q", code, token)
	}
	const patient = `{"resourceType":"Patient","id":"1"}`
	for _, tt := range []struct {
		method, path string
		without      int // status without a token, and with one that is none
		with         int
	}{
		{"GET", "/default/fhir/metadata", 200, 200},
		{"GET", "/default/fhir/$versions", 200, 200},
		{"GET", "/default/fhir/.well-known/smart-configuration", 200, 200},
		{"OPTIONS", "/default/fhir/Patient", 204, 204},
		{"GET", "/healthz", 200, 200},
		{"GET", "/readyz", 200, 200},
		{"GET", "/manage/v1/openapi.json", 200, 200},
		{"PUT", "/default/fhir/Patient/1", 401, 201},
		{"GET", "/default/fhir/Patient/1", 401, 200},
		{"HEAD", "/default/fhir/Patient/1", 401, 200},
		{"GET", "/default/fhir/Patient/1/_history", 401, 200},
		{"GET", "/default/fhir/Patient/1/_history/1", 401, 200},
		{"GET", "/default/fhir/Patient", 401, 200},
		{"GET", "/default/fhir/", 401, 200},
		{"GET", "/default/fhir/_history", 401, 200},
		{"GET", "/default/fhir/Patient/2", 401, 404},
		{"GET", "/default/fhir/Foo", 401, 404},
		{"POST", "/default/fhir/Patient", 401, 201},
		{"POST", "/default/fhir", 401, 400},
		{"DELETE", "/default/fhir/Patient/2", 401, 204},
		{"DELETE", "/default/fhir/Patient/1/$purge-history", 401, 204},
		{"GET", "/manage/v1/workspaces", 401, 200},
		{"PUT", "/manage/v1/workspaces/other", 401, 201},
		{"DELETE", "/manage/v1/workspaces/other", 401, 204},
	} {
		ask := func(authorization string) answer {
			r := request{method: tt.method, url: p.url + tt.path, header: http.Header{}}
			if authorization != "" {
				r.header.Set("Authorization", authorization)
			}
			switch {
			case (tt.method == "PUT" || tt.method == "POST") && !strings.HasPrefix(tt.path, "/manage"):
				r.body = []byte(patient)
			case tt.method == "PUT":
				r.body, r.header["Content-Type"] = []byte("{}"), []string{"application/json"}
			}
			a := r.do(t)
			invariants(t, r, a)
			return a
		}
		for _, none := range []string{"", "Bearer", "Bearer x", "Bearer " + token + "x", "Basic eDp5", "Bearer eyJhbGciOiJub25lIn0.e30."} {
			a := ask(none)
			if a.status != tt.without && (none == "" || a.status != 401) {
				t.Errorf("%s %s with %.12q: status %d, want %d", tt.method, tt.path, none, a.status, tt.without)
			}
			if a.status == 401 && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s %s: WWW-Authenticate %q", tt.method, tt.path, a.header.Get("WWW-Authenticate"))
			}
		}
		if a := ask("Bearer " + token); a.status != tt.with {
			t.Errorf("%s %s with a token: status %d, want %d\n%s", tt.method, tt.path, a.status, tt.with, a.body)
		}
	}
	if log := p.log.String(); strings.Contains(log, token) {
		t.Error("the token is in the log")
	}
	p.stop(t)
}
