package portal_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/portal"
)

func TestPage(t *testing.T) {
	services := []portal.Service{{Workspace: "default", Name: "fhir", Kind: "fhir"}}
	h := portal.New(portal.Options{Version: "<1>", Services: func() []portal.Service { return services }})
	for _, tt := range []struct {
		method string
		status int
		want   []string
	}{
		{"GET", 200, []string{"Authentication is off", "http://example.com/default/fhir/metadata", "&lt;1&gt;"}},
		{"HEAD", 200, nil},
		{"POST", 405, []string{"allowed are GET, HEAD"}},
	} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(tt.method, "/", nil))
		if rec.Code != tt.status {
			t.Errorf("%s: status %d, want %d", tt.method, rec.Code, tt.status)
		}
		for _, want := range tt.want {
			if !strings.Contains(rec.Body.String(), want) {
				t.Errorf("%s: %q is missing", tt.method, want)
			}
		}
	}
	rec := httptest.NewRecorder()
	portal.New(portal.Options{Guarded: true}).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if text := rec.Body.String(); rec.Code != 200 || strings.Contains(text, "Authentication is off") || !strings.Contains(text, "HYGEIA_URL=http://example.com HYGEIA_TOKEN=$(hygeia token") || strings.Contains(text, "There are none") {
		t.Errorf("with authentication: %d %s", rec.Code, text)
	}
	services = nil
	rec = httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if !strings.Contains(rec.Body.String(), "There are none yet") {
		t.Error("an empty server does not say so")
	}
}
