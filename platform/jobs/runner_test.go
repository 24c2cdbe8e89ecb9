package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// start runs a node inside a synctest bubble; stop ends it in order.
func start(t *testing.T, s *Store, name string, kinds map[string]Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	r := NewRunner(s, kinds, Options{Worker: name, Slots: 2, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	return func() { cancel(); <-done }
}

func submit(t *testing.T, s *Store, spec Spec) Job {
	t.Helper()
	j, _, err := s.Submit(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func wantState(t *testing.T, s *Store, id string, want State) Job {
	t.Helper()
	j, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if j.State != want {
		t.Fatalf("the job is %s (%s), want %s", j.State, j.Error, want)
	}
	return j
}

// bubble runs f on faked time with an open store of each engine.
func bubble(t *testing.T, f func(t *testing.T, s *Store)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) { f(t, openStore(t, path, time.Now)) })
	})
}

func TestRunnerCompletes(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store) {
		stop := start(t, s, "a", map[string]Handler{"double": {Run: func(_ context.Context, task *Task) (any, error) {
			var n int
			err := task.Define(&n)
			return 2 * n, err
		}}})
		defer stop()
		j := submit(t, s, Spec{Kind: "double", Definition: 21})
		time.Sleep(time.Minute)
		got := wantState(t, s, j.ID, Completed)
		if string(got.Result) != "42" || got.Expires.Sub(got.Finished) != defaultKeep {
			t.Errorf("result %s, kept for %s", got.Result, got.Expires.Sub(got.Finished))
		}
	})
}

func TestRunnerRetries(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		want  State
		calls int32
		why   string
	}{
		"transient for a while": {fault.New(fault.Transient, "the bucket does not answer"), Completed, 3, ""},
		"for good":              {fault.New(fault.Invalid, "no such group"), Failed, 1, "no such group"},
		"unknown":               {errors.New("secret cause"), Failed, 1, "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *Store) {
				var calls atomic.Int32
				stop := start(t, s, "a", map[string]Handler{"k": {Run: func(context.Context, *Task) (any, error) {
					if calls.Add(1) < 3 {
						return nil, c.err
					}
					return nil, nil
				}}})
				defer stop()
				j := submit(t, s, Spec{Kind: "k"})
				time.Sleep(time.Second)
				if c.want == Completed {
					if w := wantState(t, s, j.ID, Queued); w.Error != "the bucket does not answer" {
						t.Errorf("reason of the retry: %q", w.Error)
					}
				}
				time.Sleep(time.Minute)
				got := wantState(t, s, j.ID, c.want)
				if calls.Load() != c.calls || got.Error != c.why {
					t.Errorf("%d calls, error %q", calls.Load(), got.Error)
				}
			})
		})
	}
}

func TestRunnerGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store) {
		var calls atomic.Int32
		stop := start(t, s, "a", map[string]Handler{"k": {Attempts: 4, Run: func(context.Context, *Task) (any, error) {
			calls.Add(1)
			return nil, fault.New(fault.Transient, "still full")
		}}, "panics": {Run: func(context.Context, *Task) (any, error) { panic("oops") }}})
		defer stop()
		j, p := submit(t, s, Spec{Kind: "k"}), submit(t, s, Spec{Kind: "panics"})
		time.Sleep(time.Hour)
		if got := wantState(t, s, j.ID, Failed); calls.Load() != 4 || got.Error != "still full" {
			t.Errorf("%d calls, error %q", calls.Load(), got.Error)
		}
		if got := wantState(t, s, p.ID, Failed); got.Error != "internal error" {
			t.Errorf("panic: %q", got.Error)
		}
	})
}

// A node that dies in the middle: its job goes on at another node, from the
// last checkpoint, and the dead one cannot write any more.
func TestTakeover(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store) {
		dead, err := s.claim(t.Context(), "dead", nil, time.Minute)
		if err != nil || dead != nil {
			t.Fatalf("claimed %v, %v", dead, err)
		}
		submitted := submit(t, s, Spec{Kind: "count"})
		var steps []string
		kinds := map[string]Handler{"count": {Run: func(ctx context.Context, task *Task) (any, error) {
			n := 0
			if _, err := task.Load(&n); err != nil {
				return nil, err
			}
			for ; n < 5; n++ {
				steps = append(steps, fmt.Sprint(n))
				time.Sleep(20 * time.Second) // longer than a lease in all
				if err := task.Save(ctx, n+1, Progress{Done: int64(n + 1), Total: 5}); err != nil {
					return nil, err
				}
			}
			return n, nil
		}}}
		dead, err = s.claim(t.Context(), "dead", kinds, 30*time.Second)
		if err != nil || dead == nil {
			t.Fatalf("claim: %v, %v", dead, err)
		}
		if err := s.save(t.Context(), dead, 2, Progress{Done: 2, Total: 5}, nil); err != nil {
			t.Fatal(err)
		}
		stop := start(t, s, "alive", kinds)
		defer stop()
		time.Sleep(20 * time.Second)
		if got := wantState(t, s, submitted.ID, Running); got.Worker != "dead" {
			t.Errorf("taken by %s before the lease ended", got.Worker)
		}
		time.Sleep(20 * time.Second)
		if err := s.save(t.Context(), dead, 9, Progress{}, nil); !errors.Is(err, ErrLost) {
			t.Errorf("the dead node saved: %v", err)
		}
		if err := s.end(t.Context(), dead, Completed, "9", ""); !errors.Is(err, ErrLost) {
			t.Errorf("the dead node finished: %v", err)
		}
		time.Sleep(2 * time.Minute)
		got := wantState(t, s, submitted.ID, Completed)
		if string(got.Result) != "5" || strings.Join(steps, "") != "234" {
			t.Errorf("result %s after steps %v", got.Result, steps)
		}
	})
}

// A node that stops gives its jobs back; another one goes on at once.
func TestStopGivesBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store) {
		kinds := map[string]Handler{"k": {Run: func(ctx context.Context, _ *Task) (any, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(10 * time.Second):
				return "done", nil
			}
		}}}
		stop := start(t, s, "a", kinds)
		j := submit(t, s, Spec{Kind: "k"})
		time.Sleep(5 * time.Second)
		stop()
		if got := wantState(t, s, j.ID, Queued); got.Attempts != 0 {
			t.Errorf("%d attempts after a stop", got.Attempts)
		}
		stop = start(t, s, "b", kinds)
		defer stop()
		time.Sleep(12 * time.Second)
		wantState(t, s, j.ID, Completed)
	})
}

func TestChildren(t *testing.T) {
	for name, c := range map[string]struct {
		bad  int
		want State
	}{"all well": {-1, Completed}, "one fails": {1, Failed}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *Store) {
				var finished atomic.Int32
				stop := start(t, s, "a", map[string]Handler{
					"parent": {Run: func(ctx context.Context, task *Task) (any, error) {
						if ok, err := task.Load(new(string)); err != nil {
							return nil, err
						} else if !ok {
							var specs []Spec
							for i := range 5 {
								specs = append(specs, Spec{Kind: "child", Definition: i})
							}
							if err := task.Spawn(ctx, "spawned", Progress{}, specs); err != nil {
								return nil, err
							}
							return nil, ErrWait
						}
						list, err := task.Children(ctx)
						if err != nil {
							return nil, err
						}
						sum := ""
						for _, x := range list {
							if x.State == Failed {
								return nil, fault.New(fault.Unprocessable, "a part failed: %s", x.Error)
							}
							sum += string(x.Result)
						}
						return len(sum), nil
					}},
					"child": {Run: func(ctx context.Context, task *Task) (any, error) {
						var n int
						if err := task.Define(&n); err != nil {
							return nil, err
						}
						if n == c.bad {
							return nil, fault.New(fault.Invalid, "bad part")
						}
						select {
						case <-ctx.Done():
							return nil, ctx.Err()
						case <-time.After(time.Minute):
						}
						finished.Add(1)
						return n, nil
					}},
				})
				defer stop()
				j := submit(t, s, Spec{Kind: "parent"})
				time.Sleep(30 * time.Second)
				if c.bad < 0 {
					wantState(t, s, j.ID, Waiting)
				}
				time.Sleep(10 * time.Minute)
				got := wantState(t, s, j.ID, c.want)
				if c.want == Completed && (finished.Load() != 5 || string(got.Result) != "5") {
					t.Errorf("%d children finished, result %s", finished.Load(), got.Result)
				}
				if c.want == Failed && (finished.Load() != 0 || got.Error != "a part failed: bad part") {
					t.Errorf("%d children finished, error %q", finished.Load(), got.Error)
				}
			})
		})
	}
}

func TestCancelAndClean(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store) {
		var cleaned atomic.Int32
		stopped := false
		stop := start(t, s, "a", map[string]Handler{"k": {
			Run: func(ctx context.Context, _ *Task) (any, error) {
				<-ctx.Done()
				stopped = errors.Is(context.Cause(ctx), ErrCancelled)
				return nil, ctx.Err()
			},
			Clean: func(context.Context, Job) error { cleaned.Add(1); return nil },
		}})
		defer stop()
		j := submit(t, s, Spec{Kind: "k", Keep: time.Hour})
		time.Sleep(time.Second)
		if got, err := s.Cancel(t.Context(), j.ID); err != nil || got.State != Running || !got.Stopping {
			t.Fatalf("cancel: %+v, %v", got, err)
		}
		time.Sleep(time.Minute)
		wantState(t, s, j.ID, Cancelled)
		if !stopped || cleaned.Load() != 1 {
			t.Errorf("stopped %v, cleaned %d times", stopped, cleaned.Load())
		}
		if _, err := s.Cancel(t.Context(), j.ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("second cancel: %v", err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := s.Get(t.Context(), j.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("after its time: %v", err)
		}
	})
}

func TestUnique(t *testing.T) { dbtest.Each(t, unique) }

func unique(t *testing.T, path string) {
	s := openStore(t, path, nil)
	spec := Spec{Kind: "k", Scope: "w/s", Requester: "me", Definition: map[string]int{"a": 1}, Unique: true}
	first := submit(t, s, spec)
	if again := submit(t, s, spec); again.ID != first.ID {
		t.Error("the same definition made a second job")
	}
	other := spec
	other.Requester = "you"
	if x := submit(t, s, other); x.ID == first.ID {
		t.Error("another requester got the same job")
	}
	other = spec
	other.Unique = false
	if x := submit(t, s, other); x.ID == first.ID {
		t.Error("a job that is not unique was not made")
	}
	if _, err := s.Cancel(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if again := submit(t, s, spec); again.ID == first.ID {
		t.Error("a finished job was given again")
	}
}

func TestPriorityAndList(t *testing.T) { dbtest.Each(t, priorityAndList) }

func priorityAndList(t *testing.T, path string) {
	now := time.Now()
	s := openStore(t, path, func() time.Time { now = now.Add(time.Millisecond); return now })
	low := submit(t, s, Spec{Kind: "k", Scope: "w/a"})
	high := submit(t, s, Spec{Kind: "k", Scope: "w/b", Priority: 5})
	submit(t, s, Spec{Kind: "other", Scope: "w/b"})
	j, err := s.claim(t.Context(), "w", map[string]Handler{"k": {}}, time.Minute)
	if err != nil || j == nil || j.ID != high.ID {
		t.Fatalf("claimed %+v, %v", j, err)
	}
	for _, c := range []struct {
		f    Filter
		want int
	}{
		{Filter{}, 3}, {Filter{Kind: "k"}, 2}, {Filter{Scope: "w/b"}, 2}, {Filter{State: Running}, 1},
		{Filter{Kind: "k", Scope: "w/b", State: Queued}, 0}, {Filter{Limit: 2}, 2}, {Filter{After: low.ID}, 0},
	} {
		list, err := s.List(t.Context(), c.f)
		if err != nil || len(list) != c.want {
			t.Errorf("%+v: %d jobs, %v; want %d", c.f, len(list), err, c.want)
		}
	}
	if err := s.Forget(t.Context(), "w/b"); err != nil {
		t.Fatal(err)
	}
	if list, _ := s.List(t.Context(), Filter{}); len(list) != 1 {
		t.Errorf("%d jobs are left", len(list))
	}
	if _, err := s.beat(t.Context(), j, time.Minute); !errors.Is(err, ErrLost) {
		t.Errorf("the worker of a forgotten job: %v", err)
	}
}
