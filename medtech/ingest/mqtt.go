package ingest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/hygeia-health/hygeia/medtech"
)

const (
	mqttKeepalive = 30 * time.Second
	dialTimeout   = 10 * time.Second
	mqttVersion   = 4 // MQTT 3.1.1, which every broker speaks
)

// mqttConn is a connection to a broker of others.
type mqttConn struct {
	net.Conn
	r       *bufio.Reader
	writing sync.Mutex
}

// subscribe receives messages of another broker until the connection is lost.
// The session is persistent: what is not acknowledged comes again.
func subscribe(ctx context.Context, o Options, inbox *medtech.Inbox, well func()) error {
	c, err := dialMQTT(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.login(o); err != nil {
		return err
	}
	well()
	end, stop := context.WithCancel(ctx)
	var pings sync.WaitGroup
	pings.Go(func() { c.keepAlive(end) })
	defer pings.Wait()
	defer stop()
	acks := &outbox{send: c.ack, full: func() { _ = c.Close() }} // which ends the reading
	defer acks.close()
	defer c.Close()
	for {
		pk, err := c.read(2 * mqttKeepalive)
		if err != nil {
			return err
		}
		if pk.FixedHeader.Type != packets.Publish || len(pk.Payload) == 0 {
			if pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos > 0 {
				acks.put(ack{id: pk.PacketID})
			}
			continue
		}
		var kept func()
		if pk.FixedHeader.Qos > 0 {
			kept = func() { acks.put(ack{id: pk.PacketID}) }
		}
		if err := inbox.Put(ctx, []medtech.Raw{{Source: o.Name, Body: pk.Payload}}, kept); err != nil {
			return err
		}
	}
}

func dialMQTT(ctx context.Context, o Options) (*mqttConn, error) {
	u, err := url.Parse(o.URLs[0])
	if err != nil {
		return nil, err
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"mqtt": "1883", "mqtts": "8883"}[u.Scheme])
	}
	d := &net.Dialer{Timeout: dialTimeout}
	var conn net.Conn
	if u.Scheme == "mqtts" {
		cfg := &tls.Config{MinVersion: tls.VersionTLS12}
		if o.TLS != nil {
			cfg = o.TLS.Clone()
		}
		conn, err = (&tls.Dialer{NetDialer: d, Config: cfg}).DialContext(ctx, "tcp", host)
	} else {
		conn, err = d.DialContext(ctx, "tcp", host)
	}
	if err != nil {
		return nil, err
	}
	return &mqttConn{Conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}, nil
}

// login connects and subscribes.
func (c *mqttConn) login(o Options) error {
	pk := packets.Packet{ProtocolVersion: mqttVersion, FixedHeader: packets.FixedHeader{Type: packets.Connect}}
	pk.Connect = packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: o.Group, Keepalive: uint16(mqttKeepalive / time.Second)}
	if o.User != "" {
		pk.Connect.UsernameFlag, pk.Connect.Username = true, []byte(o.User)
		pk.Connect.PasswordFlag, pk.Connect.Password = o.Secret != "", []byte(o.Secret)
	}
	if err := c.write(pk.ConnectEncode); err != nil {
		return err
	}
	ack, err := c.read(dialTimeout)
	if err != nil {
		return err
	}
	if ack.FixedHeader.Type != packets.Connack || ack.ReasonCode != 0 {
		return fmt.Errorf("the broker refuses the connection with code %d", ack.ReasonCode)
	}
	sub := packets.Packet{ProtocolVersion: mqttVersion, PacketID: 1, FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}}
	for _, t := range o.Topics {
		sub.Filters = append(sub.Filters, packets.Subscription{Filter: t, Qos: 1})
	}
	// The SUBACK is read by the caller: what the session has missed may come first.
	return c.write(sub.SubscribeEncode)
}

// keepAlive tells the broker that the connection is in use.
func (c *mqttConn) keepAlive(ctx context.Context) {
	t := time.NewTicker(mqttKeepalive / 2)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = c.SetReadDeadline(time.Now()) // ends the read
			return
		case <-t.C:
			pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}}
			if c.write(func(b *bytes.Buffer) error { pk.FixedHeader.Encode(b); return nil }) != nil {
				return // the read fails, too
			}
		}
	}
}

// ack acknowledges a message. When that fails the connection is of no use.
func (c *mqttConn) ack(a ack) error {
	pk := packets.Packet{ProtocolVersion: mqttVersion, PacketID: a.id, FixedHeader: packets.FixedHeader{Type: packets.Puback}}
	err := c.write(pk.PubackEncode)
	if err != nil {
		_ = c.Close()
	}
	return err
}

func (c *mqttConn) write(encode func(*bytes.Buffer) error) error {
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(dialTimeout))
	_, err := c.Write(b.Bytes())
	return err
}

// read reads one packet; those that nobody needs have no content.
func (c *mqttConn) read(limit time.Duration) (packets.Packet, error) {
	var pk packets.Packet
	_ = c.SetReadDeadline(time.Now().Add(limit))
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
	if pk.FixedHeader.Remaining > maxBrokerPacket {
		return pk, errors.New("the broker sent a packet that is too large")
	}
	body := make([]byte, pk.FixedHeader.Remaining)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return pk, err
	}
	pk.ProtocolVersion = mqttVersion
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Suback:
		if err = pk.SubackDecode(body); err == nil && bytes.IndexByte(pk.ReasonCodes, 0x80) >= 0 {
			err = errors.New("the broker refuses a subscription")
		}
	}
	return pk, err
}

// maxBrokerPacket bounds what a broker of others may send.
const maxBrokerPacket = 16 << 20
