package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/medtech/medtechsql"
	"github.com/hygeia-health/hygeia/platform/bus"
	"github.com/hygeia-health/hygeia/platform/bus/bustest"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

type nowhere struct{}

var errNowhere = fault.New(fault.Transient, "nowhere")

func (nowhere) Find(context.Context, string, string, string) ([]medtech.Resource, error) {
	return nil, errNowhere
}
func (nowhere) Read(context.Context, string, []string) ([]medtech.Resource, error) {
	return nil, errNowhere
}
func (nowhere) Write(context.Context, []medtech.Put) ([]error, error) { return nil, errNowhere }

// rig is a service without mappings: its log keeps what comes.
type rig struct {
	t     *testing.T
	store *medtechsql.Store
	inbox *medtech.Inbox
	mu    sync.Mutex
	state error
	told  chan struct{}
}

func open(t *testing.T) *rig {
	t.Helper()
	store, err := medtechsql.Open(t.Context(), filepath.Join(t.TempDir(), "m.db"), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := medtech.New(t.Context(), medtech.Deps{Store: store, Destination: nowhere{}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: store, inbox: s.NewInbox(), state: errors.New("not told yet"), told: make(chan struct{}, 100)}
	t.Cleanup(func() {
		r.inbox.Close()
		s.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func (r *rig) start(o Options) Source {
	r.t.Helper()
	o.Log, o.Name = quiet, "src"
	src, err := Start(o, r.inbox, func(err error) {
		r.mu.Lock()
		r.state = err
		r.mu.Unlock()
		select {
		case r.told <- struct{}{}:
		default:
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return src
}

// kept waits until the log has n messages and returns their bodies.
func (r *rig) kept(n int) []string {
	r.t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		list, err := r.store.Read(r.t.Context(), 0, 10_000)
		if err != nil {
			r.t.Fatal(err)
		}
		if len(list) >= n || time.Since(begin) > time.Minute {
			var out []string
			for _, m := range list {
				out = append(out, string(m.Body))
			}
			if len(out) != n {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.t.Fatalf("%d messages, want %d; the source says %v", len(out), n, r.state)
			}
			return out
		}
	}
}

// device is a client of the built-in broker.
type device struct {
	*mqttConn
	t       *testing.T
	version byte
}

func connect(t *testing.T, addr, id, password string, version byte) (*device, error) {
	t.Helper()
	c, err := dialMQTT(t.Context(), Options{URLs: []string{"mqtt://" + addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	d := &device{c, t, version}
	return d, d.hello(id, password)
}

// hello logs in, with a password if one is given.
func (d *device) hello(id string, password ...string) error {
	pk := packets.Packet{ProtocolVersion: d.version, FixedHeader: packets.FixedHeader{Type: packets.Connect}}
	pk.Connect = packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: true, Keepalive: 30}
	if p := strings.Join(password, ""); p != "" {
		pk.Connect.UsernameFlag, pk.Connect.PasswordFlag, pk.Connect.Username, pk.Connect.Password = true, true, []byte("u"), []byte(p)
	}
	if err := d.write(pk.ConnectEncode); err != nil {
		return err
	}
	ack, err := d.readAs(d.version)
	if err == nil && ack.ReasonCode != 0 {
		err = fmt.Errorf("refused with %d", ack.ReasonCode)
	}
	return err
}

// readAs is read for any version, without the content of acknowledgements.
func (c *mqttConn) readAs(version byte) (packets.Packet, error) {
	pk, err := packets.Packet{ProtocolVersion: version}, error(nil)
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	first, err := c.r.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	if pk.FixedHeader.Remaining, _, err = packets.DecodeLength(c.r); err != nil {
		return pk, err
	}
	body := make([]byte, pk.FixedHeader.Remaining)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return pk, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	}
	return pk, err
}

func (d *device) publish(topic string, qos byte, id uint16, body string) {
	d.t.Helper()
	pk := packets.Packet{ProtocolVersion: d.version, TopicName: topic, PacketID: id, Payload: []byte(body), FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}}
	if err := d.write(pk.PublishEncode); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) expect(kind byte, id uint16) {
	d.t.Helper()
	pk, err := d.readAs(d.version)
	if err != nil || pk.FixedHeader.Type != kind || pk.PacketID != id || pk.ReasonCode != 0 {
		d.t.Fatalf("packet %d of type %d with code %d, error %v; want %d of type %d", pk.PacketID, pk.FixedHeader.Type, pk.ReasonCode, err, id, kind)
	}
}

// TestBroker pins that acknowledgements come in order and after the message is
// in the log, for all levels of quality and both versions.
func TestBroker(t *testing.T) {
	r := open(t)
	b := r.start(Options{Type: Broker, Listen: "127.0.0.1:0", Topics: []string{"devices/+", "ward/#"}}).(*broker)
	defer b.Close()
	n := 0
	for _, version := range []byte{4, 5} {
		d, err := connect(t, b.addr, fmt.Sprint("dev", version), "", version)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			d.publish("devices/a", 1, uint16(i+1), fmt.Sprintf(`{"n":%d}`, n+i))
		}
		for i := range 50 {
			d.expect(packets.Puback, uint16(i+1))
		}
		n += 50
		if got := r.kept(n); got[n-1] != fmt.Sprintf(`{"n":%d}`, n-1) {
			t.Errorf("the last message is %s", got[n-1])
		}
		d.publish("ward/1/bed/2", 2, 200, `{"qos":2}`)
		d.expect(packets.Pubrec, 200)
		n++
		r.kept(n)
		rel := packets.Packet{ProtocolVersion: version, PacketID: 200, FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}}
		if err := d.write(rel.PubrelEncode); err != nil {
			t.Fatal(err)
		}
		d.expect(packets.Pubcomp, 200)
		d.publish("ward/x", 0, 0, `[{"a":1},{"a":2}]`)
		n += 2
		r.kept(n)
	}
	list, err := r.store.Read(t.Context(), 0, 1)
	if err != nil || list[0].Device != "dev4" || list[0].Source != "src" {
		t.Errorf("%+v, %v", list, err)
	}
	d, err := connect(t, b.addr, "dev", "", 4)
	if err != nil {
		t.Fatal(err)
	}
	d.publish("other/a", 1, 1, `{}`)
	if pk, err := d.readAs(4); err == nil && pk.FixedHeader.Type == packets.Puback {
		t.Errorf("a message to another topic is answered with %+v", pk.FixedHeader)
	}
	r.kept(n)
}

func TestBrokerAuthenticates(t *testing.T) {
	var ended atomic.Bool
	r := open(t)
	b := r.start(Options{Type: Broker, Listen: "127.0.0.1:0", Authenticate: func(_ context.Context, _ string, password []byte) (func(context.Context) error, error) {
		if !bytes.Equal(password, []byte("token")) {
			return nil, errors.New("no")
		}
		return func(context.Context) error {
			if ended.Load() {
				return errors.New("no more")
			}
			return nil
		}, nil
	}}).(*broker)
	defer b.Close()
	for password, want := range map[string]bool{"token": true, "other": false, "": false} {
		if _, err := connect(t, b.addr, "dev", password, 4); (err == nil) != want {
			t.Errorf("password %q: %v", password, err)
		}
	}
	d, err := connect(t, b.addr, "pump", "token", 4)
	if err != nil {
		t.Fatal(err)
	}
	d.publish("devices/a", 1, 1, `{"n":1}`)
	d.expect(packets.Puback, 1)
	ended.Store(true) // the token was taken back
	d.publish("devices/a", 1, 2, `{"n":2}`)
	if pk, err := d.readAs(4); err == nil && pk.FixedHeader.Type == packets.Puback {
		t.Error("a message after the end of the token is acknowledged")
	}
	if got := r.kept(1); len(got) != 1 {
		t.Errorf("kept: %q", got)
	}
}

// TestMQTT subscribes to a broker of others, also when that comes later.
func TestMQTT(t *testing.T) {
	server := mqtt.New(&mqtt.Options{InlineClient: true, Logger: quiet})
	tcp := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	if err := errors.Join(server.AddHook(new(auth.AllowHook), nil), server.AddListener(tcp), server.Serve()); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	r := open(t)
	src := r.start(Options{Type: MQTT, URLs: []string{"mqtt://" + tcp.Address()}, Topics: []string{"devices/#"}, Group: "g"})
	<-r.told
	for end := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		if c, ok := server.Clients.Get("g"); ok && len(c.State.Subscriptions.GetAll()) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not subscribe")
		}
	}
	for i := range 100 {
		if err := server.Publish("devices/1", fmt.Appendf(nil, `{"n":%d}`, i), false, 1); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.kept(100); got[99] != `{"n":99}` {
		t.Errorf("%s", got[99])
	}
	src.Close()
}

// TestKafka reads a topic, goes on after a restart, and keeps a record that is
// delivered again once.
func TestKafka(t *testing.T) {
	urls := bustest.Kafka(t, "devicedata")
	producer, err := bus.NewWriter(bus.Options{Kind: bus.Kafka, URLs: urls})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	produce := func(from, to int) {
		list := []bus.Message{{}} // a tombstone
		for i := from; i < to; i++ {
			list = append(list, bus.Message{Body: fmt.Appendf(nil, `{"n":%d}`, i)})
		}
		if err := errors.Join(producer.Write(t.Context(), "devicedata", list)...); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t)
	o := Options{Type: Kafka, URLs: urls, Topics: []string{"devicedata"}, Group: "g"}
	produce(0, 20)
	src := r.start(o)
	r.kept(20)
	src.Close()
	produce(20, 40)
	o.Group = "h" // another group begins at the start: all come again
	src = r.start(o)
	defer src.Close()
	got := r.kept(40)
	slices.Sort(got)
	if got = slices.Compact(got); len(got) != 40 {
		t.Errorf("%d messages", len(got))
	}
}

// TestNATS needs the program nats-server.
func TestNATS(t *testing.T) {
	url := bustest.NATS(t)
	const stream = `{"name":"DEVICES","subjects":["devices.>"],"storage":"memory"}`
	bustest.Ask(t, url, "$JS.API.STREAM.CREATE.DEVICES", stream)
	for i := range 50 {
		bustest.Ask(t, url, "devices.a", fmt.Sprintf(`{"n":%d}`, i))
	}
	r := open(t)
	o := Options{Type: NATS, URLs: []string{url}, Topics: []string{"devices.>"}, Stream: "DEVICES", Group: "g"}
	src := r.start(o)
	if got := r.kept(50); got[49] != `{"n":49}` {
		t.Errorf("%s", got[49])
	}
	src.Close()
	o.Group = "h" // another consumer gets all again
	src = r.start(o)
	defer src.Close()
	bustest.Ask(t, url, "devices.b", `{"n":50}`)
	r.kept(51)
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Type: "amqp"}, "is unknown"},
		{Options{Type: Broker, Listen: "1883"}, "is not host:port"},
		{Options{Type: Broker, Listen: ":1883", Topics: []string{"a/#/b"}}, "is no topic filter"},
		{Options{Type: Broker, Listen: ":1883", Topics: []string{"a+"}}, "is no topic filter"},
		{Options{Type: MQTT, Topics: []string{"a"}}, "urls: an mqtt source has one"},
		{Options{Type: Kafka, Topics: []string{"a"}}, "urls: where"},
		{Options{Type: MQTT, URLs: []string{"http://x"}, Topics: []string{"a"}}, "mqtt:// or mqtts://"},
		{Options{Type: MQTT, URLs: []string{"mqtt://u:p@x"}, Topics: []string{"a"}}, "settings of their own"},
		{Options{Type: Kafka, URLs: []string{"x"}, Topics: []string{"a"}}, "is not host:port"},
		{Options{Type: Kafka, URLs: []string{"x:9092"}}, "topics: at least one"},
		{Options{Type: NATS, URLs: []string{"nats://x"}, Topics: []string{"a"}}, "stream: "},
		{Options{Type: NATS, URLs: []string{"nats://x:4222", "tls://y"}, Topics: []string{"a.>"}, Stream: "S"}, ""},
		{Options{Type: Broker, Listen: ":1883", Topics: []string{"#", "+/a", "a/+/#"}}, ""},
	} {
		if err := tt.o.Check(); tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.o, err, tt.want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		filter, topic string
		want          bool
	}{
		{"#", "a/b", true}, {"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/+", "a/b", true}, {"a/+", "a/b/c", false}, {"a/+", "a", false},
		{"+", "a", true}, {"a", "b", false}, {"#", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"+/b", "/b", true}, {"a/b", "a/b", true},
	} {
		if got := matches(tt.filter, tt.topic); got != tt.want {
			t.Errorf("%s %s: %v", tt.filter, tt.topic, got)
		}
	}
}
