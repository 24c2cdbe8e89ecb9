package events

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

var errAddress = errors.New("the address is private, and the operator has not allowed it")

// Outbound says where events may be sent. The zero value allows webhooks at what is
// public, by https.
type Outbound struct {
	// Allow are networks and host names that may be called although they are
	// private, and by http: 10.1.0.0/16, 127.0.0.1/32, hooks.internal. Brokers
	// have to be among them wherever they are.
	Allow []string
}

// guard is an Outbound that was read.
type guard struct {
	nets  []netip.Prefix
	hosts []string
}

func (o Outbound) guard() (*guard, error) {
	g := &guard{}
	for _, a := range o.Allow {
		if p, err := netip.ParsePrefix(a); err == nil {
			g.nets = append(g.nets, p.Masked())
		} else if ip, err := netip.ParseAddr(a); err == nil {
			g.nets = append(g.nets, netip.PrefixFrom(ip, ip.BitLen()))
		} else if a != "" && !strings.ContainsAny(a, "/ :") {
			g.hosts = append(g.hosts, strings.ToLower(a))
		} else {
			return nil, fmt.Errorf("%q is neither a network nor a host name", a)
		}
	}
	return g, nil
}

// Check reports what is wrong with the list.
func (o Outbound) Check() error {
	_, err := o.guard()
	return err
}

func (g *guard) listed(ip netip.Addr) bool {
	return slices.ContainsFunc(g.nets, func(n netip.Prefix) bool { return n.Contains(ip) })
}

func (g *guard) named(host string) bool {
	return slices.Contains(g.hosts, strings.ToLower(host))
}

// dialer returns a function that connects to what is allowed. It looks at the
// address that a name was resolved to, so that a name that changes its mind
// reaches nothing else. open says that what is public is allowed, too.
func (g *guard) dialer(open bool) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if ip := ap.Addr().Unmap(); !g.named(host) && !g.listed(ip) && (!open || !public(ip)) {
				return errAddress
			}
			return nil
		}}
		return d.DialContext(ctx, network, addr)
	}
}

// NewClient returns a client for deliveries. It follows no redirects and uses no
// proxy of the environment.
func NewClient(o Outbound) (*http.Client, error) {
	g, err := o.guard()
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: g.dialer(true), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: senders, IdleConnTimeout: 90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: deliveryTime, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       deliveryTime,
	}, nil
}

// public reports whether an address belongs to everybody.
func public(ip netip.Addr) bool {
	if !ip.IsValid() || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip.IsInterfaceLocalMulticast() {
		return false
	}
	for _, n := range special {
		if n.Contains(ip) {
			return false
		}
	}
	return true
}

// special are further networks that are nobody's on the Internet (RFC 6890), or
// lead to others by translation.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
}

// mayUseHTTP reports whether an address may be called without TLS.
func (g *guard) mayUseHTTP(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	if u.Scheme == "https" || g.named(u.Hostname()) {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return strings.EqualFold(u.Hostname(), "localhost") && len(g.nets) > 0
	}
	return g.listed(ip.Unmap())
}
