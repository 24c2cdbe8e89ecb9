package server_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/server"
)

// during runs a server on a folder. It returns how a request is answered, and why the server did not
// start when it did not.
func during(t *testing.T, dir, method, body string) (code int, answer string, err error) {
	t.Helper()
	cfg := server.Defaults()
	cfg.Data, cfg.Insecure, cfg.Log.Level = dir, true, "error"
	s, err := server.New(context.Background(), cfg, server.Options{Log: new(syncBuffer)})
	if err != nil {
		return 0, "", err
	}
	w := platform{Handler: s.Handler()}.do(method, "/default/fhir/Patient/a", body)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return w.Code, w.Body.String(), nil
}

// A service whose database is gone says so, and does not begin anew as if it never had
// any data.
func TestLostStore(t *testing.T) {
	for name, lose := range map[string]func(file string) error{
		"the file":    os.Remove,
		"its content": func(file string) error { return os.Truncate(file, 0) },
		"the folder":  func(file string) error { return os.RemoveAll(filepath.Dir(filepath.Dir(file))) },
	} {
		dir := t.TempDir()
		if code, answer, err := during(t, dir, "PUT", `{"resourceType":"Patient","id":"a"}`); code != 201 || err != nil {
			t.Fatalf("%d %s, %v", code, answer, err)
		}
		file := filepath.Join(dir, "default", "fhir", "fhir.db")
		if err := lose(file); err != nil {
			t.Fatal(err)
		}
		code, answer, err := during(t, dir, "GET", "")
		if err == nil && (code < 500 || strings.Contains(answer, dir)) || err != nil && !strings.Contains(err.Error(), "missing or empty now") {
			t.Errorf("without %s: %d %s, %v", name, code, answer, err)
		}
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			t.Errorf("without %s: there is a new one", name)
		}
		if err := os.RemoveAll(filepath.Join(dir, "_stores")); err != nil { // what the message advises
			t.Fatal(err)
		}
		if code, answer, err := during(t, dir, "GET", ""); code != 404 || err != nil {
			t.Errorf("without %s, begun anew: %d %s, %v", name, code, answer, err)
		}
	}
}

// A service that is deleted and made again begins with nothing, and is not taken for lost.
func TestStoreMadeAgain(t *testing.T) {
	p := open(t, t.TempDir(), nil)
	for range 2 {
		if w := p.do("PUT", "/manage/v1/workspaces/default/fhirservices/again", "{}"); w.Code != 201 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w := p.do("PUT", "/default/again/Patient/a", `{"resourceType":"Patient","id":"a"}`); w.Code != 201 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w := p.do("DELETE", "/manage/v1/workspaces/default/fhirservices/again", ""); w.Code != 204 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}
