package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/hygeia-health/hygeia/medtech"
)

// maxPoll is how many records are kept together.
const maxPoll = 2000

// consume reads Kafka topics in a consumer group. The offset of a record is
// committed when the record is on disk; a record that comes again all the same is
// known by its place.
func consume(ctx context.Context, o Options, inbox *medtech.Inbox, well func()) error {
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.URLs...), kgo.ConsumerGroup(o.Group), kgo.ConsumeTopics(o.Topics...), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll(), kgo.ClientID("hygeia"),
	}
	if o.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(o.TLS))
	}
	if o.User != "" {
		opts = append(opts, kgo.SASL(plain.Auth{User: o.User, Pass: o.Secret}.AsMechanism()))
		if o.TLS == nil { // a password never travels in clear
			opts = append(opts, kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12}))
		}
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	if err := client.Ping(ctx); err != nil {
		return err
	}
	well()
	for {
		fetches := client.PollRecords(ctx, maxPoll)
		if err := fetches.Err0(); err != nil {
			return err
		}
		var failed error
		fetches.EachError(func(_ string, _ int32, err error) { failed = errors.Join(failed, err) })
		if failed != nil {
			return failed
		}
		var list []medtech.Raw
		fetches.EachRecord(func(r *kgo.Record) {
			if len(r.Value) == 0 {
				return // a tombstone
			}
			list = append(list, medtech.Raw{
				Source: o.Name, Body: r.Value,
				SourceID: r.Topic + "/" + strconv.Itoa(int(r.Partition)) + "/" + strconv.FormatInt(r.Offset, 10),
			})
		})
		if err := inbox.Keep(ctx, list); err != nil {
			return err
		}
		if err := client.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
		client.AllowRebalance()
	}
}
