package server_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/server"
)

// TestEventsOfNodes writes on all nodes: whatever node was told of the
// subscription, one delivers, and another when that one goes away.
func TestEventsOfNodes(t *testing.T) {
	rc := newReceiver(t)
	address := dbtest.Database(t)
	node := func(t *testing.T) platform {
		return open(t, t.TempDir(), func(c *server.Config) { c.Database, c.Events.Allow = address, []string{"127.0.0.1"} })
	}
	last := node(t)
	n := 0
	write := func(nodes ...platform) {
		t.Helper()
		for i := range 12 {
			n++
			id := fmt.Sprintf("p%d", n)
			if rec := nodes[i%len(nodes)].do("PUT", "/default/fhir/Patient/"+id, `{"resourceType":"Patient","id":"`+id+`"}`); rec.Code != 201 {
				t.Fatal(rec.Code, rec.Body)
			}
		}
	}
	arrived := func() int {
		var ids []string
		for end := time.Now().Add(time.Minute); len(ids) < n && time.Now().Before(end); { // some may come twice
			ids = ids[:0]
			for _, e := range rc.wait(n) {
				ids = append(ids, e["subject"].(string))
			}
			slices.Sort(ids)
			if ids = slices.Compact(ids); len(ids) < n {
				time.Sleep(10 * time.Millisecond)
			}
		}
		return len(ids)
	}
	t.Run("three", func(t *testing.T) {
		var wg sync.WaitGroup
		more := make([]platform, 2)
		for i := range more {
			wg.Go(func() { more[i] = node(t) })
		}
		wg.Wait()
		if rec := more[0].do("PUT", subscriptions+"/hook", rc.spec("")); rec.Code != 201 {
			t.Fatal(rec.Code, rec.Body)
		}
		write(last, more[0], more[1])
		if got := arrived(); got != n {
			t.Fatalf("%d of %d events", got, n)
		}
		write(more...)
	})
	write(last) // the others are gone, one of which may have delivered
	if got := arrived(); got != n {
		t.Fatalf("%d of %d events after nodes went away", got, n)
	}
	if rec := last.do("GET", "/default/events?limit=1000", ""); strings.Count(rec.Body.String(), `"specversion"`) != n {
		t.Errorf("the cursor shows other events than the %d that there were: %s", n, rec.Body)
	}

	// The events of a workspace that is made again are not those of before.
	other := node(t)
	if rec := last.do("PUT", "/manage/v1/workspaces/clinic", `{}`); rec.Code != 201 {
		t.Fatal(rec.Code, rec.Body)
	}
	if rec := last.do("GET", "/clinic/events", ""); rec.Code != 200 {
		t.Fatal(rec.Code, rec.Body)
	}
	eventually(t, other, "/clinic/events", 200, "[]")
	if rec := other.do("DELETE", "/manage/v1/workspaces/clinic", ""); rec.Code >= 300 {
		t.Fatal(rec.Code, rec.Body)
	}
	eventually(t, last, "/clinic/events", 404, "no workspace")
	if rec := other.do("PUT", "/manage/v1/workspaces/clinic", `{}`); rec.Code != 201 {
		t.Fatal(rec.Code, rec.Body)
	}
	for _, p := range []platform{last, other} {
		eventually(t, p, "/clinic/events", 200, "[]")
	}
}

// TestDevicesOfNodes sends messages to all nodes: one processes them, and another
// when that one goes away. Services that other nodes make work, too.
func TestDevicesOfNodes(t *testing.T) {
	address := dbtest.Database(t)
	node := func(t *testing.T) platform { return open(t, t.TempDir(), shared(address)) }
	last := node(t)
	put := func(p platform, path, body string) {
		t.Helper()
		if rec := p.do("PUT", path, body); rec.Code/100 != 2 {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	n := 0
	send := func(nodes ...platform) {
		t.Helper()
		for i := range 30 {
			n++
			body := fmt.Sprintf(`{"d":"d%d","p":"p1","t":"2024-01-01T00:%02d:%02dZ","note":"n%d"}`, n%4, n/60, n%60, n)
			if rec := nodes[i%len(nodes)].do("POST", "/default/medtech/messages", body); rec.Code != 202 {
				t.Fatal(rec.Code, rec.Body)
			}
		}
	}
	stored := func() {
		t.Helper()
		eventually(t, last, "/default/fhir/Observation?code=note&_summary=count", 200, fmt.Sprintf(`"total":%d`, n))
	}
	t.Run("three", func(t *testing.T) {
		a, b := node(t), node(t)
		put(a, "/default/medtech/devicemapping", noteMapping)
		put(b, "/default/medtech/fhirmapping", noteFHIR)
		send(a, b, last)
		stored()
		eventually(t, a, "/default/medtech/status", 200, fmt.Sprintf(`"processed":%d`, n))
		put(b, "/manage/v1/workspaces/default/medtechservices/ward", `{"destination":"fhir"}`)
		eventually(t, a, "/default/ward/status", 200, `"messages":0`)
		if rec := a.do("DELETE", "/manage/v1/workspaces/default/medtechservices/ward", ""); rec.Code >= 300 {
			t.Fatal(rec.Code, rec.Body)
		}
		eventually(t, last, "/default/ward/status", 404, "no service")
		send(a, b)
	})
	send(last)
	stored()
	eventually(t, last, "/default/fhir/Patient?_summary=count", 200, `"total":1`)
	eventually(t, last, "/default/fhir/Device?_summary=count", 200, `"total":4`)
}
