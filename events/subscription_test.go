package events_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/events"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// TestParseSubscription has both forms, and what may not stand in them.
func TestParseSubscription(t *testing.T) {
	const dest = `"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"https://a/in"}}`
	for _, c := range []struct{ name, body, problem string }{
		{"bare", `{` + dest + `}`, ""},
		{"wrapped", `{"id":"/x","name":"sub-a","type":"Microsoft.EventGrid/eventSubscriptions","properties":{` + dest + `}}`, ""},
		{"beside properties", `{"ordered":true,"properties":{` + dest + `}}`, `unknown field "ordered"`},
		{"filter beside properties", `{"filter":{},"properties":{` + dest + `}}`, `unknown field "filter"`},
		{"another name", `{"name":"sub-b","properties":{` + dest + `}}`, `the body names "sub-b"`},
		{"another name inside", `{"properties":{"name":"sub-b",` + dest + `}}`, `the body names "sub-b"`},
		{"unknown", `{"colour":1,` + dest + `}`, `unknown field "colour"`},
		{"unknown inside", `{"properties":{"colour":1}}`, `unknown field "colour"`},
		{"two", `{` + dest + `}{}`, "followed by something else"},
		{"two wrapped", `{"properties":{` + dest + `}} x`, "followed by something else"},
		{"properties are no object", `{"properties":[]}`, "cannot be read"},
		{"no object", `[]`, "cannot be read"},
	} {
		sub, err := events.ParseSubscription("sub-a", []byte(c.body))
		switch {
		case c.problem == "" && (err != nil || sub.Name != "sub-a" || sub.Destination.Properties.EndpointURL != "https://a/in"):
			t.Errorf("%s: %+v %v", c.name, sub, err)
		case c.problem != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.problem)):
			t.Errorf("%s: %v, want %s", c.name, err, c.problem)
		}
	}
}

// TestExpired ends a subscription at its time, and then it keeps no event.
func TestExpired(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		var in inbox
		r.web.set("a", in.hook(500))
		r.put(t, "sub-a", to("a", `,"expirationTimeUtc":"2000-01-01T01:00:00Z"`))
		r.src.add(events.FHIRCreated, "Patient/p1", 1)
		r.Wake()
		wait(59 * time.Minute)
		info, err := r.Subscription(t.Context(), "sub-a")
		if err != nil || info.ProvisioningState != events.Succeeded || in.count() == 0 {
			t.Fatalf("before its time: %+v %v after %d requests", info, err, in.count())
		}
		wait(3 * time.Minute)
		if info, err = r.Subscription(t.Context(), "sub-a"); err != nil || info.ProvisioningState != events.Disabled || info.Reason != "it expired at 2000-01-01T01:00:00Z" {
			t.Errorf("after its time: %+v %v", info, err)
		}
		before := in.count()
		wait(8 * 24 * time.Hour)
		if in.count() != before {
			t.Error("an expired subscription still delivers")
		}
		if _, _, err := r.Pull(t.Context(), 0, nil, 5); err != nil {
			t.Error(err)
		}
		r.src.add(events.FHIRCreated, "Patient/p2", 1)
		r.Wake()
		wait(time.Second)
		if list, _, err := r.Pull(t.Context(), 0, nil, 5); err != nil || len(list) != 1 || list[0].Seq != 2 {
			t.Errorf("the log keeps what an expired subscription was to try again: %v %v", list, err)
		}
		// With a new end it goes on with what is still there.
		r.web.set("a", in.hook(200))
		if again := r.put(t, "sub-a", to("a", "")); again.ProvisioningState != events.Succeeded {
			t.Errorf("%+v", again)
		}
		r.src.add(events.FHIRCreated, "Patient/p3", 1)
		r.Wake()
		wait(time.Minute)
		if got := in.subjects()[before:]; strings.Join(got, " ") != "p2 p3" {
			t.Errorf("after a new beginning %v", got)
		}
	})
}

// TestSecretStays: the secret of a header does not go to a destination for which it
// was not given.
func TestSecretStays(t *testing.T) {
	const keys = `,"deliveryAttributeMappings":[{"name":"X-Key","type":"Static","properties":{"value":"VALUE","isSecret":true}}]`
	simulate(t, func(t *testing.T, r *room) {
		spec := func(host, value string) string {
			return strings.Replace(to(host, ""), `/in"`, `/in"`+strings.Replace(keys, "VALUE", value, 1), 1)
		}
		var in inbox
		r.web.set("a", in.hook(200))
		r.web.set("b", func(q *http.Request, _ []byte) (int, string, http.Header) {
			t.Errorf("the other destination is asked with the key %q", q.Header.Get("X-Key"))
			return 200, "", nil
		})
		r.put(t, "sub-a", spec("a", "k1"))
		r.put(t, "sub-a", spec("a", "***")) // what was shown is sent back
		sub, err := events.ParseSubscription("sub-a", []byte(spec("b", "***")))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.PutSubscription(t.Context(), sub, ""); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "X-Key") {
			t.Errorf("another destination: %v", err)
		}
		r.src.add(events.FHIRCreated, "Patient/p1", 1)
		r.Wake()
		wait(time.Second)
		if in.count() != 1 || in.calls[0].Header.Get("X-Key") != "k1" {
			t.Errorf("%d events", in.count())
		}
	})
}

// TestHandshakeHeaders: a receiver that asks for a key of its own gets it with
// the handshake, and no handshake speaks of an event that is none.
func TestHandshakeHeaders(t *testing.T) {
	const keys = `,"deliveryAttributeMappings":[
 {"name":"X-Key","type":"Static","properties":{"value":"k1","isSecret":true}},
 {"name":"X-Type","type":"Dynamic","properties":{"sourceField":"data.resourceType"}}]`
	for schema, want := range map[string]string{"EventGridSchema": "2", "CloudEventSchemaV1_0": ""} {
		simulate(t, func(t *testing.T, r *room) {
			var seen []*http.Request
			next := welcome(func(*http.Request, []byte) (int, string, http.Header) { return 200, "", nil })
			r.web.set("a", func(q *http.Request, body []byte) (int, string, http.Header) {
				seen = append(seen, q)
				if q.Header.Get("X-Key") != "k1" {
					return 401, "", nil
				}
				return next(q, body)
			})
			spec := strings.Replace(to("a", `,"eventDeliverySchema":"`+schema+`"`), `/in"`, `/in"`+keys, 1)
			if info := r.put(t, "sub-a", spec); info.ProvisioningState != events.Succeeded || len(seen) != 1 {
				t.Fatalf("%s: %+v after %d requests", schema, info, len(seen))
			}
			h := seen[0].Header
			if strings.Join(h["aeg-event-type"], "") != "SubscriptionValidation" || strings.Join(h["aeg-subscription-name"], "") != "SUB-A" ||
				strings.Join(h["aeg-data-version"], "") != want || h.Get("X-Type") != "" || h["aeg-output-event-id"] != nil {
				t.Errorf("%s: %v", schema, h)
			}
		})
	}
}

// TestCallback has receivers that open the address instead of an answer: while
// they are asked, and later.
func TestCallback(t *testing.T) {
	for _, schema := range []string{"EventGridSchema", "CloudEventSchemaV1_0"} {
		for _, during := range []bool{true, false} {
			simulate(t, func(t *testing.T, r *room) {
				var in inbox
				var address *url.URL
				open := func() {
					q := address.Query()
					if err := r.Validate(t.Context(), q.Get("name"), q.Get("code"), 6); err != nil {
						t.Errorf("%s, at once %v: %v", schema, during, err)
					}
				}
				r.web.set("a", func(q *http.Request, body []byte) (int, string, http.Header) {
					at := q.Header.Get("WebHook-Request-Callback")
					switch strings.Join(q.Header["aeg-event-type"], "") {
					case "Notification":
						in.take(q, body)
						return 200, "", nil
					case "SubscriptionValidation":
						if schema == "EventGridSchema" {
							var e []struct {
								Data struct{ ValidationURL string }
							}
							_ = json.Unmarshal(body, &e)
							at = e[0].Data.ValidationURL
						}
					}
					address, _ = url.Parse(at)
					if during {
						open()
					}
					return 200, "", nil
				})
				info := r.put(t, "sub-a", to("a", `,"eventDeliverySchema":"`+schema+`"`))
				if want := map[bool]events.State{true: events.Succeeded, false: events.AwaitingManualAction}[during]; info.ProvisioningState != want {
					t.Fatalf("%s: %+v", schema, info)
				}
				if !during {
					if err := r.Validate(t.Context(), "sub-a", "guessed", 0); !fault.Is(err, fault.NotFound) {
						t.Errorf("a code that was guessed: %v", err)
					}
					wait(time.Minute)
					open()
				}
				for i := range 5 { // six a minute were granted
					r.src.add(events.FHIRCreated, fmt.Sprint("Patient/p", i), 1)
				}
				r.Wake()
				wait(35 * time.Second)
				if in.count() != 4 {
					t.Errorf("%s: %d requests in 35 seconds, want 4", schema, in.count())
				}
				wait(10 * time.Second)
				origin := in.calls[0].Header.Get("WebHook-Request-Origin")
				if want := map[string]string{"CloudEventSchemaV1_0": "hygeia.example.org"}[schema]; origin != want || in.count() != 5 {
					t.Errorf("%s: the origin is %q, %d requests", schema, origin, in.count())
				}
			})
		}
	}
}
