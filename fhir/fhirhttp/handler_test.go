package fhirhttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
	"github.com/hygeia-health/hygeia/spec/search"
)

// broken is a Service that fails as told.
type broken struct {
	err   error
	panic any
}

func (b broken) Do(context.Context, *fhir.Interaction) (*fhir.Response, error) {
	if b.panic != nil {
		panic(b.panic)
	}
	return nil, b.err
}

func (b broken) Transaction(ctx context.Context, ins []*fhir.Interaction) ([]*fhir.Response, error) {
	return nil, b.err
}

func (b broken) Batch(ctx context.Context, ins []*fhir.Interaction) []*fhir.Response {
	out := make([]*fhir.Response, len(ins))
	for i := range out {
		out[i] = &fhir.Response{Err: b.err}
	}
	return out
}

// TestKinds checks the table from a fault to a status.
func TestKinds(t *testing.T) {
	var log bytes.Buffer
	for kind, want := range map[fault.Kind]string{
		fault.Internal: "500 exception", fault.Invalid: "400 invalid", fault.Unprocessable: "422 processing",
		fault.NotFound: "404 not-found", fault.Gone: "410 deleted", fault.Conflict: "409 conflict",
		fault.Precondition: "412 conflict", fault.Unauthenticated: "401 login", fault.Forbidden: "403 forbidden",
		fault.NotAllowed: "405 not-supported", fault.NotAcceptable: "406 not-supported", fault.Unsupported: "415 not-supported",
		fault.TooLarge: "413 too-long", fault.TooCostly: "400 too-costly", fault.Throttled: "429 throttled",
		fault.Timeout: "408 timeout", fault.Transient: "503 transient", fault.NotImplemented: "501 not-supported",
		fault.Kind(200): "500 exception",
	} {
		svc := broken{err: &fault.Error{Kind: kind, Msg: "safe", Err: errors.New("secret cause"), RetryAfter: 1500 * time.Millisecond}}
		h := fhirhttp.New(svc, fhirhttp.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/Patient/1", nil))
		got := lookup(t, w.Body.String(), "issue.0.code")
		if code, issue, _ := strings.Cut(want, " "); code != strconv.Itoa(w.Code) || issue != got {
			t.Errorf("kind %d: %d %s, want %s", kind, w.Code, got, want)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("kind %d shows the cause", kind)
		}
		if w.Header().Get("Retry-After") != "2" || w.Header().Get("X-Ms-Retry-After-Ms") != "1500" {
			t.Errorf("kind %d: Retry-After %q", kind, w.Header())
		}
		rec := httptest.NewRecorder()
		fhirhttp.Render(rec, httptest.NewRequest("GET", "/Patient/1", nil), svc.err)
		if rec.Code != w.Code || rec.Body.String() != w.Body.String() {
			t.Errorf("kind %d: Render says %d %s", kind, rec.Code, rec.Body)
		}
	}
	if !strings.Contains(log.String(), "secret cause") {
		t.Error("an internal error must be logged with its cause")
	}
}

// TestPanic turns a defect into a 500 without a stack.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	s := &server{t: t, h: fhirhttp.New(broken{panic: "boom"}, fhirhttp.Options{BasePath: "/default/fhir", Log: slog.New(slog.NewTextHandler(&log, nil))})}
	s.play([]step{{do: "GET /Patient/1", status: 500, not: []string{"boom", "goroutine"}}})
	if !strings.Contains(log.String(), "boom") {
		t.Error("the panic was not logged")
	}
	s.h = fhirhttp.New(broken{err: errors.New("plain")}, fhirhttp.Options{BasePath: "/default/fhir", Log: slog.New(slog.NewTextHandler(&log, nil))})
	s.play([]step{
		{do: "GET /Patient/1", status: 500, not: []string{"plain"}},
		{do: "POST /", status: 200, body: bundleOf("batch", entryOf("", "GET", "Patient/1", "", "")), want: map[string]string{"entry.0.response.status": "500"}, not: []string{"plain"}},
	})
}

// TestBase covers the base path, foreign handlers and links behind a proxy.
func TestBase(t *testing.T) {
	type seen struct {
		verb, typ string
		status    int
		in, out   int
	}
	var got []seen
	s := newServer(t, cfg(), fhirhttp.Options{
		BaseURL: func(*http.Request) string { return `https://proxy.example:8443/x"y` },
		Handlers: map[string]http.Handler{".well-known/smart-configuration": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusTeapot)
		})},
		Observe: func(verb, typ string, status int, d time.Duration, in, out int) {
			got = append(got, seen{verb, typ, status, in, out})
		},
	})
	s.play([]step{
		{do: "POST /Patient", body: pat, status: 201, header: map[string]string{"Location": `https://proxy.example:8443/x"y/default/fhir/Patient/n1/_history/1`}},
		{do: "GET /Patient", status: 200, want: map[string]string{"entry.0.fullUrl": `https://proxy.example:8443/x"y/default/fhir/Patient/n1`}},
		{do: "GET /metadata?_elements=implementation", status: 200, want: map[string]string{"implementation.url": `https://proxy.example:8443/x"y/default/fhir`}},
		{do: "GET /nothing", status: 404},
	})
	if w := s.call("GET", "/.well-known/smart-configuration", ""); w.Code != http.StatusTeapot {
		t.Errorf("the handler of others: %d", w.Code)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, httptest.NewRequest("GET", "/default/fhirother/Patient/1", nil))
	if w.Code != 404 {
		t.Errorf("another base: %d", w.Code)
	}
	if len(got) != 5 || got[0].verb != "create" || got[0].typ != "Patient" || got[0].status != 201 || got[0].in != len(pat) || got[0].out == 0 || got[3].status != 404 {
		t.Errorf("observed %+v", got)
	}
}

// TestGoneClient keeps the buffers of a request whose client went away.
func TestGoneClient(t *testing.T) {
	s := newServer(t, cfg(), fhirhttp.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", base+"/Patient", strings.NewReader(pat))
	r.Header.Set("Content-Type", "application/fhir+json")
	s.h.ServeHTTP(httptest.NewRecorder(), r)
	s.play([]step{{do: "GET /metadata", status: 200}})
}

// TestConcurrent checks that no answer shows bytes of another request: all
// buffers are pooled.
func TestConcurrent(t *testing.T) {
	n := atomic.Int64{}
	svc, err := fhir.New(fhir.Deps{Store: fhirtest.NewMemory(search.Default()), NewID: func() string { return "n" + strconv.FormatInt(n.Add(1), 10) }})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, h: fhirhttp.New(svc, fhirhttp.Options{BasePath: "/default/fhir"})}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 40 {
				family := fmt.Sprintf("family-%d-%d-%s", g, i, strings.Repeat("x", i*20))
				body := `{"resourceType":"Patient","name":[{"family":"` + family + `"}]}`
				w := s.call("POST", "/Patient", body)
				id := lookup(t, w.Body.String(), "id")
				b := s.call("POST", "/", bundleOf("transaction", entryOf("", "PUT", "Observation/"+id, `{"resourceType":"Observation","id":"`+id+`","status":"final","code":{"text":"`+family+`"}}`, "")))
				if b.Code != 200 {
					t.Errorf("bundle: %d %s", b.Code, b.Body)
				}
				for url, path := range map[string]string{"/Patient/" + id: "name.0.family", "/Patient/" + id + "?_summary=true": "name.0.family", "/Patient?_id=" + id + "&_pretty=true": "entry.0.resource.name.0.family", "/Observation/" + id: "code.text"} {
					w := s.call("GET", url, "")
					if got := lookup(t, w.Body.String(), path); got != family {
						t.Errorf("%s: %q, want %q", url, got, family)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestPagesNobodyReads lets a large page wait while others take all the memory
// that pages have; a small one does not wait.
func TestPagesNobodyReads(t *testing.T) { synctest.Test(t, pagesNobodyReads) }

func pagesNobodyReads(t *testing.T) {
	pages := web.NewBudget(1 << 20)
	s := newServer(t, cfg(), fhirhttp.Options{Pages: pages})
	held, err := pages.Enter(t.Context(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(count string) int {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		w := httptest.NewRecorder()
		s.h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", base+"/Patient?_count="+count, nil))
		return w.Code
	}
	if got := ask("1000"); got != http.StatusTooManyRequests {
		t.Errorf("a large page: %d", got)
	}
	if got := ask("10"); got != http.StatusOK {
		t.Errorf("a small page: %d", got)
	}
	pages.Leave(held)
	if got := ask("1000"); got != http.StatusOK {
		t.Errorf("a large page afterwards: %d", got)
	}
}
