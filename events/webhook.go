package events

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// deliveryTime is how long a destination may take to answer.
const deliveryTime = 30 * time.Second

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

// carrier takes deliveries to a destination. It may be used by many goroutines.
type carrier interface {
	// send delivers; there is one answer for each event, or one for all.
	send(ctx context.Context, d *delivery, now time.Time) []answer
	close()
}

// carrier returns that of a subscription.
func (s *Service) carrier(sub *Subscription) (carrier, error) {
	if sub.Destination.EndpointType == webHook {
		return webhook{s.client}, nil
	}
	return s.broker(sub)
}

// webhook is the carrier of webhooks.
type webhook struct{ client *http.Client }

func (webhook) close() {}

// delivery is one request: an event, or a batch of them.
type delivery struct {
	sub    *Subscription
	origin string
	names  *Names
	events []*Event
	tries  []int // attempts before this one, of each event
}

// body renders the events. A single one is an array too in the schema of Event
// Grid, an object in that of CloudEvents.
func (d *delivery) body() []byte {
	single := d.sub.EventDeliverySchema == CloudEvent && d.sub.Destination.Properties.MaxEventsPerBatch == 1
	var b []byte
	if !single {
		b = append(b, '[')
	}
	for i, e := range d.events {
		if i > 0 {
			b = append(b, ',')
		}
		b = d.names.appendEvent(b, e, d.sub.EventDeliverySchema)
	}
	if !single {
		b = append(b, ']')
	}
	return b
}

// send implements carrier.
func (w webhook) send(ctx context.Context, d *delivery, now time.Time) []answer {
	return []answer{w.post(ctx, d, now)}
}

func (w webhook) post(ctx context.Context, d *delivery, now time.Time) answer {
	body := d.body()
	p := &d.sub.Destination.Properties
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.EndpointURL, bytes.NewReader(body))
	if err != nil {
		return answer{outcome: GenericError}
	}
	d.headers(req.Header)
	if p.SigningSecret != "" {
		sign(req.Header, p.SigningSecret, d.events[0].ID(), now, body)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return answer{outcome: failure(err)}
	}
	// A short answer is read to its end, so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	resp.Body.Close()
	return answer{outcome: classify(resp.StatusCode), after: retryAfter(resp.Header, now)}
}

// baseHeaders sets those that do not depend on events: they are on handshakes too.
func (s *Subscription) baseHeaders(h http.Header, eventType string) {
	h.Set("User-Agent", "Hygeia")
	h["aeg-subscription-name"] = []string{strings.ToUpper(s.Name)}
	h["aeg-event-type"] = []string{eventType}
	if s.EventDeliverySchema == EventGrid {
		h.Set("Content-Type", "application/json; charset=utf-8")
		h["aeg-metadata-version"] = []string{"1"}
	}
	for i := range s.Destination.Properties.DeliveryAttributeMappings {
		if m := &s.Destination.Properties.DeliveryAttributeMappings[i]; m.Type == "Static" {
			h.Set(m.Name, m.Properties.Value)
		}
	}
}

// headers sets those of a delivery.
func (d *delivery) headers(h http.Header) {
	d.sub.baseHeaders(h, "Notification")
	first, p := d.events[0], &d.sub.Destination.Properties
	h["aeg-delivery-count"] = []string{strconv.Itoa(d.tries[0])}
	switch {
	case d.sub.EventDeliverySchema == EventGrid:
		h["aeg-data-version"] = []string{strconv.FormatInt(first.Version, 10)}
	case p.MaxEventsPerBatch == 1:
		h.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	default:
		h.Set("Content-Type", "application/cloudevents-batch+json; charset=utf-8")
	}
	if d.origin != "" {
		h.Set("WebHook-Request-Origin", d.origin)
	}
	if len(d.events) == 1 {
		h["aeg-output-event-id"] = []string{first.ID()}
	}
	for i := range p.DeliveryAttributeMappings {
		m := &p.DeliveryAttributeMappings[i]
		if v, ok := m.value(d.names, first); ok {
			h.Set(m.Name, v)
		}
	}
}

// signingKey returns the bytes of a secret; nil when it is none.
func signingKey(secret string) []byte {
	text, ok := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil
	}
	return key
}

// sign adds the signature of Standard Webhooks: over id, time and body.
func sign(h http.Header, secret, id string, now time.Time, body []byte) {
	stamp := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, signingKey(secret))
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", stamp)
	h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
