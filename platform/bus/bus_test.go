package bus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/bus"
	"github.com/hygeia-health/hygeia/platform/bus/bustest"
)

// brokers are one of each kind with a topic.
func brokers(t *testing.T, each func(t *testing.T, o bus.Options, q bus.Query)) {
	t.Run("kafka", func(t *testing.T) {
		o := bus.Options{Kind: bus.Kafka, URLs: bustest.Kafka(t, "things")}
		each(t, o, bus.Query{Topics: []string{"things"}, Group: "g"})
	})
	t.Run("nats", func(t *testing.T) {
		o := bus.Options{Kind: bus.NATS, URLs: []string{bustest.NATS(t)}}
		bustest.Ask(t, o.URLs[0], "$JS.API.STREAM.CREATE.THINGS", `{"name":"THINGS","subjects":["things"],"storage":"memory"}`)
		each(t, o, bus.Query{Topics: []string{"things"}, Stream: "THINGS", Group: "g"})
	})
}

// read takes n messages. Without then it acknowledges none. Otherwise it acknowledges
// all and calls then, which writes another one: when that has come, which is left for the
// next reader, the acknowledgements are with the broker.
func read(t *testing.T, o bus.Options, q bus.Query, n int, then func()) (list []bus.Message) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	enough := errors.New("enough")
	err := bus.Read(ctx, o, q, func() {}, func(l []bus.Message, done func()) error {
		if then != nil && len(list) >= n {
			return enough
		}
		list = append(list, l...)
		if then != nil {
			done()
		}
		if len(list) >= n {
			if then == nil {
				return enough
			}
			then()
		}
		return nil
	})
	if len(list) != n || !errors.Is(err, enough) {
		t.Fatalf("%d messages, want %d: %v", len(list), n, err)
	}
	return list
}

// TestWriteAndRead has what is written arrive, and what was not kept come again.
func TestWriteAndRead(t *testing.T) {
	brokers(t, func(t *testing.T, o bus.Options, q bus.Query) {
		w, err := bus.NewWriter(o)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		if err := w.Check(ctx, "things"); err != nil {
			t.Fatal(err)
		}
		if err := w.Check(ctx, "nothing"); !errors.Is(err, bus.ErrNoTopic) {
			t.Errorf("a topic that is not there: %v", err)
		}
		var list []bus.Message
		for i := range 100 {
			list = append(list, bus.Message{ID: fmt.Sprint("m", i), Key: "k", Headers: []bus.Header{{Name: "content-type", Value: "text/plain"}}, Body: fmt.Append(nil, i)})
		}
		for i, err := range w.Write(ctx, "things", list) {
			if err != nil {
				t.Fatal(i, err)
			}
		}
		first := read(t, o, q, 100, nil)
		for i, m := range first {
			if string(m.Body) != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, m.Body)
			}
		}
		q.Group = "h"
		again := read(t, o, q, 100, func() {
			if errs := w.Write(ctx, "things", []bus.Message{{ID: "last", Key: "k", Body: []byte("last")}}); errs[0] != nil {
				t.Error(errs)
			}
		})
		if again[99].ID != first[99].ID || again[99].ID == again[98].ID {
			t.Errorf("names %s and %s", first[99].ID, again[99].ID)
		}
		if l := read(t, o, q, 1, nil); string(l[0].Body) != "last" {
			t.Errorf("what was acknowledged came again: %s", l[0].Body)
		}
		if errs := w.Write(ctx, "nothing", list[:1]); !errors.Is(errs[0], bus.ErrNoTopic) {
			t.Errorf("written to a topic that is not there: %v", errs)
		}
		big := bus.Message{ID: "big", Body: []byte(strings.Repeat("x", 3<<20))}
		if errs := w.Write(ctx, "things", []bus.Message{big, {ID: "small", Key: "k", Body: []byte("small")}}); !errors.Is(errs[0], bus.ErrTooLarge) || errs[1] != nil {
			t.Errorf("a message that is too large: %.200v", errs)
		}
	})
}

// TestGivenBack: what a reader has not acknowledged comes soon to the next one,
// whether the first gave up or was told to stop, and not after the 30 seconds that
// JetStream waits for an acknowledgement.
func TestGivenBack(t *testing.T) {
	brokers(t, func(t *testing.T, o bus.Options, q bus.Query) {
		w, err := bus.NewWriter(o)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		list := make([]bus.Message, 100)
		for i := range list {
			list[i] = bus.Message{ID: fmt.Sprint("m", i), Key: "k", Body: fmt.Append(nil, i)}
		}
		for i, err := range w.Write(t.Context(), "things", list) {
			if err != nil {
				t.Fatal(i, err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		n := 0
		err = bus.Read(ctx, o, q, func() {}, func(l []bus.Message, done func()) error {
			if n += len(l); n == 1 || n == 100 {
				stop() // JetStream: with 99 on their way to us
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the first reader: %v", err)
		}
		ctx, enough := context.WithTimeout(t.Context(), time.Minute)
		defer enough()
		seen := map[string]bool{} // in any order, and a broker may give one more than once
		err = bus.Read(ctx, o, q, func() {}, func(l []bus.Message, done func()) error {
			for _, m := range l {
				seen[string(m.Body)] = true
			}
			done()
			if len(seen) == 100 {
				enough()
			}
			return nil
		})
		if len(seen) != 100 {
			t.Errorf("%d of 100 messages came again in time: %v", len(seen), err)
		}
	})
}

// TestDial lets the caller refuse where a connection goes.
func TestDial(t *testing.T) {
	no := errors.New("not there")
	brokers(t, func(t *testing.T, o bus.Options, q bus.Query) {
		o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, no }
		w, err := bus.NewWriter(o)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := w.Check(ctx, "things"); err == nil {
			t.Error("a connection that was refused")
		}
		if errs := w.Write(ctx, "things", []bus.Message{{ID: "a"}}); errs[0] == nil {
			t.Error("written without a connection")
		}
	})
}

// TestAway writes while the broker is not there.
func TestAway(t *testing.T) {
	w, err := bus.NewWriter(bus.Options{Kind: bus.NATS, URLs: []string{"nats://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if errs := w.Write(t.Context(), "things", []bus.Message{{ID: "a"}}); !errors.Is(errs[0], bus.ErrAway) {
		t.Error(errs)
	}
}

// TestDenied has a password that is wrong.
func TestDenied(t *testing.T) {
	url := bustest.NATS(t, "--user", "u", "--pass", "p")
	for secret, want := range map[string]error{"p": bus.ErrNoTopic, "q": bus.ErrDenied} {
		w, err := bus.NewWriter(bus.Options{Kind: bus.NATS, URLs: []string{url}, User: "u", Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Check(t.Context(), "things"); !errors.Is(err, want) {
			t.Errorf("password %s: %v", secret, err)
		}
		w.Close()
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		o    bus.Options
		want string
	}{
		{bus.Options{Kind: "amqp"}, "is unknown"},
		{bus.Options{Kind: bus.Kafka}, "urls: where"},
		{bus.Options{Kind: bus.Kafka, URLs: []string{"host"}}, "is not host:port"},
		{bus.Options{Kind: bus.Kafka, URLs: []string{"kafka://host:9092"}}, "is not host:port"},
		{bus.Options{Kind: bus.NATS, URLs: []string{"http://host"}}, "does not begin with nats://"},
		{bus.Options{Kind: bus.NATS, URLs: []string{"nats://u:p@host"}}, "settings of their own"},
		{bus.Options{Kind: bus.NATS, URLs: []string{"nats://host:4222", "tls://other"}}, ""},
		{bus.Options{Kind: bus.Kafka, URLs: []string{"host:9092", "[::1]:9092"}}, ""},
	} {
		if err := tt.o.Check(); tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.o, err, tt.want)
		}
	}
}
