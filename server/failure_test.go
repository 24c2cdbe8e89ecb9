package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/audit"
)

// TestAuditFailure asks while the trail cannot be written, with both policies,
// and when there is none.
func TestAuditFailure(t *testing.T) {
	for _, c := range []struct {
		policy        string
		enabled       bool
		read, written int
	}{{"refuse", true, 503, 503}, {"log", true, 404, 201}, {"refuse", false, 404, 201}} {
		cfg := Defaults()
		cfg.Data, cfg.Insecure, cfg.Log.Level, cfg.Audit.OnFailure, cfg.Audit.Enabled = t.TempDir(), true, "error", c.policy, c.enabled
		log := new(strings.Builder)
		s, err := New(context.Background(), cfg, Options{Log: log})
		if err != nil {
			t.Fatal(err)
		}
		if c.enabled {
			if err := s.trail.log.Close(); err != nil { // as if its disk were gone
				t.Fatal(err)
			}
		}
		for method, want := range map[string]int{"GET": c.read, "PUT": c.written} {
			r := httptest.NewRequest(method, "/default/fhir/Patient/p"+method, strings.NewReader(`{"resourceType":"Patient","id":"pPUT"}`))
			r.Header.Set("Content-Type", "application/fhir+json")
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code != want || want == 503 && w.Header().Get("Retry-After") == "" {
				t.Errorf("%s, %t, %s: got %d %s", c.policy, c.enabled, method, w.Code, w.Body)
			}
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		if refuses := c.written == 503; (w.Code == 503) != refuses || strings.Contains(w.Body.String(), `"name":"audit","status":"failed"`) != refuses {
			t.Errorf("%s, %t: ready says %d %s", c.policy, c.enabled, w.Code, w.Body)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if missing := strings.Contains(log.String(), "an audit record is missing"); missing != (c.policy == "log") {
			t.Errorf("%s: the log says %s", c.policy, log)
		}
		if _, err := os.Stat(AuditFolder(cfg.Data)); (err == nil) != c.enabled {
			t.Errorf("enabled %t: %v", c.enabled, err)
		}
	}
}

// TestTokenTimes configures how long tokens live.
func TestTokenTimes(t *testing.T) {
	cfg := Defaults()
	cfg.Data, cfg.Log.Level, cfg.Identity.AccessTokenTime, cfg.Audit.Sync = t.TempDir(), "error", 7*time.Minute, true
	s, err := New(context.Background(), cfg, Options{Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	var first map[string]string
	text, err := os.ReadFile(filepath.Join(cfg.Data, bootstrapFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &first); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/auth/token", strings.NewReader("grant_type=client_credentials"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(first["client_id"], first["client_secret"])
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	var answer struct {
		ExpiresIn int `json:"expires_in"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.ExpiresIn != 420 {
		t.Errorf("got %s %v", w.Body, err)
	}
	if page, err := audit.Find(context.Background(), AuditFolder(cfg.Data), audit.Query{Action: "token"}); err != nil || len(page.Records) != 1 {
		t.Errorf("with sync the record is not there at once: %v %v", page, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
