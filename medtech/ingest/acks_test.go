package ingest

import (
	"bufio"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// TestDeafDevice has a device that does not read its acknowledgements: the messages
// of others are kept and acknowledged all the same.
func TestDeafDevice(t *testing.T) {
	r := open(t)
	b := r.start(Options{Type: Broker, Listen: "127.0.0.1:0"}).(*broker)
	var served sync.WaitGroup
	ours, theirs := net.Pipe() // which holds nothing: who writes waits for who reads
	served.Go(func() { _ = b.server.EstablishConnection("src", theirs) })
	defer served.Wait()
	defer b.Close()
	deaf := &device{&mqttConn{Conn: ours, r: bufio.NewReader(ours)}, t, 4}
	if err := deaf.hello("deaf"); err != nil {
		t.Fatal(err)
	}
	deaf.publish("t", 1, 1, `{"deaf":1}`)
	r.kept(1)
	good, err := connect(t, b.addr, "good", "", 4)
	if err != nil {
		t.Fatal(err)
	}
	good.publish("t", 1, 1, `{"good":1}`)
	good.expect(packets.Puback, 1)
	deaf.publish("t", 1, 2, `{"deaf":2}`)
	r.kept(3)
	deaf.expect(packets.Puback, 1) // late, but in order
	deaf.expect(packets.Puback, 2)
}

// TestOutbox lets acknowledgements wait for a peer, until they are too many.
func TestOutbox(t *testing.T) {
	var sent []uint16
	taken, goOn := make(chan bool), make(chan error)
	full := 0
	o := &outbox{full: func() { full++ }, send: func(a ack) error {
		taken <- true
		err := <-goOn
		sent = append(sent, a.id)
		return err
	}}
	o.put(ack{id: 1})
	<-taken
	o.put(ack{id: 2})
	o.put(ack{id: 3})
	goOn <- nil
	<-taken
	goOn <- errors.New("the peer is gone")
	o.running.Wait()
	o.put(ack{id: 4})
	if !slices.Equal(sent, []uint16{1, 2}) {
		t.Errorf("sent: %v", sent)
	}

	o = &outbox{full: o.full, send: o.send}
	o.put(ack{})
	<-taken
	for range maxAcks + 2 {
		o.put(ack{})
	}
	if full != 1 {
		t.Errorf("the connection was ended %d times", full)
	}
	time.AfterFunc(10*time.Millisecond, func() { goOn <- nil })
	o.close()
	o.put(ack{})
	if len(o.list) != 0 {
		t.Error("what waits was not forgotten")
	}
}
