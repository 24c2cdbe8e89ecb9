package web_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

// big is a body that is worth compressing.
var big = `{"text":"` + strings.Repeat("abc ", 1000) + `"}`

func jsonHandler(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = io.WriteString(w, body)
	}
}

func serve(h http.Handler, r *http.Request) *http.Response {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Result()
}

func request(method, target string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func TestRequestID(t *testing.T) {
	h := web.Chain(jsonHandler("{}"), web.Options{})
	seen := map[string]bool{}
	for _, tt := range []struct{ name, client, want string }{
		{"none", "", ""},
		{"own", "abc-123", "abc-123"},
		{"blank", "a b", ""},
		{"not ASCII", "é", ""},
		{"long", strings.Repeat("x", 129), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request("GET", "/")
			if tt.client != "" {
				r.Header.Set("X-Request-Id", tt.client)
			}
			res := serve(h, r)
			id := res.Header.Get("X-Request-Id")
			if len(id) != 32 || seen[id] {
				t.Errorf("X-Request-Id %q is not new", id)
			}
			seen[id] = true
			if got := res.Header.Get("X-Correlation-Id"); got != tt.want {
				t.Errorf("X-Correlation-Id %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGzip(t *testing.T) {
	small := strings.Repeat("x", 1023)
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		method  string
		accept  string
		zipped  bool
		body    string
	}{
		{"accepted", jsonHandler(big), "GET", "gzip, deflate", true, big},
		{"star", jsonHandler(big), "GET", "*", true, big},
		{"weight zero", jsonHandler(big), "GET", "gzip;q=0, *", false, big},
		{"not asked", jsonHandler(big), "GET", "", false, big},
		{"other coding", jsonHandler(big), "GET", "br", false, big},
		{"small", jsonHandler(small), "GET", "gzip", false, small},
		{"empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, "GET", "gzip", false, ""},
		{"head", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "5000")
		}, "HEAD", "gzip", false, ""},
		{"image", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, big)
		}, "GET", "gzip", false, big},
		{"with length", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Length", "4011")
			_, _ = io.WriteString(w, big)
		}, "GET", "gzip", true, big},
		{"in pieces", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i := 0; i < len(big); i += 100 {
				_, _ = io.WriteString(w, big[i:min(i+100, len(big))])
			}
		}, "GET", "gzip", true, big},
		{"flushed early", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "{")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "}")
		}, "GET", "gzip", true, "{}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := serve(web.Chain(tt.handler, web.Options{}), request(tt.method, "/", "Accept-Encoding", tt.accept))
			if got := res.Header.Get("Content-Encoding") == "gzip"; got != tt.zipped {
				t.Fatalf("compressed: %v, want %v", got, tt.zipped)
			}
			var body io.Reader = res.Body
			if tt.zipped {
				if res.Header.Get("Content-Length") != "" {
					t.Error("Content-Length of the plain body is still there")
				}
				zr, err := gzip.NewReader(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				body = zr
			}
			got, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.body, string(got)); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(res.Header.Get("Vary"), "Accept-Encoding") {
				t.Error("Vary does not name Accept-Encoding")
			}
		})
	}
}

func TestForwarded(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}
	for _, tt := range []struct {
		name, remote string
		header       []string
		base, client string
	}{
		{"direct", "203.0.113.9:4000", nil, "http://example.com:8080", "203.0.113.9"},
		{"not trusted", "203.0.113.9:4000", []string{"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "X-Forwarded-For", "1.2.3.4"}, "http://example.com:8080", "203.0.113.9"},
		{"trusted", "10.1.2.3:4000", []string{"X-Forwarded-Host", "fhir.example.org:8443", "X-Forwarded-Proto", "https", "X-Forwarded-Prefix", "/health/", "X-Forwarded-For", "198.51.100.7"}, "https://fhir.example.org:8443/health", "198.51.100.7"},
		{"two proxies", "10.1.2.3:4000", []string{"X-Forwarded-For", "6.6.6.6, 198.51.100.7, 192.0.2.1", "X-Forwarded-Host", "a.example, b.example"}, "http://a.example", "198.51.100.7"},
		{"bad values", "10.1.2.3:4000", []string{"X-Forwarded-Host", "a/b", "X-Forwarded-Proto", "ftp", "X-Forwarded-Prefix", "//evil", "X-Forwarded-For", "nobody"}, "http://example.com:8080", "10.1.2.3"},
		{"IPv6", "[2001:db8::1]:4000", nil, "http://example.com:8080", "2001:db8::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var base, client string
			h := web.Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				base, client = web.BaseURL(r), web.From(r.Context()).ClientIP
			}), web.Options{Proxies: proxies})
			r := request("GET", "http://example.com:8080/x", tt.header...)
			r.RemoteAddr = tt.remote
			serve(h, r)
			if base != tt.base || client != tt.client {
				t.Errorf("got %s from %s, want %s from %s", base, client, tt.base, tt.client)
			}
		})
	}
}

func TestCORS(t *testing.T) {
	some := web.CORS{Origins: []string{"https://app.example"}, Methods: []string{"GET", "PUT"}, Headers: []string{"*"}, MaxAge: time.Minute, Credentials: true}
	all := web.CORS{Origins: []string{"*"}, Methods: []string{"GET"}, Headers: []string{"If-Match"}}
	for _, tt := range []struct {
		name   string
		cors   web.CORS
		method string
		header []string
		status int
		want   map[string]string
	}{
		{"off", web.CORS{}, "GET", []string{"Origin", "https://app.example"}, 200, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"simple", some, "GET", []string{"Origin", "https://app.example"}, 200, map[string]string{"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Allow-Credentials": "true"}},
		{"stranger", some, "GET", []string{"Origin", "https://evil.example"}, 200, map[string]string{"Access-Control-Allow-Origin": "", "Vary": "Accept, Accept-Encoding"}},
		{"preflight", some, "OPTIONS", []string{"Origin", "https://app.example", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "authorization"}, 204,
			map[string]string{"Access-Control-Allow-Methods": "GET, PUT", "Access-Control-Allow-Headers": "authorization", "Access-Control-Max-Age": "60"}},
		{"preflight to all", all, "OPTIONS", []string{"Origin", "https://x.example", "Access-Control-Request-Method", "GET"}, 204,
			map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "If-Match"}},
		{"plain options", all, "OPTIONS", []string{"Origin", "https://x.example"}, 200, map[string]string{"Access-Control-Allow-Origin": "*"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := serve(web.Chain(jsonHandler("{}"), web.Options{CORS: tt.cors}), request(tt.method, "/", tt.header...))
			if res.StatusCode != tt.status {
				t.Errorf("status %d, want %d", res.StatusCode, tt.status)
			}
			for k, want := range tt.want {
				if got := res.Header.Get(k); got != want {
					t.Errorf("%s: %q, want %q", k, got, want)
				}
			}
		})
	}
}

func TestPanic(t *testing.T) {
	var log bytes.Buffer
	opt := web.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))}
	t.Run("before the answer", func(t *testing.T) {
		res := serve(web.Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "7")
			panic("secret of a patient")
		}), opt), request("GET", "/"))
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != 500 || !json.Valid(body) || bytes.Contains(body, []byte("secret")) {
			t.Errorf("status %d, body %s", res.StatusCode, body)
		}
		if !strings.Contains(log.String(), `"msg":"panic"`) {
			t.Error("the panic is not in the log")
		}
	})
	t.Run("in the middle", func(t *testing.T) {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler {
				t.Errorf("recovered %v, want http.ErrAbortHandler", v)
			}
		}()
		serve(web.Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic("x")
		}), opt), request("GET", "/"))
	})
}

func TestLimits(t *testing.T) {
	t.Run("rate", func(t *testing.T) {
		h := web.Chain(jsonHandler("{}"), web.Options{RequestsPerSecond: 2, Exempt: func(r *http.Request) bool { return r.URL.Path == "/healthz" }})
		var got []int
		for range 3 {
			res := serve(h, request("GET", "/"))
			got = append(got, res.StatusCode)
			if res.StatusCode == 429 && res.Header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q, want 1", res.Header.Get("Retry-After"))
			}
		}
		got = append(got, serve(h, request("GET", "/healthz")).StatusCode)
		if diff := cmp.Diff([]int{200, 200, 429, 200}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("concurrent", func(t *testing.T) {
		enter, leave, done := make(chan int), make(chan int), make(chan int)
		h := web.Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { enter <- 1; <-leave }), web.Options{Concurrent: 1})
		go func() { done <- serve(h, request("GET", "/")).StatusCode }()
		<-enter
		if got := serve(h, request("GET", "/")).StatusCode; got != 429 {
			t.Errorf("second request: status %d, want 429", got)
		}
		close(leave)
		if got := <-done; got != 200 {
			t.Errorf("first request: status %d", got)
		}
	})
	t.Run("body", func(t *testing.T) {
		var err error
		h := web.Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, err = io.ReadAll(r.Body) }), web.Options{MaxBody: 10})
		serve(h, httptest.NewRequest("POST", "/", strings.NewReader("12345678901")))
		if _, ok := errors.AsType[*http.MaxBytesError](err); !ok {
			t.Errorf("got %v, want a MaxBytesError", err)
		}
	})
	t.Run("time", func(t *testing.T) {
		h := web.Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			w.WriteHeader(503)
		}), web.Options{HandleTime: time.Millisecond})
		if got := serve(h, request("GET", "/")).StatusCode; got != 503 {
			t.Errorf("status %d", got)
		}
	})
}

// TestRefusedBody: a request that is refused unread on a connection that its client closes is
// answered, not reset.
func TestRefusedBody(t *testing.T) {
	srv := httptest.NewServer(web.Chain(http.NotFoundHandler(), web.Options{MaxBody: 1 << 20}))
	defer srv.Close()
	for i := range 20 { // a reset may come late
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		body := strings.Repeat("x", 200<<10)
		if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			t.Fatalf("%d: sending: %v", i, err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 404 ") {
			t.Fatalf("%d: %q, %v", i, answer, err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStall lets a client ask for a large answer and not read it, then one that
// reads slowly: each piece in time, the whole long after.
func TestStall(t *testing.T) { synctest.Test(t, stall) }

func stall(t *testing.T) {
	const size = 8 << 20
	failed := make(chan error, 2)
	srv := &http.Server{Handler: web.Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		random := mathrand.New(mathrand.NewPCG(1, 2)) // does not compress
		part := make([]byte, 1<<20)
		for i := range part {
			part[i] = byte(random.Uint32())
		}
		var err error
		for n := 0; n < size && err == nil; n += len(part) {
			_, err = w.Write(part)
		}
		failed <- err
	}), web.Options{Stall: 100 * time.Millisecond})}
	pipes := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	go func() { _ = srv.Serve(pipes) }()
	defer srv.Close()
	for _, kind := range []string{"application/octet-stream", "application/json"} { // plain, compressed
		c, _ := pipes.dial(t.Context(), "", "")
		defer c.Close()
		if _, err := io.WriteString(c, "GET /?type="+kind+" HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: a client that does not read: %v", kind, err)
		}
	}
	client := &http.Client{Transport: &http.Transport{DialContext: pipes.dial}}
	defer client.CloseIdleConnections()
	for range 2 { // the second time on the same connection
		begin := time.Now()
		res, err := client.Get("http://pipe/?type=application/octet-stream")
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, &slowly{res.Body}, make([]byte, 128<<10))
		res.Body.Close()
		if n != size || err != nil || <-failed != nil {
			t.Errorf("a client that reads: %d bytes, %v", n, err)
		}
		if took := time.Since(begin); took < time.Second {
			t.Errorf("the client took %v only: no test of one that is slow", took)
		}
	}
	if pipes.dialled != 3 {
		t.Errorf("%d connections, want 3", pipes.dialled)
	}
}

// slowly reads a piece now and then.
type slowly struct{ from io.Reader }

func (s *slowly) Read(p []byte) (int, error) {
	time.Sleep(30 * time.Millisecond)
	return io.ReadFull(s.from, p)
}

// pipes is a listener for connections in memory, whose deadlines follow the clock of the test.
type pipes struct {
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
	dialled int
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.conns <- far
	p.dialled++
	return near, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func TestAccessLog(t *testing.T) {
	var json1, json2, text bytes.Buffer
	var seen web.Observation
	h := web.Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := web.From(r.Context())
		q.Route, q.Service, q.Type, q.Operation = "/{workspace}/{service}/{type}", "default/fhir", "Patient", "search"
		w.WriteHeader(400)
		_, _ = io.WriteString(w, "four")
	}), web.Options{Observe: []func(web.Observation){
		func(o web.Observation) { seen = o },
		web.AccessJSON(&json1), web.AccessLog(slog.New(slog.NewJSONHandler(&json2, nil))), web.AccessLog(slog.New(slog.NewTextHandler(&text, nil))),
	}})
	serve(h, request("GET", "/default/fhir/Patient?name=Mustermann", "X-Request-Id", `mine"\`))
	want := map[string]any{
		"level": "INFO", "msg": "request", "method": "GET", "route": "/{workspace}/{service}/{type}", "status": 400.0, "bytes": 4.0,
		"service": "default/fhir", "type": "Patient", "operation": "search", "client": "192.0.2.1", "correlation_id": `mine"\`,
	}
	for _, log := range []string{json1.String(), json2.String()} {
		var line map[string]any
		if err := json.Unmarshal([]byte(log), &line); err != nil {
			t.Fatal(err)
		}
		if at, err := time.Parse(time.RFC3339Nano, line["time"].(string)); err != nil || time.Since(at) > time.Minute {
			t.Errorf("time %v, %v", line["time"], err)
		}
		if ms, ok := line["ms"].(float64); !ok || ms < 0 || ms > 60_000 {
			t.Errorf("ms %v", line["ms"])
		}
		if id, ok := line["request_id"].(string); !ok || len(id) != 32 {
			t.Errorf("request_id %v", line["request_id"])
		}
		delete(line, "time")
		delete(line, "ms")
		delete(line, "request_id")
		if diff := cmp.Diff(want, line); diff != "" {
			t.Error(diff)
		}
	}
	for _, log := range []string{json1.String(), json2.String(), text.String()} {
		if strings.Contains(log, "Mustermann") || !strings.Contains(log, "search") {
			t.Error(log)
		}
	}
	if seen.Status != 400 || seen.BytesOut != 4 || seen.Method != "GET" {
		t.Errorf("observed %+v", seen)
	}
}

func TestProblem(t *testing.T) {
	for _, tt := range []struct {
		kind   fault.Kind
		status int
	}{
		{fault.Internal, 500}, {fault.Invalid, 400}, {fault.Unprocessable, 422}, {fault.NotFound, 404}, {fault.Gone, 410},
		{fault.Conflict, 409}, {fault.Precondition, 412}, {fault.Unauthenticated, 401}, {fault.Forbidden, 403}, {fault.NotAllowed, 405},
		{fault.NotAcceptable, 406}, {fault.Unsupported, 415}, {fault.TooLarge, 413}, {fault.TooCostly, 400}, {fault.Throttled, 429},
		{fault.Timeout, 408}, {fault.Transient, 503}, {fault.NotImplemented, 501}, {fault.NotModified, 304},
		{fault.HeadersTooLarge, 431},
	} {
		if got := web.Status(tt.kind); got != tt.status {
			t.Errorf("kind %d: status %d, want %d", tt.kind, got, tt.status)
		}
	}
	rec := httptest.NewRecorder()
	web.Problem(rec, request("GET", "/"), &fault.Error{Kind: fault.Internal, Msg: "internal error", Err: context.Canceled})
	if diff := cmp.Diff(`{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"internal error"}`, rec.Body.String()); diff != "" {
		t.Error(diff)
	}
}

// nullWriter is the cheapest http.ResponseWriter, so that a benchmark shows the chain.
type nullWriter struct{ h http.Header }

func (w *nullWriter) Header() http.Header         { return w.h }
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *nullWriter) WriteHeader(int)             {}

func BenchmarkChain(b *testing.B) {
	body := []byte(`{"resourceType":"Patient"}`)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(body) })
	for _, tt := range []struct {
		name string
		opt  web.Options
	}{
		{"plain", web.Options{}},
		{"limits", web.Options{RequestsPerSecond: 1e9, Concurrent: 100, HandleTime: time.Minute, MaxBody: 1 << 20}},
		{"log", web.Options{HandleTime: time.Minute, MaxBody: 1 << 20, Observe: []func(web.Observation){web.AccessJSON(io.Discard)}}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			c := web.Chain(h, tt.opt)
			r := request("GET", "/default/fhir/Patient/1")
			w := &nullWriter{h: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				c.ServeHTTP(w, r)
			}
		})
	}
}
