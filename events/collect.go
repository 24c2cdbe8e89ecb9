package events

import (
	"context"
	"crypto/subtle"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Times of the collector.
const (
	// gatherTime is how long a wake is followed by others before the sources are
	// read, so that many commits share one append.
	gatherTime = 5 * time.Millisecond
	// pollTime is how often sources are read without a wake when another node may
	// write, quietTime when none can: then only what is due by the clock is done.
	pollTime  = 100 * time.Millisecond
	quietTime = time.Minute
	watchTime = 250 * time.Millisecond
	pageSize  = 1000
	pruneTime = time.Minute
	tellTime  = time.Minute // between two lines of the log about the same service
)

// work collects and delivers, as long as this node has the turn.
func (s *Service) work(ctx context.Context) {
	defer s.follow()
	for !s.lead(ctx) {
		if !sleep(ctx, time.Second) {
			return
		}
	}
	every := quietTime
	if s.shared {
		every = pollTime
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	c := clock{told: map[string]time.Time{}}
	for {
		s.step(ctx, &c)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.wake:
			if s.Active() && !sleep(ctx, gatherTime) {
				return
			}
		}
	}
}

// clock is when what was done last.
type clock struct {
	looked, pruned time.Time
	told           map[string]time.Time // of services whose events cannot be collected, in the log
}

// step does what is to be done now.
func (s *Service) step(ctx context.Context, c *clock) {
	now := s.now()
	if s.Active() {
		s.collect(ctx, c)
	}
	if now.Sub(c.looked) > time.Second {
		c.looked = now
		s.look(ctx)
	}
	if now.Sub(c.pruned) > pruneTime {
		c.pruned = now
		s.prune(ctx)
	}
}

// lead begins the deliveries. It is false when the store does not answer.
func (s *Service) lead(ctx context.Context) bool {
	list, err := s.store.Subscriptions(ctx)
	if err != nil {
		return false
	}
	active, err := s.store.Active(ctx)
	if err != nil {
		return false
	}
	s.mu.Lock()
	s.leader, s.active = true, s.active || active
	s.mu.Unlock()
	for i := range list {
		s.restart(&list[i])
	}
	return true
}

// follow ends the deliveries.
func (s *Service) follow() {
	s.mu.Lock()
	s.leader = false
	s.mu.Unlock()
	s.recent.forget()
	s.haltAll()
}

// watch tells those who wait for events that the log has grown, on a node that
// does not write it.
func (s *Service) watch(ctx context.Context) {
	seen := int64(0)
	for sleep(ctx, watchTime) {
		s.mu.Lock()
		idle := s.leader || !s.active
		s.mu.Unlock()
		if idle {
			continue
		}
		if _, last, err := s.store.Bounds(ctx); err == nil && last != seen {
			seen = last
			s.grow()
		}
	}
}

func (s *Service) haltAll() {
	s.mu.Lock()
	names := slices.Collect(maps.Keys(s.subs))
	s.mu.Unlock()
	for _, n := range names {
		s.halt(n)
	}
}

// overdue ends a record whose time is over: a handshake that nobody answered, a
// subscription that expired. It reports whether it did.
func (s *Service) overdue(r *Record) bool {
	now := s.now()
	switch {
	case r.State != Succeeded && r.State != AwaitingManualAction:
		return false
	case r.ExpirationTimeUTC != nil && now.After(*r.ExpirationTimeUTC):
		r.State, r.Reason = Disabled, "it expired at "+r.ExpirationTimeUTC.UTC().Format(time.RFC3339)
	case r.State == AwaitingManualAction && now.Sub(r.Changed) > manualTime:
		r.State, r.Reason = Failed, "the destination was not validated within five minutes"
	default:
		return false
	}
	r.Code, r.Changed = "", now
	return true
}

// look follows what other nodes changed, and ends what is overdue.
func (s *Service) look(ctx context.Context) {
	if !s.change.TryLock() {
		return // somebody is at it
	}
	defer s.change.Unlock()
	list, err := s.store.Subscriptions(ctx)
	if err != nil {
		return
	}
	if active, err := s.store.Active(ctx); err == nil && active {
		s.mu.Lock()
		s.active = true
		s.mu.Unlock()
	}
	seen := map[string]bool{}
	for i := range list {
		r := &list[i]
		seen[r.Name] = true
		if old := *r; s.overdue(r) {
			if err := s.store.PutSubscription(ctx, r, &old); err != nil {
				continue
			}
		}
		s.mu.Lock()
		d := s.subs[r.Name]
		s.mu.Unlock()
		if (d == nil) != (r.State != Succeeded) || d != nil && !d.changed.Equal(r.Changed) {
			s.restart(r)
		}
	}
	s.mu.Lock()
	names := slices.Collect(maps.Keys(s.subs))
	s.mu.Unlock()
	for _, n := range names {
		if !seen[n] {
			s.halt(n)
		}
	}
}

// collect copies what is new in the sources into the log.
func (s *Service) collect(ctx context.Context, c *clock) {
	s.mu.Lock()
	sources := maps.Clone(s.sources)
	s.mu.Unlock()
	for name, src := range sources {
		err := fault.Guard("events: collect", func() error { return s.collectFrom(ctx, name, src) })
		switch now := s.now(); {
		case err == nil:
			delete(c.told, name)
		case ctx.Err() == nil && now.Sub(c.told[name]) > tellTime:
			c.told[name] = now
			s.log.Warn("events cannot be collected now", slog.String("service", name), slog.Any("err", err))
		}
	}
}

func (s *Service) collectFrom(ctx context.Context, name string, src Source) error {
	pos, ok, err := s.store.Position(ctx, name)
	if err != nil {
		return err
	}
	if !ok {
		if pos, err = src.Since(ctx, s.now().Add(-s.retention)); err != nil {
			return err
		}
		if _, err := s.store.Append(ctx, name, 0, pos, nil); err != nil {
			return err
		}
	}
	for {
		list, to, err := src.Changes(ctx, pos, pageSize)
		if err != nil || to == pos {
			return err
		}
		first, err := s.store.Append(ctx, name, pos, to, list)
		s.recent.add(first, name, list, err)
		if err != nil {
			if fault.Is(err, fault.Conflict) {
				return nil // another node had the lease meanwhile
			}
			return err
		}
		s.meter.Published(len(list))
		pos = to
		s.grow()
	}
}

// grow tells those that wait that the log has more.
func (s *Service) grow() {
	s.mu.Lock()
	close(s.grown)
	s.grown = make(chan struct{})
	for _, d := range s.subs {
		d.nudge()
	}
	s.mu.Unlock()
}

func (s *Service) prune(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := s.store.Prune(ctx, s.now().Add(-s.retention), 5000)
		if err != nil || n < 5000 {
			if err != nil && ctx.Err() == nil {
				s.log.Warn("events cannot be pruned now", slog.Any("err", err))
			}
			return
		}
	}
}

// equal compares secrets in constant time.
func equal(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
