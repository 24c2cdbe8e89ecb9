package events_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/events"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// soon waits until a condition holds.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come about: " + what)
		}
	}
}

// TestNodes has nodes on one database: one delivers, and what the others are told
// it does; when it goes away another goes on. Every event arrives.
func TestNodes(t *testing.T) {
	path := dbtest.Postgres(t)
	first := &room{src: &source{}, web: &web{hooks: map[string]hook{}}, blobs: &memory{m: map[string]string{}}, path: path, nodes: true}
	rooms := []*room{first}
	first.start(t)
	for range 2 {
		r := &room{src: first.src, web: first.web, blobs: first.blobs, path: path, nodes: true}
		r.start(t)
		rooms = append(rooms, r)
	}
	stopped := 0
	defer func() {
		for _, r := range rooms[stopped:] {
			r.stop(t)
		}
	}()
	var in inbox
	first.web.set("a", in.hook(200))
	last := rooms[2]
	if info := last.put(t, "sub-a", to("a", "")); info.ProvisioningState != events.Succeeded { // by a node that may not deliver
		t.Fatalf("%+v", info)
	}
	n := 0
	add := func(count int) {
		for range count {
			first.src.add(events.FHIRCreated, fmt.Sprintf("Patient/p%d", n), 1)
			n++
		}
	}
	seen := func() int {
		ids := map[any]bool{}
		in.mu.Lock()
		defer in.mu.Unlock()
		for _, e := range in.list {
			ids[e["id"]] = true
		}
		return len(ids)
	}
	grown := last.Grown()
	if _, _, err := last.Pull(t.Context(), 0, nil, 1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		add(20)
		soon(t, "all events arrive", func() bool { return seen() == n })
		add(20) // some of these are on their way when the node stops
		for _, r := range rooms[stopped:] {
			r.Wake()
		}
		rooms[stopped].stop(t)
		stopped++
		soon(t, "all events arrive after a node went away", func() bool { return seen() == n })
	}
	select {
	case <-grown:
	case <-time.After(time.Minute):
		t.Error("a node that does not write the log was not told that it grew")
	}
	if list, _, err := last.Pull(t.Context(), 0, nil, 1000); err != nil || len(list) != n {
		t.Errorf("%d events in the log, want %d: %v", len(list), n, err)
	}

	// Dead letters are tried again, whoever is asked.
	first.web.set("a", in.hook(400))
	add(1)
	soon(t, "an event is given up", func() bool {
		l, err := last.Letters(t.Context(), "sub-a", 0, 10)
		return err == nil && len(l) == 1
	})
	other := &room{src: first.src, web: first.web, blobs: first.blobs, path: path, nodes: true}
	other.start(t)
	defer other.stop(t)
	first.web.set("a", in.hook(200))
	before := in.count()
	if k, err := other.Redrive(t.Context(), "sub-a", nil); k != 1 || err != nil {
		t.Fatal(k, err)
	}
	soon(t, "it is tried again", func() bool { return in.count() > before })
	if err := other.DeleteSubscription(t.Context(), "sub-a"); err != nil {
		t.Fatal(err)
	}
	if _, err := last.Subscription(t.Context(), "sub-a"); err == nil || !strings.Contains(err.Error(), "no event subscription") {
		t.Errorf("a subscription that another node deleted: %v", err)
	}
}
