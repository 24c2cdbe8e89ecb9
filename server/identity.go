package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/auth/idp"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

// The files of identity below the data folder.
const (
	identityDB    = "identity.db"
	identityKey   = "identity.key"
	bootstrapFile = "bootstrap.json"
)

// bootstrapClient is the client with which everything begins.
const bootstrapClient = "bootstrap"

// identity is the built-in provider with the realm of the platform itself. It
// is nil when authentication is off.
type identity struct {
	provider *idp.Provider
	platform *auth.Realm
}

// openIdentity opens the provider; nil when authentication is off.
func openIdentity(ctx context.Context, s *Server) (*identity, error) {
	cfg := &s.cfg
	if cfg.Insecure {
		return nil, nil
	}
	sealer, err := openSealer(cfg)
	if err != nil {
		return nil, fmt.Errorf("identity.key: %w", err)
	}
	d, err := db.Open(cfg.place(identityDB), db.Options{Readers: 2})
	if err != nil {
		return nil, err
	}
	p, err := idp.Open(ctx, idp.Deps{
		DB: d, Sealer: sealer, Log: s.log, BaseURL: web.BaseURL, Issuer: cfg.Identity.Issuer, Error: web.Problem,
		AccessTime: cfg.Identity.AccessTokenTime, RefreshTime: cfg.Identity.RefreshTokenTime,
		Workspace: func(name string) bool { _, err := s.plane.Workspace(name); return err == nil },
		Patient:   s.patient,
		Resource:  s.byHostName,
		Who: func(r *http.Request, principal, client string) {
			if q := web.From(r.Context()); q != nil {
				q.Principal = &auth.Principal{ID: principal, Client: client}
			}
		},
		ClientIP: func(r *http.Request) string {
			if q := web.From(r.Context()); q != nil {
				return q.Client()
			}
			return r.RemoteAddr
		},
	})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	i := &identity{provider: p}
	i.platform = auth.NewRealm("/", p, i.trust(), nil)
	return i, nil
}

// openSealer takes the key that the configuration names, or keeps one of its own.
func openSealer(cfg *Config) (*idp.Sealer, error) {
	ref := cfg.Identity.Key
	if ref == "" {
		return idp.OpenSealer(filepath.Join(cfg.Data, identityKey))
	}
	text, err := secret(ref)
	if err != nil {
		return nil, err
	}
	return idp.ParseSealer(text)
}

// realmOf returns the realm of the platform; nil when authentication is off.
func (i *identity) realmOf() *auth.Realm {
	if i == nil {
		return nil
	}
	return i.platform
}

// trust returns the built-in provider as somebody to believe.
func (i *identity) trust() []auth.Trust { return []auth.Trust{{Keys: i.provider, BuiltIn: true}} }

// Close gives the database back.
func (i *identity) Close() error {
	if i == nil {
		return nil
	}
	return i.provider.Close()
}

// realm returns who may ask a service; nil when authentication is off.
func (i *identity) realm(ref manage.Ref, spec manage.Spec) (*auth.Realm, error) {
	if i == nil {
		return nil, nil
	}
	trust := i.trust()
	if spec.Authority != "" {
		ext, err := auth.NewExternal(spec.Authority, nil)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%v", err)
		}
		trust = append(trust, auth.Trust{Keys: ext, Audience: []string{spec.Audience}})
	}
	return auth.NewRealm("/"+ref.String(), i.provider, trust, nil), nil
}

// guard returns what decides for a service; nil when authentication is off.
func (i *identity) guard(ref manage.Ref) *auth.Guard {
	if i == nil {
		return nil
	}
	return auth.NewGuard("/" + ref.String())
}

// forget deletes the roles at a scope that is gone.
func (i *identity) forget(ctx context.Context, scope string) error {
	if i == nil {
		return nil
	}
	return i.provider.ForgetScope(ctx, scope)
}

// bootstrap makes the first client and writes how to use it. Its file is written
// before the client counts, so that a crash between the two starts over.
func (i *identity) bootstrap(ctx context.Context, cfg *Config, issuer string) error {
	if i == nil {
		return nil
	}
	path := filepath.Join(cfg.Data, bootstrapFile)
	err := i.provider.EnsureFirst(ctx, bootstrapClient, func(secret string) error {
		if secret == "" {
			return os.Remove(path)
		}
		return writeBootstrap(path, map[string]string{"issuer": issuer, "client_id": bootstrapClient, "client_secret": secret})
	})
	if err != nil {
		return err
	}
	// The address may be another one than at the last start.
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the operator put it away
	}
	if err != nil {
		return err
	}
	var b map[string]string
	if err := json.Unmarshal(text, &b); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if b["issuer"] == issuer {
		return nil
	}
	b["issuer"] = issuer
	return writeBootstrap(path, b)
}

func writeBootstrap(path string, b map[string]string) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// byHostName returns the scope of a service that has a host name of its own.
func (s *Server) byHostName(resource string) string {
	u, err := url.Parse(resource)
	if err != nil || s.cfg.Domain == "" || u.Path != "" {
		return ""
	}
	label, ok := strings.CutSuffix(hostName(u.Host), "."+s.cfg.Domain)
	if !ok {
		return ""
	}
	if sv := s.services.table.Load().byHost[label]; sv != nil {
		return "/" + sv.ref.String()
	}
	return ""
}

// patient returns nil when the principal may read a patient.
func (s *Server) patient(ctx context.Context, scope string, p *auth.Principal, id string) error {
	sv := s.services.table.Load().byPath[strings.TrimPrefix(scope, "/")]
	if sv == nil {
		return fault.New(fault.NotFound, "there is no service %s", scope)
	}
	sv.inFlight.RLock()
	defer sv.inFlight.RUnlock()
	h, err := sv.open(ctx)
	if err != nil || h.room == nil {
		return errors.Join(fault.New(fault.NotFound, "there is no FHIR service %s", scope), err)
	}
	_, err = h.room.Do(auth.WithPrincipal(ctx, p), &fhir.Interaction{Verb: fhir.VerbRead, Type: "Patient", ID: id})
	return err
}

// authenticate finds out who asks. It answers and returns nil when that fails.
func (rt *router) authenticate(w http.ResponseWriter, r *http.Request, realm *auth.Realm) *http.Request {
	if realm == nil {
		return r
	}
	p, err := realm.Authenticate(r.Context(), r.Header.Get("Authorization"))
	if err == nil {
		web.From(r.Context()).Principal = p
		return r
	}
	if q := web.From(r.Context()); q.Operation == "" { // the edge, which knows, is not reached
		q.Operation = "authenticate"
	}
	e := fault.From(err)
	switch {
	case e.Kind == fault.Unauthenticated && r.Header.Get("Authorization") == "":
		w.Header().Set("WWW-Authenticate", `Bearer realm="hygeia"`)
	case e.Kind == fault.Unauthenticated:
		w.Header().Set("WWW-Authenticate", `Bearer realm="hygeia", error="invalid_token"`)
	default:
		rt.log.LogAttrs(r.Context(), slog.LevelError, "authentication failed", slog.Any("err", err))
	}
	rt.refuse(w, r, e)
	return nil
}

// publicPaths are what anybody may ask of a service of a kind, below its base.
var publicPaths = map[manage.Kind][]string{
	manage.KindFHIR:  {"/metadata", "/$versions", "/.well-known/smart-configuration"},
	manage.KindDICOM: {"/health/check"},
}

// isPublic reports whether a request needs no token: the documents by which a
// client finds out how to get one (SMART App Launch 2.2, "Conformance"), and OPTIONS.
func isPublic(kind manage.Kind, method, path string) bool {
	if method == http.MethodOptions {
		return true
	}
	if method != http.MethodGet && method != http.MethodHead {
		return false
	}
	for _, p := range publicPaths[kind] {
		if path == p {
			return true
		}
	}
	return false
}
