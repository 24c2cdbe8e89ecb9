package server

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/auth/idp"
	"github.com/hygeia-health/hygeia/platform/web"
)

// gateway is what stands before a service.
type gateway struct {
	gate *web.Gate // nil = lets everybody through
	cors *web.CORS // nil = as the server does elsewhere
}

// newGateway makes the gateway of a service; limits of the server hold for the
// clients of services that have none of their own.
func newGateway(l LimitsConfig, g *manage.Gateway) (*gateway, error) {
	opt := web.GateOptions{ClientRequestsPerSecond: l.ClientRequestsPerSecond, ClientConcurrent: l.ClientConcurrent}
	out := &gateway{}
	if g != nil {
		var err error
		if opt.AllowFrom, err = g.Networks(); err != nil {
			return nil, err
		}
		opt.RequestsPerSecond, opt.Concurrent = g.RequestsPerSecond, g.Concurrent
		if g.ClientRequestsPerSecond > 0 {
			opt.ClientRequestsPerSecond = g.ClientRequestsPerSecond
		}
		if g.ClientConcurrent > 0 {
			opt.ClientConcurrent = g.ClientConcurrent
		}
		if c := g.CORS; c != nil {
			out.cors = &web.CORS{
				Origins: c.Origins, Methods: c.Methods, Headers: c.Headers, Credentials: c.AllowCredentials, MaxAge: time.Duration(c.MaxAge) * time.Second,
			}
			if len(c.Methods) == 0 {
				out.cors.Methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
			}
			if len(c.Headers) == 0 {
				out.cors.Headers = []string{"*"}
			}
		}
	}
	out.gate = web.NewGate(opt)
	return out, nil
}

// find returns the service that a request is for, or nil.
func (rt *router) find(r *http.Request) (sv *service, rest string) {
	t := rt.services.table.Load()
	if label, ok := rt.label(web.From(r.Context())); ok {
		return t.byHost[label], r.URL.Path
	}
	name := servicePath(r.URL.Path)
	if sv = t.byPath[name]; sv == nil {
		return nil, ""
	}
	return sv, r.URL.Path[1+len(name):]
}

// cors returns the CORS of the service that a request is for, when it has its
// own. The identity provider may be called by the pages of its applications.
func (rt *router) cors(r *http.Request) *web.CORS {
	if r.Header.Get("Origin") == "" {
		return nil
	}
	if rt.identity != nil && slices.Contains(idp.Paths, r.URL.Path) {
		if origin := r.Header.Get("Origin"); rt.identity.provider.KnowsOrigin(origin) {
			return &web.CORS{Origins: []string{origin}, Methods: []string{"GET", "POST"}, Headers: []string{"*"}, MaxAge: time.Hour}
		}
		return nil
	}
	if sv, _ := rt.find(r); sv != nil {
		return sv.gateway.Load().cors
	}
	return nil
}

// enter lets a request of a client through the gate; it answers and returns
// false when that is not possible now. An anonymous client is its address or network.
func (rt *router) enter(w http.ResponseWriter, r *http.Request, sv *service) (*web.Pass, bool) {
	q := web.From(r.Context())
	client := "address " + q.Client()
	if p := q.Principal; p != nil {
		if client = "client " + p.Issuer + " " + p.Client; p.Client == "" {
			client = "subject " + p.Issuer + " " + p.ID
		}
	}
	pass, err := sv.gateway.Load().gate.Enter(client)
	if err != nil {
		q.Operation = "admit"
		rt.refuse(w, r, err)
		return nil, false
	}
	return pass, true
}

// certificate is a TLS certificate that is read again when its files change, so
// that a renewed one needs no restart.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time
	checked time.Time
}

// certificateEvery is how often the files are looked at, at most.
const certificateEvery = time.Second

func openCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	c.checked = time.Now()
	return c, nil
}

// load reads the files. What was there stays when that fails.
func (c *certificate) load() error {
	stamp, err := c.stamps()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.current, c.stamp = &pair, stamp
	return nil
}

func (c *certificate) stamps() (out [2]time.Time, err error) {
	a, err1 := os.Stat(c.cert)
	b, err2 := os.Stat(c.key)
	if err := errors.Join(err1, err2); err != nil {
		return out, err
	}
	return [2]time.Time{a.ModTime(), b.ModTime()}, nil
}

// get implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certificateEvery {
		c.checked = now
		if stamp, err := c.stamps(); err != nil || stamp != c.stamp {
			if err == nil {
				err = c.load()
			}
			if err != nil {
				c.log.Error("the certificate cannot be read again; the old one stays", "err", err)
			} else {
				c.log.Info("the certificate was read again")
			}
		}
	}
	return c.current, nil
}
