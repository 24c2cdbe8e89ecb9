package events_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/events"
)

// resourceOf is what an event is about.
func resourceOf(e map[string]any) (id string, version float64) {
	d := e["data"].(map[string]any)
	return d["resourceFhirId"].(string), d["resourceVersionId"].(float64)
}

// TestBusyResource has a resource with more changes than a dispatcher holds, that
// cannot be delivered for a day: those of others are, and its own come in order then,
// also when the service was started again meanwhile.
func TestBusyResource(t *testing.T) {
	const changes = 5000
	simulate(t, func(t *testing.T, r *room) {
		var in inbox
		begin := time.Now()
		r.web.set("a", welcome(func(q *http.Request, body []byte) (int, string, http.Header) {
			var one inbox
			one.take(q, body)
			if id, _ := resourceOf(one.list[0]); id == "busy" && time.Since(begin) < 2*time.Hour {
				return 500, "", nil
			}
			in.take(q, body)
			return 200, "", nil
		}))
		r.put(t, "sub-a", to("a", `,"ordered":true`))
		for v := range int64(changes) {
			r.src.add(events.FHIRUpdated, "Patient/busy", v+1)
		}
		for i := range 50 {
			r.src.add(events.FHIRUpdated, fmt.Sprintf("Patient/p%d", i), 1)
		}
		r.Wake()
		wait(time.Minute)
		if in.count() != 50 {
			t.Errorf("%d of the 50 events of other resources arrived", in.count())
		}
		r.stop(t)
		r.start(t)
		r.src.add(events.FHIRUpdated, "Patient/p50", 1)
		r.src.add(events.FHIRUpdated, "Patient/busy", changes+1)
		r.Wake()
		wait(time.Minute)
		if in.count() != 51 {
			t.Errorf("%d of the 51 events of other resources arrived after a restart", in.count())
		}
		if info, err := r.Subscription(t.Context(), "sub-a"); err != nil || info.Status.Retrying != changes+1 {
			t.Errorf("%+v %v", info.Status, err)
		}
		wait(24 * time.Hour)
		want := 1.0
		for _, e := range in.list {
			if id, v := resourceOf(e); id == "busy" {
				if v != want {
					t.Fatalf("version %v comes when %v is due", v, want)
				}
				want++
			}
		}
		if want != changes+2 {
			t.Errorf("%v of %d changes arrived", want-1, changes+1)
		}
		if info, err := r.Subscription(t.Context(), "sub-a"); err != nil || info.Status.Retrying != 0 {
			t.Errorf("%+v %v", info.Status, err)
		}
	})
}

// TestOrderAtRandom has bursts of changes of a few resources, a destination that
// fails at random, and restarts: an event may come again, but none before the one
// that it follows.
func TestOrderAtRandom(t *testing.T) {
	for seed := range uint64(2) {
		simulate(t, func(t *testing.T, r *room) {
			rnd, fate := rand.New(rand.NewPCG(seed, 11)), rand.New(rand.NewPCG(seed, 12)) // fate belongs to in.mu
			var in inbox
			r.web.set("a", welcome(func(q *http.Request, body []byte) (int, string, http.Header) {
				in.mu.Lock()
				fail := fate.IntN(40) == 0
				in.mu.Unlock()
				if fail {
					return 500, "", nil
				}
				in.take(q, body)
				return 200, "", nil
			}))
			r.put(t, "sub-a", to("a", `,"ordered":true`))
			versions := map[string]int64{}
			for i := range 40 {
				id := fmt.Sprintf("p%d", rnd.IntN(4))
				for range rnd.IntN(150) {
					versions[id]++
					r.src.add(events.FHIRUpdated, "Patient/"+id, versions[id])
				}
				r.Wake()
				time.Sleep(time.Duration(rnd.IntN(20)) * time.Second)
				if i%8 == 5 {
					r.stop(t)
					r.start(t)
				}
			}
			wait(24 * time.Hour)
			last := map[string]float64{}
			for _, e := range in.list {
				id, v := resourceOf(e)
				if v > last[id]+1 {
					t.Fatalf("seed %d: version %v of %s comes after %v", seed, v, id, last[id])
				}
				last[id] = max(last[id], v)
			}
			for id, n := range versions {
				if last[id] != float64(n) {
					t.Errorf("seed %d: %v of %d changes of %s arrived", seed, last[id], n, id)
				}
			}
		})
	}
}

// TestGoneMeanwhile moves a subscription to another destination while the first
// one says that it is gone: that is not said of the other.
func TestGoneMeanwhile(t *testing.T) {
	const cloud = `,"eventDeliverySchema":"CloudEventSchemaV1_0"`
	r := &room{src: &source{}, web: &web{hooks: map[string]hook{}}, blobs: &memory{m: map[string]string{}}, path: filepath.Join(t.TempDir(), "events.db")}
	r.start(t)
	defer r.stop(t)
	var gone, in inbox
	asked, goOn := make(chan bool), make(chan bool)
	r.web.set("a", gone.hook(410))
	r.put(t, "sub-a", to("a", cloud))
	r.web.set("b", func(q *http.Request, body []byte) (int, string, http.Header) {
		if q.Method == http.MethodOptions {
			asked <- true
			<-goOn
		}
		return in.hook(200)(q, body)
	})
	done := make(chan bool)
	go func() {
		defer close(done)
		r.put(t, "sub-a", to("b", cloud))
	}()
	<-asked
	r.src.add(events.FHIRUpdated, "Patient/p1", 1)
	r.Wake()
	soon(t, "the first destination says that it is gone", func() bool { return gone.count() > 0 })
	goOn <- true
	<-done
	soon(t, "the second destination gets the event", func() bool { return in.count() > 0 })
	if _, err := r.Redrive(t.Context(), "sub-a", nil); err != nil { // waits for its turn to change something
		t.Fatal(err)
	}
	if info, err := r.Subscription(t.Context(), "sub-a"); err != nil || info.ProvisioningState != events.Succeeded {
		t.Errorf("%v %v", info.ProvisioningState, err)
	}
}
