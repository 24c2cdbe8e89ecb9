package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Options of a Runner. The zero value is ready to use.
type Options struct {
	Worker string        // name of this node, for people; default "node"
	Slots  int           // jobs that run at once; default the number of processors
	Poll   time.Duration // how often to look for jobs of other nodes; default 1s
	Sweep  time.Duration // how often to clean up; default 15s
	Log    *slog.Logger  // nil means slog.Default()
}

// lease is after how long without a heartbeat a job is given up.
const lease = 30 * time.Second

// Runner runs jobs on this node.
type Runner struct {
	store *Store
	kinds map[string]Handler
	opt   Options
	tasks sync.WaitGroup
	slots chan struct{} // one token per job that may start

	mu      sync.Mutex
	running map[string]running // by id
}

// running is a job that this node runs now.
type running struct {
	scope  string
	cancel context.CancelCauseFunc
	ended  chan struct{}
}

// NewRunner returns a Runner for the kinds that it gets handlers for.
func NewRunner(s *Store, kinds map[string]Handler, opt Options) *Runner {
	def := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&opt.Poll, time.Second)
	def(&opt.Sweep, 15*time.Second)
	if opt.Slots <= 0 {
		opt.Slots = runtime.GOMAXPROCS(0)
	}
	if opt.Worker == "" {
		opt.Worker = "node"
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	r := &Runner{store: s, kinds: kinds, opt: opt, slots: make(chan struct{}, opt.Slots), running: map[string]running{}}
	for range opt.Slots {
		r.slots <- struct{}{}
	}
	return r
}

// Drop ends the jobs of a scope that run on this node, and returns when they
// have stopped. Nothing is written down, so it goes together with Store.Forget.
func (r *Runner) Drop(scope string) {
	r.mu.Lock()
	var list []running
	for _, x := range r.running {
		if x.scope == scope {
			list = append(list, x)
		}
	}
	r.mu.Unlock()
	for _, x := range list {
		x.cancel(ErrLost)
		<-x.ended
	}
}

// Run claims and runs jobs until ctx ends. Jobs that run then are given back,
// and Run returns when they all have stopped.
func (r *Runner) Run(ctx context.Context) {
	defer r.tasks.Wait()
	sweep := time.NewTicker(r.opt.Sweep)
	defer sweep.Stop()
	for {
		again := r.fill(ctx)
		select {
		case <-ctx.Done():
			return
		case <-r.store.wake:
			r.sweep(ctx)
		case <-sweep.C:
			r.sweep(ctx)
		case <-time.After(again):
		}
	}
}

// fill starts jobs until there is no slot or no job, and returns how long to wait.
func (r *Runner) fill(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		select {
		case <-r.slots:
		default:
			return r.opt.Poll // a job that ends signals before
		}
		j, err := r.store.claim(ctx, r.opt.Worker, r.kinds, lease)
		if err != nil || j == nil {
			r.slots <- struct{}{}
			if err != nil && ctx.Err() == nil {
				r.opt.Log.LogAttrs(ctx, slog.LevelError, "jobs cannot be claimed", slog.Any("err", err))
			}
			return r.opt.Poll
		}
		r.tasks.Go(func() {
			r.run(ctx, j)
			r.slots <- struct{}{}
			r.store.signal()
		})
	}
	return 0
}

func (r *Runner) sweep(ctx context.Context) {
	if err := r.store.sweep(ctx, r.kinds); err != nil && ctx.Err() == nil {
		r.opt.Log.LogAttrs(ctx, slog.LevelError, "jobs cannot be cleaned up", slog.Any("err", err))
	}
}

// run does one job from claim to end.
func (r *Runner) run(parent context.Context, j *Job) {
	ctx, cancel := context.WithCancelCause(parent)
	ended := make(chan struct{})
	defer close(ended)
	r.mu.Lock()
	r.running[j.ID] = running{scope: j.Scope, cancel: cancel, ended: ended}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.running, j.ID)
		r.mu.Unlock()
	}()
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		r.heartbeat(ctx, j, cancel)
	}()
	begin := time.Now()
	r.opt.Log.LogAttrs(parent, slog.LevelInfo, "job started",
		slog.String("job", j.ID), slog.String("kind", j.Kind), slog.String("service", j.Scope), slog.Int("attempt", j.Attempts))
	result, err := r.call(ctx, j)
	cause := context.Cause(ctx)
	cancel(nil)
	<-beating
	// What is left is to write down how it ended, even when this node stops.
	done, stop := context.WithTimeout(context.WithoutCancel(parent), lease)
	defer stop()
	state, e := r.conclude(done, j, result, err, cause)
	level := slog.LevelInfo
	if e != nil && !errors.Is(e, ErrLost) || state == Failed {
		level = slog.LevelError
	}
	r.opt.Log.LogAttrs(done, level, "job ended", slog.String("job", j.ID), slog.String("kind", j.Kind), slog.String("service", j.Scope),
		slog.String("state", string(state)), slog.Int64("ms", time.Since(begin).Milliseconds()), slog.Any("err", errors.Join(err, e)))
}

// call runs the handler. A panic is a failure of the job, not of the node.
func (r *Runner) call(ctx context.Context, j *Job) (result any, err error) {
	err = fault.Guard("jobs: "+j.Kind, func() (err error) {
		result, err = r.kinds[j.Kind].Run(ctx, &Task{Job: *j, store: r.store})
		return err
	})
	return result, err
}

// heartbeat renews the lease until ctx ends. A node that cannot reach the
// database gives the job up before others may take it.
func (r *Runner) heartbeat(ctx context.Context, j *Job, cancel context.CancelCauseFunc) {
	last := time.Now()
	t := time.NewTicker(lease / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		bctx, done := context.WithTimeout(ctx, lease/3)
		stop, err := r.store.beat(bctx, j, lease)
		done()
		switch {
		case errors.Is(err, ErrLost):
			cancel(ErrLost)
		case err == nil && stop:
			cancel(ErrCancelled)
		case err == nil:
			last = time.Now()
		case time.Since(last) >= lease*2/3:
			cancel(ErrLost)
		}
	}
}

// conclude writes down how a run ended and returns the state that the job is in now.
func (r *Runner) conclude(ctx context.Context, j *Job, result any, err, cause error) (State, error) {
	switch {
	case errors.Is(cause, ErrLost) || errors.Is(err, ErrLost):
		return Running, ErrLost
	case err == nil:
		text, e := json.Marshal(result)
		if e != nil {
			return Failed, r.store.end(ctx, j, Failed, "", reason(fault.Wrap("jobs: result", e)))
		}
		return Completed, r.store.end(ctx, j, Completed, string(text), "")
	case errors.Is(err, ErrWait):
		return Waiting, r.store.wait(ctx, j)
	case errors.Is(cause, ErrCancelled) || errors.Is(err, ErrCancelled):
		return Cancelled, r.store.end(ctx, j, Cancelled, "", "")
	case cause != nil:
		return Queued, r.store.requeue(ctx, j, 0, "", false) // this node stops
	case isTransient(err) && j.Attempts < r.kinds[j.Kind].attempts():
		return Queued, r.store.requeue(ctx, j, backoff(j.Attempts), reason(err), true)
	}
	return Failed, r.store.end(ctx, j, Failed, "", reason(err))
}

func isTransient(err error) bool {
	return fault.Is(err, fault.Transient) || fault.Is(err, fault.Throttled) || fault.Is(err, fault.Timeout)
}

// backoff is the pause before attempt n+1: 2s, 4s, 8s ... at most five minutes.
func backoff(n int) time.Duration {
	return min(time.Second<<min(n, 16), 5*time.Minute)
}
