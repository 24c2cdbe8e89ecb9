package blackbox

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestStop sends SIGTERM while a request is on its way: the request is answered,
// new connections are not, the exit code is 0, and what was stored is there.
func TestStop(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	addr := strings.TrimPrefix(p.url, "http://")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const body = `{"resourceType":"Patient","id":"late"}`
	fmt.Fprintf(c, "PUT /default/fhir/Patient/late HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
	answer := bufio.NewReader(c)
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("%q, %v", line, err) // from here on the handler waits for the body
	}
	_, _ = answer.ReadString('\n')
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		late, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		late.Close()
		if time.Since(begin) > readyTime {
			t.Fatal("the server still takes connections")
		}
	}
	if _, err := io.WriteString(c, body); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 201 {
		t.Errorf("status %d", res.StatusCode)
	}
	err = <-p.exited
	p.exited <- err
	if err != nil {
		t.Errorf("the server did not stop well: %v\n%s", err, p.log.String())
	}
	p = start(t, dir)
	if a := (request{method: "GET", url: p.url + "/default/fhir/Patient/late"}).do(t); a.status != 200 {
		t.Errorf("after a start: status %d", a.status)
	}
	p.stop(t)
}

// TestStopSignals: each of the signals that ask for an end has one in order, also
// the end of the terminal.
func TestStopSignals(t *testing.T) {
	// What runs the tests may have been started by nohup, whose children inherit that
	// SIGHUP means nothing; those of a process that is notified do not.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	defer signal.Stop(heard)
	dir := t.TempDir()
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		p := start(t, dir)
		if err := p.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		var err error
		select {
		case err = <-p.exited:
			p.exited <- err
		case <-time.After(readyTime):
			t.Fatalf("%s: the server goes on", s)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", s, err, p.log.String())
		}
	}
}

// TestStopWhileStarting sends SIGTERM at different moments of a start, the first one
// included: it is a stop and no failure.
func TestStopWhileStarting(t *testing.T) {
	dir := t.TempDir()
	for i := range 12 {
		cmd := exec.Command(binary, "serve", "--data", filepath.Join(dir, fmt.Sprint("data", i/2)), "--listen", "127.0.0.1:0")
		var log strings.Builder
		cmd.Stderr, cmd.Env = &log, plainEnv()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(10+15*i) * time.Millisecond)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			continue // it did not run yet
		}
		if err != nil || strings.Contains(log.String(), "hygeia: ") {
			t.Errorf("after %d ms: %v\n%s", 10+15*i, err, log.String())
		}
	}
}

// TestPausedCopy copies the data folder of a server that is stopped in the middle of
// writes (SIGSTOP) and goes on: a server on the copy has all that was acknowledged
// before, as after kill -9.
func TestPausedCopy(t *testing.T) {
	dir := t.TempDir()
	p := start(t, filepath.Join(dir, "data"))
	var acknowledged atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("w%d-%d", w, i)
				a := request{method: "PUT", url: p.url + "/default/fhir/Patient/" + id, body: []byte(`{"resourceType":"Patient","id":"` + id + `"}`)}.do(t)
				if a.status == 201 {
					acknowledged.Add(1)
				}
			}
		})
	}
	for acknowledged.Load() < 300 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	before := acknowledged.Load()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	err := os.CopyFS(filepath.Join(dir, "copy"), os.DirFS(filepath.Join(dir, "data")))
	if cerr := p.cmd.Process.Signal(syscall.SIGCONT); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	cancel()
	writers.Wait()
	p.stop(t)
	p = start(t, filepath.Join(dir, "copy"))
	a := request{method: "GET", url: p.url + "/default/fhir/Patient?_summary=count"}.do(t)
	var found struct{ Total int64 }
	if err := json.Unmarshal(a.body, &found); err != nil || found.Total < before {
		t.Errorf("%v: the copy has %d of %d patients: %s", err, found.Total, before, a.body)
	}
	p.stop(t)
	if _, log, code := command(t, dir, nil, "audit", "verify", "--data", filepath.Join(dir, "copy")); code != 0 {
		t.Errorf("the trail of the copy: %s", log)
	}
}

// TestThrottle sends more than the configuration lets through: 429 says when to
// come back, and the probes are answered.
func TestThrottle(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(config, []byte("limits: {requests_per_second: 2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, t.TempDir(), "--config", config)
	var mu sync.Mutex
	refused := 0
	together(30, func(int) {
		r := request{method: "GET", url: p.url + "/default/fhir/Patient/1"}
		a := r.do(t)
		invariants(t, r, a)
		if a.status != 429 {
			return
		}
		if a.header.Get("Retry-After") == "" || a.header.Get("X-Ms-Retry-After-Ms") == "" {
			t.Errorf("429 without a time: %v", a.header)
		}
		mu.Lock()
		defer mu.Unlock()
		refused++
	})
	if refused == 0 {
		t.Error("30 requests at once passed a limit of 2 per second")
	}
	for _, probe := range []string{"/healthz", "/readyz", "/metrics"} {
		if a := (request{method: "GET", url: p.url + probe}).do(t); a.status != 200 {
			t.Errorf("%s: status %d", probe, a.status)
		}
	}
	p.stop(t)
}

// TestLoadAgain stops a load in the middle: the message says what to do, and the
// same command then has the rest.
func TestLoadAgain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "patients.ndjson")
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, `{"resourceType":"Patient","id":"l%d","name":[{"family":"F%d"}]}`+"\n", i, i)
	}
	text.WriteString(`{"resourceType":"Patient","id":"bad","gender":"x"}` + "\nno JSON\n")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, filepath.Join(dir, "data"))
	to := p.url + "/default/fhir"
	load := func() (string, string, int) { return command(t, dir, nil, "load", file, "--to", to) }
	out, log, code := load()
	if code != 1 || !strings.Contains(out, "500 created") || !strings.Contains(log, "load-errors.ndjson") {
		t.Errorf("exit code %d\n%s%s", code, out, log)
	}
	refused, err := os.ReadFile(filepath.Join(dir, "load-errors.ndjson"))
	if err != nil || strings.Count(string(refused), "\n") != 2 || !strings.Contains(string(refused), `"line":501`) || !strings.Contains(string(refused), "(Patient.gender)") {
		t.Errorf("%v\n%s", err, refused)
	}
	if out, _, code := load(); code != 1 || !strings.Contains(out, "0 created, 0 updated, 500 unchanged, 2 failed") {
		t.Errorf("again: exit code %d\n%s", code, out)
	}
	p.stop(t)
	if _, log, code := load(); code != 1 || !strings.Contains(log, "hygeia serve") || !strings.Contains(log, "nothing is loaded twice") {
		t.Errorf("without a server: exit code %d\n%s", code, log)
	}
}

// TestApplyTwice changes what a file says once, and nothing the second time.
func TestApplyTwice(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "want.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("workspaces:\n  - name: clinic\n    services:\n      - {name: records, kind: fhir, versioning: {Patient: no-version}}\n")
	p := startCommand(t, exec.Command(binary, "serve", "--insecure", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"))
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"--dry-run"}, "2 changes planned, none done"},
		{nil, "2 changes done"},
		{nil, "nothing to do"},
		{[]string{"--dry-run"}, "nothing to do"},
	} {
		out, log, code := command(t, dir, nil, append([]string{"apply", "-f", file, "--to", p.url}, step.args...)...)
		if code != 0 || !strings.Contains(out, step.want) {
			t.Errorf("apply %v: exit code %d, want %q\n%s%s", step.args, code, step.want, out, log)
		}
	}
	write("workspaces:\n  - name: clinic\n    services:\n      - {name: records, kind: fhir}\n")
	if out, _, _ := command(t, dir, nil, "apply", "-f", file, "--to", p.url); !strings.Contains(out, "change fhir-service clinic/records") {
		t.Errorf("a setting that was taken out: %s", out)
	}
	a := request{method: "GET", url: p.url + "/clinic/records/metadata"}.do(t)
	if v, _ := a.value(".rest[0].resource[type=Patient].versioning"); v != "versioned" {
		t.Errorf("versioning %q", v)
	}
	p.stop(t)
}
