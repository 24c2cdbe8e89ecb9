package bus

import (
	"context"
	"errors"
)

// Why a message could not be written, as far as it says what to do.
var (
	// ErrTooLarge: the broker takes no message of this size.
	ErrTooLarge = errors.New("the message is too large for the broker")
	// ErrNoTopic: there is no such topic, or no stream for the subject.
	ErrNoTopic = errors.New("the broker has no such topic")
	// ErrAway: it cannot be reached, or the connection was lost.
	ErrAway = errors.New("the broker is not there")
	// ErrDenied: the broker does not let us.
	ErrDenied = errors.New("the broker denies access")
)

// Writer writes to one broker. It may be used by many goroutines.
type Writer interface {
	// Write writes messages to a topic, in order, and returns when the broker has
	// them on disk or ctx ends. errs[i] belongs to list[i]; nil means written.
	// After an error the message may have been written all the same.
	Write(ctx context.Context, topic string, list []Message) (errs []error)
	// Check returns nil when a topic is there and can be asked for.
	Check(ctx context.Context, topic string) error
	// Close ends the connections. What is on its way fails.
	Close()
}

// NewWriter returns a Writer, which connects when it is used and again when a
// connection was lost.
func NewWriter(o Options) (Writer, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Kind == Kafka {
		return newKafkaWriter(o)
	}
	return newNATSWriter(o), nil
}
