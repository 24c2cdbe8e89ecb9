package ingest

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"
)

// TestGoneBeforeItWasLetIn: clients that go away while they are let in leave nothing.
func TestGoneBeforeItWasLetIn(t *testing.T) {
	asked, decide := make(chan struct{}), make(chan struct{})
	b, err := startBroker(Options{Name: "b", Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
		Authenticate: func(context.Context, string, []byte) (func(context.Context) error, error) {
			asked <- struct{}{}
			<-decide
			return nil, nil
		}}, nil, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	visit := func() {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")); err != nil {
			t.Fatal(err)
		}
		<-asked
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
		time.Sleep(20 * time.Millisecond) // until the broker's side has heard it
		decide <- struct{}{}
		time.Sleep(20 * time.Millisecond)
	}
	left := func() (n int) {
		for range b.hook.clients.Range {
			n++
		}
		return n
	}
	for range 5 {
		visit()
	}
	for end := time.Now().Add(time.Minute); left() > 1; visit() { // the last ones are forgotten when the next comes
		if time.Now().After(end) {
			t.Fatalf("%d clients are left of those that are gone", left())
		}
	}
}
