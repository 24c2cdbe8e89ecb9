package medtech

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/medtech/mapping"
)

// batch is a run of messages on their way through the stages.
type batch struct {
	raws []Raw
	maps *compiled
	list []mapping.Measurement
	of   []int // of[i] is the message that list[i] comes from
	dead []DeadLetter
}

// done returns the offset of the last message.
func (b *batch) done() int64 { return b.raws[len(b.raws)-1].Offset }

// lookAhead is how many normalized batches may wait to be persisted.
const lookAhead = 16

// Waiting times of the pipeline.
const (
	idlePoll   = 2 * time.Second        // looks for messages without having been woken
	firstRetry = 50 * time.Millisecond  // after the destination could not answer
	lastRetry  = 10 * time.Second       // the longest wait between two tries
	checkpoint = 100 * time.Millisecond // how often the offset is written when nothing failed
)

// runPipeline moves messages through the stages until ctx ends. Normalizing
// runs ahead of persisting.
func (s *Service) runPipeline(ctx context.Context) {
	ahead := make(chan *batch, lookAhead)
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() {
		defer close(ahead)
		s.runNormalize(ctx, ahead)
	})
	written := make(chan struct{})
	others.Go(func() { s.runCheckpoint(ctx, written) })
	defer close(written)
	for b := range ahead {
		if !s.finish(ctx, b) {
			for range ahead { // let the other stage end
			}
			return
		}
	}
}

// runNormalize reads the raw log and normalizes what it finds.
func (s *Service) runNormalize(ctx context.Context, ahead chan<- *batch) {
	cursor := s.done.Load()
	for ctx.Err() == nil {
		list, maps, err := s.next(ctx, cursor)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			s.health.set(StageNormalize, err)
			s.log.LogAttrs(ctx, slog.LevelError, "reading messages failed", slog.Any("err", err))
			if !pause(ctx, time.Second) {
				return
			}
			continue
		}
		if len(list) == 0 {
			if !s.idle(ctx) {
				return
			}
			continue
		}
		s.health.set(StageNormalize, nil)
		b := s.normalize(list, maps)
		cursor = b.done()
		select {
		case ahead <- b:
		case <-ctx.Done():
			return
		}
	}
}

// next reads the messages after an offset, none while there are no mappings. The
// mappings are those that were put before the messages came, or newer.
func (s *Service) next(ctx context.Context, after int64) (list []Raw, maps *compiled, err error) {
	if maps = s.mappings.Load(); !maps.ready() {
		if maps, err = s.current(ctx); err != nil || !maps.ready() {
			return nil, nil, err
		}
	}
	if list, err = s.store.Read(ctx, after, maxBatch); err != nil || len(list) == 0 {
		return nil, nil, err
	}
	maps, err = s.current(ctx)
	return list, maps, err
}

// idle waits for messages; false when the service stops.
func (s *Service) idle(ctx context.Context) bool {
	t := time.NewTimer(idlePoll)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-s.wake:
	case <-t.C:
	}
	return true
}

// finish persists a batch and moves the offset. It tries until the destination
// and the store answer, see attempt; false when the service stops before.
func (s *Service) finish(ctx context.Context, b *batch) bool {
	wait := firstRetry
	known := len(b.dead)
	for defects := 0; ; {
		b.dead = b.dead[:known]
		err := s.attempt(ctx, b, defects)
		if broken(err) {
			defects++
		}
		if err == nil && len(b.dead) > 0 {
			err = s.store.Finish(ctx, Finished{Done: b.done(), Dead: b.dead})
		}
		if err == nil {
			s.health.set(StageFHIR, nil)
			raise(&s.done, b.done())
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.health.set(StageFHIR, err)
		s.meter.Failed(StageFHIR, string(InvalidFHIRService), 1)
		s.log.LogAttrs(ctx, slog.LevelWarn, "persisting failed and is tried again", slog.Int("messages", len(b.raws)), slog.Any("err", err))
		if !pause(ctx, wait) {
			return false
		}
		wait = min(2*wait, lastRetry)
	}
}

// runCheckpoint writes the offset now and then. Losing the last one costs that
// some messages are processed again, which changes nothing.
func (s *Service) runCheckpoint(ctx context.Context, end <-chan struct{}) {
	var kept int64
	keep := func(ctx context.Context) {
		done := s.done.Load()
		if done == kept {
			return
		}
		if err := s.store.Finish(ctx, Finished{Done: done}); err != nil {
			if ctx.Err() == nil {
				s.log.LogAttrs(ctx, slog.LevelError, "writing the offset failed", slog.Any("err", err))
			}
			return
		}
		kept = done
	}
	kept = s.done.Load()
	t := time.NewTicker(checkpoint)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			keep(ctx)
		case <-end:
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			keep(last)
			return
		}
	}
}
