// Package acme gets the certificates of the server from an authority that
// speaks ACME (RFC 8555): Let's Encrypt, or one inside the house such as step-ca.
//
// The authority proves that a host name leads here by a TLS connection to port
// 443 of it (tls-alpn-01, RFC 8737), which the listener answers itself, so that
// nothing else has to be opened. Certificates are renewed 30 days before their
// end. They and their keys are kept in a folder, sealed.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// Options of a Manager.
type Options struct {
	Directory string   // URL of the directory of the authority
	Roots     string   // PEM file of the authorities that its own certificate is checked by; "" = those of the system
	Hosts     []string // names that certificates are asked for
	Email     string   // whom the authority may write to; may be ""
	Folder    string   // of certificates and keys
	Sealer    Sealer
	Log       *slog.Logger // nil = slog.Default()
}

// Sealer encrypts what is kept in a folder, and opens it again at the same place.
type Sealer interface {
	Seal(place, text string) string
	Open(place, sealed string) (string, error)
}

// Check returns what is wrong with the settings of an operator.
func Check(directory, roots string, hosts []string) error {
	u, err := url.Parse(directory)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("directory: %.200q is no URL such as https://acme-v02.api.letsencrypt.org/directory", directory)
	}
	if len(hosts) == 0 {
		return errors.New("hosts: name at least one host")
	}
	for _, h := range hosts {
		if !strings.Contains(strings.Trim(h, "."), ".") || strings.ContainsAny(h, "/:* ") || net.ParseIP(h) != nil {
			return fmt.Errorf("hosts: %.100q is no host name such as fhir.example.org", h)
		}
	}
	_, err = readRoots(roots)
	return err
}

func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("roots: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("roots: %s holds no certificate", path)
	}
	return pool, nil
}

// askTime bounds one request to the authority.
const askTime = 30 * time.Second

// Manager holds certificates.
type Manager struct {
	auto  *autocert.Manager
	hosts []string
	log   *slog.Logger
}

// New returns a Manager. Nobody is asked before there is a connection, or Fetch.
func New(opt Options) (*Manager, error) {
	if err := Check(opt.Directory, opt.Roots, opt.Hosts); err != nil {
		return nil, err
	}
	roots, err := readRoots(opt.Roots)
	if err != nil {
		return nil, err
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	client := &http.Client{Timeout: askTime, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	}}
	return &Manager{hosts: opt.Hosts, log: opt.Log, auto: &autocert.Manager{
		Prompt: autocert.AcceptTOS, // the operator did, in the configuration
		Cache:  sealed{autocert.DirCache(opt.Folder), opt.Sealer, opt.Log}, HostPolicy: autocert.HostWhitelist(opt.Hosts...),
		Client: &acme.Client{DirectoryURL: opt.Directory, HTTPClient: client, UserAgent: "hygeia"}, Email: opt.Email,
	}}, nil
}

// Serve makes cfg take its certificates from m. Connections of the authority need
// no certificate of a client: they carry no request.
func (m *Manager) Serve(cfg *tls.Config) {
	cfg.GetCertificate = m.auto.GetCertificate
	challenge := &tls.Config{GetCertificate: m.auto.GetCertificate, NextProtos: []string{acme.ALPNProto}, MinVersion: tls.VersionTLS12}
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto {
			return challenge, nil
		}
		return nil, nil
	}
}

// Fetch gets the certificates that are missing, so that the first client does
// not wait. What fails is logged, and tried again by the next connection.
func (m *Manager) Fetch(ctx context.Context) {
	for _, host := range m.hosts {
		if ctx.Err() != nil {
			return
		}
		hello := &tls.ClientHelloInfo{ServerName: host, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
		c, err := m.auto.GetCertificate(hello)
		if err != nil {
			m.log.LogAttrs(ctx, slog.LevelError, "there is no certificate yet", slog.String("host", host), slog.Any("err", err))
			continue
		}
		m.log.LogAttrs(ctx, slog.LevelInfo, "certificate", slog.String("host", host), slog.Time("until", c.Leaf.NotAfter))
	}
}

// sealed keeps what it is given encrypted: keys are among it.
type sealed struct {
	autocert.DirCache
	sealer Sealer
	log    *slog.Logger
}

var _ autocert.Cache = sealed{}

func place(name string) string { return "acme " + name }

// Get implements autocert.Cache. What cannot be opened is as good as gone: a new
// certificate takes its place.
func (s sealed) Get(ctx context.Context, name string) ([]byte, error) {
	text, err := s.DirCache.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	plain, err := s.sealer.Open(place(name), string(text))
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "a certificate cannot be opened and is asked for anew", slog.Any("err", err))
		return nil, autocert.ErrCacheMiss
	}
	return []byte(plain), nil
}

// Put implements autocert.Cache.
func (s sealed) Put(ctx context.Context, name string, data []byte) error {
	return s.DirCache.Put(ctx, name, []byte(s.sealer.Seal(place(name), string(data))))
}
