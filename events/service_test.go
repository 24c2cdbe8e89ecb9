package events_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/events"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// TestSchemas compares deliveries with the text that Event Grid users expect.
func TestSchemas(t *testing.T) {
	const (
		grid  = `[{"id":"ID","topic":"TOPIC","subject":"ws-fhir.fhir.example.org/Patient/p1","data":{"resourceType":"Patient","resourceFhirAccount":"ws-fhir.fhir.example.org","resourceFhirId":"p1","resourceVersionId":3},"eventType":"Microsoft.HealthcareApis.FhirResourceUpdated","dataVersion":"3","metadataVersion":"1","eventTime":"2000-01-01T00:00:01.000Z"}]`
		cloud = `{"source":"TOPIC","subject":"ws-fhir.fhir.example.org/Patient/p1","type":"Microsoft.HealthcareApis.FhirResourceUpdated","time":"2000-01-01T00:00:01.000Z","id":"ID","data":{"resourceType":"Patient","resourceFhirAccount":"ws-fhir.fhir.example.org","resourceFhirId":"p1","resourceVersionId":3},"specversion":"1.0","datacontenttype":"application/json","dataschema":"#3"}`
		image = `[{"id":"ID","topic":"TOPIC","subject":"ws-fhir.fhir.example.org/v1/partitions/A/studies/1.2/series/1.3/instances/1.4","data":{"partitionName":"A","imageStudyInstanceUid":"1.2","imageSeriesInstanceUid":"1.3","imageSopInstanceUid":"1.4","serviceHostName":"ws-fhir.fhir.example.org","sequenceNumber":9},"eventType":"Microsoft.HealthcareApis.DicomImageCreated","dataVersion":"9","metadataVersion":"1","eventTime":"2000-01-01T00:00:01.000Z"}]`
	)
	for _, c := range []struct {
		name, schema, want, media string
		kind                      events.Kind
		ref                       string
		version                   int64
	}{
		{"Event Grid", "EventGridSchema", grid, "application/json; charset=utf-8", events.FHIRUpdated, "Patient/p1", 3},
		{"CloudEvents", "CloudEventSchemaV1_0", cloud, "application/cloudevents+json; charset=utf-8", events.FHIRUpdated, "Patient/p1", 3},
		{"an image", "EventGridSchema", image, "application/json; charset=utf-8", events.DICOMCreated, "partitions/A/studies/1.2/series/1.3/instances/1.4", 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, r *room) {
				var in inbox
				r.web.set("a", in.hook(200))
				r.put(t, "sub-a", to("a", `,"eventDeliverySchema":"`+c.schema+`"`))
				wait(time.Second)
				r.src.add(c.kind, c.ref, c.version)
				r.Wake()
				wait(100 * time.Millisecond)
				if len(in.body) != 1 {
					t.Fatalf("%d deliveries", len(in.body))
				}
				id, _ := in.list[0]["id"].(string)
				want := strings.ReplaceAll(strings.ReplaceAll(c.want, "ID", id), "TOPIC", names.Topic)
				want = strings.ReplaceAll(want, id+"\":", "ID\":") // the key resourceFhirId has the letters Id, not ID
				if got := string(in.body[0]); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				h := in.calls[0].Header
				if h.Get("Content-Type") != c.media || h["aeg-event-type"][0] != "Notification" || h["aeg-subscription-name"][0] != "SUB-A" || h["aeg-delivery-count"][0] != "0" || h["aeg-output-event-id"][0] != id {
					t.Errorf("headers %v", h)
				}
			})
		})
	}
}

// TestSchedule lets a destination be busy for a day, in simulated time.
func TestSchedule(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		var in inbox
		r.web.set("a", in.hook(500))
		r.put(t, "sub-a", to("a", `,"deadLetterDestination":{"endpointType":"StorageBlob","properties":{"blobContainerName":"dead"}}`))
		begin := time.Now()
		r.src.add(events.FHIRCreated, "Patient/p1", 1)
		r.Wake()
		wait(26 * time.Hour)
		var got []time.Duration
		for i, at := range in.at {
			if i > 0 {
				got = append(got, at.Sub(in.at[i-1]))
			}
		}
		want := []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour}
		// The waits are up to a tenth longer, so that the last attempt may be past
		// the day in which an event is tried.
		if len(got) != len(want) && len(got) != len(want)-1 {
			t.Fatalf("%d waits: %v", len(got), got)
		}
		for i := range got {
			if got[i] < want[i] || got[i] > want[i]*11/10+100*time.Millisecond {
				t.Errorf("wait %d is %v, want %v", i+1, got[i], want[i])
			}
		}
		wait(14 * time.Hour)
		if len(r.blobs.m) != 1 {
			t.Fatalf("%d dead letters after %v", len(r.blobs.m), time.Since(begin))
		}
		for key, text := range r.blobs.m {
			if !strings.HasPrefix(key, "dead/ws/SUB-A/2000/01/0") {
				t.Errorf("key %s", key)
			}
			var list []map[string]any
			if err := json.Unmarshal([]byte(text), &list); err != nil {
				t.Fatal(err)
			}
			e := list[0]
			if e["deadLetterReason"] != "TimeToLiveExceeded" || e["deliveryAttempts"] != float64(len(got)+1) || e["lastDeliveryOutcome"] != "GenericError" || e["publishTime"] != "2000-01-01T00:00:00.000Z" || e["lastDeliveryAttemptTime"] == nil {
				t.Errorf("dead letter %v", e)
			}
		}
		letters, err := r.Letters(t.Context(), "sub-a", 0, 10)
		if err != nil || len(letters) != 1 || letters[0].Reason != "TimeToLiveExceeded" || letters[0].Blob == "" {
			t.Fatalf("letters %v %v", letters, err)
		}
		r.web.set("a", in.hook(204))
		before := in.count()
		if n, err := r.Redrive(t.Context(), "sub-a", nil); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		wait(time.Second)
		if in.count() != before+1 {
			t.Error("a dead letter was not tried again")
		}
	})
}

// TestGivingUp has what ends the attempts early.
func TestGivingUp(t *testing.T) {
	for _, c := range []struct {
		status   int
		policy   string
		attempts int
		reason   string
		outcome  events.Outcome
	}{
		{400, "", 1, "NonRetriableError", events.BadRequest},
		{401, "", 1, "NonRetriableError", events.Unauthorized},
		{413, "", 1, "NonRetriableError", events.PayloadTooLarge},
		{302, `,"retryPolicy":{"maxDeliveryAttempts":2}`, 2, "MaxDeliveryAttemptsExceeded", events.GenericError},
		{404, `,"retryPolicy":{"eventTimeToLiveInMinutes":12}`, 3, "TimeToLiveExceeded", events.NotFound},
		{0, `,"retryPolicy":{"maxDeliveryAttempts":3}`, 3, "MaxDeliveryAttemptsExceeded", events.TimedOut},
	} {
		t.Run(fmt.Sprint(c.status), func(t *testing.T) {
			simulate(t, func(t *testing.T, r *room) {
				var in inbox
				r.web.set("a", in.hook(c.status))
				r.put(t, "sub-a", to("a", c.policy))
				r.src.add(events.FHIRCreated, "Patient/p1", 1)
				r.Wake()
				wait(2 * time.Hour)
				list, err := r.Letters(t.Context(), "sub-a", 0, 10)
				if err != nil || len(list) != 1 {
					t.Fatal(list, err)
				}
				if l := list[0]; l.Try.Attempts != c.attempts || l.Reason != c.reason || l.Try.Outcome != c.outcome || in.count() != c.attempts {
					t.Errorf("%+v after %d requests", l, in.count())
				}
			})
		})
	}
}

// TestDefectiveSender: an attempt that meets a defect is one like others.
func TestDefectiveSender(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		var in inbox
		r.web.set("good", in.hook(200))
		r.web.set("a", welcome(func(*http.Request, []byte) (int, string, http.Header) { panic("a defect") }))
		r.put(t, "sub-a", to("a", `,"retryPolicy":{"maxDeliveryAttempts":2}`))
		r.put(t, "sub-good", to("good", ""))
		r.src.add(events.FHIRCreated, "Patient/p1", 1)
		r.Wake()
		wait(2 * time.Hour)
		list, err := r.Letters(t.Context(), "sub-a", 0, 10)
		if err != nil || len(list) != 1 || list[0].Try.Attempts != 2 || list[0].Try.Outcome != events.GenericError || in.count() != 1 {
			t.Errorf("%+v, %v; the other had %d", list, err, in.count())
		}
	})
}

// unsaved is a store that does not take what became of deliveries.
type unsaved struct {
	events.Store
	fails atomic.Bool
}

func (u *unsaved) Save(ctx context.Context, sub string, p *events.Progress) error {
	if u.fails.Load() {
		return errors.New("no room")
	}
	return u.Store.Save(ctx, sub, p)
}

// TestQuietTroubles: what fails for a while is tried again and again, does not end
// the process, and does not fill the log.
func TestQuietTroubles(t *testing.T) {
	var log bytes.Buffer
	var store unsaved
	with := room{log: slog.New(slog.NewTextHandler(&log, nil)), nodes: true}
	with.store = func(s events.Store) events.Store { store.Store = s; return &store }
	simulateWith(t, with, func(t *testing.T, r *room) {
		var in inbox
		r.web.set("a", in.hook(200))
		r.put(t, "sub-a", to("a", ""))
		store.fails.Store(true)
		r.src.add(events.FHIRCreated, "Patient/p1", 1)
		r.Wake()
		wait(10 * time.Second)
		store.fails.Store(false)
		r.src.mu.Lock()
		r.src.away = true
		r.src.mu.Unlock()
		wait(150 * time.Second)
		if n := strings.Count(log.String(), "cannot be saved now"); n < 5 || n > 11 {
			t.Errorf("%d lines about saving", n)
		}
		if n := strings.Count(log.String(), "cannot be collected now"); n < 2 || n > 4 {
			t.Errorf("%d lines about the source", n)
		}
		r.src.mu.Lock()
		r.src.away = false
		r.src.mu.Unlock()
		r.src.add(events.FHIRCreated, "Patient/p2", 1)
		wait(time.Second)
		if in.count() != 2 {
			t.Errorf("%d of 2 deliveries", in.count())
		}
	})
}

// TestDeadNeighbour has a hundred subscriptions, one of which never answers.
func TestDeadNeighbour(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		var in inbox
		r.web.set("good", in.hook(200))
		r.web.set("bad", welcome(func(*http.Request, []byte) (int, string, http.Header) { return 0, "", nil }))
		r.put(t, "bad", to("bad", ""))
		for i := range 20 {
			r.put(t, fmt.Sprintf("good-%d", i), to("good", ""))
		}
		for i := range 50 {
			r.src.add(events.FHIRCreated, fmt.Sprintf("Patient/p%d", i), 1)
		}
		begin := time.Now()
		r.Wake()
		wait(500 * time.Millisecond)
		if in.count() != 20*50 {
			t.Errorf("%d of 1000 deliveries", in.count())
		}
		for _, at := range in.at {
			if at.Sub(begin) > 200*time.Millisecond {
				t.Fatalf("a delivery took %v", at.Sub(begin))
			}
		}
	})
}

// TestRestarts stops and starts the service at random while a destination fails
// at random: every event arrives, none out of thin air, ids stay.
func TestRestarts(t *testing.T) {
	for seed := range uint64(2) {
		simulate(t, func(t *testing.T, r *room) {
			rnd, fate := rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 8)) // fate belongs to in.mu
			var in inbox
			ok := welcome(func(q *http.Request, body []byte) (int, string, http.Header) {
				if in.mu.Lock(); fate.IntN(3) == 0 {
					in.mu.Unlock()
					return []int{500, 503, 429, 408}[len(body)%4], "", nil
				}
				in.mu.Unlock()
				in.take(q, body)
				return 200, "", nil
			})
			r.web.set("a", ok)
			r.put(t, "sub-a", to("a", ""))
			want := map[string]bool{}
			for i := range 300 {
				id := fmt.Sprintf("p%d", i)
				want[id] = true
				r.src.add(events.FHIRCreated, "Patient/"+id, 1)
				r.Wake()
				if i%60 == 30 {
					time.Sleep(time.Duration(rnd.IntN(40)) * time.Millisecond)
					r.stop(t)
					r.start(t)
				}
			}
			wait(24 * time.Hour)
			got, ids := map[string]bool{}, map[any]string{}
			for i, s := range in.subjects() {
				got[s] = true
				if old, there := ids[in.list[i]["id"]]; there && old != s {
					t.Fatalf("two events have the id %v", in.list[i]["id"])
				}
				ids[in.list[i]["id"]] = s
			}
			if !maps.Equal(got, want) {
				t.Errorf("seed %d: %d of %d events arrived", seed, len(got), len(want))
			}
			if len(ids) != len(want) {
				t.Errorf("seed %d: %d ids for %d events", seed, len(ids), len(want))
			}
		})
	}
}

// TestOrdered keeps the versions of a resource in order while attempts fail.
func TestOrdered(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		var in inbox
		n := 0
		r.web.set("a", welcome(func(q *http.Request, body []byte) (int, string, http.Header) {
			in.mu.Lock()
			n++
			fail := n%3 == 0
			in.mu.Unlock()
			if fail {
				return 500, "", nil
			}
			in.take(q, body)
			return 200, "", nil
		}))
		r.put(t, "sub-a", to("a", `,"ordered":true`))
		for v := range int64(20) {
			for _, id := range []string{"a", "b", "c"} {
				r.src.add(events.FHIRUpdated, "Patient/"+id, v+1)
			}
		}
		r.Wake()
		wait(24 * time.Hour)
		last := map[any]float64{}
		for _, e := range in.list {
			d := e["data"].(map[string]any)
			if v := d["resourceVersionId"].(float64); v != last[d["resourceFhirId"]]+1 {
				t.Fatalf("version %v of %v after %v", v, d["resourceFhirId"], last[d["resourceFhirId"]])
			}
			last[d["resourceFhirId"]]++
		}
		if in.count() != 60 {
			t.Errorf("%d of 60", in.count())
		}
	})
}

// TestHandshake has what destinations answer when they are asked.
func TestHandshake(t *testing.T) {
	const cloud = `,"eventDeliverySchema":"CloudEventSchemaV1_0"`
	say := func(status int, answer string, h http.Header) hook {
		return func(*http.Request, []byte) (int, string, http.Header) { return status, answer, h }
	}
	for _, c := range []struct {
		name, more string
		hook       hook
		state      events.State // "" = refused
	}{
		{"the code comes back", "", welcome(nil), events.Succeeded},
		{"another code", "", say(200, `{"validationResponse":"x"}`, nil), ""},
		{"202", "", say(202, ``, nil), ""},
		{"nothing yet", "", say(200, ``, nil), events.AwaitingManualAction},
		{"an error", "", say(500, ``, nil), ""},
		{"a redirect", "", say(302, ``, http.Header{"Location": {"https://b/"}}), ""},
		{"silence", "", say(0, ``, nil), ""},
		{"origin allowed", cloud, say(200, ``, http.Header{"Webhook-Allowed-Origin": {"hygeia.example.org"}}), events.Succeeded},
		{"any origin", cloud, say(204, ``, http.Header{"Webhook-Allowed-Origin": {"*"}}), events.Succeeded},
		{"another origin", cloud, say(200, ``, http.Header{"Webhook-Allowed-Origin": {"example.com"}}), ""},
		{"no origin yet", cloud, say(200, ``, nil), events.AwaitingManualAction},
		{"no OPTIONS", cloud, say(405, ``, nil), ""},
		{"no OPTIONS but an origin", cloud, say(405, ``, http.Header{"Webhook-Allowed-Origin": {"*"}}), ""},
		{"a huge answer", "", say(200, strings.Repeat("x", 10<<20), nil), events.AwaitingManualAction},
	} {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, r *room) {
				r.web.set("a", c.hook)
				sub, err := events.ParseSubscription("sub-a", []byte(to("a", c.more)))
				if err != nil {
					t.Fatal(err)
				}
				info, _, err := r.PutSubscription(t.Context(), sub, "https://hygeia.example.org")
				switch {
				case c.state == "" && !fault.Is(err, fault.Unprocessable):
					t.Errorf("%v %v", info, err)
				case c.state != "" && (err != nil || info.ProvisioningState != c.state):
					t.Errorf("%+v %v", info, err)
				}
				if list, _ := r.Subscriptions(t.Context()); (len(list) == 1) != (c.state != "") {
					t.Errorf("%d subscriptions", len(list))
				}
			})
		})
	}
}

// TestManual opens the validation URL, in time and late.
func TestManual(t *testing.T) {
	for _, late := range []bool{false, true} {
		simulate(t, func(t *testing.T, r *room) {
			var link string
			var in inbox
			r.web.set("a", func(q *http.Request, body []byte) (int, string, http.Header) {
				if q.Header["aeg-event-type"][0] != "SubscriptionValidation" {
					in.take(q, body)
					return 200, "", nil
				}
				var e []struct {
					Data struct{ ValidationCode, ValidationURL string }
				}
				_ = json.Unmarshal(body, &e)
				link = e[0].Data.ValidationURL
				if !strings.HasPrefix(link, "https://hygeia.example.org/ws/events/validate?code="+e[0].Data.ValidationCode) {
					t.Errorf("validation URL %s", link)
				}
				return 200, "", nil
			})
			r.put(t, "sub-a", to("a", ""))
			r.src.add(events.FHIRCreated, "Patient/p1", 1)
			r.Wake()
			wait(time.Minute)
			if in.count() != 0 {
				t.Error("events before the validation")
			}
			if late {
				wait(5 * time.Minute)
			}
			req, _ := http.NewRequest("GET", link, nil)
			if err := r.Validate(t.Context(), "sub-a", "guess", 0); !fault.Is(err, fault.NotFound) {
				t.Errorf("a guessed code: %v", err)
			}
			err := r.Validate(t.Context(), req.URL.Query().Get("name"), req.URL.Query().Get("code"), 0)
			wait(time.Second)
			info, _ := r.Subscription(t.Context(), "sub-a")
			if late != (err != nil) || late != (info.ProvisioningState == events.Failed) || late == (in.count() == 1) {
				t.Errorf("late %v: %v %v, %d events", late, err, info.ProvisioningState, in.count())
			}
		})
	}
}

// TestBatches has batches by number and by size, headers and the signature.
func TestBatches(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		var in inbox
		r.web.set("a", in.hook(200))
		secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
		spec := `{"eventDeliverySchema":"CloudEventSchemaV1_0","destination":{"endpointType":"WebHook","properties":{"endpointUrl":"https://a/in?key=1","maxEventsPerBatch":100,"preferredBatchSizeInKilobytes":8,"signingSecret":"` + secret + `",
 "deliveryAttributeMappings":[{"name":"X-Fixed","type":"Static","properties":{"value":"v","isSecret":true}},{"name":"X-Type","type":"Dynamic","properties":{"sourceField":"data.resourceType"}}]}}}`
		info := r.put(t, "sub-a", spec)
		shown, _ := json.Marshal(info)
		if strings.Contains(string(shown), secret) || strings.Contains(string(shown), "key=1") || strings.Contains(string(shown), `"value":"v"`) {
			t.Errorf("secrets are shown: %s", shown)
		}
		for i := range 200 {
			r.src.add(events.FHIRCreated, fmt.Sprintf("Patient/p%d", i), 1)
		}
		r.Wake()
		wait(time.Second)
		if in.count() != 200 {
			t.Fatalf("%d events", in.count())
		}
		for i, body := range in.body {
			h := in.calls[i].Header
			if len(body) > 8<<10+2 || h.Get("X-Fixed") != "v" || h.Get("X-Type") != "Patient" || h.Get("Content-Type") != "application/cloudevents-batch+json; charset=utf-8" || in.calls[i].URL.RawQuery != "key=1" {
				t.Errorf("%d bytes, %v", len(body), h)
			}
			mac := hmac.New(sha256.New, []byte("0123456789abcdef0123456789abcdef"))
			mac.Write([]byte(h.Get("Webhook-Id") + "." + h.Get("Webhook-Timestamp") + "."))
			mac.Write(body)
			if h.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
				t.Error("the signature is wrong")
			}
		}
		// What was shown can be sent back without losing the secrets.
		back, _ := json.Marshal(info.Subscription)
		r.put(t, "sub-a", string(back))
		r.src.add(events.FHIRCreated, "Patient/more", 1)
		r.Wake()
		wait(time.Second)
		if last := in.calls[len(in.calls)-1]; in.count() != 201 || last.Header.Get("X-Fixed") != "v" || last.Header.Get("Webhook-Signature") == "" || last.URL.RawQuery != "key=1" {
			t.Errorf("%d events, %v", in.count(), last.Header)
		}
	})
}

// TestGone disables a subscription whose destination says that it is gone.
func TestGone(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		var in inbox
		r.web.set("a", in.hook(410))
		r.put(t, "sub-a", to("a", `,"eventDeliverySchema":"CloudEventSchemaV1_0"`))
		r.src.add(events.FHIRCreated, "Patient/p1", 1)
		r.src.add(events.FHIRCreated, "Patient/p2", 1)
		r.Wake()
		wait(time.Hour)
		info, err := r.Subscription(t.Context(), "sub-a")
		if err != nil || info.ProvisioningState != events.Disabled || in.count() > 2 {
			t.Errorf("%+v %v %d", info, err, in.count())
		}
	})
}

// TestPause honours Retry-After for all events of a destination.
func TestPause(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		var in inbox
		first := true
		r.web.set("a", welcome(func(q *http.Request, body []byte) (int, string, http.Header) {
			in.mu.Lock()
			was := first
			first = false
			in.mu.Unlock()
			if was {
				return 429, "", http.Header{"Retry-After": {"120"}}
			}
			in.take(q, body)
			return 200, "", nil
		}))
		r.put(t, "sub-a", to("a", ""))
		r.src.add(events.FHIRCreated, "Patient/p1", 1)
		r.Wake()
		wait(time.Second)
		r.src.add(events.FHIRCreated, "Patient/p2", 1)
		r.Wake()
		wait(100 * time.Second)
		if in.count() != 0 {
			t.Error("a delivery while the destination wanted rest")
		}
		info, _ := r.Subscription(t.Context(), "sub-a")
		if info.Status.ProbationUntil == nil || info.Status.LastOutcome != events.Busy || info.Status.Retrying != 1 {
			t.Errorf("status %+v", info.Status)
		}
		wait(100 * time.Second)
		if in.count() != 2 {
			t.Errorf("%d of 2", in.count())
		}
	})
}

// TestFullPlace keeps dead letters until they can be written.
func TestFullPlace(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		var in inbox
		r.web.set("a", in.hook(400))
		r.put(t, "sub-a", to("a", `,"deadLetterDestination":{"endpointType":"StorageBlob","properties":{"blobContainerName":"dead"}}`))
		r.blobs.full = true
		r.src.add(events.FHIRCreated, "Patient/p1", 1)
		r.Wake()
		wait(time.Hour)
		r.blobs.mu.Lock()
		r.blobs.full = false
		r.blobs.mu.Unlock()
		wait(time.Minute)
		list, err := r.Letters(t.Context(), "sub-a", 0, 10)
		if err != nil || len(list) != 1 || len(r.blobs.m) != 1 {
			t.Errorf("%v %v %d", list, err, len(r.blobs.m))
		}
	})
}

// TestPullNothing asks a long log for a type that it does not have: each call looks
// at a part of it and says how far it came.
func TestPullNothing(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		const n = 25_000
		if _, _, err := r.Pull(t.Context(), 0, nil, 1); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			r.src.add(events.FHIRCreated, fmt.Sprintf("Patient/p%d", i), 1)
		}
		r.Wake()
		wait(time.Second)
		calls, after := 0, int64(0)
		for after < n {
			list, last, err := r.Pull(t.Context(), after, []events.Kind{events.FHIRDeleted}, 10)
			if err != nil || len(list) != 0 || last <= after || last > after+11_000 {
				t.Fatalf("%d events up to %d after %d: %v", len(list), last, after, err)
			}
			after = last
			calls++
		}
		if calls < 3 {
			t.Errorf("%d calls", calls)
		}
	})
}

// TestPull reads the log by the cursor.
func TestPull(t *testing.T) {
	simulate(t, func(t *testing.T, r *room) {
		for i := range 25 {
			r.src.add(events.FHIRCreated+events.Kind(i%2), fmt.Sprintf("Patient/p%d", i), 1)
		}
		if list, _, err := r.Pull(t.Context(), 0, nil, 10); err != nil || len(list) != 0 {
			t.Fatal(list, err) // this begins the collection
		}
		grown := r.Grown()
		r.Wake()
		wait(time.Second)
		select {
		case <-grown:
		default:
			t.Error("nobody was told that the log grew")
		}
		var refs []string
		after := int64(0)
		for {
			list, last, err := r.Pull(t.Context(), after, []events.Kind{events.FHIRCreated}, 5)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				refs = append(refs, e.Ref)
			}
			if last == after {
				break
			}
			after = last
		}
		if len(refs) != 13 || !slices.Contains(refs, "Patient/p24") || slices.Contains(refs, "Patient/p1") {
			t.Errorf("%v", refs)
		}
		if _, _, err := r.Pull(t.Context(), after+1, nil, 5); !fault.Is(err, fault.Invalid) {
			t.Errorf("beyond the end: %v", err)
		}
		wait(8 * 24 * time.Hour)
		if _, _, err := r.Pull(t.Context(), 3, nil, 5); !fault.Is(err, fault.Gone) {
			t.Errorf("pruned: %v", err)
		}
		r.src.add(events.FHIRCreated, "Patient/new", 1)
		r.Wake()
		wait(time.Second)
		if list, _, err := r.Pull(t.Context(), after, nil, 5); err != nil || len(list) != 1 || list[0].Seq != after+1 {
			t.Errorf("%v %v", list, err)
		}
	})
}
