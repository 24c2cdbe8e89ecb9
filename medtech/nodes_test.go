package medtech_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// node opens a service on the store and the FHIR service of another one.
func node(t *testing.T, path string, fhir *fhirService) *rig {
	r := &rig{t: t, path: path, fhir: fhir}
	r.open()
	return r
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come about: " + what)
		}
	}
}

// TestNodes has three nodes on one database. Each takes messages, one processes
// them, and another goes on when that one goes away: each message has its effect
// once, and those of a device in their order.
func TestNodes(t *testing.T) {
	path, fhir := dbtest.Postgres(t), newFHIR()
	nodes := []*rig{node(t, path, fhir), node(t, path, fhir), node(t, path, fhir)}
	stopped := 0
	defer func() {
		for _, r := range nodes[stopped:] {
			r.close()
		}
	}()
	last := nodes[2]
	last.put(medtech.DeviceMapping, deviceMapping)
	nodes[1].put(medtech.FHIRMapping, fhirMapping)
	n := 0
	send := func(count int) {
		t.Helper()
		for range count {
			n++
			// A value for a time of its own, and one that amends that of all before it.
			nodes[stopped+n%(3-stopped)].send(
				fmt.Sprintf(`{"d":"d%d","p":"p1","t":"2020-01-01T00:00:00Z","hr":%d}`, n%3, n),
				fmt.Sprintf(`{"d":"d","p":"p2","t":"2020-01-02T00:00:00.%03dZ","hr":%d}`, n, n))
		}
	}
	processed := func() bool {
		st, err := last.s.Status(t.Context())
		return err == nil && st.Done == int64(2*n)
	}
	for range 2 {
		send(20)
		until(t, "all messages are processed", processed)
		send(20) // some of these are on their way
		nodes[stopped].close()
		stopped++
		until(t, "all messages are processed after a node went away", processed)
	}
	one, amended := 0, map[string]bool{}
	for _, o := range fhir.observations() {
		if strings.HasPrefix(o, "Patient/p2") {
			if one++; !strings.HasSuffix(o, " v1") {
				t.Errorf("written twice: %s", o)
			}
		} else {
			amended[strings.Fields(o)[2]] = true
		}
	}
	if one != n || len(amended) != 3 || !amended[fmt.Sprint(n)] || !amended[fmt.Sprint(n-1)] || !amended[fmt.Sprint(n-2)] {
		t.Errorf("%d Observations of %d, the last values are %v", one, n, amended)
	}

	// A mapping that one node is told is the one of the next message at another.
	other := node(t, path, fhir)
	defer other.close()
	other.put(medtech.DeviceMapping, strings.ReplaceAll(deviceMapping, "hr", "pulse"))
	other.put(medtech.FHIRMapping, strings.Replace(fhirMapping, `"typeName": "hr"`, `"typeName": "pulse"`, 1))
	last.send(`{"d":"dx","p":"p3","t":"2020-01-03T00:00:00Z","pulse":1}`, `{"d":"dx","p":"p3","t":"2020-01-03T00:00:01Z","hr":1}`)
	other.send(`{"d":"dx","p":"p3","t":"2020-01-03T00:00:02Z","hr":"x"}`)
	until(t, "the new mappings are used", func() bool { return last.s.Lag() == 0 && other.s.Lag() == 0 })
}

// TestNodesReplay begins and cancels replays at a node that does not run them.
func TestNodesReplay(t *testing.T) {
	path, fhir := dbtest.Postgres(t), newFHIR()
	a, b := node(t, path, fhir), node(t, path, fhir)
	defer a.close()
	defer b.close()
	a.put(medtech.DeviceMapping, deviceMapping)
	b.put(medtech.FHIRMapping, fhirMapping)
	for i := range 30 {
		b.send(fmt.Sprintf(`{"d":"d","p":"p","t":"2020-01-01T00:00:%02dZ","hr":%d}`, i, i))
	}
	until(t, "all messages are processed", func() bool { return len(fhir.observations()) == 30 })
	fhir.set(func(f *fhirService) {
		for key := range f.all {
			if strings.HasPrefix(key, "Observation/") {
				delete(f.all, key)
			}
		}
	})
	for _, r := range []*rig{a, b} {
		rep, err := r.s.StartReplay(t.Context(), medtech.ReplayRange{})
		if err != nil {
			t.Fatal(err)
		}
		until(t, "a replay is done", func() bool {
			list, err := r.s.Replays(t.Context())
			return err == nil && list[0].ID == rep.ID && list[0].State == medtech.ReplayDone
		})
		if got := fhir.observations(); len(got) != 30 {
			t.Errorf("%d Observations after a replay", len(got))
		}
	}
	fhir.set(func(f *fhirService) { f.down = fault.New(fault.Transient, "closed") })
	rep, err := b.s.StartReplay(t.Context(), medtech.ReplayRange{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*rig{a, b} {
		if rep, err = r.s.CancelReplay(t.Context(), rep.ID); err != nil || rep.State != medtech.ReplayStopped {
			t.Errorf("%+v %v", rep, err)
		}
	}
	fhir.set(func(f *fhirService) { f.down = nil })
	b.send(`{"d":"d","p":"p","t":"2020-01-01T00:01:00Z","hr":1}`)
	until(t, "messages are processed", func() bool { return len(fhir.observations()) == 31 })
	if list, err := b.s.Replays(t.Context()); err != nil || list[0].State != medtech.ReplayStopped {
		t.Errorf("%+v %v", list, err)
	}
}
