package web

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// GateOptions say what a Gate lets through. Zero values are no limits.
type GateOptions struct {
	AllowFrom               []netip.Prefix // addresses of clients; none = all
	RequestsPerSecond       float64        // of all clients together
	Concurrent              int
	ClientRequestsPerSecond float64 // of each client
	ClientConcurrent        int
}

// Gate stands before one service. It is safe for many goroutines.
type Gate struct {
	opt    GateOptions
	all    *rate
	active atomic.Int64
	each   time.Duration // between two requests of one client; 0 = no limit
	start  time.Time

	mu      sync.Mutex
	clients map[string]*visitor
	swept   time.Time
}

// visitor is what is known of one client.
type visitor struct {
	rate
	active atomic.Int64
}

// NewGate returns a Gate.
func NewGate(opt GateOptions) *Gate {
	return &Gate{
		opt: opt, all: newRate(opt.RequestsPerSecond), each: newRate(opt.ClientRequestsPerSecond).step, start: time.Now(), clients: map[string]*visitor{},
	}
}

// Admit returns nil when the address may ask at all, else a Forbidden fault.
func (g *Gate) Admit(address string) *fault.Error {
	if g == nil || len(g.opt.AllowFrom) == 0 {
		return nil
	}
	ip, err := netip.ParseAddr(address)
	if err == nil {
		ip = ip.Unmap().WithZone("")
		for _, p := range g.opt.AllowFrom {
			if p.Contains(ip) {
				return nil
			}
		}
	}
	return fault.At(fault.Forbidden, "forbidden", "", "requests from this address are not accepted here")
}

func (g *Gate) throttles() bool {
	return g.all.step > 0 || g.opt.Concurrent > 0 || g.each > 0 || g.opt.ClientConcurrent > 0
}

// Enter lets a request of a client in. Leave has to be called, with what Enter
// returned, when it is done. It is a Throttled fault when there are too many.
func (g *Gate) Enter(client string) (*Pass, *fault.Error) {
	if g == nil || !g.throttles() {
		return nil, nil
	}
	now := int64(time.Since(g.start))
	pass := &Pass{gate: g}
	if g.each > 0 || g.opt.ClientConcurrent > 0 {
		pass.visitor = g.visitor(client)
	}
	if v := pass.visitor; v != nil {
		if n := v.active.Add(1); g.opt.ClientConcurrent > 0 && n > int64(g.opt.ClientConcurrent) {
			v.active.Add(-1)
			return nil, tooMany("too many requests of this client at the same time", time.Second)
		}
		if wait := v.admit(now); wait > 0 {
			v.active.Add(-1)
			return nil, tooMany("too many requests per second of this client", wait)
		}
	}
	if n := g.active.Add(1); g.opt.Concurrent > 0 && n > int64(g.opt.Concurrent) {
		pass.Leave()
		return nil, tooMany("too many requests to this service at the same time", time.Second)
	}
	if wait := g.all.admit(now); wait > 0 {
		pass.Leave()
		return nil, tooMany("too many requests per second to this service", wait)
	}
	return pass, nil
}

func tooMany(msg string, wait time.Duration) *fault.Error {
	return &fault.Error{Kind: fault.Throttled, Msg: msg, RetryAfter: wait}
}

// Pass is a request on its way through a Gate.
type Pass struct {
	gate    *Gate
	visitor *visitor
}

// Leave says that the request is done.
func (p *Pass) Leave() {
	if p == nil {
		return
	}
	p.gate.active.Add(-1)
	if p.visitor != nil {
		p.visitor.active.Add(-1)
	}
}

// sweepEvery is how often clients that have been idle are forgotten.
const sweepEvery = time.Minute

// visitor finds a client, or makes it. One that is idle is as good as new, so
// it can be forgotten.
func (g *Gate) visitor(client string) *visitor {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.swept) > sweepEvery {
		g.swept = now
		at := int64(now.Sub(g.start))
		for name, v := range g.clients {
			if v.active.Load() == 0 && v.next.Load() < at {
				delete(g.clients, name)
			}
		}
	}
	v := g.clients[client]
	if v == nil {
		v = &visitor{rate: rate{step: g.each}}
		g.clients[client] = v
	}
	return v
}
