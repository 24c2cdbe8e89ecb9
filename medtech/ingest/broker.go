package ingest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/hygeia-health/hygeia/medtech"
)

// broker is the built-in MQTT broker (3.1.1 and 5.0). It is for sending only:
// nobody can subscribe, and nothing is retained.
type broker struct {
	server *mqtt.Server
	addr   string
	stop   context.CancelFunc
}

// maxPacket is the largest packet: a message and its topic.
const maxPacket = medtech.MaxMessage + 64<<10

func startBroker(o Options, inbox *medtech.Inbox, report func(error)) (*broker, error) {
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumPacketSize = maxPacket
	caps.RetainAvailable = 0
	caps.WildcardSubAvailable, caps.SharedSubAvailable, caps.SubIDAvailable = 0, 0, 0
	server := mqtt.New(&mqtt.Options{Capabilities: caps, Logger: slog.New(slog.DiscardHandler), SysTopicResendInterval: 3600})
	ctx, stop := context.WithCancel(context.Background())
	h := &hook{ctx: ctx, o: o, inbox: inbox, server: server}
	tcp := listeners.NewTCP(listeners.Config{ID: o.Name, Address: o.Listen, TLSConfig: o.TLS})
	err := errors.Join(server.AddHook(h, nil), server.AddListener(tcp))
	if err == nil {
		err = server.Serve()
	}
	if err != nil {
		stop()
		return nil, errors.Join(err, server.Close())
	}
	o.Log.LogAttrs(ctx, slog.LevelInfo, "MQTT broker listens", slog.String("source", o.Name), slog.String("address", tcp.Address()))
	report(nil)
	return &broker{server, tcp.Address(), stop}, nil
}

// Close implements Source.
func (b *broker) Close() {
	b.stop()
	_ = b.server.Close() // listeners that are closed already
}

// hook is what the broker asks.
type hook struct {
	mqtt.HookBase
	ctx    context.Context
	o      Options
	inbox  *medtech.Inbox
	server *mqtt.Server
	still  sync.Map // by *mqtt.Client: whether it still may send
}

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "medtech" }

// Provides implements mqtt.Hook.
func (h *hook) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck || b == mqtt.OnPublish || b == mqtt.OnDisconnect
}

// OnConnectAuthenticate lets in who may send messages.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	if h.o.Authenticate == nil {
		return true
	}
	still, err := h.o.Authenticate(h.ctx, string(pk.Connect.Username), bytes.Clone(pk.Connect.Password))
	if err == nil {
		h.still.Store(cl, still)
	}
	return err == nil
}

// OnDisconnect forgets a client.
func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, _ bool) { h.still.Delete(cl) }

// may returns nil when a client that was let in may still send.
func (h *hook) may(cl *mqtt.Client) error {
	if h.o.Authenticate == nil {
		return nil
	}
	still, ok := h.still.Load(cl)
	if !ok {
		return packets.ErrNotAuthorized
	}
	return still.(func(context.Context) error)(h.ctx)
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
	if err := h.may(cl); err != nil {
		cl.Stop(err) // its token has ended or was taken back
		return pk, packets.ErrRejectPacket
	}
	if len(pk.Payload) == 0 { // says nothing: the clearing of a retained message
		h.ack(cl, pk.FixedHeader.Qos, pk.PacketID)
		return pk, packets.ErrRejectPacket
	}
	qos, id := pk.FixedHeader.Qos, pk.PacketID
	m := medtech.Raw{Source: h.o.Name, Device: cl.ID, Body: append([]byte(nil), pk.Payload...)}
	if err := h.inbox.Put(h.ctx, []medtech.Raw{m}, func() { h.ack(cl, qos, id) }); err != nil {
		cl.Stop(err) // it was not acknowledged: the client sends it again
	}
	return pk, packets.ErrRejectPacket
}

// ack acknowledges a message: PUBACK for QoS 1, PUBREC for QoS 2. A client that
// is gone sends the message again.
func (h *hook) ack(cl *mqtt.Client, qos byte, id uint16) {
	ack := packets.Packet{PacketID: id, ProtocolVersion: cl.Properties.ProtocolVersion}
	switch qos {
	case 1:
		ack.FixedHeader.Type = packets.Puback
	case 2:
		// The broker answers the PUBREL of a message that it finds in flight.
		ack.FixedHeader.Type = packets.Pubrec
		if cl.State.Inflight.Set(ack) {
			atomic.AddInt64(&h.server.Info.Inflight, 1)
		}
		cl.State.Inflight.DecreaseReceiveQuota()
	default:
		return
	}
	if err := cl.WritePacket(ack); err != nil {
		h.o.Log.LogAttrs(h.ctx, slog.LevelDebug, "client was gone before its acknowledgement", slog.String("source", h.o.Name))
	}
}
