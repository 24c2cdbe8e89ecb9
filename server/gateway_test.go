package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/server"
)

// TestGateway limits a service and its clients.
func TestGateway(t *testing.T) {
	x := openSecured(t, nil)
	greedy, _ := x.client("greedy", "FHIR Data Reader", "/default/fhir")
	modest, _ := x.client("modest", "FHIR Data Reader", "/default/fhir")
	set := func(gateway string) {
		t.Helper()
		x.json(200, "PUT", "/manage/v1/workspaces/default/fhirservices/fhir", x.owner, `{"gateway":`+gateway+`}`)
	}
	set(`{"clientRequestsPerSecond":0.5}`)
	x.json(200, "GET", "/default/fhir/Patient", greedy, "")
	res := x.do("GET", "/default/fhir/Patient", greedy, "")
	after, err := strconv.Atoi(res.Header.Get("Retry-After"))
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != 429 || err != nil || after < 1 || after > 2 || !strings.Contains(string(body), `"throttled"`) {
		t.Errorf("got %s, Retry-After %d, %s", res.Status, after, body)
	}
	x.json(200, "GET", "/default/fhir/Patient", modest, "")
	x.json(429, "GET", "/default/fhir/Patient", modest, "")
	set(`{"allowFrom":["10.0.0.0/8"]}`)
	x.json(403, "GET", "/default/fhir/Patient", modest, "")
	x.json(403, "GET", "/default/fhir/metadata", "", "")
	set(`{"allowFrom":["127.0.0.0/8","::1"]}`)
	x.json(200, "GET", "/default/fhir/Patient", modest, "")
	for _, bad := range []string{
		`{"allowFrom":["nonsense"]}`, `{"concurrent":-1}`, `{"requestsPerSecond":1e99}`, `{"corsConfiguration":{"origins":["*"],"allowCredentials":true}}`,
		`{"corsConfiguration":{"origins":["https://x.org/path"]}}`, `{"corsConfiguration":{"origins":["*"],"methods":["get"]}}`, `{"nonsense":1}`,
	} {
		x.json(400, "PUT", "/manage/v1/workspaces/default/fhirservices/fhir", x.owner, `{"gateway":`+bad+`}`)
	}
}

// TestServiceCORS lets the pages of one origin call one service.
func TestServiceCORS(t *testing.T) {
	x := openSecured(t, func(c *server.Config) { c.CORS.Origins = []string{"https://everywhere.example.org"} })
	x.json(201, "PUT", "/manage/v1/workspaces/default/fhirservices/open", x.owner, `{"gateway":{"corsConfiguration":{"origins":["https://app.example.org"],"methods":["GET"],"headers":["authorization"],"maxAge":600}}}`)
	for _, c := range []struct{ path, origin, want string }{
		{"/default/open/Patient", "https://app.example.org", "https://app.example.org"},
		{"/default/open/Patient", "https://everywhere.example.org", ""},
		{"/default/fhir/Patient", "https://app.example.org", ""},
		{"/default/fhir/Patient", "https://everywhere.example.org", "https://everywhere.example.org"},
	} {
		res := x.do("OPTIONS", c.path, "", "", "Origin", c.origin, "Access-Control-Request-Method", "GET")
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != c.want {
			t.Errorf("%s from %s: got %q", c.path, c.origin, got)
		}
		if strings.Contains(c.path, "open") && c.want != "" && (res.Header.Get("Access-Control-Allow-Methods") != "GET" || res.Header.Get("Access-Control-Max-Age") != "600") {
			t.Errorf("got %v", res.Header)
		}
	}
}

// TestCertificateReload replaces the certificate of a running server.
func TestCertificateReload(t *testing.T) {
	cert, key := certificate(t)
	cfg := server.Defaults()
	cfg.Data, cfg.Listen, cfg.Insecure = t.TempDir(), "127.0.0.1:0", true
	cfg.TLS = server.TLSConfig{Cert: cert, Key: key}
	out, in := io.Pipe()
	s, err := server.New(context.Background(), cfg, server.Options{Log: io.Discard, Ready: in})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	line := make([]byte, 256)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	_, url, _ := strings.Cut(strings.TrimSpace(string(line[:n])), "https://")
	serial := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", strings.TrimRight(url, "/"), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test looks at the certificate itself
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	first := serial()
	newCert, newKey := certificate(t)
	for from, to := range map[string]string{newCert: cert, newKey: key} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(time.Minute)
	for serial() == first {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not used")
		}
		time.Sleep(200 * time.Millisecond)
	}
	if c, err := x509.ParseCertificate([]byte(serial())); err != nil || c == nil {
		t.Error(err)
	}
	if _, err := tls.Dial("tcp", strings.TrimRight(url, "/"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil { //nolint:gosec // an old client
		t.Error("TLS 1.1 is accepted")
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
