package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/medtech/ingest"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
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

// startSource starts a source of a MedTech service.
func (s *service) startSource(m *medtechRoom, src manage.MedTechSource) error {
	o := sourceOptions(s.ref, src)
	o.Log = s.all.log.With("service", s.ref.String())
	if src.Password != "" {
		var err error
		if o.Secret, err = secret(src.Password); err != nil {
			return err
		}
	}
	if o.Type == ingest.Broker {
		if s.all.identity == nil && !isLoopback(src.Listen) {
			return errors.New("listen: without authentication (--insecure) a broker listens on a loopback address only")
		}
		o.TLS = s.all.tls
		if s.all.identity != nil {
			o.Authenticate = s.authenticateDevice
		}
	}
	report := func(err error) { m.service.SetSource(src.Name, err) }
	started, err := ingest.Start(o, m.inbox, report)
	if err != nil {
		return err
	}
	m.sources = append(m.sources, started)
	return nil
}

// authenticateDevice decides about a connection to a built-in broker: the
// password is a bearer token that may send messages to the service.
func (s *service) authenticateDevice(ctx context.Context, _ string, password []byte) error {
	p, err := s.realm.Load().Authenticate(ctx, "Bearer "+string(password))
	if err != nil {
		return err
	}
	return s.all.identity.guard(s.ref).Authorize(auth.WithPrincipal(ctx, p), auth.MedTechSend)
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
