package web

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"
)

// FuzzForwarded checks that no header of a proxy makes a base URL that is none.
func FuzzForwarded(f *testing.F) {
	f.Add("a.example:80", "https", "/x", "1.2.3.4, [::1]:3")
	f.Add("[::1", "http,https", "/../", ",,")
	p := proxies{netip.MustParsePrefix("0.0.0.0/0")}
	f.Fuzz(func(t *testing.T, host, proto, prefix, from string) {
		r := httptest.NewRequest("GET", "http://self.example/", nil)
		r.Header["X-Forwarded-Host"] = []string{host}
		r.Header["X-Forwarded-Proto"] = []string{proto}
		r.Header["X-Forwarded-Prefix"] = []string{prefix}
		r.Header["X-Forwarded-For"] = []string{from}
		var q Request
		p.address(&q, r)
		u, err := url.Parse(q.BaseURL())
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("base URL %q", q.BaseURL())
		}
		if _, err := netip.ParseAddr(q.ClientIP); err != nil {
			t.Errorf("client %q", q.ClientIP)
		}
	})
}

// FuzzAcceptsGzip checks that no header makes the parser fail.
func FuzzAcceptsGzip(f *testing.F) {
	f.Add("gzip;q=0.5, *;q=0")
	f.Fuzz(func(t *testing.T, s string) { acceptsGzip(s) })
}

func TestRate(t *testing.T) {
	sec := int64(time.Second)
	r := newRate(0.5) // one in two seconds
	if r.admit(0) != 0 {
		t.Error("the first was refused")
	}
	if got := r.admit(0); got != 2*time.Second {
		t.Errorf("wait %v, want 2s", got)
	}
	if r.admit(2*sec) != 0 {
		t.Error("on time and refused")
	}
	free := newRate(0)
	for range 100 {
		if free.admit(0) != 0 {
			t.Fatal("no limit, but refused")
		}
	}
}

func TestAppend(t *testing.T) {
	if got := string(appendJSON(nil, "a\"\\\n\x7fü")); got != `"a\"\\????"` {
		t.Error(got)
	}
	for d, want := range map[time.Duration]string{0: "0.000", 1500 * time.Microsecond: "1.500", 12*time.Second + 7*time.Microsecond: "12000.007"} {
		if got := string(appendMillis(nil, d)); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
	var c clock
	at := time.Date(2026, 11, 21, 11, 0, 0, 7e6, time.FixedZone("", 3600))
	for range 2 {
		if got := string(c.append(nil, at)); got != "2026-11-21T10:00:00.007Z" {
			t.Error(got)
		}
	}
}

func TestNoHost(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = ""
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}))
	var q Request
	proxies(nil).address(&q, r)
	if q.BaseURL() != "http://127.0.0.1:8080" {
		t.Error(q.BaseURL())
	}
}
