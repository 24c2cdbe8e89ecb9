package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// kafkaOptions are those that readers and writers share.
func (o *Options) kafkaOptions() []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(o.URLs...), kgo.ClientID("hygeia"), kgo.MetadataMinAge(time.Second)}
	dial := o.dial
	if o.TLS != nil || o.User != "" { // a password never travels in clear
		dial = o.secure
	}
	opts = append(opts, kgo.Dialer(dial))
	if o.User != "" {
		opts = append(opts, kgo.SASL(plain.Auth{User: o.User, Pass: o.Secret}.AsMechanism()))
	}
	return opts
}

// readKafka reads topics in a consumer group. The offset of a record is committed
// when it is kept.
func readKafka(ctx context.Context, o Options, q Query, well func(), take func([]Message, func()) error) error {
	client, err := kgo.NewClient(append(o.kafkaOptions(),
		kgo.ConsumerGroup(q.Group), kgo.ConsumeTopics(q.Topics...), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll())...)
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
		var list []Message
		fetches.EachRecord(func(r *kgo.Record) {
			list = append(list, Message{
				ID: r.Topic + "/" + strconv.Itoa(int(r.Partition)) + "/" + strconv.FormatInt(r.Offset, 10), Body: r.Value,
			})
		})
		if len(list) > 0 {
			kept := make(chan struct{})
			if err := take(list, func() { close(kept) }); err != nil {
				return err
			}
			select {
			case <-kept:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := client.CommitUncommittedOffsets(ctx); err != nil {
				return err
			}
		}
		client.AllowRebalance()
	}
}

// kafkaWriter writes with acknowledgements of all replicas in sync. It does not
// ask for idempotence: a batch whose outcome is unknown could then not be given
// up in time, and it comes again, with the same ids, in any case. Without it one
// request is under way at a time, so that the order stays.
type kafkaWriter struct{ client *kgo.Client }

// attemptTime is how long the client tries one record by itself.
const attemptTime = 20 * time.Second

func newKafkaWriter(o Options) (Writer, error) {
	client, err := kgo.NewClient(append(o.kafkaOptions(),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DisableIdempotentWrite(), kgo.RecordDeliveryTimeout(attemptTime),
		kgo.ProducerLinger(0), kgo.UnknownTopicRetries(1))...)
	if err != nil {
		return nil, err
	}
	return &kafkaWriter{client}, nil
}

// Write implements Writer.
func (w *kafkaWriter) Write(ctx context.Context, topic string, list []Message) []error {
	records := make([]*kgo.Record, len(list))
	for i := range list {
		m := &list[i]
		r := &kgo.Record{Topic: topic, Key: []byte(m.Key), Value: m.Body}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Name, Value: []byte(h.Value)})
		}
		records[i] = r
	}
	at := make(map[*kgo.Record]int, len(records))
	for i, r := range records {
		at[r] = i
	}
	errs := make([]error, len(list))
	for _, res := range w.client.ProduceSync(ctx, records...) { // in the order of their ends
		errs[at[res.Record]] = kafkaError(res.Err)
	}
	return errs
}

// Check implements Writer.
func (w *kafkaWriter) Check(ctx context.Context, topic string) error {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, w.client)
	if err != nil {
		return kafkaError(err)
	}
	for i := range resp.Topics {
		if err := kerr.ErrorForCode(resp.Topics[i].ErrorCode); err != nil {
			return kafkaError(err)
		}
	}
	return nil
}

// Close implements Writer.
func (w *kafkaWriter) Close() { w.client.Close() }

// kafkaError puts the errors of the package in front of those that mean them.
func kafkaError(err error) error {
	var is error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		is = ErrTooLarge
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InvalidTopicException):
		is = ErrNoTopic
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.SaslAuthenticationFailed):
		is = ErrDenied
	case errors.Is(err, kgo.ErrRecordTimeout):
		is = context.DeadlineExceeded
	default:
		return err
	}
	return fmt.Errorf("%w: %w", is, err)
}
