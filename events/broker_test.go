package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/events"
	"github.com/hygeia-health/hygeia/platform/bus"
	"github.com/hygeia-health/hygeia/platform/bus/bustest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// toBroker is the JSON of a subscription to a broker.
func toBroker(kind, url, topic, more string) string {
	return fmt.Sprintf(`{"destination":{"endpointType":%q,"properties":{"urls":[%q],"topic":%q%s}}}`, kind, url, topic, more)
}

// TestBrokers writes events to a real broker of each kind, also over a restart of the service.
func TestBrokers(t *testing.T) {
	for kind, start := range map[string]func() (bus.Options, bus.Query){
		"Kafka": func() (bus.Options, bus.Query) {
			return bus.Options{Kind: bus.Kafka, URLs: bustest.Kafka(t, "health.events")}, bus.Query{Topics: []string{"health.events"}, Group: "g"}
		},
		"NATS": func() (bus.Options, bus.Query) {
			url := bustest.NATS(t)
			bustest.Ask(t, url, "$JS.API.STREAM.CREATE.EVENTS", `{"name":"EVENTS","subjects":["health.>"],"storage":"memory"}`)
			return bus.Options{Kind: bus.NATS, URLs: []string{url}}, bus.Query{Topics: []string{"health.events"}, Stream: "EVENTS", Group: "g"}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			o, q := start()
			r := &room{src: &source{}, web: &web{}, blobs: &memory{m: map[string]string{}}, path: filepath.Join(t.TempDir(), "events.db"), allow: []string{"127.0.0.1"}}
			r.start(t)
			defer func() { r.stop(t) }()
			info := r.put(t, "sub-a", toBroker(kind, o.URLs[0], "health.events", ""))
			if info.ProvisioningState != events.Succeeded || info.EventDeliverySchema != events.CloudEvent {
				t.Fatalf("%+v", info)
			}
			for i := range 300 {
				r.src.add(events.FHIRUpdated, fmt.Sprintf("Patient/p%d", i%10), int64(i/10+1))
			}
			r.Wake()
			got := map[string]map[string]any{}
			last := map[string]float64{}
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			if err := bus.Read(ctx, o, q, func() {}, func(list []bus.Message, done func()) error {
				done()
				for _, m := range list {
					e := map[string]any{}
					if err := json.Unmarshal(m.Body, &e); err != nil {
						t.Errorf("%s: %v", m.Body, err)
					}
					id, _ := e["id"].(string)
					if got[id] == nil {
						data, _ := e["data"].(map[string]any)
						of, _ := data["resourceFhirId"].(string)
						v, _ := data["resourceVersionId"].(float64)
						if v != last[of]+1 {
							t.Errorf("version %v of %s after %v", v, of, last[of])
						}
						last[of] = v
					}
					got[id] = e
				}
				if len(got) == 300 {
					return errEnough
				}
				return nil
			}); !errors.Is(err, errEnough) {
				t.Fatalf("%d of 300 events: %v", len(got), err)
			}
			for _, spec := range []string{
				toBroker(kind, o.URLs[0], "nothing", ""),
				toBroker(kind, strings.Replace(o.URLs[0], "127.0.0.1", "127.0.0.2", 1), "health.events", ""),
			} {
				sub, err := events.ParseSubscription("sub-b", []byte(spec))
				if err == nil {
					_, _, err = r.PutSubscription(t.Context(), sub, "https://x")
				}
				if !fault.Is(err, fault.Unprocessable) {
					t.Errorf("%s: %v", spec, err)
				}
			}
		})
	}
}

var errEnough = errors.New("enough")

// tape is a bus.Writer in memory that can be told to fail.
type tape struct {
	mu   sync.Mutex
	opts bus.Options
	list []bus.Message
	at   []time.Time
	fail func(m bus.Message) error
}

func (w *tape) Write(_ context.Context, topic string, list []bus.Message) []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := make([]error, len(list))
	for i, m := range list {
		if w.fail != nil {
			errs[i] = w.fail(m)
		}
		if errs[i] == nil {
			w.list, w.at = append(w.list, m), append(w.at, time.Now())
		}
	}
	return errs
}
func (w *tape) Check(context.Context, string) error { return nil }
func (w *tape) Close()                              {}

// versions are what came of a resource, in order.
func (w *tape) versions(ref string) (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.list {
		if strings.HasSuffix(m.Key, ref) {
			_, v, _ := strings.Cut(string(m.Body), `"dataVersion":"`)
			v, _, _ = strings.Cut(v, `"`)
			list = append(list, v)
		}
	}
	return list
}

// onTape runs f with a subscription to a tape, for which something listens.
func onTape(t *testing.T, f func(t *testing.T, r *room, w *tape)) {
	t.Helper()
	urls := bustest.Kafka(t) // for the knock at the door
	w := &tape{}
	simulateWith(t, room{allow: []string{"127.0.0.1"}, writers: func(o bus.Options) (bus.Writer, error) { w.opts = o; return w, nil }}, func(t *testing.T, r *room) {
		r.put(t, "sub-a", `{"eventDeliverySchema":"EventGridSchema","deadLetterDestination":{"endpointType":"StorageBlob","properties":{"blobContainerName":"dead"}},`+toBroker("Kafka", urls[0], "t", `,"user":"u","password":"env:secret","tls":true,
 "deliveryAttributeMappings":[{"name":"x-type","type":"Dynamic","properties":{"sourceField":"data.resourceType"}}]`)[1:])
		f(t, r, w)
	})
}

// TestBrokerFailures has single messages fail: the others go on, the order of
// each resource stays, and only what no attempt can change is given up.
func TestBrokerFailures(t *testing.T) {
	onTape(t, func(t *testing.T, r *room, w *tape) {
		if w.opts.User != "u" || w.opts.Secret != "secret" || w.opts.TLS == nil || w.opts.Kind != bus.Kafka {
			t.Errorf("%+v", w.opts)
		}
		failures := map[string][]error{
			"p1": {bus.ErrDenied, context.DeadlineExceeded},
			"p2": {bus.ErrTooLarge},
			"p3": {bus.ErrNoTopic, bus.ErrAway, errors.New("odd")},
		}
		w.fail = func(m bus.Message) error {
			ref := m.Key[strings.LastIndex(m.Key, "/")+1:]
			if l := failures[ref]; len(l) > 0 {
				failures[ref] = l[1:]
				return l[0]
			}
			return nil
		}
		for v := range int64(3) {
			for _, ref := range []string{"p1", "p2", "p3", "p4"} {
				r.src.add(events.FHIRUpdated, "Patient/"+ref, v+1)
			}
		}
		r.Wake()
		wait(time.Second)
		if got := w.versions("p4"); !slices.Equal(got, []string{"1", "2", "3"}) && !slices.Equal(got, []string{"1"}) {
			t.Errorf("p4: %v", got) // it may wait with the others in a probation
		}
		wait(time.Hour)
		for ref, want := range map[string]string{"p1": "1 2 3", "p2": "2 3", "p3": "1 2 3", "p4": "1 2 3"} {
			if got := strings.Join(w.versions(ref), " "); got != want {
				t.Errorf("%s: %s, want %s", ref, got, want)
			}
		}
		letters, err := r.Letters(t.Context(), "sub-a", 0, 10)
		if err != nil || len(letters) != 1 || letters[0].Try.Outcome != events.PayloadTooLarge || letters[0].Blob == "" {
			t.Errorf("%+v %v", letters, err)
		}
		m := w.list[0]
		if m.Key != "ws-fhir.fhir.example.org/Patient/p4" || !slices.Equal(m.Headers, []bus.Header{{Name: "content-type", Value: "application/json; charset=utf-8"}, {Name: "x-type", Value: "Patient"}}) || m.Body[0] != '{' || len(m.ID) != 36 {
			t.Errorf("%+v", m)
		}
	})
}

// TestBrokerAway tries as long as with a webhook.
func TestBrokerAway(t *testing.T) {
	onTape(t, func(t *testing.T, r *room, w *tape) {
		w.fail = func(bus.Message) error { return bus.ErrDenied }
		r.src.add(events.FHIRCreated, "Patient/p1", 1)
		r.Wake()
		wait(5 * time.Hour)
		w.mu.Lock()
		w.fail = nil
		w.mu.Unlock()
		wait(8 * time.Hour)
		if got := w.versions("p1"); len(got) != 1 {
			t.Errorf("%d deliveries", len(got))
		}
	})
}

// TestBrokerSpecs has what may not stand in the destination.
func TestBrokerSpecs(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		for _, c := range []struct{ spec, problem string }{
			{toBroker("Kafka", "h", "t", ""), "urls"},
			{toBroker("Kafka", "h:1", "t t", ""), "topic is"},
			{toBroker("NATS", "nats://h", "a.*", ""), "topic is"},
			{toBroker("NATS", "nats://h", "a..b", ""), "topic is"},
			{toBroker("NATS", "http://h", "a", ""), "does not begin with nats://"},
			{toBroker("NATS", "nats://u:p@h", "a", ""), "settings of their own"},
			{toBroker("Kafka", "h:1", "t", `,"endpointUrl":"https://a/"`), "endpointUrl is that of a WebHook"},
			{toBroker("Kafka", "h:1", "t", `,"signingSecret":"whsec_"`), "signingSecret is for webhooks"},
			{toBroker("Kafka", "h:1", "t", `,"preferredBatchSizeInKilobytes":3`), "for webhooks"},
			{toBroker("Kafka", "h:1", "t", `,"password":"env:X"`), "password needs a user"},
			{toBroker("Kafka", "h:1", "t", `,"deliveryAttributeMappings":[{"name":"Nats-Msg-Id","type":"Static","properties":{"value":"x"}}]`), "is set by the delivery itself"},
			{toBroker("WebHook", "h:1", "t", `,"endpointUrl":"https://a/"`), "are those of Kafka and NATS"},
			{toBroker("EventHub", "h:1", "t", ""), "WebHook, Kafka or NATS"},
		} {
			sub, err := events.ParseSubscription("sub-a", []byte(c.spec))
			if err == nil {
				_, _, err = r.PutSubscription(t.Context(), sub, "https://x")
			}
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%s: %v, want %s", c.spec, err, c.problem)
			}
		}
	})
}
