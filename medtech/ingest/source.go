package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Type says what a source is.
type Type string

// The types of sources.
const (
	Broker Type = "mqtt-broker" // devices connect to us
	MQTT   Type = "mqtt"        // we subscribe to a broker
	Kafka  Type = "kafka"
	NATS   Type = "nats" // JetStream
)

// Types are the names of all types.
var Types = []string{string(Broker), string(MQTT), string(Kafka), string(NATS)}

// Options describe a source.
type Options struct {
	Name   string
	Type   Type
	Listen string   // of a Broker: address:port
	URLs   []string // of the others: mqtt://host:1883, nats://host:4222; for Kafka host:9092
	Topics []string // MQTT filters, Kafka topics, NATS subjects; a Broker takes all when there are none
	Stream string   // of JetStream
	Group  string   // Kafka group, durable consumer, MQTT client id
	User   string
	Secret string      // password of User; in clear
	TLS    *tls.Config // of a Broker its certificates; of the others not nil switches TLS on

	// Authenticate decides who may send to a Broker; nil lets everybody. What it
	// returns is asked again before each message, whether the client still may.
	Authenticate func(ctx context.Context, user string, password []byte) (still func(ctx context.Context) error, err error)
	Log          *slog.Logger
}

// Check says what is wrong with options, before anything is started.
func (o *Options) Check() error {
	if !slices.Contains(Types, string(o.Type)) {
		return fmt.Errorf("type %.40q is unknown; it is mqtt-broker, mqtt, kafka or nats", string(o.Type))
	}
	if o.Type == Broker {
		if _, _, err := net.SplitHostPort(o.Listen); err != nil {
			return fmt.Errorf("listen: %.80q is not host:port", o.Listen)
		}
		return checkFilters(o.Topics)
	}
	switch {
	case len(o.Topics) == 0:
		return errors.New("topics: at least one is needed")
	case o.Type == NATS && o.Stream == "":
		return errors.New("stream: the JetStream stream is needed")
	case o.Type != MQTT:
		b := o.bus()
		return b.Check()
	case len(o.URLs) != 1:
		return errors.New("urls: an mqtt source has one, such as mqtt://host:1883")
	}
	u, err := url.Parse(o.URLs[0])
	switch {
	case err != nil || u.Host == "" || u.Scheme != "mqtt" && u.Scheme != "mqtts":
		return fmt.Errorf("urls: %.80q does not begin with mqtt:// or mqtts://", o.URLs[0])
	case u.User != nil:
		return errors.New("urls: user and password have settings of their own")
	}
	return checkFilters(o.Topics)
}

// checkFilters refuses what is no MQTT topic filter (MQTT 5.0 section 4.7.1).
func checkFilters(list []string) error {
	for _, f := range list {
		levels := strings.Split(f, "/")
		for i, l := range levels {
			if strings.Contains(l, "#") && (l != "#" || i != len(levels)-1) || strings.Contains(l, "+") && l != "+" || f == "" {
				return fmt.Errorf("topics: %.80q is no topic filter", f)
			}
		}
	}
	return nil
}

// matches reports whether a topic falls under a filter.
func matches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false // section 4.7.2
	}
	for i, l := range f {
		switch {
		case l == "#":
			return true
		case i >= len(t) || l != "+" && l != t[i]:
			return false
		}
	}
	return len(f) == len(t)
}

// Source runs until it is closed.
type Source interface {
	// Close ends the source and waits for it.
	Close()
}

// Start starts a source that hands its messages to inbox. report is told how it
// does: nil is well. Only a Broker that cannot listen is an error; the others
// connect as soon as they can.
func Start(o Options, inbox *medtech.Inbox, report func(error)) (Source, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	switch o.Type {
	case Broker:
		return startBroker(o, inbox, report)
	case MQTT:
		return runAgain(o, report, func(ctx context.Context, well func()) error { return subscribe(ctx, o, inbox, well) }), nil
	}
	return runAgain(o, report, func(ctx context.Context, well func()) error { return follow(ctx, o, inbox, well) }), nil
}

// loop runs a function again and again.
type loop struct {
	stop context.CancelFunc
	done chan struct{}
}

// Close implements Source.
func (l *loop) Close() {
	l.stop()
	<-l.done
}

// Waiting times between two connections.
const (
	firstWait = 200 * time.Millisecond
	lastWait  = 30 * time.Second
)

// runAgain runs connect, which returns when its connection is lost, until the
// source is closed. connect calls well when messages can come.
func runAgain(o Options, report func(error), connect func(ctx context.Context, well func()) error) *loop {
	ctx, stop := context.WithCancel(context.Background())
	l := &loop{stop, make(chan struct{})}
	go func() {
		defer close(l.done)
		wait := firstWait
		for ctx.Err() == nil {
			err := fault.Guard("medtech: source", func() error {
				return connect(ctx, func() { wait = firstWait; report(nil) })
			})
			if ctx.Err() != nil {
				return
			}
			told := err
			if _, ok := errors.AsType[*fault.Panic](err); ok {
				told = errors.New("internal error") // the log has the rest
			}
			report(fmt.Errorf("%s: %w", o.Name, told))
			o.Log.LogAttrs(ctx, slog.LevelWarn, "source is not connected", slog.String("source", o.Name), slog.Any("err", err))
			t := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			t.Stop()
			wait = min(2*wait, lastWait)
		}
	}()
	return l
}
