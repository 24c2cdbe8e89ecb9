package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsDialer lets Options.Dial see names, not the addresses that they have.
type natsDialer struct{ o *Options }

// Dial implements nats.CustomDialer.
func (d natsDialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	return d.o.dial(ctx, network, address)
}

func (o *Options) connectNATS(more ...nats.Option) (*nats.Conn, error) {
	opts := append([]nats.Option{nats.Name("hygeia"), nats.Timeout(dialTime), nats.SetCustomDialer(natsDialer{o}), nats.SkipHostLookup()}, more...)
	if o.User != "" {
		opts = append(opts, nats.UserInfo(o.User, o.Secret))
	}
	if o.TLS != nil {
		opts = append(opts, nats.Secure(o.TLS))
	}
	return nats.Connect(strings.Join(o.URLs, ","), opts...)
}

// pullTime is how long the server may answer one request for messages.
const pullTime = 2 * time.Second

// readNATS reads a stream as a durable consumer.
func readNATS(ctx context.Context, o Options, q Query, well func(), take func([]Message, func()) error) error {
	conn, err := o.connectNATS(nats.NoReconnect())
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	cfg := jetstream.ConsumerConfig{
		Durable: q.Group, AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy, MaxAckPending: 4 * maxPoll,
	}
	if len(q.Topics) == 1 {
		cfg.FilterSubject = q.Topics[0] // servers before 2.10 know no list
	} else {
		cfg.FilterSubjects = q.Topics
	}
	consumer, err := js.CreateOrUpdateConsumer(ctx, q.Stream, cfg)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(maxPoll), jetstream.PullExpiry(pullTime))
	if err != nil {
		return err
	}
	given := handed{of: map[uint64]jetstream.Msg{}}
	defer given.back(conn, messages)
	ended := context.AfterFunc(ctx, messages.Drain)
	defer ended()
	well()
	for {
		m, err := messages.Next()
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		seq := meta.Sequence.Stream
		given.add(seq, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		one := Message{ID: q.Stream + "/" + strconv.FormatUint(seq, 10), Body: m.Data()}
		if err := take([]Message{one}, func() { given.kept(seq) }); err != nil {
			return err
		}
	}
}

// handed are the messages that were given to us and are not acknowledged yet.
type handed struct {
	mu sync.Mutex
	of map[uint64]jetstream.Msg
}

func (h *handed) add(seq uint64, m jetstream.Msg) {
	h.mu.Lock()
	h.of[seq] = m
	h.mu.Unlock()
}

// kept acknowledges a message; when the acknowledgement does not arrive it comes
// again.
func (h *handed) kept(seq uint64) {
	h.mu.Lock()
	m := h.of[seq]
	delete(h.of, seq)
	h.mu.Unlock()
	if m != nil {
		_ = m.Ack()
	}
}

// backTime is how long the server may take to hear that messages are not wanted.
const backTime = 2 * time.Second

// back gives back what nobody has acknowledged, and what was on its way: the next
// reader gets it soon, and not after the time that the server waits for an
// acknowledgement (30 seconds). Until our last request for messages has ended, a
// server 2.9 would spend them on it although nobody listens for the answer.
func (h *handed) back(conn *nats.Conn, messages jetstream.MessagesContext) {
	messages.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), backTime)
	defer cancel()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			break
		}
		if meta, err := m.Metadata(); err == nil {
			h.add(meta.Sequence.Stream, m)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.of {
		_ = m.NakWithDelay(pullTime + time.Second)
	}
	clear(h.of)
	_ = conn.FlushWithContext(ctx)
}

// natsWriter writes into streams of JetStream.
type natsWriter struct {
	o    Options
	mu   sync.Mutex // guards conn and js
	conn *nats.Conn
	js   jetstream.JetStream
}

func newNATSWriter(o Options) Writer { return &natsWriter{o: o} }

// connected returns a connection. While it is away nothing is kept in memory for
// later: what is written then fails at once.
func (w *natsWriter) connected() (jetstream.JetStream, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil && w.conn.IsConnected() {
		return w.js, nil
	}
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
	conn, err := w.o.connectNATS(nats.NoReconnect(), nats.IgnoreDiscoveredServers())
	if err != nil {
		return nil, natsError(err)
	}
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(2*maxPoll))
	if err != nil {
		conn.Close()
		return nil, natsError(err)
	}
	w.conn, w.js = conn, js
	return js, nil
}

// Write implements Writer.
func (w *natsWriter) Write(ctx context.Context, topic string, list []Message) []error {
	errs := make([]error, len(list))
	js, err := w.connected()
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	acks := make([]jetstream.PubAckFuture, len(list))
	for i := range list {
		m := &list[i]
		msg := &nats.Msg{Subject: topic, Data: m.Body, Header: nats.Header{}}
		for _, h := range m.Headers {
			msg.Header.Set(h.Name, h.Value)
		}
		acks[i], errs[i] = js.PublishMsgAsync(msg, jetstream.WithMsgID(m.ID))
	}
	for i, a := range acks {
		if a != nil {
			errs[i] = acknowledged(ctx, a)
		}
		errs[i] = natsError(errs[i])
	}
	return errs
}

func acknowledged(ctx context.Context, a jetstream.PubAckFuture) error {
	select {
	case <-a.Ok():
		return nil
	case err := <-a.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Check implements Writer.
func (w *natsWriter) Check(ctx context.Context, topic string) error {
	js, err := w.connected()
	if err != nil {
		return err
	}
	_, err = js.StreamNameBySubject(ctx, topic)
	return natsError(err)
}

// Close implements Writer.
func (w *natsWriter) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// natsError puts the errors of the package in front of those that mean them.
func natsError(err error) error {
	var is error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		is = ErrTooLarge
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		is = ErrNoTopic
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrPermissionViolation):
		is = ErrDenied
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrDisconnected):
		is = ErrAway
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, jetstream.ErrAsyncPublishTimeout):
		is = context.DeadlineExceeded
	default:
		return err
	}
	return fmt.Errorf("%w: %w", is, err)
}
