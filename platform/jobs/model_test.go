package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

func openStore(t testing.TB, path string, now func() time.Time) *Store {
	t.Helper()
	d, err := db.Open(path, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	s, err := New(t.Context(), d, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mjob is a job as the model knows it.
type mjob struct {
	id, parent string
	state      State
	stop       bool
	attempts   int
	after      time.Time
	lease      time.Time
	ends       int // how often a worker was told that its end counted
}

// held is a claim in the hands of a worker, current or long lost.
type held struct {
	job     *Job
	current bool
}

// machine compares the table with the model.
type machine struct {
	ctx   context.Context
	s     *Store
	now   time.Time
	jobs  map[string]*mjob
	order []string
	held  []*held
}

const ttl = time.Minute

var kinds = map[string]Handler{"k": {Attempts: 3}}

func (m *machine) pick(t *rapid.T) *held {
	if len(m.held) == 0 {
		t.Skip("nobody holds a job")
	}
	return rapid.SampledFrom(m.held).Draw(t, "claim")
}

// owns reports whether a claim still counts.
func (m *machine) owns(h *held) bool { return h.current && m.jobs[h.job.ID].state == Running }

func (m *machine) drop(id string) {
	for _, h := range m.held {
		if h.job.ID == id {
			h.current = false
		}
	}
}

func (m *machine) unfinishedChildren(id string) bool {
	for _, j := range m.jobs {
		if j.parent == id && !j.state.Finished() {
			return true
		}
	}
	return false
}

// finish is what the end of a job does to its family.
func (m *machine) finish(j *mjob, st State) {
	j.state = st
	m.drop(j.id)
	if j.parent == "" {
		return
	}
	if st == Failed {
		for _, c := range m.jobs {
			if c.parent == j.parent && !c.state.Finished() {
				c.stop = true
				if c.state == Queued {
					c.state = Cancelled
				}
			}
		}
	}
	m.wake(m.jobs[j.parent])
}

func (m *machine) wake(j *mjob) {
	if j.state == Waiting && !m.unfinishedChildren(j.id) {
		j.state, j.after = Queued, time.Time{}
	}
}

func (m *machine) add(j Job, parent string) {
	m.jobs[j.ID] = &mjob{id: j.ID, parent: parent, state: Queued}
	m.order = append(m.order, j.ID)
}

func (m *machine) Submit(t *rapid.T) {
	j, created, err := m.s.Submit(m.ctx, Spec{Kind: "k", Definition: len(m.jobs)})
	if err != nil || !created {
		t.Fatalf("submit: %v", err)
	}
	m.add(j, "")
}

func (m *machine) Claim(t *rapid.T) {
	j, err := m.s.claim(m.ctx, "w", kinds, ttl)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	// The claim buries what it finds dead on its way.
	var want *mjob
	for _, id := range m.order {
		x := m.jobs[id]
		ready := x.state == Queued && !x.after.After(m.now) || x.state == Running && x.lease.Before(m.now)
		if !ready {
			continue
		}
		if x.stop {
			m.finish(x, Cancelled)
		} else if x.attempts >= kinds["k"].Attempts {
			m.finish(x, Failed)
		} else {
			want = x
			break
		}
	}
	if (want == nil) != (j == nil) || want != nil && want.id != j.ID {
		t.Fatalf("claimed %+v, want %+v", j, want)
	}
	if want == nil {
		return
	}
	m.drop(want.id)
	want.state, want.lease = Running, m.now.Add(ttl)
	want.attempts++
	m.held = append(m.held, &held{job: j, current: true})
}

func (m *machine) Beat(t *rapid.T) {
	h := m.pick(t)
	stop, err := m.s.beat(m.ctx, h.job, ttl)
	if m.owns(h) != (err == nil) || err != nil && !errors.Is(err, ErrLost) {
		t.Fatalf("beat: %v, owned %v", err, m.owns(h))
	}
	if err == nil {
		j := m.jobs[h.job.ID]
		j.lease = m.now.Add(ttl)
		if stop != j.stop {
			t.Fatalf("beat says stop %v, want %v", stop, j.stop)
		}
	}
}

func (m *machine) Save(t *rapid.T) {
	h := m.pick(t)
	var specs []Spec
	for range rapid.IntRange(0, 2).Draw(t, "children") {
		specs = append(specs, Spec{Kind: "k"})
	}
	if j := m.jobs[h.job.ID]; j.parent != "" {
		specs = nil // one generation is enough
	}
	err := m.s.save(m.ctx, h.job, "c", Progress{}, specs)
	j := m.jobs[h.job.ID]
	switch {
	case !m.owns(h):
		if !errors.Is(err, ErrLost) {
			t.Fatalf("save of a lost job: %v", err)
		}
		return
	case j.stop && len(specs) > 0:
		if !errors.Is(err, ErrCancelled) {
			t.Fatalf("spawn of a stopping job: %v", err)
		}
		return
	case err != nil:
		t.Fatalf("save: %v", err)
	}
	j.attempts = 1
	all, err := m.s.Children(m.ctx, j.id)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if m.jobs[c.ID] == nil {
			m.add(c, j.id)
		}
	}
}

func (m *machine) End(t *rapid.T) {
	h := m.pick(t)
	st := rapid.SampledFrom([]State{Completed, Failed, Cancelled}).Draw(t, "state")
	owned := m.owns(h)
	err := m.s.end(m.ctx, h.job, st, "1", "why")
	if owned != (err == nil) || err != nil && !errors.Is(err, ErrLost) {
		t.Fatalf("end: %v, owned %v", err, owned)
	}
	if owned {
		m.jobs[h.job.ID].ends++
		m.finish(m.jobs[h.job.ID], st)
	}
}

func (m *machine) Wait(t *rapid.T) {
	h := m.pick(t)
	owned := m.owns(h)
	if err := m.s.wait(m.ctx, h.job); owned != (err == nil) {
		t.Fatalf("wait: %v, owned %v", err, owned)
	}
	if owned {
		j := m.jobs[h.job.ID]
		j.state, j.attempts = Waiting, 0
		m.drop(j.id)
		m.wake(j)
	}
}

func (m *machine) Requeue(t *rapid.T) {
	h := m.pick(t)
	counts := rapid.Bool().Draw(t, "counts")
	owned := m.owns(h)
	if err := m.s.requeue(m.ctx, h.job, 30*time.Second, "again", counts); owned != (err == nil) {
		t.Fatalf("requeue: %v, owned %v", err, owned)
	}
	if owned {
		j := m.jobs[h.job.ID]
		j.state, j.after = Queued, m.now.Add(30*time.Second)
		if !counts {
			j.attempts--
		}
		m.drop(j.id)
	}
}

func (m *machine) Cancel(t *rapid.T) {
	if len(m.order) == 0 {
		t.Skip("no jobs")
	}
	j := m.jobs[rapid.SampledFrom(m.order).Draw(t, "job")]
	_, err := m.s.Cancel(m.ctx, j.id)
	if j.state.Finished() {
		if !fault.Is(err, fault.Conflict) {
			t.Fatalf("cancel of a finished job: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("cancel: %v", err)
	}
	for _, x := range m.jobs {
		if (x.id == j.id || x.parent == j.id) && !x.state.Finished() {
			x.stop = true
			if x.state != Running {
				x.state = Cancelled
			}
		}
	}
}

func (m *machine) Sweep(t *rapid.T) {
	if err := m.s.sweep(m.ctx, kinds); err != nil {
		t.Fatal(err)
	}
	for _, j := range m.jobs {
		m.wake(j)
	}
}

func (m *machine) Time(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
}

// Check compares every job.
func (m *machine) Check(t *rapid.T) {
	for _, id := range m.order {
		want := m.jobs[id]
		got, err := m.s.Get(m.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if got.State != want.state || got.Attempts != want.attempts && !want.state.Finished() || got.Stopping != want.stop || got.Parent != want.parent {
			t.Fatalf("job %s is %s, %d attempts, stopping %v; want %+v", id, got.State, got.Attempts, got.Stopping, *want)
		}
		if want.ends > 1 {
			t.Fatalf("job %s ended %d times", id, want.ends)
		}
		if got.State.Finished() == got.Finished.IsZero() {
			t.Fatalf("job %s is %s and finished at %v", id, got.State, got.Finished)
		}
	}
}

func TestModel(t *testing.T) { dbtest.Each(t, model) }

func model(t *testing.T, path string) {
	d, err := db.Open(path, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{ctx: t.Context(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), jobs: map[string]*mjob{}}
		if m.s, err = New(t.Context(), d, func() time.Time { return m.now }); err != nil {
			rt.Fatal(err)
		}
		if err := m.s.Forget(t.Context(), ""); err != nil {
			rt.Fatal(err)
		}
		actions := rapid.StateMachineActions(m)
		// Jobs that were made in the same millisecond are claimed in the order
		// of their ids, which is chance: let time pass before each.
		for _, name := range []string{"Submit", "Save"} {
			f := actions[name]
			actions[name] = func(t *rapid.T) { m.now = m.now.Add(time.Millisecond); f(t); m.sort() }
		}
		rt.Repeat(actions)
	})
}

// sort brings the model into the order in which jobs are claimed.
func (m *machine) sort() {
	created := map[string]string{}
	for _, id := range m.order {
		j, _ := m.s.Get(m.ctx, id)
		created[id] = fmt.Sprintf("%020d %s", j.Created.UnixMilli(), id)
	}
	slices.SortFunc(m.order, func(a, b string) int {
		switch {
		case created[a] < created[b]:
			return -1
		case created[a] > created[b]:
			return 1
		}
		return 0
	})
}
