package acme_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/web/acme"
)

// authority is an ACME server (RFC 8555) for one account and one order at a
// time. It checks signatures and nonces, and asks target for the proof.
type authority struct {
	*httptest.Server
	t      *testing.T
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	target string

	mu      sync.Mutex
	nonces  map[string]bool
	account *ecdsa.PublicKey
	thumb   string
	host    string
	status  string // of the authorization
	issued  []byte // the chain, PEM
	orders  int
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "House"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, cert: cert, nonces: map[string]bool{}}
	a.Server = httptest.NewTLSServer(a)
	t.Cleanup(a.Close)
	return a
}

// roots writes what the certificate of the authority itself is checked by.
func (a *authority) roots() string {
	path := filepath.Join(a.t.TempDir(), "roots.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// ServeHTTP implements http.Handler.
func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	nonce := rand.Text()
	a.nonces[nonce] = true
	w.Header().Set("Replay-Nonce", nonce)
	w.Header().Set("Cache-Control", "no-store")
	answer := func(status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	if r.URL.Path == "/directory" {
		answer(200, map[string]any{"newNonce": a.URL + "/nonce", "newAccount": a.URL + "/account", "newOrder": a.URL + "/order", "revokeCert": a.URL + "/revoke", "keyChange": a.URL + "/key"})
		return
	}
	if r.URL.Path == "/nonce" {
		return
	}
	payload, err := a.open(r)
	if err != nil {
		answer(400, map[string]string{"type": "urn:ietf:params:acme:error:malformed", "detail": err.Error()})
		return
	}
	order := map[string]any{
		"status": map[string]string{"": "pending", "pending": "pending", "valid": "ready"}[a.status], "identifiers": []map[string]string{{"type": "dns", "value": a.host}},
		"authorizations": []string{a.URL + "/authz"}, "finalize": a.URL + "/finalize",
	}
	if a.issued != nil {
		order["status"], order["certificate"] = "valid", a.URL+"/cert"
	}
	switch r.URL.Path {
	case "/account":
		w.Header().Set("Location", a.URL+"/account/1")
		answer(201, map[string]string{"status": "valid"})
	case "/order":
		var asked struct{ Identifiers []struct{ Value string } }
		if err := json.Unmarshal(payload, &asked); err != nil || len(asked.Identifiers) != 1 {
			answer(400, nil)
			return
		}
		a.orders++
		a.host, a.status, a.issued = asked.Identifiers[0].Value, "pending", nil
		order["identifiers"], order["status"] = []map[string]string{{"type": "dns", "value": a.host}}, "pending"
		delete(order, "certificate")
		w.Header().Set("Location", a.URL+"/order/1")
		answer(201, order)
	case "/authz":
		answer(200, map[string]any{"status": a.status, "identifier": map[string]string{"type": "dns", "value": a.host}, "challenges": []any{a.challenge()}})
	case "/challenge":
		if err := a.prove(); err != nil {
			a.t.Errorf("the proof: %v", err)
			a.status = "invalid"
		} else {
			a.status = "valid"
		}
		answer(200, a.challenge())
	case "/finalize":
		if err := a.issue(payload); err != nil {
			a.t.Errorf("finalize: %v", err)
		}
		order["status"], order["certificate"] = "valid", a.URL+"/cert"
		w.Header().Set("Location", a.URL+"/order/1")
		answer(200, order)
	case "/order/1":
		answer(200, order)
	case "/cert":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(a.issued)
	default:
		http.NotFound(w, r)
	}
}

const token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"

func (a *authority) challenge() map[string]string {
	return map[string]string{"type": "tls-alpn-01", "url": a.URL + "/challenge", "token": token, "status": a.status}
}

// open checks a signed request (RFC 8555 section 6.2) and returns its payload.
func (a *authority) open(r *http.Request) ([]byte, error) {
	var jws struct{ Protected, Payload, Signature string }
	if err := json.NewDecoder(r.Body).Decode(&jws); err != nil {
		return nil, err
	}
	dec := base64.RawURLEncoding.DecodeString
	head, err := dec(jws.Protected)
	if err != nil {
		return nil, err
	}
	var h struct {
		Alg, Nonce, URL, KID string
		JWK                  *struct{ X, Y string }
	}
	if err := json.Unmarshal(head, &h); err != nil {
		return nil, err
	}
	if !a.nonces[h.Nonce] || h.URL != a.URL+r.URL.Path || h.Alg != "ES256" {
		return nil, fmt.Errorf("the header does not fit: %s", head)
	}
	delete(a.nonces, h.Nonce)
	if h.JWK != nil {
		x, err := dec(h.JWK.X)
		if err != nil {
			return nil, err
		}
		y, err := dec(h.JWK.Y)
		if err != nil {
			return nil, err
		}
		if a.account, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...)); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, h.JWK.X, h.JWK.Y)) // RFC 7638
		a.thumb = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	sig, err := dec(jws.Signature)
	sum := sha256.Sum256([]byte(jws.Protected + "." + jws.Payload))
	if err != nil || len(sig) != 64 || !ecdsa.Verify(a.account, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return nil, fmt.Errorf("the signature does not fit")
	}
	return dec(jws.Payload)
}

// prove asks the host for the certificate of RFC 8737 section 3.
func (a *authority) prove() error {
	c, err := tls.Dial("tcp", a.target, &tls.Config{ServerName: a.host, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true}) //nolint:gosec // it is self-signed by definition
	if err != nil {
		return err
	}
	defer c.Close()
	sum := sha256.Sum256([]byte(token + "." + a.thumb))
	want, err := asn1.Marshal(sum[:])
	if err != nil {
		return err
	}
	cert := c.ConnectionState().PeerCertificates[0]
	for _, e := range cert.Extensions {
		if e.Id.String() == "1.3.6.1.5.5.7.1.31" && e.Critical && bytes.Equal(e.Value, want) && len(cert.DNSNames) == 1 && cert.DNSNames[0] == a.host {
			return nil
		}
	}
	return fmt.Errorf("the certificate of %s proves nothing", a.host)
}

// issue signs what a CSR asks for.
func (a *authority) issue(payload []byte) error {
	var b struct{ CSR string }
	if err := json.Unmarshal(payload, &b); err != nil {
		return err
	}
	der, err := base64.RawURLEncoding.DecodeString(b.CSR)
	if err != nil {
		return err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leaf, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, csr.PublicKey, a.key)
	if err != nil {
		return err
	}
	a.issued = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	return nil
}

// reversed is a Sealer that can be seen through, but not by accident.
type reversed struct{}

func (reversed) Seal(place, text string) string {
	return base64.StdEncoding.EncodeToString([]byte(place + "\x00" + text))
}

func (reversed) Open(place, sealed string) (string, error) {
	text, err := base64.StdEncoding.DecodeString(sealed)
	if rest, ok := strings.CutPrefix(string(text), place+"\x00"); err == nil && ok {
		return rest, nil
	}
	return "", fmt.Errorf("not sealed here")
}

const host = "fhir.example.org"

// serve answers TLS connections with the certificates of a Manager, to clients
// that have a certificate of their own.
func serve(t *testing.T, opt acme.Options) (*acme.Manager, string) {
	t.Helper()
	m, err := acme.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2", "http/1.1"}}
	m.Serve(cfg)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "hello") }), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = hs.Serve(ln) }()
	t.Cleanup(func() { _ = hs.Close() })
	return m, ln.Addr().String()
}

func TestManager(t *testing.T) {
	a := newAuthority(t)
	folder := filepath.Join(t.TempDir(), "acme")
	opt := acme.Options{Directory: a.URL + "/directory", Roots: a.roots(), Hosts: []string{host}, Folder: folder, Sealer: reversed{}, Log: slog.New(slog.DiscardHandler)}
	m, address := serve(t, opt)
	a.target = address
	m.Fetch(context.Background())
	get := func(address, name string) error {
		roots := x509.NewCertPool()
		roots.AddCert(a.cert)
		own := tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key}
		c := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name, Certificates: []tls.Certificate{own}},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			},
		}}
		defer c.CloseIdleConnections()
		res, err := c.Get("https://" + name + "/")
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	if err := get(address, host); err != nil {
		t.Errorf("with the certificate of the authority: %v", err)
	}
	if err := get(address, "other.example.org"); err == nil || a.orders != 1 {
		t.Errorf("a name that is not configured: %v after %d orders", err, a.orders)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) < 2 {
		t.Errorf("in the folder are %v, %v", files, err)
	}
	for _, path := range files {
		if text, err := os.ReadFile(path); err != nil || bytes.Contains(text, []byte("PRIVATE KEY")) {
			t.Errorf("%s is in clear, %v", path, err)
		}
	}
	_, again := serve(t, opt) // after a restart nobody is asked
	if err := get(again, host); err != nil || a.orders != 1 {
		t.Errorf("after a restart: %v, %d orders", err, a.orders)
	}
	for _, path := range files { // with another key
		if err := os.WriteFile(path, []byte("?"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, a.target = serve(t, opt)
	m.Fetch(context.Background())
	if err := get(a.target, host); err != nil || a.orders != 2 {
		t.Errorf("with what cannot be opened: %v, %d orders", err, a.orders)
	}
}

func TestCheck(t *testing.T) {
	const directory = "https://acme-v02.api.letsencrypt.org/directory"
	for _, c := range []struct {
		directory, roots string
		hosts            []string
		want             string // "" = right
	}{
		{directory, "", []string{host, "records.clinic.example.org"}, ""},
		{"http://acme.example.org", "", []string{host}, "directory"},
		{"acme", "", []string{host}, "directory"},
		{directory, "", nil, "hosts"},
		{directory, "", []string{"localhost"}, "hosts"},
		{directory, "", []string{"*.example.org"}, "hosts"},
		{directory, "", []string{"192.0.2.1"}, "hosts"},
		{directory, "", []string{"https://example.org"}, "hosts"},
		{directory, "/nonexistent", []string{host}, "roots"},
		{directory, "acme_test.go", []string{host}, "roots"},
	} {
		err := acme.Check(c.directory, c.roots, c.hosts)
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s %v: got %v, want %q", c.directory, c.hosts, err, c.want)
		}
	}
}
