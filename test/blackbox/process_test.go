package blackbox

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// command runs the program to its end.
func command(t *testing.T, dir string, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = &out, &log, dir, append(plainEnv(), env...)
	err := cmd.Run()
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), log.String(), ee.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), log.String(), 0
}

// plainEnv is the environment without what is meant for the tests, which the program does not know.
func plainEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "HYGEIA_") })
}

// TestStartFails demands one line that says what to do, and the exit code.
func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other := start(t, filepath.Join(dir, "used"))
	serve := func(args ...string) []string {
		if !slices.Contains(args, "--listen") {
			args = append(args, "--listen", "127.0.0.1:0")
		}
		return append([]string{"serve", "--insecure"}, args...)
	}
	for _, tt := range []struct {
		name string
		args []string
		env  string
		code int
		want []string
	}{
		{"no such command", []string{"sreve"}, "", 2, []string{"sreve", "--help"}},
		{"no such flag", serve("--dta", "x"), "", 2, []string{"--dta", "hygeia serve --help"}},
		{"a flag without its value", []string{"serve", "--data"}, "", 2, []string{"--data"}},
		{"a command without its argument", []string{"load"}, "", 2, []string{"path", "hygeia load --help"}},
		{"the port is taken", serve("--data", filepath.Join(dir, "a"), "--listen", taken.Addr().String()), "", 1, []string{taken.Addr().String(), "--listen"}},
		{"the folder is in use", serve("--data", filepath.Join(dir, "used")), "", 1, []string{"used", "another process"}},
		{"the folder is a file", serve("--data", file("plain", "x")), "", 1, []string{"plain"}},
		{"a public address without authentication", serve("--data", filepath.Join(dir, "b"), "--listen", "0.0.0.0:0"), "", 1, []string{"0.0.0.0:0", "loopback"}},
		{"no such file", serve("--config", filepath.Join(dir, "nothing.yaml")), "", 1, []string{"nothing.yaml does not exist"}},
		{"a file that is no YAML", serve("--config", file("broken.yaml", "listen: [\n")), "", 1, []string{"broken.yaml", "line"}},
		{"an unknown key", serve("--config", file("typo.yaml", "\nlisten: 127.0.0.1:0\nlimit: {}\n")), "", 1, []string{"typo.yaml:3", `"limit"`, `"limits"`}},
		{"a value of the wrong kind", serve("--config", file("kind.yaml", "limits:\n  concurrent: many\n")), "", 1, []string{"kind.yaml:2", "limits.concurrent", "many"}},
		{"an unknown variable", serve(), "HYGEIA_LISTNE=x", 1, []string{"HYGEIA_LISTNE", "HYGEIA_LISTEN"}},
		{"a variable of the wrong kind", serve(), "HYGEIA_LIMITS_BODY=much", 1, []string{"HYGEIA_LIMITS_BODY", "much"}},
		{"a database that is none", serve("--data", damaged(t, dir)), "", 1, []string{"default/fhir"}},
		{"a list of workspaces that is none", serve("--data", list(t, dir)), "", 1, []string{"manage.json"}},
		{"no server", []string{"workspace", "list", "--to", "http://127.0.0.1:1"}, "", 1, []string{"hygeia serve"}},
		{"nothing to load", []string{"load", filepath.Join(dir, "nowhere"), "--to", other.url + "/default/fhir"}, "", 1, []string{"nowhere"}},
		{"no service to load into", []string{"load", file("p.ndjson", `{"resourceType":"Patient","id":"1"}`), "--to", other.url + "/default/nobody"}, "", 1, []string{"/default/nobody", "no FHIR service"}},
		{"delete without --yes", []string{"workspace", "delete", "default", "--to", other.url}, "", 2, []string{"--yes"}},
		{"a workspace with services", []string{"workspace", "delete", "default", "--yes", "--to", other.url}, "", 1, []string{"force"}},
		{"a name that cannot be", []string{"workspace", "create", "A_B", "--to", other.url}, "", 1, []string{"A_B", "lower-case"}},
		{"a policy that does not exist", []string{"fhir-service", "create", "default", "x1", "--versioning", "Patient=never", "--to", other.url}, "", 1, []string{"never", "versioned-update"}},
		{"an expression that is none", []string{"fhirpath", "Patient.name.", file("r.json", `{"resourceType":"Patient"}`)}, "", 1, []string{"line 1, column 14"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var env []string
			if tt.env != "" {
				env = []string{tt.env}
			}
			out, log, code := command(t, dir, env, tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			var lines []string // but for the log
			for line := range strings.Lines(log) {
				if !strings.HasPrefix(line, `{"time"`) {
					lines = append(lines, line)
				}
			}
			if len(lines) != 1 || !strings.HasPrefix(lines[0], "hygeia: ") {
				t.Errorf("not one line: %q", lines)
			}
			for _, w := range tt.want {
				if !strings.Contains(strings.Join(lines, ""), w) {
					t.Errorf("%q does not say %q", lines, w)
				}
			}
			if strings.Contains(out, "ready") {
				t.Errorf("it says that it is ready: %s", out)
			}
		})
	}
	other.stop(t)
}

// damaged is a data folder whose database was overwritten.
func damaged(t *testing.T, dir string) string {
	t.Helper()
	dir = filepath.Join(dir, "damaged")
	start(t, dir).stop(t)
	if err := os.WriteFile(filepath.Join(dir, "default", "fhir", "fhir.db"), bytes.Repeat([]byte("no database "), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// list is a data folder whose list of workspaces was cut off.
func list(t *testing.T, dir string) string {
	t.Helper()
	dir = filepath.Join(dir, "list")
	start(t, dir).stop(t)
	if err := os.WriteFile(filepath.Join(dir, "manage.json"), []byte(`{"version":1,"workspaces":[{"na`), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// listed are the commands that a help shows.
var listed = regexp.MustCompile(`(?m)^  ([a-z][a-z0-9-]*(?: [a-z][a-z0-9-]*)*)  `)

// TestHelp demands an example from every command that there is.
func TestHelp(t *testing.T) {
	dir := t.TempDir()
	seen := 0
	var visit func(name string)
	visit = func(name string) {
		seen++
		out, log, code := command(t, dir, nil, append(strings.Fields(name), "--help")...)
		if code != 0 || log != "" {
			t.Errorf("hygeia %s --help: exit code %d\n%s", name, code, log)
		}
		if name != "" && (!strings.Contains(out, "Example") || !strings.Contains(out, "hygeia "+name)) {
			t.Errorf("hygeia %s --help has no example of it:\n%s", name, out)
		}
		_, list, ok := strings.Cut(out, "\nCommands:\n")
		if !ok {
			return
		}
		for _, m := range listed.FindAllStringSubmatch(list, -1) {
			visit(m[1])
		}
	}
	visit("")
	if seen < 20 {
		t.Errorf("only %d commands", seen)
	}
}

// TestFirstStart asks for what a first start creates.
func TestFirstStart(t *testing.T) {
	p := start(t, t.TempDir())
	a := request{method: "GET", url: p.url + "/manage/v1/workspaces"}.do(t)
	for place, want := range map[string]string{
		".value[*].name": `["default"]`, ".value[0].services[*].kind": `["dicom","fhir","medtech"]`,
		".value[0].services[*].name": `["dicom","fhir","medtech"]`, ".value[0].services[name=medtech].destination": "fhir",
	} {
		if got, err := a.value(place); got != want {
			t.Errorf("%s is %s, want %s (%v)", place, got, want, err)
		}
	}
	for path, want := range map[string]int{
		"/": 200, "/healthz": 200, "/readyz": 200, "/metrics": 200, "/manage/v1/openapi.json": 200,
		"/default/fhir/metadata": 200, "/default/dicom/v2/studies": 204, "/default/dicom/v1/studies": 204,
		"/default/medtech/deadletters": 200, "/default/events": 200, "/default/nothing": 404, "/nothing": 404,
	} {
		if a := (request{method: "GET", url: p.url + path}).do(t); a.status != want {
			t.Errorf("%s: status %d, want %d\n%.300s", path, a.status, want, a.body)
		}
	}
	p.stop(t)
}

// TestFullDisk fills the disk, as far as one process can tell: files may not
// grow beyond a size. Writes are refused with 503, reads go on, what was
// acknowledged is there after a kill and a start with room.
func TestFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs ulimit -f of Linux")
	}
	dir := t.TempDir()
	// The log of the server goes through a pipe, so that the limit leaves it alone.
	cmd := exec.Command("sh", "-c", `ulimit -f 4000 && exec "$0" "$@"`, binary, "serve", "--insecure", "--data", dir, "--listen", "127.0.0.1:0")
	p := startCommand(t, cmd)
	base := p.url + "/default/fhir"
	put := func(base string, i int) answer {
		r := request{method: "PUT", url: fmt.Sprintf("%s/Patient/%d", base, i), body: fmt.Appendf(nil,
			`{"resourceType":"Patient","id":"%d","name":[{"family":"%s"}]}`, i, times(fmt.Sprint(i), 200))}
		a := r.do(t)
		if a.status != 201 && a.status != 503 {
			t.Fatalf("status %d\n%s", a.status, a.body)
		}
		return a
	}
	var stored []int
	full := false
	for i := range 5000 {
		a := put(base, i)
		if a.status == 503 {
			full = true
			if a.header.Get("Retry-After") == "" || !bytes.Contains(a.body, []byte("nothing was stored")) {
				t.Errorf("a refusal without a reason: %v\n%s", a.header, a.body)
			}
			break
		}
		stored = append(stored, i)
	}
	if !full {
		t.Fatal("the disk did not get full")
	}
	check := func(base string) {
		t.Helper()
		for _, i := range stored {
			if a := (request{method: "GET", url: fmt.Sprintf("%s/Patient/%d", base, i)}).do(t); a.status != 200 {
				t.Errorf("Patient/%d was acknowledged: %d", i, a.status)
			}
		}
		if n := total(t, base+"/Patient?_lastUpdated=gt2000"); n != fmt.Sprint(len(stored)) {
			t.Errorf("%s resources, %d were acknowledged", n, len(stored))
		}
	}
	check(base)
	p.kill()
	p = start(t, dir)
	base = p.url + "/default/fhir"
	check(base)
	if a := put(base, 9999); a.status != 201 {
		t.Errorf("after more room: status %d\n%s", a.status, a.body)
	}
	p.stop(t)
}
