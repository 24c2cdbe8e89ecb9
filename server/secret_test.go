package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/manage"
)

// TestSecret resolves references of each kind, and runs a command only once.
func TestSecret(t *testing.T) {
	dir := t.TempDir()
	file, script := filepath.Join(dir, "key"), filepath.Join(dir, "unseal")
	for path, text := range map[string]string{
		file:   " from a file \n",
		script: "#!/bin/sh\necho called >> " + dir + "/calls\n[ \"$1\" = fail ] && { echo 'no such key' >&2; exit 3; }\necho from a command $1\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOME_SECRET", "from the environment")
	for ref, want := range map[string]string{
		"env:SOME_SECRET": "from the environment", "file:" + file: "from a file", "exec:" + script + " key/1": "from a command key/1",
		"env:NONE": "error: env:NONE is empty", "file:" + dir + "/none": "error: open", "plain": "error: a secret is a reference", "exec:": "error: exec: no command",
		"exec:" + script + " fail": "error: exec: " + script + ": exit status 3 no such key", "exec:/nonexistent": "error: exec: /nonexistent",
	} {
		for range 2 {
			got, err := secret(ref)
			if err != nil {
				got = "error: " + err.Error()
			}
			if !strings.HasPrefix(got, want) {
				t.Errorf("%s: got %q, want %q", ref, got, want)
			}
		}
	}
	if calls, err := os.ReadFile(dir + "/calls"); err != nil || strings.Count(string(calls), "called") != 3 { // once, and the failure twice
		t.Errorf("the command was called %q, %v", calls, err)
	}
}

// TestReferences: an owner of a workspace gets only what the operator allows.
func TestReferences(t *testing.T) {
	t.Setenv("HYGEIA_SECRET_HUB", "allowed")
	t.Setenv("HYGEIA_DATABASE", "postgres://u:secret@db/hygeia")
	t.Setenv("WARD", "named in the file")
	dir := t.TempDir()
	for _, path := range []string{dir + "/a", dir + "-other"} {
		if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Defaults()
	cfg.Secrets = append(cfg.Secrets, "file:"+dir+"/*")
	m := ServiceConfig{Name: "m", Spec: manage.Spec{Kind: "medtech"}}
	m.Sources = []manage.MedTechSource{{Name: "ward", Password: "env:WARD"}}
	cfg.Workspaces = []WorkspaceConfig{{Name: "w", Services: []ServiceConfig{m}}}
	r := newReferences(&cfg)
	for ref, want := range map[string]bool{
		"env:HYGEIA_SECRET_HUB": true, "env:WARD": true, "file:" + dir + "/a": true,
		"env:HYGEIA_DATABASE": false, "file:" + dir + "/../" + filepath.Base(dir) + "/a": false, "file:" + dir + "-other": false, "file:/etc/passwd": false,
		"exec:/bin/true": false, "": false, "env:": false, "env:HYGEIA_SECRET_": false,
	} {
		if _, err := r.secret(ref); (err == nil) != want {
			t.Errorf("%s: got %v, want %t", ref, err, want)
		}
	}
	for _, bad := range []string{"exec:/bin/true", "env:*", "file:/*", "file:etc/*", "env:A*B", "plain", ""} {
		if checkReferences([]string{bad}) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
