package web

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/netip"

	"github.com/hygeia-health/hygeia/platform/auth"
)

// Request is what the chain knows about a request. Handlers read it with From;
// those that know the route set Route, Service, Type and Operation, for the log
// and the metrics.
type Request struct {
	ID          string // X-Request-Id, made here
	Correlation string // the client's own X-Request-Id, cut to visible ASCII; may be empty
	Scheme      string // http or https, as the client sees it
	Host        string // host[:port], as the client sees it
	Prefix      string // path in front of ours that a proxy strips; "" or "/x"
	ClientIP    string // the client, or the last hop that no trusted proxy vouches for

	Route     string // the path with names for values: /{workspace}/{service}/{type}/{id}
	Service   string // workspace/service; "" for the platform itself
	Type      string // FHIR resource type, only when it is one
	Operation string // interaction or operation: read, search-type, $everything

	Principal *auth.Principal // who asks, once that is known; auth.From finds it

	// Audited is set for requests that belong into the audit trail. ResourceID
	// and Entries say more about them: which resource, and what each entry of a
	// Bundle did.
	Audited    bool
	ResourceID string
	Entries    []Entry
	Custom     map[string]string // headers that the client wants in the trail
}

// Entry is one entry of a Bundle, for the audit trail.
type Entry struct {
	Method, Action, Type, ID string
	Status                   int
}

// Client is who a limit for each client counts as one: the address, or the network
// of 64 bits that an IPv6 address lies in. Those who have one have all of it (RFC 6177).
func (q *Request) Client() string {
	ip, err := netip.ParseAddr(q.ClientIP)
	if err != nil || ip.Unmap().Is4() {
		return q.ClientIP
	}
	return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
}

// BaseURL returns the absolute URL of the root, without a trailing slash.
func (q *Request) BaseURL() string { return q.Scheme + "://" + q.Host + q.Prefix }

// scope is what the chain allocates for a request, in one piece: the context,
// the Request in it, and the values of the two header lines.
type scope struct {
	context.Context
	request       Request
	id            [1]string
	correlationID [1]string
}

type contextKey struct{}

// Value implements context.Context.
func (s *scope) Value(key any) any {
	switch key {
	case contextKey{}:
		return &s.request
	case auth.ContextKey:
		if s.request.Principal != nil {
			return s.request.Principal
		}
	}
	return s.Context.Value(key)
}

// From returns the Request of a context that passed the chain, or nil.
func From(ctx context.Context) *Request {
	q, _ := ctx.Value(contextKey{}).(*Request)
	return q
}

// BaseURL returns the absolute URL under which the client reached the root of
// this server, without a trailing slash. It keeps the port.
func BaseURL(r *http.Request) string {
	if q := From(r.Context()); q != nil {
		return q.BaseURL()
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

const hexDigits = "0123456789abcdef"

// newID returns 32 hexadecimal digits that no other request has. It is a name,
// not a secret, so the fast generator of the runtime is enough.
func newID() string {
	var b [32]byte
	for half := range 2 {
		v := rand.Uint64()
		for i := range 16 {
			b[half*16+i] = hexDigits[v&15]
			v >>= 4
		}
	}
	return string(b[:])
}

// maxCorrelation bounds what is copied from a client into the answer and the log.
const maxCorrelation = 128

// correlation returns the client's id when it is short visible ASCII, else "".
func correlation(id string) string {
	if len(id) > maxCorrelation {
		return ""
	}
	for i := range len(id) {
		if id[i] < '!' || id[i] > '~' {
			return ""
		}
	}
	return id
}
