package web

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// proxies are the networks whose forwarded headers are believed.
type proxies []netip.Prefix

// trusts reports whether addr, "ip" or "ip:port", is one of them.
func (p proxies) trusts(addr string) bool {
	if len(p) == 0 {
		return false
	}
	ip, err := netip.ParseAddr(hostOnly(addr))
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	for _, n := range p {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// hostOnly strips the port of "ip:port" and "[ip]:port".
func hostOnly(addr string) string {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return ap.Addr().String()
	}
	return strings.Trim(addr, "[]")
}

// address fills Scheme, Host, Prefix and ClientIP. Only what a trusted proxy
// says counts, and of that only what can be part of a URL.
func (p proxies) address(q *Request, r *http.Request) {
	q.Scheme, q.Host = "http", r.Host
	if r.TLS != nil {
		q.Scheme = "https"
	}
	if q.Host == "" { // HTTP/1.0 needs no Host
		if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			q.Host = addr.String()
		}
	}
	q.ClientIP = r.RemoteAddr
	if i := strings.LastIndexByte(q.ClientIP, ':'); i > 0 {
		q.ClientIP = strings.Trim(q.ClientIP[:i], "[]")
	}
	if !p.trusts(r.RemoteAddr) {
		return
	}
	if s := first(r.Header.Get("X-Forwarded-Proto")); s == "http" || s == "https" {
		q.Scheme = s
	}
	if h := first(r.Header.Get("X-Forwarded-Host")); h != "" && validHost(h) {
		q.Host = h
	}
	if x := strings.TrimRight(first(r.Header.Get("X-Forwarded-Prefix")), "/"); x != "" && validPrefix(x) {
		q.Prefix = x
	}
	p.client(q, r.Header.Values("X-Forwarded-For"))
}

// client walks X-Forwarded-For from the end, past our own proxies.
func (p proxies) client(q *Request, values []string) {
	hops := strings.Split(strings.Join(values, ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		ip, err := netip.ParseAddr(hostOnly(strings.TrimSpace(hops[i])))
		if err != nil {
			return
		}
		q.ClientIP = ip.Unmap().String()
		if !p.trusts(q.ClientIP) {
			return
		}
	}
}

// first returns the first of a list of values: the proxy nearest to the client.
func first(s string) string {
	s, _, _ = strings.Cut(s, ",")
	return strings.TrimSpace(s)
}

// validHost reports whether h is host or host:port of RFC 3986 section 3.2, a
// name, an IPv4 address or an IPv6 address in brackets.
func validHost(h string) bool {
	if len(h) > 255 {
		return false
	}
	name, port := h, ""
	if i := strings.LastIndexByte(h, ':'); i > strings.LastIndexByte(h, ']') {
		name, port = h[:i], h[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		return ok && err == nil && ip.Is6() && ip.Zone() == ""
	}
	for i := range len(name) {
		if c := name[i]; !isAlnum(c) && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return name != ""
}

func validPrefix(x string) bool {
	if len(x) > 255 || x[0] != '/' || strings.Contains(x, "//") || strings.Contains(x+"/", "/../") {
		return false
	}
	for i := range len(x) {
		if c := x[i]; !isAlnum(c) && !strings.ContainsRune("/._~-", rune(c)) {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
