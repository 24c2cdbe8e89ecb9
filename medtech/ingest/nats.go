package ingest

import (
	"context"
	"log/slog"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hygeia-health/hygeia/medtech"
)

// pull reads a JetStream stream as a durable consumer. A message is acknowledged
// when it is on disk; one that comes again all the same is known by its sequence.
func pull(ctx context.Context, o Options, inbox *medtech.Inbox, well func()) error {
	opts := []nats.Option{nats.Name("hygeia"), nats.Timeout(dialTimeout), nats.NoReconnect()}
	if o.User != "" {
		opts = append(opts, nats.UserInfo(o.User, o.Secret))
	}
	if o.TLS != nil {
		opts = append(opts, nats.Secure(o.TLS))
	}
	conn, err := nats.Connect(strings.Join(o.URLs, ","), opts...)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	cfg := jetstream.ConsumerConfig{
		Durable: o.Group, AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy, MaxAckPending: 4 * maxPoll,
	}
	if len(o.Topics) == 1 {
		cfg.FilterSubject = o.Topics[0] // servers before 2.10 know no list
	} else {
		cfg.FilterSubjects = o.Topics
	}
	consumer, err := js.CreateOrUpdateConsumer(ctx, o.Stream, cfg)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(maxPoll))
	if err != nil {
		return err
	}
	stopped := context.AfterFunc(ctx, messages.Stop)
	defer stopped()
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
		ack := func() {
			if err := m.Ack(); err != nil { // it comes again, and is known
				o.Log.LogAttrs(ctx, slog.LevelDebug, "acknowledgement failed", slog.String("source", o.Name), slog.Any("err", err))
			}
		}
		if len(m.Data()) == 0 {
			ack()
			continue
		}
		raw := medtech.Raw{Source: o.Name, SourceID: o.Stream + "/" + strconv.FormatUint(meta.Sequence.Stream, 10), Body: m.Data()}
		if err := inbox.Put(ctx, raw, ack); err != nil {
			return err
		}
	}
}
