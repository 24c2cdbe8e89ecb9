package manage

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Gateway is what stands before a service: who may reach it from where, and how
// often. Zero values are no limits.
type Gateway struct {
	AllowFrom               []string `json:"allowFrom,omitempty" yaml:"allow_from,omitempty"` // addresses and networks
	RequestsPerSecond       float64  `json:"requestsPerSecond,omitempty" yaml:"requests_per_second,omitempty"`
	Concurrent              int      `json:"concurrent,omitempty" yaml:"concurrent,omitempty"`
	ClientRequestsPerSecond float64  `json:"clientRequestsPerSecond,omitempty" yaml:"client_requests_per_second,omitempty"`
	ClientConcurrent        int      `json:"clientConcurrent,omitempty" yaml:"client_concurrent,omitempty"`
	CORS                    *CORS    `json:"corsConfiguration,omitempty" yaml:"cors,omitempty"`
}

// CORS is the corsConfiguration of a service of Azure Health Data Services: it
// stands in place of what the server allows elsewhere.
type CORS struct {
	Origins          []string `json:"origins" yaml:"origins"`
	Methods          []string `json:"methods,omitempty" yaml:"methods,omitempty"` // none = all that services know
	Headers          []string `json:"headers,omitempty" yaml:"headers,omitempty"` // none = all that are asked for
	MaxAge           int      `json:"maxAge,omitempty" yaml:"max_age,omitempty"`  // seconds
	AllowCredentials bool     `json:"allowCredentials,omitempty" yaml:"allow_credentials,omitempty"`
}

// Networks returns AllowFrom in parsed form.
func (g *Gateway) Networks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range g.AllowFrom {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, e := netip.ParseAddr(s)
			if e != nil {
				return nil, fault.New(fault.Invalid, "gateway: %.64q is neither an address nor a network", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// check returns what is wrong with g.
func (g *Gateway) check() error {
	if g == nil {
		return nil
	}
	if _, err := g.Networks(); err != nil {
		return err
	}
	ok := func(f float64) bool { return f >= 0 && f <= 1e9 }
	if !ok(g.RequestsPerSecond) || !ok(g.ClientRequestsPerSecond) || g.Concurrent < 0 || g.ClientConcurrent < 0 {
		return fault.New(fault.Invalid, "gateway: a limit is negative or too large")
	}
	if g.CORS == nil {
		return nil
	}
	if g.CORS.MaxAge < 0 || g.CORS.MaxAge > 99999 {
		return fault.New(fault.Invalid, "gateway: the maximum age of CORS is 0 to 99999 seconds")
	}
	for _, o := range g.CORS.Origins {
		if o == "*" {
			if g.CORS.AllowCredentials {
				return fault.New(fault.Invalid, "gateway: credentials and the origin * do not go together; name the origins")
			}
			continue
		}
		u, err := url.Parse(o)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			return fault.New(fault.Invalid, "gateway: %.100q is no origin such as https://app.example.org", o)
		}
	}
	for _, m := range g.CORS.Methods {
		if m == "" || m != strings.ToUpper(m) {
			return fault.New(fault.Invalid, "gateway: %.20q is no method", m)
		}
	}
	return nil
}
