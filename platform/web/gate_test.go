package web_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

func TestGateAddresses(t *testing.T) {
	g := web.NewGate(web.GateOptions{AllowFrom: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::/32")}})
	for address, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "2001:db8::1": true, "10.2.0.1": false, "127.0.0.1": false, "": false, "nonsense": false, "fe80::1%eth0": false,
	} {
		if err := g.Admit(address); (err == nil) != want || err != nil && err.Kind != fault.Forbidden {
			t.Errorf("%s: %v", address, err)
		}
	}
	var none *web.Gate
	if none.Admit("1.2.3.4") != nil || web.NewGate(web.GateOptions{}).Admit("nonsense") != nil {
		t.Error("a gate without a list refuses")
	}
	pass, err := none.Enter("a")
	if pass.Leave(); err != nil {
		t.Error(err)
	}
}

func TestClientOfRequest(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "::ffff:192.0.2.7": "::ffff:192.0.2.7", "fe80::1%eth0": "fe80::/64", "pipe": "pipe",
	} {
		if got := (&web.Request{ClientIP: address}).Client(); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestGateRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := web.NewGate(web.GateOptions{ClientRequestsPerSecond: 5, RequestsPerSecond: 8})
		ask := func(client string) *fault.Error {
			pass, err := g.Enter(client)
			pass.Leave()
			return err
		}
		admitted := map[string]int{}
		for range 20 {
			for _, c := range []string{"greedy", "modest"} {
				if c == "modest" && admitted[c] == 2 {
					continue
				}
				if err := ask(c); err == nil {
					admitted[c]++
				} else if err.Kind != fault.Throttled || err.RetryAfter <= 0 || err.RetryAfter > time.Second {
					t.Fatalf("got %v after %s", err, err.RetryAfter)
				}
			}
		}
		if admitted["greedy"] != 5 || admitted["modest"] != 2 {
			t.Errorf("admitted %v", admitted)
		}
		time.Sleep(200 * time.Millisecond)
		if err := ask("greedy"); err != nil {
			t.Errorf("after a fifth of a second: %v", err)
		}
		if err := ask("greedy"); err == nil {
			t.Error("a second one at once")
		}
	})
}

func TestGateConcurrency(t *testing.T) {
	g := web.NewGate(web.GateOptions{Concurrent: 3, ClientConcurrent: 2})
	var in []*web.Pass
	for _, c := range []struct {
		client string
		want   bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"c", false}} {
		pass, err := g.Enter(c.client)
		if (err == nil) != c.want {
			t.Errorf("%s: %v", c.client, err)
		}
		if err == nil {
			in = append(in, pass)
		}
	}
	for _, p := range in {
		p.Leave()
	}
	if pass, err := g.Enter("c"); err != nil {
		t.Errorf("after all have left: %v", err)
	} else {
		pass.Leave()
	}
}

// TestGateMemory keeps limits for 10,000 clients in 20 MB, and forgets them.
func TestGateMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		g := web.NewGate(web.GateOptions{ClientRequestsPerSecond: 5, ClientConcurrent: 10})
		for i := range 10_000 {
			pass, err := g.Enter(fmt.Sprintf("client-%032d", i))
			if err != nil {
				t.Fatal(err)
			}
			pass.Leave()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		t.Logf("10,000 clients take %d KiB", used>>10)
		if used > 20<<20 {
			t.Errorf("10,000 clients take %d bytes", used)
		}
		time.Sleep(2 * time.Minute)
		pass, _ := g.Enter("one")
		pass.Leave()
		if n := g.Clients(); n != 1 {
			t.Errorf("%d clients are remembered after two idle minutes", n)
		}
	})
}

func BenchmarkGate(b *testing.B) {
	g := web.NewGate(web.GateOptions{ClientRequestsPerSecond: 1e9, RequestsPerSecond: 1e9, Concurrent: 1000, ClientConcurrent: 1000})
	b.ReportAllocs()
	for b.Loop() {
		pass, err := g.Enter("client")
		if err != nil {
			b.Fatal(err)
		}
		pass.Leave()
	}
}
