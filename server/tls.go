package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hygeia-health/hygeia/platform/web/acme"
)

// acmeFolder holds the certificates that ACME brought, below the data folder.
const acmeFolder = "_acme"

// openTLS prepares what the listeners of the server and of its services take
// certificates from; nil when they answer in clear.
func (s *Server) openTLS() error {
	t := s.cfg.TLS
	if !t.on() {
		return nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.ClientCA != "" {
		pool, err := t.authorities()
		if err != nil {
			return err
		}
		cfg.ClientCAs, cfg.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	s.services.tls = cfg
	if t.Cert != "" {
		cert, err := openCertificate(t.Cert, t.Key, s.log)
		if err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		cfg.GetCertificate = cert.get
		return nil
	}
	sealer, err := openSealer(&s.cfg)
	if err != nil {
		return fmt.Errorf("identity.key: %w", err)
	}
	s.acme, err = acme.New(acme.Options{
		Directory: t.ACME.Directory, Roots: t.ACME.Roots, Hosts: t.ACME.Hosts, Email: t.ACME.Email,
		Folder: filepath.Join(s.cfg.Data, acmeFolder), Sealer: sealer, Log: s.log,
	})
	if err != nil {
		return fmt.Errorf("tls.acme.%w", err)
	}
	s.acme.Serve(cfg)
	return nil
}

// authorities reads tls.client_ca.
func (t TLSConfig) authorities() (*x509.CertPool, error) {
	pem, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls.client_ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.client_ca: %s holds no certificate", t.ClientCA)
	}
	return pool, nil
}
