package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/bus"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Subscription says which events go where. The members are those of an event
// subscription of Event Grid.
type Subscription struct {
	Name                  string           `json:"name"`
	Destination           Destination      `json:"destination"`
	Filter                Filter           `json:"filter"`
	EventDeliverySchema   Schema           `json:"eventDeliverySchema"`
	RetryPolicy           RetryPolicy      `json:"retryPolicy"`
	DeadLetterDestination *DeadLetterStore `json:"deadLetterDestination,omitempty"`
	ExpirationTimeUTC     *time.Time       `json:"expirationTimeUtc,omitempty"`
	Labels                []string         `json:"labels,omitempty"`
	// Ordered keeps the order of the events of each resource: one is tried only
	// when those before it were delivered or given up.
	Ordered bool `json:"ordered,omitempty"`
}

// Destination is where events go.
type Destination struct {
	EndpointType string                `json:"endpointType"` // WebHook, Kafka or NATS
	Properties   DestinationProperties `json:"properties"`
}

// The types of destinations. Those of brokers are our own.
const (
	webHook   = "WebHook"
	kafkaType = "Kafka"
	natsType  = "NATS"
)

var brokerKinds = map[string]bus.Kind{kafkaType: bus.Kafka, natsType: bus.NATS}

// DestinationProperties are those of a webhook or of a broker.
type DestinationProperties struct {
	EndpointURL                   string             `json:"endpointUrl,omitempty"` // WebHook
	MaxEventsPerBatch             int                `json:"maxEventsPerBatch,omitempty"`
	PreferredBatchSizeInKilobytes int                `json:"preferredBatchSizeInKilobytes,omitempty"`
	DeliveryAttributeMappings     []AttributeMapping `json:"deliveryAttributeMappings,omitempty"`
	// SigningSecret signs every delivery as Standard Webhooks describes. It is
	// never shown.
	SigningSecret string `json:"signingSecret,omitempty"`

	// Of Kafka and NATS.
	URLs     []string `json:"urls,omitempty"`  // host:9092, nats://host:4222
	Topic    string   `json:"topic,omitempty"` // of Kafka; the subject of NATS, which a stream has
	User     string   `json:"user,omitempty"`
	Password string   `json:"password,omitempty"` // a reference, such as env:NAME
	TLS      bool     `json:"tls,omitempty"`
}

// AttributeMapping is a header of one's own.
type AttributeMapping struct {
	Name       string `json:"name"`
	Type       string `json:"type"` // Static or Dynamic
	Properties struct {
		Value       string `json:"value,omitempty"`       // Static
		IsSecret    bool   `json:"isSecret,omitempty"`    // Static: not shown
		SourceField string `json:"sourceField,omitempty"` // Dynamic: a key as in filters
	} `json:"properties"`
}

// RetryPolicy bounds the attempts for one event.
type RetryPolicy struct {
	MaxDeliveryAttempts      int `json:"maxDeliveryAttempts"`
	EventTimeToLiveInMinutes int `json:"eventTimeToLiveInMinutes"`
}

// DeadLetterStore is where events go that could not be delivered: below a
// prefix of the blob store of the workspace.
type DeadLetterStore struct {
	EndpointType string `json:"endpointType"` // StorageBlob
	Properties   struct {
		BlobContainerName string `json:"blobContainerName"`
	} `json:"properties"`
}

// Limits and defaults of Event Grid.
const (
	maxAttempts    = 30
	maxMinutes     = 1440
	maxBatch       = 5000
	maxBatchKB     = 1024
	defaultBatchKB = 64
	// defaultBrokerBatch is how many messages are written together.
	defaultBrokerBatch = 500

	maxHeaders     = 10
	maxHeaderValue = 4096
)

var (
	nameForm      = regexp.MustCompile(`^[A-Za-z0-9-]{3,64}$`)
	containerForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)
	topicForms    = map[string]*regexp.Regexp{
		kafkaType: regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`),
		natsType:  regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`),
	}
	headerForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")
)

// reservedHeaders are those that a delivery sets itself.
var reservedHeaders = []string{"content-type", "content-length", "host", "connection", "transfer-encoding", "te", "upgrade", "trailer", "keep-alive", "proxy-", "aeg-", "webhook-", "ce-", "nats-"}

// ParseSubscription reads a subscription, bare or inside a member properties as
// the management API of Azure has it; beside that only id, name and type may
// stand. Unknown members are errors; what the members say is checked when it is put.
func ParseSubscription(name string, body []byte) (*Subscription, error) {
	var outer struct {
		ID         string          `json:"id"`
		Name       string          `json:"name"`
		Type       string          `json:"type"`
		Properties json.RawMessage `json:"properties"`
	}
	var members map[string]json.RawMessage
	if json.NewDecoder(bytes.NewReader(body)).Decode(&members) == nil && members["properties"] != nil {
		if err := decodeStrictly(body, &outer); err != nil {
			return nil, err
		}
		body = outer.Properties
	}
	s := &Subscription{}
	if err := decodeStrictly(body, s); err != nil {
		return nil, err
	}
	for _, n := range []string{outer.Name, s.Name} {
		if n != "" && n != name {
			return nil, fault.New(fault.Invalid, "the body names %.64q, the address %.64q", n, name)
		}
	}
	s.Name = name
	return s, nil
}

// decodeStrictly reads one JSON value without members that v does not have.
func decodeStrictly(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fault.New(fault.Invalid, "the subscription cannot be read: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); err != io.EOF {
		return fault.New(fault.Invalid, "the subscription is followed by something else")
	}
	return nil
}

// check fills in defaults and refuses what cannot be done.
func (s *Subscription) check() error {
	bad := func(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if !nameForm.MatchString(s.Name) {
		return bad("a subscription has a name of 3 to 64 letters, digits and hyphens")
	}
	switch s.EventDeliverySchema {
	case "":
		s.EventDeliverySchema = EventGrid
		if s.Destination.EndpointType != webHook {
			s.EventDeliverySchema = CloudEvent
		}
	case EventGrid, CloudEvent:
	default:
		return bad("eventDeliverySchema is EventGridSchema or CloudEventSchemaV1_0")
	}
	def(&s.RetryPolicy.MaxDeliveryAttempts, maxAttempts)
	def(&s.RetryPolicy.EventTimeToLiveInMinutes, maxMinutes)
	if r := s.RetryPolicy; r.MaxDeliveryAttempts < 1 || r.MaxDeliveryAttempts > maxAttempts {
		return bad("retryPolicy.maxDeliveryAttempts is between 1 and %d", maxAttempts)
	} else if r.EventTimeToLiveInMinutes < 1 || r.EventTimeToLiveInMinutes > maxMinutes {
		return bad("retryPolicy.eventTimeToLiveInMinutes is between 1 and %d", maxMinutes)
	}
	if d := s.DeadLetterDestination; d != nil {
		if d.EndpointType != "StorageBlob" {
			return bad("deadLetterDestination.endpointType is StorageBlob")
		}
		if !containerForm.MatchString(d.Properties.BlobContainerName) {
			return bad("deadLetterDestination.properties.blobContainerName has 3 to 63 lower-case letters, digits and hyphens")
		}
	}
	if _, err := s.Filter.compile(); err != nil {
		return err
	}
	return s.Destination.check()
}

func (d *Destination) check() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "destination.%s", fmt.Sprintf(format, args...))
	}
	p := &d.Properties
	var err error
	switch d.EndpointType {
	case webHook:
		err = d.checkWebhook()
	case kafkaType, natsType:
		err = d.checkBroker()
	default:
		err = bad("endpointType is WebHook, Kafka or NATS; to read events yourself use the pull cursor /{workspace}/events")
	}
	if err != nil {
		return err
	}
	if p.MaxEventsPerBatch < 1 || p.MaxEventsPerBatch > maxBatch {
		return bad("properties.maxEventsPerBatch is between 1 and %d", maxBatch)
	}
	if len(p.DeliveryAttributeMappings) > maxHeaders {
		return bad("properties.deliveryAttributeMappings: at most %d are allowed", maxHeaders)
	}
	for i := range p.DeliveryAttributeMappings {
		if err := p.DeliveryAttributeMappings[i].check(); err != nil {
			return bad("properties.deliveryAttributeMappings[%d]: %v", i, err)
		}
	}
	return nil
}

// checkWebhook fills in defaults of a webhook and refuses what it does not have.
func (d *Destination) checkWebhook() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "destination.properties.%s", fmt.Sprintf(format, args...))
	}
	p := &d.Properties
	u, err := url.Parse(p.EndpointURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "" {
		return bad("endpointUrl is an absolute http or https address without user and fragment")
	}
	if p.URLs != nil || p.Topic != "" || p.User != "" || p.Password != "" || p.TLS {
		return bad("urls, topic, user, password and tls are those of Kafka and NATS; a WebHook has endpointUrl")
	}
	if p.MaxEventsPerBatch == 0 {
		p.MaxEventsPerBatch = 1
	}
	if p.PreferredBatchSizeInKilobytes == 0 {
		p.PreferredBatchSizeInKilobytes = defaultBatchKB
	}
	if p.PreferredBatchSizeInKilobytes < 1 || p.PreferredBatchSizeInKilobytes > maxBatchKB {
		return bad("preferredBatchSizeInKilobytes is between 1 and %d", maxBatchKB)
	}
	if p.SigningSecret != "" && signingKey(p.SigningSecret) == nil {
		return bad("signingSecret is whsec_ followed by 24 to 64 bytes in base64")
	}
	return nil
}

// value returns what a header says about an event; not ok when the event does
// not have it.
func (a *AttributeMapping) value(n *Names, e *Event) (text string, ok bool) {
	if a.Type == "Static" {
		return a.Properties.Value, true
	}
	x := n.field(e, strings.ToLower(a.Properties.SourceField))
	return fmt.Sprint(x), x != nil
}

func (a *AttributeMapping) check() error {
	if !headerForm.MatchString(a.Name) {
		return fmt.Errorf("%.64q is not the name of a header", a.Name)
	}
	low := strings.ToLower(a.Name)
	for _, r := range reservedHeaders {
		if low == r || strings.HasSuffix(r, "-") && strings.HasPrefix(low, r) {
			return fmt.Errorf("the header %s is set by the delivery itself", a.Name)
		}
	}
	v := a.Properties.Value
	switch a.Type {
	case "Static":
		if v == "" || len(v) > maxHeaderValue || strings.ContainsAny(v, "\r\n\x00") || a.Properties.SourceField != "" {
			return fmt.Errorf("a Static header has a value of one line of at most %d bytes and no sourceField", maxHeaderValue)
		}
		if v == hidden && a.Properties.IsSecret {
			return fmt.Errorf("the secret of the header %s has to be given: it is kept only while the destination stays the same", a.Name)
		}
	case "Dynamic":
		if !knownKey(strings.ToLower(a.Properties.SourceField)) || v != "" || a.Properties.IsSecret {
			return fmt.Errorf("a Dynamic header has a sourceField such as data.resourceType and no value")
		}
	default:
		return fmt.Errorf("type is Static or Dynamic")
	}
	return nil
}

// hidden is shown in place of a secret.
const hidden = "***"

// Shown returns a copy without secrets.
func (s *Subscription) Shown() *Subscription {
	c := *s
	p := &c.Destination.Properties
	if p.SigningSecret != "" {
		p.SigningSecret = hidden
	}
	if u, err := url.Parse(p.EndpointURL); err == nil && u.RawQuery != "" {
		u.RawQuery = hidden // receivers put keys there
		p.EndpointURL = u.String()
	}
	p.DeliveryAttributeMappings = append([]AttributeMapping(nil), p.DeliveryAttributeMappings...)
	for i := range p.DeliveryAttributeMappings {
		if m := &p.DeliveryAttributeMappings[i]; m.Properties.IsSecret {
			m.Properties.Value = hidden
		}
	}
	return &c
}

// keepSecrets puts the secrets of an earlier form of the subscription where this
// one has the mark that stands for them, so that what was shown can be sent back. A
// header of another destination has to be given again: who changes where events go
// would otherwise have the secret sent there.
func (s *Subscription) keepSecrets(old *Subscription) {
	p, q := &s.Destination.Properties, &old.Destination.Properties
	if p.SigningSecret == hidden {
		p.SigningSecret = q.SigningSecret
	}
	if p.EndpointURL == old.Shown().Destination.Properties.EndpointURL {
		p.EndpointURL = q.EndpointURL
	}
	if !s.Destination.same(&old.Destination) {
		return
	}
	for i := range p.DeliveryAttributeMappings {
		m := &p.DeliveryAttributeMappings[i]
		for j := range q.DeliveryAttributeMappings {
			if o := &q.DeliveryAttributeMappings[j]; o.Name == m.Name && m.Properties.IsSecret && m.Properties.Value == hidden {
				m.Properties.Value = o.Properties.Value
			}
		}
	}
}
