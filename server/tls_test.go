package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/server"
)

// certificate writes a self-signed certificate for 127.0.0.1 that can sign
// itself as server, client and authority.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestTLS serves HTTPS to clients that have a certificate, and to no others.
func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	cfg := server.Defaults()
	cfg.Data, cfg.Listen, cfg.Insecure = t.TempDir(), "127.0.0.1:0", true
	cfg.TLS = server.TLSConfig{Cert: cert, Key: key, ClientCA: cert}
	url, cancel, served := serve(t, cfg)
	roots := x509.NewCertPool()
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(text)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		certs []tls.Certificate
		http2 bool
	}{{"HTTP/1.1", []tls.Certificate{pair}, false}, {"HTTP/2", []tls.Certificate{pair}, true}, {"nobody", nil, false}} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: tt.certs}, ForceAttemptHTTP2: tt.http2}
		res, err := (&http.Client{Transport: tr}).Get(url + "manage/v1/workspaces")
		if tt.certs == nil {
			if err == nil {
				t.Errorf("%s: got in with %s", tt.name, res.Status)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != 200 || !strings.Contains(string(body), url+"default/fhir") || res.Header.Get("Strict-Transport-Security") == "" || (res.ProtoMajor == 2) != tt.http2 {
			t.Errorf("%s: %s %s %s", tt.name, res.Proto, res.Status, body)
		}
		tr.CloseIdleConnections()
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
