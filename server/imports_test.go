package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

func TestSources(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a b.ndjson"), []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) }))
	defer elsewhere.Close()
	broken := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case broken:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/in/away":
			http.Redirect(w, r, elsewhere.URL+"/secret", http.StatusFound)
		case r.URL.Path == "/in/f.ndjson":
			w.Header().Set("ETag", `"v1"`)
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	s, err := openImports(ImportConfig{Folder: dir, Allow: []string{srv.URL + "/in/"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"a%20b.ndjson", "file:///a%20b.ndjson", "file:a%20b.ndjson", srv.URL + "/in/f.ndjson?sig=x"} {
		i, err := s.Stat(t.Context(), url)
		if err != nil || i.Size != 10 || i.Tag == "" {
			t.Errorf("stat %s: %+v, %v", url, i, err)
			continue
		}
		for offset, want := range map[int64]string{0: "0123456789", 4: "456789"} {
			r, err := s.Open(t.Context(), url, i.Tag, offset)
			if err != nil {
				t.Errorf("open %s: %v", url, err)
				continue
			}
			got, _ := io.ReadAll(r)
			_ = r.Close()
			if string(got) != want {
				t.Errorf("%s from %d: %q", url, offset, got)
			}
		}
		if _, err := s.Open(t.Context(), url, `"other"`, 0); !fault.Is(err, fault.Precondition) {
			t.Errorf("%s with another tag: %v", url, err)
		}
	}
	for url, kind := range map[string]fault.Kind{
		"missing": fault.NotFound, ".": fault.Invalid, "../x": fault.Invalid, "a/../../x": fault.Invalid, "": fault.Invalid,
		"file://host/x": fault.Invalid, "ftp://x/y": fault.Invalid, elsewhere.URL + "/in/f.ndjson": fault.Invalid,
		srv.URL + "/in/none": fault.NotFound, srv.URL + "/in/../out": fault.Invalid, srv.URL + "/inside": fault.Invalid,
		strings.Replace(srv.URL, "http://", "http://user@", 1) + "/in/f.ndjson": fault.Invalid, srv.URL + "/in/away": fault.Transient,
	} {
		if _, err := s.Stat(t.Context(), url); !fault.Is(err, kind) {
			t.Errorf("stat %q: %v, want kind %d", url, err, kind)
		}
	}
	broken = true
	if _, err := s.Open(t.Context(), srv.URL+"/in/f.ndjson", "", 0); !fault.Is(err, fault.Transient) {
		t.Errorf("a broken server: %v", err)
	}
	for _, bad := range []string{"example.org", "ftp://x/", "https://user@x/", "https://x/?a"} {
		if (ImportConfig{Allow: []string{bad}}).validate() == nil {
			t.Errorf("import.allow takes %q", bad)
		}
	}
}
