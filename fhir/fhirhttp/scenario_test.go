package fhirhttp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/spec/profile"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// start is the time of the first version in every scenario.
var start = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// server is a service under test. Ids are n1, n2, ... in the order of creation.
type server struct {
	t    testing.TB
	h    http.Handler
	vars map[string]string
}

func newServer(t testing.TB, cfg fhir.Config, opt fhirhttp.Options) *server {
	t.Helper()
	n := 0
	svc, err := fhir.New(fhir.Deps{
		Store: fhirtest.NewMemory(search.Default()), Config: cfg,
		NewID: func() string { n++; return "n" + strconv.Itoa(n) },
	})
	if err != nil {
		t.Fatal(err)
	}
	opt.BasePath = "/default/fhir"
	if opt.Log == nil {
		opt.Log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	return &server{t: t, h: fhirhttp.New(svc, opt), vars: map[string]string{}}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) { w.t.Log(string(p)); return len(p), nil }

const base = "http://example.org/default/fhir"

// call does one request. The body of a POST or PUT is FHIR JSON unless headers say otherwise.
func (s *server) call(method, url, body string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, "http://example.org/", strings.NewReader(body))
	u, err := r.URL.Parse("http://example.org/default/fhir" + url)
	if err != nil {
		s.t.Fatalf("url %q: %v", url, err)
	}
	r.URL, r.RequestURI = u, u.RequestURI()
	if body != "" {
		r.Header.Set("Content-Type", "application/fhir+json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "(none)" {
			r.Header.Del(headers[i])
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
		if headers[i] == "Content-Type" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w
}

// step is one request of a scenario and what must come back.
type step struct {
	do      string   // "GET /Patient/1"
	headers []string // pairs
	body    string
	status  int
	want    map[string]string // JSON path -> text; "" means absent
	header  map[string]string // header -> value; "" means absent
	has     []string          // fragments of the body
	not     []string          // fragments that must not be there
}

// play runs steps one after the other against one server.
func (s *server) play(steps []step) {
	s.t.Helper()
	for i, st := range steps {
		method, url, _ := strings.Cut(st.do, " ")
		w := s.call(method, url, st.body, st.headers...)
		s.check(fmt.Sprintf("step %d %s", i+1, st.do), &st, w)
	}
}

func (s *server) check(name string, st *step, w *httptest.ResponseRecorder) {
	s.t.Helper()
	body := w.Body.String()
	if w.Code != st.status {
		s.t.Fatalf("%s: status %d, want %d\n%s", name, w.Code, st.status, body)
	}
	for k, v := range st.header {
		if got := w.Header().Get(k); got != v {
			s.t.Errorf("%s: header %s = %q, want %q", name, k, got, v)
		}
	}
	if cl := w.Header().Get("Content-Length"); cl != "" && cl != strconv.Itoa(len(body)) && !strings.Contains(name, "HEAD") {
		s.t.Errorf("%s: Content-Length %s for %d bytes", name, cl, len(body))
	}
	if w.Code >= 400 && !strings.Contains(name, "HEAD") {
		if got := lookup(s.t, body, "resourceType"); got != "OperationOutcome" {
			s.t.Errorf("%s: an error without an OperationOutcome:\n%s", name, body)
		}
		if ct := w.Header().Get("Content-Type"); !strings.HasPrefix(ct, "application/fhir+json") && !strings.HasPrefix(ct, "application/json") {
			s.t.Errorf("%s: Content-Type of an error %q", name, ct)
		}
	}
	s.valid(name, w)
	for path, v := range st.want {
		if got := lookup(s.t, body, path); got != v {
			s.t.Errorf("%s: %s = %q, want %q\n%s", name, path, got, v, body)
		}
	}
	for _, f := range st.has {
		if !strings.Contains(body, f) {
			s.t.Errorf("%s: body lacks %s\n%s", name, f, body)
		}
	}
	for _, f := range st.not {
		if strings.Contains(body, f) {
			s.t.Errorf("%s: body must not contain %s\n%s", name, f, body)
		}
	}
}

// valid checks that what the edge says is itself a valid resource.
func (s *server) valid(name string, w *httptest.ResponseRecorder) {
	s.t.Helper()
	var d resource.Doc
	if d.Parse(w.Body.Bytes(), resource.Options{}) != nil || !d.Root().Get("resourceType").Valid() {
		return // raw data, $versions, HEAD
	}
	for _, is := range profile.Check(d.Root(), "") {
		s.t.Errorf("%s: the answer is not valid: %s: %s\n%.2000s", name, is.Expression, is.Diagnostics, w.Body)
	}
}

// lookup finds a value by a path such as "entry.0.response.status"; "#" is the
// length of an array.
func lookup(t testing.TB, body, path string) string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("the body is no JSON: %v\n%s", err, body)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Fatalf("more behind the body:\n%s", body)
	}
	for p := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			if p == "#" {
				return strconv.Itoa(len(x))
			}
			i, err := strconv.Atoi(p)
			if err != nil || i >= len(x) {
				return ""
			}
			v = x[i]
		default:
			return ""
		}
	}
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case map[string]any, []any:
		b, _ := json.Marshal(x)
		return string(b)
	}
	return fmt.Sprint(v)
}

// scenario is a named list of steps on a fresh service.
type scenario struct {
	name  string
	cfg   fhir.Config
	opt   fhirhttp.Options
	steps []step
}

func play(t *testing.T, list []scenario) {
	t.Helper()
	for _, sc := range list {
		t.Run(sc.name, func(t *testing.T) {
			newServer(t, sc.cfg, sc.opt).play(sc.steps)
		})
	}
}

const pat = `{"resourceType":"Patient","id":"p1","active":true,"name":[{"family":"Meyer","given":["Ann"]}],"gender":"female","birthDate":"1980-02-03"}`

// gzipped returns s compressed.
func gzipped(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := newGzip(&b)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func cfg() fhir.Config { return fhir.Config{} }
