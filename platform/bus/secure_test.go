package bus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/bus"
	"github.com/hygeia-health/hygeia/platform/bus/bustest"
)

// TestSecure speaks TLS with brokers that want a password.
func TestSecure(t *testing.T) {
	srv := httptest.NewTLSServer(nil) // has a certificate for 127.0.0.1
	cert, roots := srv.TLS.Certificates[0], x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	srv.Close()
	secured := func(t *testing.T, o bus.Options, right, denied error) {
		o.User = "u"
		for _, c := range []struct {
			name, secret string
			tls          *tls.Config
			want         error // nil: any
		}{
			{"the right password", "p", &tls.Config{RootCAs: roots}, right},
			{"a wrong password", "q", &tls.Config{RootCAs: roots}, denied},
			{"an authority that nobody knows", "p", &tls.Config{RootCAs: x509.NewCertPool()}, nil},
			{"no word of TLS", "p", nil, nil},
		} {
			o.Secret, o.TLS = c.secret, c.tls
			w, err := bus.NewWriter(o)
			if err != nil {
				t.Fatal(err)
			}
			patience := time.Minute
			if c.want == nil { // it is tried until then
				patience = 2 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			err = w.Check(ctx, "nothing")
			cancel()
			if c.want != nil && !errors.Is(err, c.want) || c.want == nil && (err == nil || errors.Is(err, right)) {
				t.Errorf("%s: %v", c.name, err)
			}
			w.Close()
		}
	}
	t.Run("kafka", func(t *testing.T) {
		urls := bustest.SecureKafka(t, &tls.Config{Certificates: []tls.Certificate{cert}}, "u", "p", "things")
		secured(t, bus.Options{Kind: bus.Kafka, URLs: urls}, bus.ErrNoTopic, nil) // this one hangs up
	})
	t.Run("nats", func(t *testing.T) {
		key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, "key": {Type: "PRIVATE KEY", Bytes: key}} {
			if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		url := bustest.NATS(t, "--tls", "--tlscert", filepath.Join(dir, "cert"), "--tlskey", filepath.Join(dir, "key"), "--user", "u", "--pass", "p")
		secured(t, bus.Options{Kind: bus.NATS, URLs: []string{url}}, bus.ErrNoTopic, bus.ErrDenied)
	})
}
