package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/medtech/ingest"
	"github.com/hygeia-health/hygeia/platform/audit"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

// sourceOptions returns a source in the words of the room, without its secrets.
func sourceOptions(ref manage.Ref, s manage.MedTechSource) ingest.Options {
	o := ingest.Options{
		Name: s.Name, Type: ingest.Type(s.Type), Listen: s.Listen, URLs: s.URLs, Topics: s.Topics, Stream: s.Stream, Group: s.Group, User: s.User,
	}
	if o.Group == "" {
		o.Group = "hygeia-" + ref.Workspace + "-" + ref.Service + "-" + s.Name
	}
	if s.TLS {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o
}

// checkSources says what is wrong with the sources of a service.
func checkSources(list []manage.MedTechSource) error {
	for _, s := range list {
		o := sourceOptions(manage.Ref{}, s)
		err := o.Check()
		if err == nil {
			err = checkIdle(s)
		}
		if err != nil {
			return fault.New(fault.Invalid, "source %s: %v", s.Name, err)
		}
	}
	return nil
}

// checkIdle refuses settings that would do nothing: a password on a broker that
// asks for tokens, or tls on a connection without it, promise what is not there.
func checkIdle(s manage.MedTechSource) error {
	clients := []ingest.Type{ingest.MQTT, ingest.Kafka, ingest.NATS}
	for _, m := range []struct {
		name  string
		given bool
		of    []ingest.Type
	}{
		{"listen", s.Listen != "", []ingest.Type{ingest.Broker}},
		{"urls", len(s.URLs) > 0, clients},
		{"stream", s.Stream != "", []ingest.Type{ingest.NATS}},
		{"group", s.Group != "", clients},
		{"user", s.User != "", clients},
		{"password", s.Password != "", clients},
		{"tls", s.TLS, []ingest.Type{ingest.Kafka, ingest.NATS}},
	} {
		if m.given && !slices.Contains(m.of, ingest.Type(s.Type)) {
			return fmt.Errorf("%s: has no meaning for the type %s", m.name, s.Type)
		}
	}
	if s.Password != "" && s.User == "" {
		return errors.New("password: there is no user that it belongs to")
	}
	return nil
}

// startSources starts the sources of a MedTech service. Brokers listen on every
// node; what has to be asked for messages is asked by one node, so that those of a
// device come in their order and a client id is there once.
func (s *service) startSources(m *medtechRoom, list []manage.MedTechSource) error {
	var asked []ingest.Options
	for _, src := range list {
		o, err := s.source(src)
		if err == nil && o.Type == ingest.Broker {
			err = s.startBroker(m, o)
		} else {
			asked = append(asked, o)
		}
		if err != nil {
			return fault.New(fault.Invalid, "source %s: %v", src.Name, err)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	var owner sync.WaitGroup
	owner.Go(func() { m.service.Own(ctx, func(ctx context.Context) { s.ask(ctx, m, asked) }) })
	m.disown = func() {
		stop()
		owner.Wait()
	}
	return nil
}

// source returns a source with its secrets.
func (s *service) source(src manage.MedTechSource) (ingest.Options, error) {
	o := sourceOptions(s.ref, src)
	o.Log = s.all.log.With("service", s.ref.String())
	if src.Password != "" {
		var err error
		if o.Secret, err = s.all.refs.secret(src.Password); err != nil {
			return o, err
		}
	}
	return o, o.Check()
}

func (s *service) startBroker(m *medtechRoom, o ingest.Options) error {
	if s.all.identity == nil && !isLoopback(o.Listen) {
		return errors.New("listen: without authentication (--insecure) a broker listens on a loopback address only")
	}
	o.TLS = s.all.tls
	if s.all.identity != nil {
		o.Authenticate = s.authenticateDevice
	}
	started, err := ingest.Start(o, m.inbox, func(err error) { m.service.SetSource(o.Name, err) })
	if err != nil {
		return err
	}
	m.brokers = append(m.brokers, started)
	return nil
}

// ask runs sources until ctx ends.
func (s *service) ask(ctx context.Context, m *medtechRoom, list []ingest.Options) {
	for _, o := range list {
		src, err := ingest.Start(o, m.inbox, func(err error) { m.service.SetSource(o.Name, err) })
		if err != nil { // source saw what is wrong before
			m.service.SetSource(o.Name, err)
			continue
		}
		defer func() {
			src.Close()
			m.service.ForgetSource(o.Name)
		}()
	}
	<-ctx.Done()
}

// authenticateDevice decides about a connection to a built-in broker: the
// password is a bearer token that may send messages to the service. Who connects,
// or tries to, stands in the audit trail; while that cannot be written nobody does.
func (s *service) authenticateDevice(ctx context.Context, _ string, password []byte) (still func(context.Context) error, err error) {
	header := "Bearer " + string(password)
	p, err := s.mayMessage(ctx, header)
	if err := s.recordDevice(ctx, p, "connect", err); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		p, err := s.mayMessage(ctx, header)
		if err == nil {
			return nil
		}
		return s.recordDevice(ctx, p, "messages", err)
	}, nil
}

// mayMessage returns who shows a token, and nil when that one may send messages. A
// token that was seen before costs a look into a map.
func (s *service) mayMessage(ctx context.Context, header string) (*auth.Principal, error) {
	p, err := s.realm.Load().Authenticate(ctx, header)
	if err == nil {
		err = s.all.identity.guard(s.ref).Authorize(auth.WithPrincipal(ctx, p), auth.MedTechSend)
	}
	return p, err
}

// recordDevice writes what a device did, or tried to do, into the audit trail; it
// returns err, or why that cannot be written.
func (s *service) recordDevice(ctx context.Context, p *auth.Principal, action string, err error) error {
	rec := audit.Record{Service: s.ref.String(), Method: "MQTT", Action: action, Status: http.StatusOK}
	if p != nil {
		rec.Principal, rec.Client, rec.Issuer, rec.User = p.ID, p.Client, p.Issuer, p.FHIRUser
	}
	if err != nil {
		rec.Status = web.Status(fault.From(err).Kind)
	}
	return errors.Join(err, s.all.trail.append(ctx, true, rec))
}

// isLoopback reports whether only this machine can reach an address.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
