package events

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// deliveryTime is how long a destination may take to answer.
const deliveryTime = 30 * time.Second

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

var errAddress = errors.New("the address is private, and the operator has not allowed it")

// Outbound says where events may be sent. The zero value allows what is public, by https.
type Outbound struct {
	// Allow are networks and host names that may be called although they are
	// private, and by http: 10.1.0.0/16, 127.0.0.1/32, hooks.internal.
	Allow []string
}

// networks splits Allow.
func (o Outbound) networks() (nets []netip.Prefix, hosts []string, err error) {
	for _, a := range o.Allow {
		if p, err := netip.ParsePrefix(a); err == nil {
			nets = append(nets, p.Masked())
		} else if ip, err := netip.ParseAddr(a); err == nil {
			nets = append(nets, netip.PrefixFrom(ip, ip.BitLen()))
		} else if a != "" && !strings.ContainsAny(a, "/ :") {
			hosts = append(hosts, strings.ToLower(a))
		} else {
			return nil, nil, fmt.Errorf("%q is neither a network nor a host name", a)
		}
	}
	return nets, hosts, nil
}

// Check reports what is wrong with the list.
func (o Outbound) Check() error {
	_, _, err := o.networks()
	return err
}

// NewClient returns a client for deliveries. It follows no redirects, uses no
// proxy of the environment, and looks at the address that a name was resolved
// to, so that a name that changes its mind reaches nothing else.
func NewClient(o Outbound) (*http.Client, error) {
	nets, hosts, err := o.networks()
	if err != nil {
		return nil, err
	}
	listed := func(ip netip.Addr) bool {
		for _, n := range nets {
			if n.Contains(ip) {
				return true
			}
		}
		return false
	}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		named := false
		for _, h := range hosts {
			named = named || strings.EqualFold(h, host)
		}
		d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if ip := ap.Addr().Unmap(); !named && !listed(ip) && !public(ip) {
				return errAddress
			}
			return nil
		}}
		return d.DialContext(ctx, network, addr)
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dial, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: senders, IdleConnTimeout: 90 * time.Second,
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
func (o Outbound) mayUseHTTP(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	nets, hosts, err := o.networks()
	if err != nil {
		return false
	}
	for _, h := range hosts {
		if strings.EqualFold(h, u.Hostname()) {
			return true
		}
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return strings.EqualFold(u.Hostname(), "localhost") && len(nets) > 0
	}
	for _, n := range nets {
		if n.Contains(ip.Unmap()) {
			return true
		}
	}
	return false
}

// delivery is one request: an event, or a batch of them.
type delivery struct {
	sub    *Subscription
	names  *Names
	events []*Event
	tries  []int // attempts before this one, of each event
}

// body renders the events. A single one is an array too in the schema of Event
// Grid, an object in that of CloudEvents.
func (d *delivery) body() []byte {
	single := d.sub.EventDeliverySchema == CloudEvent && d.sub.Destination.Properties.MaxEventsPerBatch == 1
	var b []byte
	if !single {
		b = append(b, '[')
	}
	for i, e := range d.events {
		if i > 0 {
			b = append(b, ',')
		}
		b = d.names.appendEvent(b, e, d.sub.EventDeliverySchema)
	}
	if !single {
		b = append(b, ']')
	}
	return b
}

// send delivers and says how it ended.
func (d *delivery) send(ctx context.Context, c *http.Client, now time.Time) answer {
	body := d.body()
	p := &d.sub.Destination.Properties
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.EndpointURL, bytes.NewReader(body))
	if err != nil {
		return answer{outcome: GenericError}
	}
	d.headers(req.Header)
	if p.SigningSecret != "" {
		sign(req.Header, p.SigningSecret, d.events[0].ID(), now, body)
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{outcome: failure(err)}
	}
	// A short answer is read to its end, so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	resp.Body.Close()
	return answer{outcome: classify(resp.StatusCode), after: retryAfter(resp.Header, now)}
}

// baseHeaders sets those that do not depend on events: they are on handshakes too.
func (s *Subscription) baseHeaders(h http.Header, eventType string) {
	h.Set("User-Agent", "Hygeia")
	h["aeg-subscription-name"] = []string{strings.ToUpper(s.Name)}
	h["aeg-event-type"] = []string{eventType}
	if s.EventDeliverySchema == EventGrid {
		h.Set("Content-Type", "application/json; charset=utf-8")
		h["aeg-metadata-version"] = []string{"1"}
	}
	for i := range s.Destination.Properties.DeliveryAttributeMappings {
		if m := &s.Destination.Properties.DeliveryAttributeMappings[i]; m.Type == "Static" {
			h.Set(m.Name, m.Properties.Value)
		}
	}
}

// headers sets those of a delivery.
func (d *delivery) headers(h http.Header) {
	d.sub.baseHeaders(h, "Notification")
	first, p := d.events[0], &d.sub.Destination.Properties
	h["aeg-delivery-count"] = []string{strconv.Itoa(d.tries[0])}
	switch {
	case d.sub.EventDeliverySchema == EventGrid:
		h["aeg-data-version"] = []string{strconv.FormatInt(first.Version, 10)}
	case p.MaxEventsPerBatch == 1:
		h.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	default:
		h.Set("Content-Type", "application/cloudevents-batch+json; charset=utf-8")
	}
	if len(d.events) == 1 {
		h["aeg-output-event-id"] = []string{first.ID()}
	}
	for i := range p.DeliveryAttributeMappings {
		m := &p.DeliveryAttributeMappings[i]
		if m.Type != "Dynamic" {
			continue
		}
		if x := d.names.field(first, strings.ToLower(m.Properties.SourceField)); x != nil {
			h.Set(m.Name, fmt.Sprint(x))
		}
	}
}

// signingKey returns the bytes of a secret; nil when it is none.
func signingKey(secret string) []byte {
	text, ok := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil
	}
	return key
}

// sign adds the signature of Standard Webhooks: over id, time and body.
func sign(h http.Header, secret, id string, now time.Time, body []byte) {
	stamp := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, signingKey(secret))
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", stamp)
	h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
