package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/fhir/bulk"
	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/manage/managehttp"
	"github.com/hygeia-health/hygeia/manage/managesql"
	"github.com/hygeia-health/hygeia/platform/auth/idp"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/telemetry"
	"github.com/hygeia-health/hygeia/platform/web"
	"github.com/hygeia-health/hygeia/platform/web/acme"
	"github.com/hygeia-health/hygeia/portal"
)

var errLocked = errors.New("another process uses it")

// Options are what does not come from the configuration.
type Options struct {
	Version string
	Log     io.Writer // nil = standard error
	Ready   io.Writer // gets one line with the URL when requests are answered; nil = nowhere
}

// Server is the platform.
type Server struct {
	cfg      Config
	opt      Options
	log      *slog.Logger
	buffered *telemetry.Buffered // the access log on its way to the log
	metrics  *telemetry.Metrics
	services *services
	blobs    *blobs
	identity *identity // nil: authentication is off
	queue    *queue
	trail    *trail // nil: audit.enabled is false
	plane    *manage.Plane
	handler  http.Handler
	lock     *os.File
	stopping atomic.Bool

	shared   *managesql.Store // the list of workspaces of several nodes; nil on files
	acme     *acme.Manager    // gets certificates; nil without
	unfollow func()           // ends following the other nodes, and waits
}

// New opens the data folder and joins the rooms. Close gives the folder back
// when Serve is not called.
func New(ctx context.Context, cfg Config, opt Options) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if opt.Log == nil {
		opt.Log = os.Stderr
	}
	if opt.Ready == nil {
		opt.Ready = io.Discard
	}
	log, err := telemetry.NewLogger(opt.Log, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, opt: opt, log: log, buffered: telemetry.NewBuffered(opt.Log), metrics: telemetry.New(opt.Version)}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if s.lock, err = lockFile(filepath.Join(cfg.Data, "lock")); err != nil {
		return nil, fmt.Errorf("data: %s: %w", cfg.Data, err)
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// open opens the stores and starts the services. After an error Close closes what
// was opened.
func (s *Server) open(ctx context.Context) error {
	cfg := &s.cfg
	ring, err := cfg.Encryption.ring()
	if err != nil {
		return err
	}
	if s.blobs, err = openBlobs(ctx, cfg, ring, s.log); err != nil {
		return err
	}
	src, err := openImports(cfg.Import)
	if err != nil {
		return err
	}
	if s.queue, err = openQueue(ctx, cfg); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	s.services = newServices(cfg, s.opt.Version, s.log, s.metrics, s.blobs.Store, s.queue)
	s.services.keys, s.services.sources, s.services.containers = ring, src, cfg.Containers
	if err := s.openTLS(); err != nil {
		return err
	}
	s.reachable(cfg.Listen)
	if s.identity, err = openIdentity(ctx, s); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	s.services.identity = s.identity
	if s.trail, err = openTrail(s); err != nil {
		return err
	}
	s.services.trail = s.trail
	store, err := s.openPlane(ctx)
	if err != nil {
		return err
	}
	s.plane, err = manage.New(ctx, manage.Deps{
		Store: store, Runner: s.services, Now: time.Now, Guarded: s.identity != nil,
		First: cfg.first(), Always: asWorkspaces(cfg.Workspaces),
	})
	if err != nil {
		return err
	}
	if err := s.services.events.resume(ctx, s.plane.Workspaces()); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	if err := s.identity.bootstrap(ctx, cfg, cfg.issuer(cfg.Listen)); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	s.handler = s.join()
	kinds := bulk.Handlers(s.services.bulk)
	maps.Copy(kinds, dicom.Handlers(s.services.dicom))
	s.queue.run(kinds, s.log)
	s.follow()
	return nil
}

// first is what the first start creates when the configuration names nothing.
func (c *Config) first() []manage.Workspace {
	if len(c.Workspaces) > 0 {
		return nil
	}
	return []manage.Workspace{{Name: "default", Services: []manage.Service{
		{Name: "fhir", Spec: manage.Spec{Kind: manage.KindFHIR}}, {Name: "dicom", Spec: manage.Spec{Kind: manage.KindDICOM}},
		{Name: "medtech", Spec: manage.Spec{Kind: manage.KindMedTech, MedTechSpec: manage.MedTechSpec{Destination: "fhir"}}},
	}}}
}

func asWorkspaces(list []WorkspaceConfig) []manage.Workspace {
	var out []manage.Workspace
	for _, w := range list {
		ws := manage.Workspace{Name: w.Name, WorkspaceSpec: manage.WorkspaceSpec{Tags: w.Tags}}
		for _, s := range w.Services {
			ws.Services = append(ws.Services, manage.Service{Name: s.Name, Spec: s.Spec})
		}
		out = append(out, ws)
	}
	return out
}

// join puts the request chain in front of everything that answers.
func (s *Server) join() http.Handler {
	rt := &router{services: s.services, events: s.services.events, plane: s.plane, identity: s.identity, trail: s.trail, log: s.log}
	rt.manage = managehttp.New(s.plane, managehttp.Options{Log: s.log, Jobs: s.queue.store})
	if s.cfg.Domain != "" {
		rt.suffix = "." + s.cfg.Domain
	}
	rt.platform = s.platformHandlers()
	var proxies []netip.Prefix
	for _, p := range s.cfg.TrustedProxies {
		if n, err := parseNetwork(p); err == nil { // Validate saw it before
			proxies = append(proxies, n)
		}
	}
	c := s.cfg.CORS
	return web.Chain(rt, web.Options{
		Record: s.trail.recorder(),
		Log:    s.log, Proxies: proxies,
		CORS:              web.CORS{Origins: c.Origins, Methods: c.Methods, Headers: c.Headers, MaxAge: c.MaxAge, Credentials: c.Credentials},
		CORSOf:            rt.cors,
		HandleTime:        s.cfg.Limits.HandleTime,
		MaxHeaders:        int(s.cfg.Limits.Headers),
		Stall:             s.cfg.Limits.StallTime,
		Concurrent:        s.cfg.Limits.Concurrent,
		RequestsPerSecond: s.cfg.Limits.RequestsPerSecond,
		Exempt:            func(r *http.Request) bool { return isProbe(r.URL.Path) },
		Error:             rt.refuse,
		Observe:           s.observers(),
	})
}

// platformHandlers are the paths that are of no service and not of the management API.
func (s *Server) platformHandlers() map[string]http.Handler {
	out := map[string]http.Handler{
		"/":        portal.New(portal.Options{Version: s.opt.Version, Guarded: s.identity != nil, Services: s.portalServices}),
		"/healthz": http.HandlerFunc(s.healthz),
		"/readyz":  http.HandlerFunc(s.readyz),
		"/metrics": s.metrics.Handler(),
	}
	if s.identity != nil {
		h := s.identity.provider.Handler()
		for _, path := range idp.Paths {
			out[path] = h
		}
	}
	return out
}

func isProbe(path string) bool {
	return path == "/healthz" || path == "/readyz" || path == "/metrics"
}

// observers are the metrics and, at level info, the access log.
func (s *Server) observers() []func(web.Observation) {
	list := []func(web.Observation){s.observe}
	if !s.log.Enabled(context.Background(), slog.LevelInfo) {
		return list
	}
	if s.cfg.Log.Format == "json" {
		return append(list, web.AccessJSON(s.buffered))
	}
	return append(list, web.AccessLog(slog.New(slog.NewTextHandler(s.buffered, nil))))
}

// observe counts the requests that no service counts itself: those to the
// platform, and those that the chain refused.
func (s *Server) observe(o web.Observation) {
	if o.Request.Service != "" {
		return
	}
	op := o.Request.Operation
	if op == "" {
		op = strings.TrimPrefix(o.Request.Route, "/")
	}
	s.metrics.Observe(telemetry.Call{Operation: op, Status: o.Status, Duration: o.Duration, BytesIn: o.BytesIn, BytesOut: o.BytesOut})
}

// warnings says what an operator should know.
func (s *Server) warnings(ctx context.Context, encrypted bool) {
	if s.identity == nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "authentication is off", slog.String("reason", "--insecure; it answers on loopback addresses only"))
	} else if !encrypted && s.cfg.validateLoopback() != nil && len(s.cfg.TrustedProxies) == 0 {
		s.log.LogAttrs(ctx, slog.LevelWarn, "tokens travel in clear", slog.String("reason", "neither tls nor a trusted proxy is configured"))
	}
}

// portalServices lists the services for the page of a server without authentication.
func (s *Server) portalServices() []portal.Service {
	var out []portal.Service
	for _, w := range s.plane.Workspaces() {
		for _, sv := range w.Services {
			out = append(out, portal.Service{Workspace: w.Name, Name: sv.Name, Kind: string(sv.Kind)})
		}
	}
	return out
}

// Handler answers requests without a listener, for tests.
func (s *Server) Handler() http.Handler { return s.handler }

// Close closes the services and gives the data folder back.
func (s *Server) Close() error {
	s.queue.halt()
	if s.services != nil {
		s.services.events.close()
	}
	if s.unfollow != nil {
		s.unfollow()
	}
	var err error
	if s.services != nil {
		err = s.services.closeAll(context.Background())
	}
	err = errors.Join(err, s.identity.Close(), s.trail.Close())
	if s.shared != nil {
		err = errors.Join(err, s.shared.Close())
	}
	s.buffered.Flush()
	return errors.Join(err, s.queue.Close(), s.blobs.Close(), s.lock.Close())
}

// warmServices is how many services are opened before the server is ready. More
// are opened by their first request, so that the start stays short.
const warmServices = 8

// Serve answers requests until ctx ends, then stops: no new connections, the
// requests in flight finish, the stores are closed. It returns nil after a stop
// that left nothing behind. A Server serves once.
func (s *Server) Serve(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	hs := s.httpServer()
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil && ctx.Err() != nil {
		return nil // asked to stop before it was ready, here and below
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen: another process answers on %s; stop it, or choose another address with --listen", s.cfg.Listen)
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	url := "http://" + ln.Addr().String()
	if hs.TLSConfig != nil {
		url = "https://" + ln.Addr().String()
		ln = tls.NewListener(ln, hs.TLSConfig)
	}
	for _, sv := range s.services.list()[:min(warmServices, len(s.services.list()))] {
		err := sv.warm(ctx)
		if err != nil && s.shared != nil && fault.Is(err, fault.Transient) {
			// It is for this node to be put right; the other services are fine.
			s.log.LogAttrs(ctx, slog.LevelError, "open failed", slog.String("service", sv.ref.String()), slog.Any("err", err))
			continue
		}
		if err != nil && ctx.Err() != nil {
			return ln.Close()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("open %s: %w", sv.ref, err), ln.Close())
		}
	}
	s.reachable(ln.Addr().String())
	if err := s.identity.bootstrap(ctx, &s.cfg, s.cfg.issuer(ln.Addr().String())); err != nil {
		if ctx.Err() != nil {
			return ln.Close()
		}
		return errors.Join(fmt.Errorf("bootstrap: %w", err), ln.Close())
	}
	s.warnings(ctx, hs.TLSConfig != nil)
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(ln) }()
	if s.acme != nil {
		go s.acme.Fetch(ctx)
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "ready", slog.String("url", url), slog.String("version", s.opt.Version))
	if _, err := fmt.Fprintln(s.opt.Ready, "hygeia is ready at "+url+"/"); err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "standard output is closed", slog.Any("err", err))
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	return s.stop(hs, failed)
}

// stop ends the HTTP server in order.
func (s *Server) stop(hs *http.Server, served <-chan error) error {
	s.stopping.Store(true)
	s.services.events.leave()
	s.log.LogAttrs(context.Background(), slog.LevelInfo, "stopping")
	if d := s.cfg.Limits.DrainTime; d > 0 {
		time.Sleep(d) // answers end their connections meanwhile
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Limits.ShutdownTime)
	defer cancel()
	err := hs.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were still in flight after %s", s.cfg.Limits.ShutdownTime), hs.Close())
	}
	<-served
	s.log.LogAttrs(context.Background(), slog.LevelInfo, "stopped")
	return err
}

// leaving tells clients, while the server drains, to connect anew after the
// answer: elsewhere. A connection that waits for its next request is not closed
// before its client has heard that, because the request may be on its way.
func (s *Server) leaving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && s.stopping.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) httpServer() *http.Server {
	l := s.cfg.Limits
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	hs := &http.Server{
		Handler: s.leaving(s.handler), Protocols: protocols,
		ReadHeaderTimeout: l.HeaderTime, ReadTimeout: l.ReadTime, IdleTimeout: l.IdleTime,
		MaxHeaderBytes: 2*int(l.Headers) + 256<<10,                          // the chain refuses what is over the limit, in the form of the place that was asked
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // broken clients; not our errors
	}
	if s.services.tls == nil {
		return hs
	}
	protocols.SetHTTP2(true)
	hs.TLSConfig = s.services.tls.Clone()
	hs.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
	return hs
}
