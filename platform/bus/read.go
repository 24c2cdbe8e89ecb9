package bus

import "context"

// Message is what comes from a broker or goes to it.
type Message struct {
	// ID names the message: when it was read, by its place in the broker; when it
	// is written, so that JetStream drops one that comes twice in a short time.
	ID string
	// Key is what the message is about, when it is written: Kafka keeps the
	// messages of one key in one partition, and so in order.
	Key     string
	Headers []Header
	Body    []byte
}

// Header is a header of a message.
type Header struct{ Name, Value string }

// Query says what to read.
type Query struct {
	Topics []string // Kafka topics, NATS subjects
	Stream string   // of JetStream
	Group  string   // Kafka consumer group, durable consumer of JetStream
}

// maxPoll is how many messages are handed over together.
const maxPoll = 2000

// Read hands over messages until ctx ends or the connection is lost, and returns
// why. well is called when messages can come. take gets messages in the order of
// the broker, and calls done, at any time and from anywhere, when they are kept:
// then they are acknowledged. What was not acknowledged comes again to the next
// Read with the same group. An error of take ends the reading.
func Read(ctx context.Context, o Options, q Query, well func(), take func(list []Message, done func()) error) error {
	if err := o.Check(); err != nil {
		return err
	}
	if o.Kind == Kafka {
		return readKafka(ctx, o, q, well, take)
	}
	return readNATS(ctx, o, q, well, take)
}
