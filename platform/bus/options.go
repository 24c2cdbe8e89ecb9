package bus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Kind is the protocol of a broker.
type Kind string

// The kinds.
const (
	Kafka Kind = "kafka"
	NATS  Kind = "nats" // JetStream
)

// dialTime bounds a connection attempt.
const dialTime = 10 * time.Second

// Options say where a broker is and who we are.
type Options struct {
	Kind   Kind
	URLs   []string // nats://host:4222; for Kafka host:9092
	User   string
	Secret string      // password of User; in clear
	TLS    *tls.Config // not nil switches TLS on; Kafka always uses it for a password
	// Dial connects to an address that the options or the broker name; nil means
	// net.Dialer. It can refuse.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Check says what is wrong with options, before anything is started.
func (o *Options) Check() error {
	if o.Kind != Kafka && o.Kind != NATS {
		return fmt.Errorf("kind %.40q is unknown; it is kafka or nats", string(o.Kind))
	}
	if len(o.URLs) == 0 {
		return errors.New("urls: where the broker is, such as " + map[Kind]string{Kafka: "host:9092", NATS: "nats://host:4222"}[o.Kind])
	}
	for _, u := range o.URLs {
		if _, err := o.address(u); err != nil {
			return fmt.Errorf("urls: %w", err)
		}
	}
	return nil
}

// Addresses returns where to connect to, as host:port.
func (o *Options) Addresses() []string {
	list := make([]string, 0, len(o.URLs))
	for _, u := range o.URLs {
		if a, err := o.address(u); err == nil {
			list = append(list, a)
		}
	}
	return list
}

func (o *Options) address(text string) (string, error) {
	if o.Kind == Kafka {
		host, port, err := net.SplitHostPort(text)
		if err != nil || host == "" || port == "" || strings.ContainsAny(host, "/@") {
			return "", fmt.Errorf("%.80q is not host:port", text)
		}
		return text, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls"}, u.Scheme) {
		return "", fmt.Errorf("%.80q does not begin with nats:// or tls://", text)
	}
	if u.User != nil {
		return "", errors.New("user and password have settings of their own")
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "4222")), nil
}

// dial connects without TLS.
func (o *Options) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if o.Dial != nil {
		return o.Dial(ctx, network, address)
	}
	return (&net.Dialer{Timeout: dialTime}).DialContext(ctx, network, address)
}

// secure connects with TLS, to the name that the address has.
func (o *Options) secure(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := o.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		cfg = o.TLS.Clone()
	}
	if cfg.ServerName == "" {
		if cfg.ServerName, _, err = net.SplitHostPort(address); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	c := tls.Client(conn, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}
