package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/server"
)

// platform is a server under test.
type platform struct {
	http.Handler
	log *syncBuffer
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func open(t *testing.T, dir string, edit func(*server.Config)) platform {
	t.Helper()
	cfg := server.Defaults()
	cfg.Data, cfg.Insecure = dir, true
	if edit != nil {
		edit(&cfg)
	}
	log := &syncBuffer{}
	s, err := server.New(context.Background(), cfg, server.Options{Version: "test", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return platform{s.Handler(), log}
}

func (p platform) do(method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, r)
	return rec
}

const patient = `{"resourceType":"Patient","id":"p1","name":[{"family":"Chalmers"}]}`

func TestRoutes(t *testing.T) {
	p := open(t, t.TempDir(), func(c *server.Config) { c.Domain = "health.example" })
	if rec := p.do("PUT", "http://h.example:8080/default/fhir/Patient/p1", patient); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for _, tt := range []struct {
		method, url string
		status      int
		media       string
		contains    string
	}{
		{"GET", "http://h.example:8080/", 200, "text/html", "http://h.example:8080/default/fhir"},
		{"GET", "http://h.example:8080/healthz", 200, "application/json", `{"status":"ok"}`},
		{"GET", "http://h.example:8080/readyz", 200, "application/json", `"name":"service default/fhir","status":"ok"`},
		{"GET", "http://h.example:8080/metrics", 200, "text/plain", `hygeia_requests_total{operation="update",service="default/fhir",status="2xx",type="Patient"} 1`},
		{"GET", "http://h.example:8080/manage/v1/workspaces", 200, "application/json", `"url":"http://h.example:8080/default/fhir"`},
		{"GET", "http://h.example:8080/manage/v1/openapi.json", 200, "application/json", `"openapi"`},
		{"GET", "http://h.example:8080/manage/x", 404, "application/problem+json", "openapi.json"},
		{"GET", "http://h.example:8080/default/fhir/Patient/p1", 200, "application/fhir+json", "Chalmers"},
		{"GET", "http://h.example:8080/default/fhir/Patient?family=chalmers", 200, "application/fhir+json", "http://h.example:8080/default/fhir/Patient/p1"},
		{"GET", "http://h.example:8080/default/fhir/Nothing/p1", 404, "application/fhir+json", "OperationOutcome"},
		{"GET", "http://h.example:8080/default/other/Patient", 404, "application/fhir+json", "OperationOutcome"},
		{"GET", "http://h.example:8080/default", 404, "application/problem+json", "nothing at this path"},
		{"GET", "http://default-fhir.fhir.health.example:8080/Patient/p1", 200, "application/fhir+json", "Chalmers"},
		{"GET", "http://DEFAULT-fhir.fhir.health.example/Patient?family=chalmers", 200, "application/fhir+json", "http://DEFAULT-fhir.fhir.health.example/Patient/p1"},
		{"GET", "http://nobody.fhir.health.example/Patient/p1", 404, "application/fhir+json", "no service with this host name"},
	} {
		rec := p.do(tt.method, tt.url, "")
		if rec.Code != tt.status || !strings.Contains(rec.Body.String(), tt.contains) || !strings.HasPrefix(rec.Header().Get("Content-Type"), tt.media) {
			t.Errorf("%s %s: %d %s\n%.600s\nwant %d %s with %s", tt.method, tt.url, rec.Code, rec.Header().Get("Content-Type"), rec.Body, tt.status, tt.media, tt.contains)
		}
		if rec.Header().Get("X-Request-Id") == "" {
			t.Errorf("%s %s: no X-Request-Id", tt.method, tt.url)
		}
	}
	for _, secret := range []string{"chalmers", "Chalmers", "p1"} {
		if strings.Contains(p.log.String(), `"`+secret) || strings.Contains(p.log.String(), "/"+secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// TestServiceLifecycle creates a service, uses it, deletes it and creates it
// again: the data of the first must be gone.
func TestServiceLifecycle(t *testing.T) {
	dir := t.TempDir()
	p := open(t, dir, nil)
	const ws, svc = "/manage/v1/workspaces/clinic", "/manage/v1/workspaces/clinic/fhirservices/records"
	for _, step := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", ws, "", 201},
		{"GET", "/clinic/records/Patient/p1", "", 404},
		{"PUT", svc, "", 201},
		{"PUT", "/clinic/records/Patient/p1", patient, 201},
		{"PUT", svc, `{"compat":"ahds"}`, 200},
		{"GET", "/clinic/records/Patient/p1", "", 200},
		{"GET", "/default/fhir/Patient/p1", "", 404},
		{"DELETE", ws, "", 409},
		{"DELETE", svc, "", 204},
		{"GET", "/clinic/records/Patient/p1", "", 404},
		{"PUT", svc, "", 201},
		{"GET", "/clinic/records/Patient/p1", "", 404},
		{"DELETE", ws + "?force=true", "", 204},
	} {
		if rec := p.do(step.method, step.path, step.body); rec.Code != step.status {
			t.Fatalf("%s %s: %d %s", step.method, step.path, rec.Code, rec.Body)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "clinic")); !os.IsNotExist(err) {
		t.Errorf("files are left: %v", err)
	}
}

// TestDeleteUnderLoad deletes services while requests are in flight: each is
// answered by the service or by 404, and none panics.
func TestDeleteUnderLoad(t *testing.T) {
	p := open(t, t.TempDir(), nil)
	const svc = "/manage/v1/workspaces/default/fhirservices/busy"
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				rec := p.do("PUT", fmt.Sprintf("/default/busy/Patient/p%d", n), strings.Replace(patient, "p1", fmt.Sprintf("p%d", n), 1))
				if rec.Code != 201 && rec.Code != 200 && rec.Code != 404 {
					t.Errorf("%d %s", rec.Code, rec.Body)
				}
			}
		})
	}
	for range 5 {
		if rec := p.do("PUT", svc, ""); rec.Code != 201 {
			t.Errorf("create: %d %s", rec.Code, rec.Body)
		}
		time.Sleep(5 * time.Millisecond)
		if rec := p.do("DELETE", svc, ""); rec.Code != 204 {
			t.Errorf("delete: %d %s", rec.Code, rec.Body)
		}
	}
	close(stop)
	wg.Wait()
	if strings.Contains(p.log.String(), `"msg":"panic"`) {
		t.Error("a request panicked")
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	cfg := server.Defaults()
	cfg.Data, cfg.Insecure = dir, true
	for n := range 2 {
		s, err := server.New(context.Background(), cfg, server.Options{Log: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		p := platform{Handler: s.Handler()}
		want := 201
		if n == 1 {
			want = 200
			if rec := p.do("GET", "/default/fhir/Patient/p1", ""); rec.Code != 200 {
				t.Errorf("after the restart: %d", rec.Code)
			}
		}
		if rec := p.do("PUT", "/default/fhir/Patient/p1", patient); rec.Code != want {
			t.Errorf("start %d: %d %s", n, rec.Code, rec.Body)
		}
		if _, err := server.New(context.Background(), cfg, server.Options{Log: io.Discard}); err == nil || !strings.Contains(err.Error(), "another process uses it") {
			t.Errorf("the folder was opened twice: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConfiguredWorkspaces(t *testing.T) {
	dir := t.TempDir()
	p := open(t, dir, func(c *server.Config) {
		c.Workspaces = []server.WorkspaceConfig{{Name: "clinic", Services: []server.ServiceConfig{{Name: "records", Spec: manage.Spec{Kind: "fhir"}}}}}
	})
	var names []string
	var list struct {
		Value []struct {
			Name     string
			Services []struct{ Name string }
		}
	}
	if err := json.Unmarshal(p.do("GET", "/manage/v1/workspaces", "").Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	for _, w := range list.Value {
		for _, s := range w.Services {
			names = append(names, w.Name+"/"+s.Name)
		}
	}
	if diff := cmp.Diff([]string{"clinic/records"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestThrottled(t *testing.T) {
	p := open(t, t.TempDir(), func(c *server.Config) { c.Limits.RequestsPerSecond = 1 })
	p.do("GET", "/", "")
	for path, want := range map[string]string{"/default/fhir/Patient": "OperationOutcome", "/manage/v1/workspaces": "Too Many Requests"} {
		rec := p.do("GET", path, "")
		if rec.Code != 429 || rec.Header().Get("Retry-After") != "1" || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s: %d, Retry-After %q, %s", path, rec.Code, rec.Header().Get("Retry-After"), rec.Body)
		}
	}
	if rec := p.do("GET", "/healthz", ""); rec.Code != 200 {
		t.Errorf("health of a busy server: %d", rec.Code)
	}
}

func TestDamagedStore(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "default", "fhir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "default", "fhir", "fhir.db"), bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	p := open(t, dir, nil)
	rec := p.do("GET", "/default/fhir/Patient", "")
	if rec.Code != 503 || !strings.Contains(rec.Body.String(), "OperationOutcome") || strings.Contains(rec.Body.String(), dir) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// serve starts a server that listens and returns its address, how to stop it, and
// how that ended.
func serve(t *testing.T, cfg server.Config) (url string, cancel context.CancelFunc, served <-chan error) {
	t.Helper()
	out, in := io.Pipe()
	s, err := server.New(context.Background(), cfg, server.Options{Log: io.Discard, Ready: in})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line[strings.Index(line, "http"):]), cancel, ended
}

// TestServe starts with a listener, stops while a request is in flight, and
// finds that it was answered.
func TestServe(t *testing.T) {
	cfg := server.Defaults()
	cfg.Data, cfg.Listen, cfg.Insecure = t.TempDir(), "127.0.0.1:0", true
	url, cancel, served := serve(t, cfg)
	body, send := io.Pipe()
	answered, begun := make(chan int, 1), make(chan struct{})
	go func() {
		// The server says 100 when the handler asks for the body: then the request is in flight.
		trace := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got100Continue: func() { close(begun) }})
		req, err := http.NewRequestWithContext(trace, "PUT", url+"default/fhir/Patient/p1", body)
		if err != nil {
			t.Error(err)
		}
		req.Header.Set("Content-Type", "application/fhir+json")
		req.Header.Set("Expect", "100-continue")
		client := http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
		res, err := client.Do(req)
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		_ = res.Body.Close()
		answered <- res.StatusCode
	}()
	<-begun
	cancel()
	if _, err := io.WriteString(send, patient); err != nil {
		t.Fatal(err)
	}
	_ = send.Close()
	if code := <-answered; code != 201 {
		t.Errorf("the request in flight got %d", code)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestServeStreams: who reads events as they come does not hold up a stop.
func TestServeStreams(t *testing.T) {
	cfg := server.Defaults()
	cfg.Data, cfg.Listen, cfg.Insecure = t.TempDir(), "127.0.0.1:0", true
	cfg.Limits.ShutdownTime = time.Minute
	url, cancel, served := serve(t, cfg)
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"default/events?after=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	cancel()
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
