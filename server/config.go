package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/events"
	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/auth/idp"
	"github.com/hygeia-health/hygeia/platform/blob/s3"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/web/acme"
)

// Config is the whole configuration. The tags are its documentation: yaml is
// the key, default and doc are what docs/config.md shows, flag names the flag
// of hygeia serve that sets the same value, secret marks what is never printed.
type Config struct {
	Listen         string            `yaml:"listen" default:"127.0.0.1:8080" flag:"--listen" doc:"Address and port to answer on. Port 0 takes a free one. With --insecure it must be a loopback one."`
	Data           string            `yaml:"data" default:"./hygeia-data" flag:"--data" doc:"Folder that holds everything: the list of workspaces and one folder per service. Created when it does not exist."`
	Database       string            `yaml:"database" secret:"url" doc:"Empty: SQLite files below the data folder. postgres://user@host/database: one schema per service there, which several nodes may share, and the list of workspaces; see docs/postgresql.md. A password belongs into HYGEIA_DATABASE or a PostgreSQL password file."`
	Blobs          string            `yaml:"blobs" secret:"url" doc:"Where large objects lie. Empty: a folder below the data folder. s3://BUCKET/PREFIX?region=REGION&endpoint=URL: a bucket that speaks the protocol of S3, with path_style=true or false, signed_urls=true to let clients fetch exports from it, and credentials=env, file or iam; by default the key comes from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else from the file of the AWS tools."`
	Bus            string            `yaml:"bus" secret:"url" doc:"Empty: in process. Nothing else is supported by this version."`
	TLS            TLSConfig         `yaml:"tls"`
	Domain         string            `yaml:"domain" doc:"When set, {workspace}-{service}.fhir.DOMAIN (or .dicom.DOMAIN) reaches the same service as /{workspace}/{service}."`
	TrustedProxies []string          `yaml:"trusted_proxies" doc:"Addresses or networks (10.0.0.0/8) whose X-Forwarded-For, -Host, -Proto and -Prefix are believed. They have to replace or remove what a client sent of the last three, of which the first value counts. Those of anybody else are ignored."`
	Limits         LimitsConfig      `yaml:"limits"`
	CORS           CORSConfig        `yaml:"cors"`
	Identity       IdentityConfig    `yaml:"identity"`
	Audit          AuditConfig       `yaml:"audit"`
	Events         EventsConfig      `yaml:"events"`
	Import         ImportConfig      `yaml:"import"`
	Encryption     EncryptionConfig  `yaml:"encryption"`
	Containers     []ContainerConfig `yaml:"containers" doc:"Places outside of the platform that DICOM services may export to and import from, and buckets that $import may read; see below. Empty: none."`
	Secrets        []string          `yaml:"secrets" default:"env:HYGEIA_SECRET_*" doc:"What passwords of services and event subscriptions may refer to: env:NAME and file:PATH, with a star at the end for all that begin so. References in this file are allowed without being listed here. Owners of a workspace could otherwise send any secret of the server to a broker of theirs."`
	Log            LogConfig         `yaml:"log"`
	Workspaces     []WorkspaceConfig `yaml:"workspaces" doc:"Workspaces and services that exist after every start; what is there besides them stays. When there are none, the first start creates workspace default with the FHIR service fhir, the DICOM service dicom and the MedTech service medtech."`

	// Insecure is the flag --insecure: run without authentication. It is no
	// key of the file, so that nobody switches it on by copying one.
	Insecure bool `yaml:"-"`
}

// TLSConfig serves HTTPS when both cert and key are set.
type TLSConfig struct {
	Cert     string `yaml:"cert" doc:"PEM file of the certificate chain. Together with tls.key it turns HTTPS on."`
	Key      string `yaml:"key" doc:"PEM file of the private key."`
	ClientCA string `yaml:"client_ca" doc:"PEM file of certificate authorities. When set, every client must present a certificate that one of them signed."`

	ACME ACMEConfig `yaml:"acme"`
}

// ACMEConfig gets certificates by ACME (RFC 8555) when a directory is set.
type ACMEConfig struct {
	Directory   string   `yaml:"directory" doc:"URL of the ACME directory that certificates are asked of, in place of tls.cert and tls.key: https://acme-v02.api.letsencrypt.org/directory, or that of an authority of the house. It must reach this server on port 443 of each host. With several nodes, let the load balancer have the certificate."`
	Hosts       []string `yaml:"hosts" doc:"Host names to have certificates for."`
	Email       string   `yaml:"email" doc:"Whom the authority may write to. May be empty."`
	AcceptTerms bool     `yaml:"accept_terms" doc:"Must be true: you accept the terms of service of the authority."`
	Roots       string   `yaml:"roots" doc:"PEM file of the authorities that the certificate of the directory itself is checked by. Empty: those of the system."`
}

// on reports whether HTTPS is served.
func (t TLSConfig) on() bool { return t.Cert != "" || t.ACME.Directory != "" }

func (a ACMEConfig) validate(cert string) error {
	switch {
	case a.Directory == "" && (len(a.Hosts) > 0 || a.Email != "" || a.AcceptTerms || a.Roots != ""):
		return errors.New("tls.acme.directory: needed for the other keys of tls.acme")
	case a.Directory == "":
		return nil
	case cert != "":
		return errors.New("tls.acme.directory: not together with tls.cert and tls.key")
	case !a.AcceptTerms:
		return errors.New("tls.acme.accept_terms: must be true: the authority asks that you accept its terms of service")
	}
	if err := acme.Check(a.Directory, a.Roots, a.Hosts); err != nil {
		return fmt.Errorf("tls.acme.%w", err)
	}
	return nil
}

// LimitsConfig bounds what one request, or all of them together, may take.
type LimitsConfig struct {
	Body                    Size          `yaml:"body" default:"32MiB" doc:"Largest request body; larger ones get 413. Also the largest line of an import."`
	Headers                 Size          `yaml:"headers" default:"64KiB" doc:"Largest request line with all headers; larger ones get 431."`
	RequestsPerSecond       float64       `yaml:"requests_per_second" default:"0" doc:"Requests per second of all clients together, with bursts of one second; more get 429 with Retry-After. 0 is no limit."`
	ClientRequestsPerSecond float64       `yaml:"client_requests_per_second" default:"0" doc:"Requests per second of each client to each service, with bursts of one second; more get 429. A client is the application of the token, without one the address. 0 is no limit; a service may have its own."`
	ClientConcurrent        int           `yaml:"client_concurrent" default:"0" doc:"Requests in flight of each client to each service; more get 429. 0 is no limit."`
	Concurrent              int           `yaml:"concurrent" default:"0" doc:"Requests in flight; more get 429 with Retry-After. 0 is no limit."`
	HeaderTime              time.Duration `yaml:"header_time" default:"10s" doc:"How long a client may take to send the headers."`
	ReadTime                time.Duration `yaml:"read_time" default:"5m" doc:"How long a client may take to send a whole request."`
	HandleTime              time.Duration `yaml:"handle_time" default:"2m" doc:"How long an answer may take before its work is given up. 0 is no limit."`
	StallTime               time.Duration `yaml:"stall_time" default:"20s" doc:"How long a client may take nothing of a large answer before the connection is given up. 0 is no limit."`
	IdleTime                time.Duration `yaml:"idle_time" default:"2m" doc:"How long an idle connection is kept open."`
	DrainTime               time.Duration `yaml:"drain_time" default:"0s" doc:"How long requests are still taken after SIGTERM, while /readyz fails, so that a load balancer can turn to other nodes first."`
	ShutdownTime            time.Duration `yaml:"shutdown_time" default:"30s" doc:"How long requests in flight may take after SIGTERM before they are cut off."`
}

// CORSConfig lets pages of other origins call the services (Fetch standard, section 3.3).
type CORSConfig struct {
	Origins     []string      `yaml:"origins" doc:"Origins such as https://app.example.org that browsers may call from; * allows all. Empty: none."`
	Methods     []string      `yaml:"methods" default:"GET, HEAD, POST, PUT, PATCH, DELETE" doc:"Methods that such pages may use."`
	Headers     []string      `yaml:"headers" default:"*" doc:"Request headers that such pages may set; * allows all that they ask for."`
	MaxAge      time.Duration `yaml:"max_age" default:"10m" doc:"How long a browser may keep the answer to a preflight."`
	Credentials bool          `yaml:"credentials" default:"false" doc:"Lets such pages send cookies and client certificates. Not together with the origin *."`
}

// EventsConfig bounds where events may be sent and how long they are kept.
type EventsConfig struct {
	Allow     []string      `yaml:"allow" doc:"Networks and host names that webhooks may have although they are private, and by http: 10.1.0.0/16, 127.0.0.1/32, hooks.internal. All others must be public and use https. Brokers (Kafka, NATS) have to be named here wherever they are."`
	Retention time.Duration `yaml:"retention" default:"168h" doc:"How long events can be pulled and tried again, 1h to 8760h."`
}

// IdentityConfig shapes the built-in identity provider.
type IdentityConfig struct {
	Issuer           string        `yaml:"issuer" doc:"Name of the built-in identity provider in tokens and metadata: the URL by which clients reach this server. Empty: the URL of each request."`
	Key              string        `yaml:"key" doc:"Where the key is that seals private keys and second factors on disk: env:NAME, file:PATH or exec:PROGRAM ARGUMENTS, a command that prints it, 32 bytes in base64. Empty: identity.key in the data folder, made at the first start."`
	AccessTokenTime  time.Duration `yaml:"access_token_time" default:"1h" doc:"How long an access token is valid, 1m to 24h."`
	RefreshTokenTime time.Duration `yaml:"refresh_token_time" default:"720h" doc:"How long a refresh token is valid that nobody uses, 1h to 8760h."`
}

func (i IdentityConfig) validate() error {
	if i.Issuer != "" {
		if err := auth.CheckURL(i.Issuer); err != nil {
			return fmt.Errorf("identity.issuer: %w", err)
		}
		if strings.HasSuffix(i.Issuer, "/") {
			return errors.New("identity.issuer: no slash at the end")
		}
		if strings.Contains(i.Issuer, "?") { // OpenID Connect Discovery 1.0 section 3
			return errors.New("identity.issuer: no query at the end")
		}
	}
	if i.Key != "" {
		if text, err := secret(i.Key); err != nil {
			return fmt.Errorf("identity.key: %w", err)
		} else if _, err := idp.ParseSealer(text); err != nil {
			return fmt.Errorf("identity.key: %w", err)
		}
	}
	if i.AccessTokenTime < time.Minute || i.AccessTokenTime > 24*time.Hour {
		return fmt.Errorf("identity.access_token_time: %s is not between 1m and 24h", i.AccessTokenTime)
	}
	if i.RefreshTokenTime < time.Hour || i.RefreshTokenTime > 8760*time.Hour {
		return fmt.Errorf("identity.refresh_token_time: %s is not between 1h and 8760h", i.RefreshTokenTime)
	}
	return nil
}

// ImportConfig says where $import may read.
type ImportConfig struct {
	Folder string   `yaml:"folder" doc:"Folder whose files $import may read by their names below it. Empty: none."`
	Allow  []string `yaml:"allow" doc:"Addresses such as https://files.example.org/exports/ below which $import may read; a redirect may not lead elsewhere. Empty: none."`
}

func (c ImportConfig) validate() error {
	for _, text := range c.Allow {
		if _, err := allowed(text); err != nil {
			return err
		}
	}
	if c.Folder == "" {
		return nil
	}
	if i, err := os.Stat(c.Folder); err != nil || !i.IsDir() {
		return fmt.Errorf("import.folder: %s is no folder", c.Folder)
	}
	return nil
}

// AuditConfig shapes the audit trail.
type AuditConfig struct {
	Enabled   bool          `yaml:"enabled" default:"true" doc:"Writes one record per access to a service, the management API and the identity provider."`
	Sync      bool          `yaml:"sync" default:"false" doc:"Answers wait until their record is on disk, with one fsync for all who wait. Otherwise a record is handed to the operating system before the answer to a write, within milliseconds after that to a read, and is on disk within a second."`
	OnFailure string        `yaml:"on_failure" default:"refuse" doc:"refuse: while records cannot be written, requests get 503. log: they are answered, and the log says what is missing."`
	Hot       time.Duration `yaml:"hot" default:"2160h" doc:"How long records stay in the files that are searched; then they go to the archive beside the blobs."`
	Keep      time.Duration `yaml:"keep" default:"61320h" doc:"How long records stay in the archive; seven years."`
}

func (a AuditConfig) validate() error {
	if a.OnFailure != "refuse" && a.OnFailure != "log" {
		return fmt.Errorf("audit.on_failure: %q is neither refuse nor log", a.OnFailure)
	}
	if a.Hot < time.Hour {
		return fmt.Errorf("audit.hot: %s is less than 1h", a.Hot)
	}
	if a.Keep < time.Hour {
		return fmt.Errorf("audit.keep: %s is less than 1h", a.Keep)
	}
	return nil
}

// LogConfig shapes the log on standard error.
type LogConfig struct {
	Level  string `yaml:"level" default:"info" doc:"debug, info, warn or error. Requests are logged at info."`
	Format string `yaml:"format" default:"json" doc:"json or text."`
}

// WorkspaceConfig is one workspace that has to exist.
type WorkspaceConfig struct {
	Name     string            `yaml:"name" doc:"2 to 24 lower-case letters, digits and hyphens; begins with a letter."`
	Services []ServiceConfig   `yaml:"services" doc:"The services of the workspace."`
	Tags     map[string]string `yaml:"tags,omitempty" doc:"Names and values of your own. When absent, those that were set through the API stay."`
}

// ServiceSpec is what there is to say about a service, for those who may not know the
// management plane.
type ServiceSpec = manage.Spec

// ServiceConfig is one service that has to exist.
type ServiceConfig struct {
	Name        string `yaml:"name" doc:"2 to 24 lower-case letters, digits and hyphens; begins with a letter; not events."`
	manage.Spec `yaml:",inline"`
}

// Defaults returns the configuration of a server that was told nothing.
func Defaults() Config {
	var c Config
	for _, f := range fields(&c) {
		if f.def == "" {
			continue
		}
		if err := f.set(f.def); err != nil {
			panic("server: default of " + f.key + ": " + err.Error()) // a wrong tag; the tests run this
		}
	}
	return c
}

var domainName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// methodName is a token of RFC 9110 section 5.6.2.
var methodName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// Validate says what is wrong with c, naming the key; nil when nothing is.
func (c *Config) Validate() error {
	for _, check := range []func() error{
		c.validateListen, c.validateStorage, c.validateBlobs, c.validateEncryption,
		func() error { return checkReferences(c.Secrets) },
		c.TLS.validate, c.validateNetwork, c.Limits.validate, c.CORS.validate, c.Identity.validate, c.Audit.validate,
		c.Events.validate, c.Import.validate,
		func() error { return validateContainers(c.Containers) },
		c.Log.validate,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return validateWorkspaces(c.Workspaces)
}

func (c *Config) validateStorage() error {
	if c.Data == "" {
		return errors.New("data: a folder is needed")
	}
	if info, err := os.Stat(c.Data); err == nil && !info.IsDir() {
		return fmt.Errorf("data: %s is no folder", c.Data)
	}
	if c.Database != "" {
		if _, err := db.InSchema(c.Database, "x"); err != nil {
			return fmt.Errorf("database: %s is not supported; use postgres://user@host/database, or leave it empty", scheme(c.Database))
		}
		if u, err := url.Parse(c.Database); err == nil && u.Query().Has("search_path") {
			return errors.New("database: search_path has no place in the address: each store has a schema of its own, see docs/postgresql.md")
		}
	}
	if c.Bus != "" {
		return fmt.Errorf("bus: %s is not supported by this version; leave it empty", scheme(c.Bus))
	}
	return nil
}

func (c *Config) validateNetwork() error {
	if c.Domain != "" && !domainName.MatchString(c.Domain) {
		return fmt.Errorf("domain: %q is no lower-case domain name", c.Domain)
	}
	for _, p := range c.TrustedProxies {
		if _, err := parseNetwork(p); err != nil {
			return fmt.Errorf("trusted_proxies: %q is neither an address nor a network", p)
		}
	}
	return nil
}

func (e EventsConfig) validate() error {
	if err := (events.Outbound{Allow: e.Allow}).Check(); err != nil {
		return fmt.Errorf("events.allow: %w", err)
	}
	if e.Retention < time.Hour || e.Retention > 8760*time.Hour {
		return errors.New("events.retention: it is between 1h and 8760h")
	}
	return nil
}

func (l LogConfig) validate() error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, l.Level) {
		return fmt.Errorf("log.level: %q is not one of debug, info, warn, error", l.Level)
	}
	if l.Format != "json" && l.Format != "text" {
		return fmt.Errorf("log.format: %q is neither json nor text", l.Format)
	}
	return nil
}

// validateListen refuses, without authentication, addresses that others can reach.
func (c *Config) validateListen() error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %q is not host:port", c.Listen)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("listen: %q is no port", port)
	}
	if host != "" && host != "localhost" {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("listen: %q is no address", host)
		}
	}
	if c.Insecure {
		return c.validateLoopback()
	}
	return nil
}

// validateLoopback returns an error when others can reach the address.
func (c *Config) validateLoopback() error {
	_, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return err
	}
	if !isLoopback(c.Listen) {
		return fmt.Errorf("listen: %s is not a loopback address, and --insecure is only for those; use 127.0.0.1:%s", c.Listen, port)
	}
	return nil
}

// issuer returns the name of the built-in provider when it listens on an address.
func (c *Config) issuer(listen string) string {
	if c.Identity.Issuer != "" {
		return c.Identity.Issuer
	}
	scheme := "http://"
	if c.TLS.on() {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(listen)
	if ip, e := netip.ParseAddr(host); err == nil && (host == "" || e == nil && ip.IsUnspecified()) {
		listen = net.JoinHostPort("127.0.0.1", port)
	}
	return scheme + listen
}

func (c *Config) validateBlobs() error {
	if c.Blobs == "" {
		return nil
	}
	if !strings.HasPrefix(c.Blobs, "s3://") {
		return fmt.Errorf("blobs: %s is not supported; write s3://BUCKET or leave it empty", scheme(c.Blobs))
	}
	_, err := s3.Open(c.Blobs)
	return err
}

func (t TLSConfig) validate() error {
	switch {
	case t.Cert == "" && t.Key != "":
		return errors.New("tls.cert: needed together with tls.key")
	case t.Cert != "" && t.Key == "":
		return errors.New("tls.key: needed together with tls.cert")
	case t.ClientCA != "" && !t.on():
		return errors.New("tls.client_ca: needs tls.cert and tls.key, or tls.acme")
	}
	if err := t.ACME.validate(t.Cert); err != nil {
		return err
	}
	for _, f := range []struct{ key, path string }{{"tls.cert", t.Cert}, {"tls.key", t.Key}, {"tls.client_ca", t.ClientCA}} {
		if f.path == "" {
			continue
		}
		if _, err := os.Stat(f.path); err != nil {
			return fmt.Errorf("%s: %w", f.key, err)
		}
	}
	if t.Cert != "" {
		if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
			return fmt.Errorf("tls.cert, tls.key: %s", strings.TrimPrefix(err.Error(), "tls: "))
		}
	}
	if t.ClientCA != "" {
		_, err := t.authorities()
		return err
	}
	return nil
}

func (l LimitsConfig) validate() error {
	switch {
	case l.Body < 1024:
		return fmt.Errorf("limits.body: %s is less than 1KiB", l.Body)
	case l.Headers < 4096:
		return fmt.Errorf("limits.headers: %s is less than 4KiB", l.Headers)
	case l.Headers > 16<<20:
		return fmt.Errorf("limits.headers: %s is more than 16MiB", l.Headers)
	case !(l.RequestsPerSecond >= 0 && l.RequestsPerSecond <= 1e9):
		return fmt.Errorf("limits.requests_per_second: %v is not between 0 and 1000000000", l.RequestsPerSecond)
	case l.Concurrent < 0:
		return errors.New("limits.concurrent: may not be negative")
	case !(l.ClientRequestsPerSecond >= 0 && l.ClientRequestsPerSecond <= 1e9):
		return fmt.Errorf("limits.client_requests_per_second: %v is not between 0 and 1000000000", l.ClientRequestsPerSecond)
	case l.ClientConcurrent < 0:
		return errors.New("limits.client_concurrent: may not be negative")
	}
	for _, d := range []struct {
		key   string
		value time.Duration
		zero  bool
	}{
		{"header_time", l.HeaderTime, false}, {"read_time", l.ReadTime, false}, {"handle_time", l.HandleTime, true}, {"stall_time", l.StallTime, true},
		{"idle_time", l.IdleTime, false}, {"drain_time", l.DrainTime, true}, {"shutdown_time", l.ShutdownTime, false},
	} {
		if d.value < 0 || d.value == 0 && !d.zero {
			return fmt.Errorf("limits.%s: %s is too short", d.key, d.value)
		}
	}
	return nil
}

func (c CORSConfig) validate() error {
	for _, o := range c.Origins {
		if o == "*" {
			if c.Credentials {
				return errors.New("cors.credentials: not together with the origin *; name the origins")
			}
			continue
		}
		u, err := url.Parse(o)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			return fmt.Errorf("cors.origins: %q is no origin such as https://app.example.org", o)
		}
	}
	for _, m := range c.Methods {
		if !methodName.MatchString(m) {
			return fmt.Errorf("cors.methods: %q is no method", m)
		}
	}
	if c.MaxAge < 0 {
		return errors.New("cors.max_age: may not be negative")
	}
	return nil
}

func validateWorkspaces(list []WorkspaceConfig) error {
	seen := map[string]bool{}
	for _, w := range list {
		if err := manage.CheckWorkspaceName(w.Name); err != nil {
			return fmt.Errorf("workspaces: %w", err)
		}
		if seen[w.Name] {
			return fmt.Errorf("workspaces: %s is there twice", w.Name)
		}
		seen[w.Name] = true
		for _, s := range w.Services {
			err := s.Check(s.Name)
			if err == nil {
				err = checkSources(s.Sources)
			}
			if err != nil {
				return fmt.Errorf("workspaces: service %s/%s: %w", w.Name, s.Name, err)
			}
			if seen[w.Name+"/"+s.Name] {
				return fmt.Errorf("workspaces: service %s/%s is there twice", w.Name, s.Name)
			}
			seen[w.Name+"/"+s.Name] = true
		}
		if err := checkDestinations(w); err != nil {
			return err
		}
	}
	return nil
}

// checkDestinations refuses services that write into one of another kind. One that the
// list does not name may have been made through the API.
func checkDestinations(w WorkspaceConfig) error {
	kinds := map[string]manage.Kind{}
	for _, s := range w.Services {
		kinds[s.Name] = s.Kind
	}
	for _, s := range w.Services {
		to := s.Destination
		if s.ImagingStudy != nil {
			to = s.ImagingStudy.Destination
		}
		if kind := kinds[to]; kind != "" && kind != manage.KindFHIR {
			return fmt.Errorf("workspaces: service %s/%s: destination: %s is of kind %s, and not fhir", w.Name, s.Name, to, kind)
		}
	}
	return nil
}

// place returns where a database of the platform is: the file of this name
// below the data folder, or the schema of the shared database that is called
// like it: default/fhir/fhir.db is default.fhir.fhir, identity.db is hygeia.identity.
func (c *Config) place(name string) string {
	if c.Database == "" {
		return filepath.Join(c.Data, filepath.FromSlash(name))
	}
	schema := strings.ReplaceAll(strings.TrimSuffix(name, path.Ext(name)), "/", ".")
	if !strings.Contains(schema, ".") {
		schema = "hygeia." + strings.TrimPrefix(schema, "_")
	}
	address, err := db.InSchema(c.Database, schema)
	if err != nil { // Validate saw it before
		return ""
	}
	return address
}

// scheme names a store by the beginning of its URL, without what may be secret.
func scheme(s string) string {
	if before, _, ok := strings.Cut(s, "://"); ok {
		return before + "://"
	}
	return "this value"
}

// parseNetwork reads an address or a network.
func parseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return a.Prefix(a.BitLen())
}
