package ingest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/hygeia-health/hygeia/medtech"
)

// broker is the built-in MQTT broker (3.1.1 and 5.0). It is for sending only:
// nobody can subscribe, and nothing is retained.
type broker struct {
	server *mqtt.Server
	hook   *hook
	addr   string
	stop   context.CancelFunc
}

// sessionTime is how long a client that went away is known: what it sent with QoS 2
// and did not release is not taken twice in that time.
const sessionTime = time.Hour

// maxPacket is the largest packet: a message and its topic.
const maxPacket = medtech.MaxMessage + 64<<10

func startBroker(o Options, inbox *medtech.Inbox, report func(error)) (*broker, error) {
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumPacketSize = maxPacket
	caps.RetainAvailable = 0
	caps.WildcardSubAvailable, caps.SharedSubAvailable, caps.SubIDAvailable = 0, 0, 0
	caps.MaximumClientWritesPending = 1 // a queue of each client for what it subscribes to
	caps.MaximumSessionExpiryInterval = uint32(sessionTime / time.Second)
	server := mqtt.New(&mqtt.Options{Capabilities: caps, Logger: slog.New(slog.DiscardHandler), SysTopicResendInterval: 3600})
	ctx, stop := context.WithCancel(context.Background())
	h := &hook{ctx: ctx, o: o, inbox: inbox, server: server, entering: map[*mqtt.Client]bool{}}
	ln, err := listen(o)
	if err != nil {
		stop()
		return nil, err
	}
	err = errors.Join(server.AddHook(h, nil), server.AddListener(listeners.NewNet(o.Name, ln)))
	if err == nil {
		err = server.Serve()
	}
	if err != nil {
		stop()
		_ = ln.Close() // the server may know it, or not yet
		return nil, errors.Join(err, server.Close())
	}
	o.Log.LogAttrs(ctx, slog.LevelInfo, "MQTT broker listens", slog.String("source", o.Name), slog.String("address", ln.Addr().String()))
	report(nil)
	return &broker{server, h, ln.Addr().String(), stop}, nil
}

// closeTime is how long clients may take to hear that the broker stops.
const closeTime = time.Second

// Close implements Source.
func (b *broker) Close() {
	b.stop()
	late := time.AfterFunc(closeTime, func() {
		for cl := range b.hook.clients.Range {
			cl.(*mqtt.Client).Stop(packets.ErrServerShuttingDown)
		}
	})
	_ = b.server.Close() // listeners that are closed already
	late.Stop()
	for cl, c := range b.hook.clients.Range {
		cl.(*mqtt.Client).Stop(packets.ErrServerShuttingDown)
		c.(*client).acks.close()
	}
}

// hook is what the broker asks.
type hook struct {
	mqtt.HookBase
	ctx    context.Context
	o      Options
	inbox  *medtech.Inbox
	server *mqtt.Server

	clients sync.Map // of *client by *mqtt.Client

	mu       sync.Mutex
	entering map[*mqtt.Client]bool // those of clients that have not heard yet that they were let in
}

// client is one that was let in.
type client struct {
	still func(context.Context) error // whether it still may send; nil when everybody may
	acks  outbox
}

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "medtech" }

// Provides implements mqtt.Hook.
func (h *hook) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnSessionEstablished || b == mqtt.OnACLCheck || b == mqtt.OnPublish || b == mqtt.OnDisconnect
}

// OnConnectAuthenticate lets in who may send messages.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c := &client{}
	if h.o.Authenticate != nil {
		var err error
		if c.still, err = h.o.Authenticate(h.ctx, string(pk.Connect.Username), bytes.Clone(pk.Connect.Password)); err != nil {
			return false
		}
	}
	c.acks.send = func(a ack) error { return h.ack(cl, a) }
	c.acks.full = func() { cl.Stop(errDeaf) }
	h.enter(cl, c)
	return true
}

// enter notes a client that is let in, and forgets those that went away before
// they heard it: the server does not say that they have disconnected.
func (h *hook) enter(cl *mqtt.Client, c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for other := range h.entering {
		if other.Closed() {
			delete(h.entering, other)
			h.clients.Delete(other)
		}
	}
	h.entering[cl] = true
	h.clients.Store(cl, c)
}

// OnSessionEstablished follows when a client has heard that it was let in.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.entering, cl)
}

var errDeaf = errors.New("the client does not read its acknowledgements")

// OnDisconnect forgets a client.
func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	if c, ok := h.clients.LoadAndDelete(cl); ok {
		cl.Stop(nil) // ends what is being sent
		c.(*client).acks.close()
	}
}

// may returns a client that was let in and may still send.
func (h *hook) may(cl *mqtt.Client) (*client, error) {
	v, ok := h.clients.Load(cl)
	if !ok {
		return nil, packets.ErrNotAuthorized
	}
	c := v.(*client)
	if c.still == nil {
		return c, nil
	}
	return c, c.still(h.ctx)
}

// OnACLCheck allows publishing to the topics of the source, and nothing else.
func (h *hook) OnACLCheck(_ *mqtt.Client, topic string, write bool) bool {
	if !write {
		return false
	}
	for _, f := range h.o.Topics {
		if matches(f, topic) {
			return true
		}
	}
	return len(h.o.Topics) == 0
}

// OnPublish keeps a message. The broker acknowledges as soon as a hook returns,
// which would cost each client one sync per message; so the packet is rejected
// here, and the acknowledgement is sent when the message is on disk. A full
// inbox stops reading from the client.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c, err := h.may(cl)
	if err != nil {
		cl.Stop(err) // its token has ended or was taken back
		return pk, packets.ErrRejectPacket
	}
	var kept func()
	if a := (ack{pk.PacketID, pk.FixedHeader.Qos}); a.qos > 0 {
		kept = func() { c.acks.put(a) }
	}
	if len(pk.Payload) == 0 { // says nothing: the clearing of a retained message
		if kept != nil {
			kept()
		}
		return pk, packets.ErrRejectPacket
	}
	m := medtech.Raw{Source: h.o.Name, Device: cl.ID, Body: append([]byte(nil), pk.Payload...)}
	if err := h.inbox.Put(h.ctx, []medtech.Raw{m}, kept); err != nil {
		cl.Stop(err) // it was not acknowledged: the client sends it again
	}
	return pk, packets.ErrRejectPacket
}

// ack acknowledges a message: PUBACK for QoS 1, PUBREC for QoS 2. A client that
// is gone sends the message again.
func (h *hook) ack(cl *mqtt.Client, a ack) error {
	pk := packets.Packet{PacketID: a.id, ProtocolVersion: cl.Properties.ProtocolVersion, FixedHeader: packets.FixedHeader{Type: packets.Puback}}
	if a.qos == 2 {
		// The broker answers the PUBREL of a message that it finds in flight.
		pk.FixedHeader.Type = packets.Pubrec
		if cl.State.Inflight.Set(pk) {
			atomic.AddInt64(&h.server.Info.Inflight, 1)
		}
		cl.State.Inflight.DecreaseReceiveQuota()
	}
	err := cl.WritePacket(pk)
	if err != nil {
		h.o.Log.LogAttrs(h.ctx, slog.LevelDebug, "client was gone before its acknowledgement", slog.String("source", h.o.Name))
	}
	return err
}
