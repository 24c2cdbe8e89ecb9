//go:build unix

package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// TestNodesFlow kills one of three nodes, first the one that has the pipelines, or
// the PostgreSQL that they share, while devices send to all of them. Every message that was
// acknowledged becomes one Observation, written once, and the event of each
// arrives at a webhook.
func TestNodesFlow(t *testing.T) {
	bin, _, rnd := campaign(t, 20)
	dir := t.TempDir()
	cluster := dbtest.NewCluster(t)
	hook := newWebhook(t)
	nodes, sends := make([]*process, 3), make([]*devices, 3)
	run := func(i int) {
		nodes[i] = start(t, bin, filepath.Join(dir, fmt.Sprint("node", i)), "HYGEIA_DATABASE="+cluster.Address(), "HYGEIA_EVENTS_ALLOW=127.0.0.1")
		if sends[i] == nil {
			sends[i] = &devices{t: t, client: &http.Client{Timeout: patience}}
		}
		sends[i].base = strings.TrimSuffix(nodes[i].base, "fhir")
	}
	for i := range nodes {
		run(i)
	}
	sends[1].put("medtech/devicemapping", deviceMapping)
	sends[2].put("medtech/fhirmapping", fhirMapping)
	plane := &devices{t: t, client: sends[0].client, base: strings.TrimSuffix(sends[2].base, "default/")}
	plane.put("manage/v1/workspaces/default/eventsubscriptions/hook", `{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"`+hook.URL+`","maxEventsPerBatch":50}},
 "filter":{"advancedFilters":[{"operatorType":"StringIn","key":"data.resourceType","values":["Observation"]}]}}`)
	for round := range number("HYGEIA_CRASH_ROUNDS", 2) {
		var wg sync.WaitGroup
		quit := make(chan struct{})
		for i, d := range sends {
			wg.Go(func() { d.sendUntil(quit, round, i) })
		}
		time.Sleep(time.Duration(300+rnd.IntN(700)) * time.Millisecond)
		until(t, "messages are acknowledged", func() bool { return slices.ContainsFunc(sends, (*devices).some) })
		what, victim := "PostgreSQL", -1
		if round%2 == 0 {
			if victim = rnd.IntN(3); round == 0 {
				victim = 0 // it was there first
			}
			what = fmt.Sprint("node ", victim)
			nodes[victim].kill()
		} else if err := errors.Join(cluster.Stop("immediate"), cluster.Start()); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		time.Sleep(300 * time.Millisecond)
		close(quit)
		wg.Wait()
		sends[(victim+1)%3].settle()
		t.Logf("round %d: the pipeline has caught up %s after the end of %s", round, time.Since(killed).Round(100*time.Millisecond), what)
		if victim >= 0 {
			run(victim)
		}
	}
	total := &devices{t: t, client: sends[0].client, base: sends[0].base}
	for _, d := range sends {
		total.sent, total.acked = total.sent+d.sent, total.acked+d.acked
	}
	total.settle()
	total.check()
	var now struct{ Total int }
	total.get("fhir/Observation?_summary=count", &now)
	until(t, "the events have arrived", func() bool { return hook.count() >= now.Total })
	if n := hook.count(); n != now.Total {
		t.Errorf("events of %d Observations arrived, of %d", n, now.Total)
	}
	t.Logf("%d events for %d Observations", hook.all, now.Total)
	for _, p := range nodes {
		p.stop(t)
	}
}

// webhook counts the events that it gets, and of how many resources they are.
type webhook struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string]bool
	all  int
}

func newWebhook(t *testing.T) *webhook {
	h := &webhook{seen: map[string]bool{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var list []struct {
			Subject string
			Data    struct{ ValidationCode string }
		}
		if err != nil || json.Unmarshal(body, &list) != nil {
			w.WriteHeader(http.StatusInternalServerError) // its sender was killed
			return
		}
		if strings.Join(r.Header["Aeg-Event-Type"], "") != "Notification" {
			fmt.Fprintf(w, `{"validationResponse":%q}`, list[0].Data.ValidationCode)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, e := range list {
			h.seen[e.Subject] = true
			h.all++
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *webhook) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.seen)
}
