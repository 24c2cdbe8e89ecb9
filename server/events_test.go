package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/server"
)

// receiver is a webhook that takes events and can be told to fail.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	events []map[string]any
	status int
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	rc := &receiver{status: 200}
	rc.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var list []map[string]any
		_ = json.Unmarshal(body, &list)
		rc.mu.Lock()
		defer rc.mu.Unlock()
		if strings.Join(r.Header["Aeg-Event-Type"], "") == "SubscriptionValidation" {
			data, _ := list[0]["data"].(map[string]any)
			fmt.Fprintf(w, `{"validationResponse":%q}`, data["validationCode"])
			return
		}
		if rc.status == 200 {
			rc.events = append(rc.events, list...)
		}
		w.WriteHeader(rc.status)
	}))
	t.Cleanup(rc.Close)
	return rc
}

// wait returns the events when there are n, or what there is after a while.
func (rc *receiver) wait(n int) []map[string]any {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		rc.mu.Lock()
		list := rc.events
		rc.mu.Unlock()
		if len(list) >= n {
			return list
		}
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return rc.events
}

const subscriptions = "/manage/v1/workspaces/default/eventsubscriptions"

func (rc *receiver) spec(more string) string {
	return `{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"` + rc.URL + `/in"}}` + more + `}`
}

// TestEvents follows changes of a FHIR service to a webhook and to the cursor.
func TestEvents(t *testing.T) {
	rc := newReceiver(t)
	dir := t.TempDir()
	p := open(t, dir, func(c *server.Config) { c.Events.Allow = []string{"127.0.0.1"} })
	if rec := p.do("PUT", subscriptions+"/hook", rc.spec("")); rec.Code != 201 || !strings.Contains(rec.Body.String(), `"provisioningState":"Succeeded"`) {
		t.Fatal(rec.Code, rec.Body)
	}
	for i, req := range [][2]string{{"PUT", `{"resourceType":"Patient","id":"p1"}`}, {"PUT", `{"resourceType":"Patient","id":"p1","active":true}`}, {"PUT", `{"resourceType":"Patient","id":"p1","active":true}`}, {"DELETE", ""}} {
		if rec := p.do(req[0], "/default/fhir/Patient/p1", req[1]); rec.Code/100 != 2 {
			t.Fatal(i, rec.Code, rec.Body)
		}
	}
	var types []string
	for _, e := range rc.wait(3) {
		types = append(types, strings.TrimPrefix(e["eventType"].(string), "Microsoft.HealthcareApis."))
		if e["subject"] != "default/fhir/Patient/p1" {
			t.Errorf("%v", e)
		}
	}
	if len(types) != 3 {
		t.Errorf("%v", types) // the update that changed nothing is none
	}
	rec := p.do("GET", "/default/events?after=1&types=Microsoft.HealthcareApis.FhirResourceDeleted", "")
	var list []map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &list); err != nil || len(list) != 1 || list[0]["sequence"] != "3" || list[0]["specversion"] != "1.0" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if link := rec.Header().Get("Link"); !strings.Contains(link, "after=3") {
		t.Errorf("Link %s", link)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/default/events?after=99", "", 400},
		{"GET", "/default/events?colour=1", "", 400},
		{"GET", "/default/events?types=x", "", 400},
		{"GET", "/default/events?limit=0", "", 400},
		{"POST", "/default/events", "{}", 405},
		{"GET", "/default/events/more", "", 404},
		{"GET", "/default/events/validate?name=hook&code=x", "", 404},
		{"GET", "/nowhere/events", "", 404},
		{"GET", subscriptions, "", 200},
		{"GET", subscriptions + "/hook", "", 200},
		{"GET", subscriptions + "/none", "", 404},
		{"GET", subscriptions + "/hook/deadletters", "", 200},
		{"GET", subscriptions + "/hook/deadletters?after=1&limit=5", "", 200},
		{"GET", subscriptions + "/hook/deadletters?types=Microsoft.HealthcareApis.FhirResourceCreated", "", 400},
		{"POST", subscriptions + "/hook/redrive", "", 200},
		{"POST", subscriptions + "/hook/redrive", `{"x":1}`, 400},
		{"PATCH", subscriptions + "/hook", "{}", 405},
		{"PUT", subscriptions + "/hook2", `{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"https://127.0.0.2/"}}}`, 422},
		{"PUT", subscriptions + "/hook2", `{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"http://example.org/"}}}`, 400},
		{"PUT", "/manage/v1/workspaces/nowhere/eventsubscriptions/hook", rc.spec(""), 404},
		{"DELETE", subscriptions + "/hook", "", 204},
		{"DELETE", subscriptions + "/hook", "", 404},
	} {
		if rec := p.do(c.method, c.path, c.body); rec.Code != c.status {
			t.Errorf("%s %s: %d %s", c.method, c.path, rec.Code, rec.Body)
		}
	}
}

// TestEventsRestart writes while a destination fails, and starts anew: all arrives.
func TestEventsRestart(t *testing.T) {
	rc := newReceiver(t)
	dir := t.TempDir()
	allow := func(c *server.Config) { c.Events.Allow = []string{"127.0.0.1"} }
	t.Run("before", func(t *testing.T) {
		p := open(t, dir, allow)
		if rec := p.do("PUT", subscriptions+"/hook", rc.spec(`,"ordered":true`)); rec.Code != 201 {
			t.Fatal(rec.Code, rec.Body)
		}
		for i := range 20 {
			if rec := p.do("PUT", fmt.Sprintf("/default/fhir/Patient/p%d", i), fmt.Sprintf(`{"resourceType":"Patient","id":"p%d"}`, i)); rec.Code != 201 {
				t.Fatal(rec.Code, rec.Body)
			}
		}
	})
	t.Run("after", func(t *testing.T) {
		open(t, dir, allow)
		seen := map[any]bool{}
		for _, e := range rc.wait(20) {
			seen[e["subject"]] = true
		}
		for range 3 { // some may have come twice, so that the first twenty are not all
			if len(seen) == 20 {
				break
			}
			for _, e := range rc.wait(1 << 20) {
				seen[e["subject"]] = true
			}
		}
		if len(seen) != 20 {
			t.Errorf("%d of 20 events", len(seen))
		}
	})
}

// TestEventsRoles has who may read events and manage subscriptions.
func TestEventsRoles(t *testing.T) {
	x := openSecured(t, nil)
	reader, _ := x.client("reader", "FHIR Data Reader", "/default/fhir")
	owner, _ := x.client("owner", "Workspace Owner", "/default")
	for _, c := range []struct {
		token, method, path string
		status              int
	}{
		{"", "GET", "/default/events", 401},
		{reader, "GET", "/default/events", 403},
		{owner, "GET", "/default/events", 200},
		{"", "GET", "/default/events/validate?name=a&code=b", 404},
		{"", "GET", subscriptions, 401},
		{reader, "GET", subscriptions, 403},
		{reader, "PUT", subscriptions + "/hook", 403},
		{reader, "DELETE", subscriptions + "/hook", 403},
		{owner, "GET", subscriptions, 200},
		{owner, "DELETE", subscriptions + "/hook", 404},
	} {
		body := ""
		if c.method == "PUT" {
			body = `{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"https://example.org/"}}}`
		}
		res := x.do(c.method, c.path, c.token, body)
		if res.Body.Close(); res.StatusCode != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, res.StatusCode, c.status)
		}
	}
}
