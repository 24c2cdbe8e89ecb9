package medtech

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Deps are what a Service needs.
type Deps struct {
	Store       Store
	Destination Destination
	Guard       *auth.Guard
	Config      Config
	Now         func() time.Time // nil means time.Now
	Log         *slog.Logger     // nil means slog.Default()
	Meter       Meter            // nil counts nowhere
}

// Service is one MedTech service. Its methods may be called from many
// goroutines.
type Service struct {
	store Store
	dest  Destination
	guard *auth.Guard
	cfg   Config
	now   func() time.Time
	log   *slog.Logger
	meter Meter

	changing sync.Mutex // one change of a mapping at a time
	mappings atomic.Pointer[compiled]
	wake     chan struct{} // messages or mappings came
	persist  sync.Mutex    // one batch writes at a time, live or replayed
	resolver *resolver     // held by persist
	last     atomic.Int64  // newest offset of the raw log
	done     atomic.Int64  // the pipeline is done with all up to here
	health   health
	replays  chan struct{} // a replay was asked for
	stop     context.CancelFunc
	stopped  sync.WaitGroup
}

// New returns a Service that processes what its store has and gets. Close stops
// it; the store stays open.
func New(ctx context.Context, d Deps) (*Service, error) {
	if d.Store == nil || d.Destination == nil {
		return nil, fault.New(fault.Internal, "medtech: a store and a destination are required")
	}
	cfg, err := d.Config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Service{
		store: d.Store, dest: d.Destination, guard: d.Guard, cfg: cfg, now: d.Now, log: d.Log, meter: d.Meter,
		wake: make(chan struct{}, 1), replays: make(chan struct{}, 1),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.meter == nil {
		s.meter = noMeter{}
	}
	s.resolver = newResolver(s)
	pos, err := s.store.Position(ctx)
	if err != nil {
		return nil, err
	}
	s.last.Store(pos.Last)
	s.done.Store(pos.Done)
	if err := s.loadMappings(ctx); err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(auth.WithPrincipal(context.WithoutCancel(ctx), auth.Internal("medtech")))
	s.stop = stop
	s.stopped.Go(func() { s.store.Lead(run, Pipeline, s.work) })
	if s.store.Shared() {
		s.stopped.Go(func() { s.watch(run) })
	}
	return s, nil
}

// Own runs f on one of all the nodes that have the store open, until ctx ends.
func (s *Service) Own(ctx context.Context, f func(context.Context)) {
	s.store.Lead(ctx, Sources, f)
}

// work moves messages through the stages, as long as this node has the turn.
func (s *Service) work(ctx context.Context) {
	for {
		pos, err := s.store.Position(ctx)
		if err == nil {
			s.done.Store(pos.Done) // another node may have had the turn before
			break
		}
		if !pause(ctx, time.Second) {
			return
		}
	}
	var stages sync.WaitGroup
	defer stages.Wait()
	stages.Go(func() { s.runPipeline(ctx) })
	stages.Go(func() { s.runReplays(ctx) })
	stages.Go(func() { s.runTrim(ctx) })
	stages.Go(func() {
		s.store.Listen(ctx, func() {
			s.wakeUp()
			s.wakeReplays()
		})
	})
}

// watchTime is how old a node's knowledge of the pipeline may be.
const watchTime = time.Second

// watch follows the pipeline on a node that may not have the turn, for the bound
// of what may wait and the metrics.
func (s *Service) watch(ctx context.Context) {
	for pause(ctx, watchTime) {
		if pos, err := s.store.Position(ctx); err == nil {
			raise(&s.last, pos.Last)
			raise(&s.done, pos.Done)
		}
	}
}

// Config returns the configuration with its defaults filled in.
func (s *Service) Config() Config { return s.cfg }

// Close stops the pipeline between two batches. What is in the raw log is
// processed after the next start.
func (s *Service) Close() {
	s.stop()
	s.stopped.Wait()
}

// wakeUp tells the pipeline that there is something to do.
func (s *Service) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pause waits; false when the service stops.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// trimEvery is how often messages whose retention is over are removed.
const trimEvery = 10 * time.Minute

// runTrim removes messages whose retention is over.
func (s *Service) runTrim(ctx context.Context) {
	for pause(ctx, trimEvery) {
		n, err := s.store.Trim(ctx, s.now().Add(-s.cfg.Retention))
		switch {
		case err != nil && ctx.Err() == nil:
			s.log.LogAttrs(ctx, slog.LevelError, "trim failed", slog.Any("err", err))
		case n > 0:
			s.log.LogAttrs(ctx, slog.LevelInfo, "messages trimmed", slog.Int64("count", n))
		}
	}
}
