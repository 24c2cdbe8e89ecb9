package ingest

import (
	"context"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/bus"
)

// kinds are the sources that are brokers which the whole platform knows.
var kinds = map[Type]bus.Kind{Kafka: bus.Kafka, NATS: bus.NATS}

func (o *Options) bus() bus.Options {
	return bus.Options{Kind: kinds[o.Type], URLs: o.URLs, User: o.User, Secret: o.Secret, TLS: o.TLS}
}

// follow reads Kafka topics or a JetStream stream. A message is acknowledged when
// it is on disk; one that comes again all the same is known by its name.
func follow(ctx context.Context, o Options, inbox *medtech.Inbox, well func()) error {
	q := bus.Query{Topics: o.Topics, Stream: o.Stream, Group: o.Group}
	return bus.Read(ctx, o.bus(), q, well, func(list []bus.Message, done func()) error {
		raws := make([]medtech.Raw, 0, len(list))
		for i := range list {
			if m := &list[i]; len(m.Body) > 0 { // a tombstone of Kafka says nothing
				raws = append(raws, medtech.Raw{Source: o.Name, SourceID: m.ID, Body: m.Body})
			}
		}
		if len(raws) == 0 {
			done()
			return nil
		}
		return inbox.Put(ctx, raws, done)
	})
}
