package events

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/hygeia-health/hygeia/platform/bus"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// broker is the carrier of Kafka and NATS JetStream: one message for each event, in
// the structured mode of CloudEvents, with the subject as its key.
type broker struct {
	w     bus.Writer
	topic string
}

var _ carrier = (*broker)(nil)

// broker connects to the destination of a subscription, if the operator allows it.
func (s *Service) broker(sub *Subscription) (*broker, error) {
	p := &sub.Destination.Properties
	o := sub.Destination.bus()
	o.User, o.Dial = p.User, s.guardian.dialer(false)
	if p.TLS {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if p.Password != "" {
		var err error
		if o.Secret, err = s.secret(p.Password); err != nil {
			return nil, fault.New(fault.Invalid, "destination.properties.password: %v", err)
		}
	}
	w, err := s.writers(o)
	if err != nil {
		return nil, fault.New(fault.Invalid, "destination.properties.%v", err)
	}
	return &broker{w, p.Topic}, nil
}

// bus returns where a destination is.
func (d *Destination) bus() bus.Options {
	return bus.Options{Kind: brokerKinds[d.EndpointType], URLs: d.Properties.URLs}
}

// reach is the handshake of brokers: the topic has to be there.
func (s *Service) reach(ctx context.Context, sub *Subscription) (grant, error) {
	b, err := s.broker(sub)
	if err != nil {
		return grant{}, err
	}
	defer b.close()
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if err = s.knock(ctx, sub.Destination.bus()); err == nil {
		err = b.w.Check(ctx, b.topic)
	}
	refused := func(format string, args ...any) (grant, error) {
		return grant{}, fault.New(fault.Unprocessable, "the destination was not reached: "+format, args...)
	}
	switch {
	case err == nil:
		return grant{state: Succeeded}, nil
	case errors.Is(err, errAddress):
		return refused("the operator has not allowed its address; see the configuration key events.allow")
	case errors.Is(err, bus.ErrNoTopic):
		return refused("there is no topic %s", b.topic)
	case errors.Is(err, bus.ErrDenied):
		return refused("it denies access")
	}
	return refused("it does not answer (%s)", failure(err))
}

// knock connects to one of the addresses of a broker, and says best why it cannot.
func (s *Service) knock(ctx context.Context, o bus.Options) error {
	var errs error
	for _, a := range o.Addresses() {
		conn, err := s.guardian.dialer(false)(ctx, "tcp", a)
		if err == nil {
			return conn.Close()
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

// reachTime is how long a broker may take to answer when a subscription is put.
const reachTime = 10 * time.Second

func (b *broker) close() { b.w.Close() }

// send implements carrier.
func (b *broker) send(ctx context.Context, d *delivery, _ time.Time) []answer {
	ctx, cancel := context.WithTimeout(ctx, deliveryTime)
	defer cancel()
	media := "application/json; charset=utf-8"
	if d.sub.EventDeliverySchema == CloudEvent {
		media = "application/cloudevents+json; charset=utf-8"
	}
	list := make([]bus.Message, len(d.events))
	for i, e := range d.events {
		m := bus.Message{ID: e.ID(), Key: d.names.Subject(e), Body: d.names.appendEvent(nil, e, d.sub.EventDeliverySchema)}
		m.Headers = append(m.Headers, bus.Header{Name: "content-type", Value: media})
		for j := range d.sub.Destination.Properties.DeliveryAttributeMappings {
			a := &d.sub.Destination.Properties.DeliveryAttributeMappings[j]
			if v, ok := a.value(d.names, e); ok {
				m.Headers = append(m.Headers, bus.Header{Name: a.Name, Value: v})
			}
		}
		list[i] = m
	}
	answers := make([]answer, len(list))
	for i, err := range b.w.Write(ctx, b.topic, list) {
		answers[i] = brokerAnswer(err)
	}
	return answers
}

// brokerAnswer tells what an error of a broker means. Only a message that is too
// large is given up at once: rights and topics can be put right, by those who
// run the broker, without a new message.
func brokerAnswer(err error) answer {
	switch {
	case err == nil:
		return answer{outcome: Delivered}
	case errors.Is(err, bus.ErrTooLarge):
		return answer{outcome: PayloadTooLarge}
	case errors.Is(err, bus.ErrNoTopic):
		return answer{outcome: NotFound}
	case errors.Is(err, bus.ErrDenied):
		return answer{outcome: Unauthorized, again: true}
	case errors.Is(err, bus.ErrAway):
		return answer{outcome: SocketError}
	}
	return answer{outcome: failure(err), again: true}
}

// checkBroker fills in defaults of a broker and refuses what it does not have.
func (d *Destination) checkBroker() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "destination.properties.%s", fmt.Sprintf(format, args...))
	}
	p := &d.Properties
	switch {
	case p.EndpointURL != "":
		return bad("endpointUrl is that of a WebHook; a broker has urls and topic")
	case p.SigningSecret != "":
		return bad("signingSecret is for webhooks")
	case p.PreferredBatchSizeInKilobytes != 0:
		return bad("preferredBatchSizeInKilobytes is for webhooks: each event is a message of its own")
	case !topicForms[d.EndpointType].MatchString(p.Topic):
		return bad("topic is the topic of Kafka or the subject of NATS that events are written to, without wildcards")
	case p.Password != "" && p.User == "":
		return bad("password needs a user")
	}
	o := d.bus()
	if err := o.Check(); err != nil {
		return bad("%v", err)
	}
	if p.MaxEventsPerBatch == 0 {
		p.MaxEventsPerBatch = defaultBrokerBatch
	}
	return nil
}
