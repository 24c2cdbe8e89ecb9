package server_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/server"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestConfigFiles loads every file of testdata/config. A *.good.yaml prints as
// *.good.golden; a *.bad.yaml begins with a comment that is its error.
func TestConfigFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/config/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, err %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			cfg, err := server.Load(server.Source{File: file})
			if err == nil {
				err = cfg.Validate()
			}
			text, rerr := os.ReadFile(file)
			if rerr != nil {
				t.Fatal(rerr)
			}
			if strings.HasSuffix(file, ".bad.yaml") {
				line, _, _ := strings.Cut(string(text), "\n")
				want := strings.TrimPrefix(line, "# ")
				if err == nil || strings.TrimPrefix(err.Error(), file+":") != want && err.Error() != want {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := cfg.YAML()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", got)
		})
	}
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not up to date; run go test ./server -update\n%s", file, diff)
	}
}

func TestConfigDoc(t *testing.T) { golden(t, "../docs/config.md", server.ConfigDoc()) }

func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "h.yaml")
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:1\ndata: file\nlimits: {body: 1MiB, concurrent: 7}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := server.Load(server.Source{
		File: file,
		Env: []string{
			"PATH=/bin", "HYGEIA_DATA=env", "HYGEIA_LISTEN=127.0.0.1:2", "HYGEIA_LIMITS_BODY=2MiB", "HYGEIA_CORS_ORIGINS=https://a.example, https://b.example",
			"HYGEIA_LIMITS_HANDLE_TIME=7s", "HYGEIA_CORS_CREDENTIALS=true", "HYGEIA_LIMITS_REQUESTS_PER_SECOND=2.5",
			"HYGEIA_WORKSPACES=[{name: clinic, services: [{name: records, kind: fhir}]}]",
			"HYGEIA_SERVICE_HOST=10.0.0.1", "HYGEIA_PORT=tcp://10.0.0.1:80", "HYGEIA_TOKEN=x",
		},
		Flags: map[string]string{"listen": "127.0.0.1:3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := server.Defaults()
	want.Listen, want.Data, want.Limits.Body, want.Limits.Concurrent = "127.0.0.1:3", "env", 2<<20, 7
	want.CORS.Origins, want.CORS.Credentials = []string{"https://a.example", "https://b.example"}, true
	want.Limits.HandleTime, want.Limits.RequestsPerSecond = 7*time.Second, 2.5
	want.Workspaces = []server.WorkspaceConfig{{Name: "clinic", Services: []server.ServiceConfig{{Name: "records", Spec: manage.Spec{Kind: "fhir"}}}}}
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Error(diff)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestEnvErrors(t *testing.T) {
	for env, want := range map[string]string{
		"HYGEIA_LISTENN=x":                       `unknown variable HYGEIA_LISTENN; did you mean "HYGEIA_LISTEN"?`,
		"HYGEIA_LIMITS_BODY=big":                 `HYGEIA_LIMITS_BODY: "big" is no size such as 32MiB`,
		"HYGEIA_LIMITS_IDLE_TIME=2":              `HYGEIA_LIMITS_IDLE_TIME: "2" is no duration such as 30s`,
		"HYGEIA_LIMITS_CONCURRENT=x":             `HYGEIA_LIMITS_CONCURRENT: "x" is no whole number`,
		"HYGEIA_CORS_CREDENTIALS=maybe":          `HYGEIA_CORS_CREDENTIALS: "maybe" is neither true nor false`,
		"HYGEIA_LIMITS_REQUESTS_PER_SECOND=1x":   `HYGEIA_LIMITS_REQUESTS_PER_SECOND: "1x" is no number`,
		"HYGEIA_WORKSPACES=x":                    `HYGEIA_WORKSPACES: line 1: a list is expected`,
		"HYGEIA_SECRETX=x":                       `unknown variable HYGEIA_SECRETX; did you mean "HYGEIA_SECRETS"?`,
		"HYGEIA_WORKSPACES=[{nam: x}]":           `HYGEIA_WORKSPACES: line 1: unknown key "nam"; did you mean "name"?`,
		"HYGEIA_WORKSPACES=[{name: [x], name: y": `HYGEIA_WORKSPACES: line 1: did not find expected ',' or '}'`,
	} {
		_, err := server.Load(server.Source{Env: []string{env}})
		if err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", env, err, want)
		}
	}
}

// A variable that holds a secret is known when the configuration refers to it.
func TestEnvOfSecrets(t *testing.T) {
	for _, env := range [][]string{
		{"HYGEIA_SECRET_HUB=x"}, // by the default of secrets
		{"HYGEIA_HUB=x", "HYGEIA_SECRETS=env:HYGEIA_HUB"},
		{"HYGEIA_MASTER=x", "HYGEIA_IDENTITY_KEY=env:HYGEIA_MASTER"},
		{"HYGEIA_REST=x", "HYGEIA_ENCRYPTION_KEYS=env:HYGEIA_REST"},
		{"HYGEIA_BROKER=x", `HYGEIA_WORKSPACES=[{name: ward, services: [{name: devices, kind: medtech, sources: [{password: "env:HYGEIA_BROKER"}]}]}]`},
	} {
		if _, err := server.Load(server.Source{Env: env}); err != nil {
			t.Errorf("%s: %v", env, err)
		}
	}
	_, err := server.Load(server.Source{Env: []string{"HYGEIA_SECRET_HUB=x", "HYGEIA_SECRETS=env:HUB"}})
	if err == nil || !strings.HasPrefix(err.Error(), "unknown variable HYGEIA_SECRET_HUB") {
		t.Error(err)
	}
}

func TestSecretsAreMasked(t *testing.T) {
	cfg := server.Defaults()
	cfg.Database, cfg.Blobs, cfg.Bus = "postgres://hygeia:hunter2@db.example/hygeia", "s3://bucket?secret=hunter2", "hunter2"
	text, err := cfg.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("hunter2")) || !bytes.Contains(text, []byte("postgres://hygeia:***@db.example/hygeia")) {
		t.Error(string(text))
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]server.Size{"32MiB": 32 << 20, "1 KiB": 1024, "5MB": 5e6, "2kB": 2000, "7B": 7, "9": 9, "1GiB": 1 << 30} {
		var s server.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
		var again server.Size
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s prints as %s", text, s)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.5MiB", "99999999999GiB", "MiB"} {
		var s server.Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is accepted as %d", text, s)
		}
	}
}

// FuzzConfig checks that no file makes loading or validation fail other than
// with an error, and that what was loaded prints and loads again as the same.
func FuzzConfig(f *testing.F) {
	files, _ := filepath.Glob("testdata/config/*.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("workspaces: &w [{name: x, services: *w}]"))
	path := filepath.Join(f.TempDir(), "fuzz.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := server.Load(server.Source{File: path})
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		_ = cfg.Validate()
		if _, err := cfg.YAML(); err != nil {
			t.Error(err)
		}
	})
}

// TestImage: what the Dockerfile sets is known, and the command is one that starts.
func TestImage(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "ENV "); ok {
			env = append(env, strings.Fields(rest)...)
		}
	}
	cfg, err := server.Load(server.Source{Env: env})
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil || cfg.Data != "/data" || cfg.Listen != "0.0.0.0:8080" || !strings.Contains(string(text), `CMD ["serve"]`) {
		t.Errorf("%v: data %s, listen %s", err, cfg.Data, cfg.Listen)
	}
}
