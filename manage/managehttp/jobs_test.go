package managehttp

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/jobs"
)

func TestJobs(t *testing.T) {
	d, err := db.Open(filepath.Join(t.TempDir(), "jobs.db"), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	store, err := jobs.New(t.Context(), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := New(&manage.Plane{}, Options{Jobs: store})
	var last jobs.Job
	for _, scope := range []string{"w/a", "w/b", "w/b"} {
		if last, _, err = store.Submit(t.Context(), jobs.Spec{Kind: "export", Scope: scope, Requester: "me", Definition: "secret"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		method, path string
		status       int
		has          string
	}{
		{"GET", "/jobs", 200, `"state":"queued"`},
		{"GET", "/jobs?service=w/b&kind=export&state=queued&limit=5", 200, `"service":"w/b"`},
		{"GET", "/jobs?state=running", 200, `{"value":[]}`},
		{"GET", "/jobs?state=asleep", 400, "state must be one of"},
		{"GET", "/jobs?limit=0", 400, "limit"},
		{"GET", "/jobs?colour=red", 400, "colour"},
		{"GET", "/jobs/" + last.ID, 200, last.ID},
		{"GET", "/jobs/none", 404, "no such job"},
		{"DELETE", "/jobs/" + last.ID, 202, `"state":"cancelled"`},
		{"DELETE", "/jobs/" + last.ID, 409, "cancelled already"},
		{"DELETE", "/jobs/none", 404, "no such job"},
		{"POST", "/jobs", 405, "GET"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, "/manage/v1"+c.path, http.NoBody))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.has) {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s %s shows the definition", c.method, c.path)
		}
		if c.path == "/jobs?service=w/b&kind=export&state=queued&limit=5" {
			var l list[jobView]
			if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || len(l.Value) != 2 {
				t.Errorf("%d jobs, %v", len(l.Value), err)
			}
		}
	}
}
