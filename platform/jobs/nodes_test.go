package jobs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// Two nodes on one database share the jobs: each job, and each child, runs once.
func TestNodes(t *testing.T) {
	at := dbtest.Postgres(t)
	var mu sync.Mutex
	runs := map[string]int{}
	ran := func(id string) {
		mu.Lock()
		defer mu.Unlock()
		runs[id]++
	}
	kinds := map[string]Handler{
		"plain": {Run: func(_ context.Context, task *Task) (any, error) { ran(task.ID); return task.ID, nil }},
		"parent": {Run: func(ctx context.Context, task *Task) (any, error) {
			if ok, err := task.Load(new(bool)); ok || err != nil {
				list, err := task.Children(ctx)
				for _, c := range list {
					if c.State != Completed {
						err = fmt.Errorf("child %s is %s", c.ID, c.State)
					}
				}
				return len(list), err
			}
			if err := task.Spawn(ctx, true, Progress{}, []Spec{{Kind: "plain"}, {Kind: "plain"}, {Kind: "plain"}}); err != nil {
				return nil, err
			}
			return nil, ErrWait
		}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var nodes sync.WaitGroup
	var first *Store
	for i := range 2 {
		d, err := db.Open(at, db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		s, err := New(t.Context(), d, nil)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = s
		}
		r := NewRunner(s, kinds, Options{Worker: fmt.Sprint("node", i), Slots: 3, Poll: 20 * time.Millisecond, Sweep: 200 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		nodes.Go(func() { r.Run(ctx) })
	}
	t.Cleanup(func() { cancel(); nodes.Wait() })
	var all []Job
	for i := range 24 {
		kind := "plain"
		if i%4 == 0 {
			kind = "parent"
		}
		all = append(all, submit(t, first, Spec{Kind: kind, Definition: i}))
	}
	same := Spec{Kind: "plain", Definition: "same", Unique: true}
	if a, b := submit(t, first, same), submit(t, first, same); a.ID == b.ID {
		all = append(all, a)
	}
	workers := map[string]bool{}
	for deadline := time.Now().Add(time.Minute); len(all) > 0; {
		j, err := first.Get(t.Context(), all[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		if workers[j.Worker] = true; j.State == Completed {
			all = all[1:]
			continue
		}
		if j.State.Finished() || time.Now().After(deadline) {
			t.Fatalf("job %s is %s: %s", j.ID, j.State, j.Error)
		}
		time.Sleep(5 * time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(runs) < 36 {
		t.Errorf("%d jobs ran", len(runs))
	}
	for id, n := range runs {
		if n != 1 {
			t.Errorf("job %s ran %d times", id, n)
		}
	}
}
