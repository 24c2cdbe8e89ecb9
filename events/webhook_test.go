package events

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// TestClient must not reach private addresses, by no name and by no redirect.
func TestClient(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }))
	defer inside.Close()
	open, err := NewClient(Outbound{})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{inside.URL, strings.Replace(inside.URL, "127.0.0.1", "localhost", 1), strings.Replace(inside.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		if _, err := open.Get(u); !errors.Is(err, errAddress) {
			t.Errorf("%s: %v", u, err)
		}
	}
	allowed, err := NewClient(Outbound{Allow: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := allowed.Get(inside.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	away := httptest.NewServer(http.RedirectHandler(inside.URL, http.StatusFound))
	defer away.Close()
	if resp, err = allowed.Get(away.URL); err != nil || resp.StatusCode != http.StatusFound {
		t.Errorf("a redirect was followed: %v %v", resp, err)
	}
	resp.Body.Close()
}

// TestPublic has the edges of what is private.
func TestPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "172.32.0.1": true, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false, "::1": false, "fe80::1": false, "fc00::1": false, "224.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "255.255.255.255": false,
	} {
		if got := public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}
