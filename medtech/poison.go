package medtech

import (
	"context"
	"log/slog"

	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// How often a batch is tried that meets an internal error: as a whole, then its
// messages one by one, and at last, some fifty seconds later, although none of
// them can be stored.
const (
	patience = 4
	enough   = 12
)

// broken reports whether an error is a defect, which a message may have met that
// meets it again every time, and not a destination that is away.
func broken(err error) bool { return err != nil && fault.From(err).Kind == fault.Internal }

// attempt persists a batch that has met an internal error so many times before: a
// destination that is away for an hour says nothing about the messages. A message that can never be
// persisted, whatever the reason, must not hold up all that come after it: after
// some tries it becomes a dead letter. An error leaves b as it was.
func (s *Service) attempt(ctx context.Context, b *batch, defects int) error {
	known := len(b.dead)
	err := s.guarded(ctx, b)
	if broken(err) && defects >= patience && ctx.Err() == nil {
		b.dead = b.dead[:known]
		err = s.oneByOne(ctx, b, defects >= enough)
	}
	if err != nil {
		b.dead = b.dead[:known]
	}
	return err
}

func (s *Service) guarded(ctx context.Context, b *batch) error {
	return fault.Guard("medtech: persist", func() error { return s.persistBatch(ctx, b, nil) })
}

// oneByOne persists each message on its own. Those that meet a defect are to blame
// when others can be stored; else it may be the destination, unless last.
func (s *Service) oneByOne(ctx context.Context, b *batch, last bool) error {
	var first error
	var bad []int
	stored := false
	for i := range b.raws {
		one := b.message(i)
		if len(one.list) == 0 {
			continue
		}
		err := s.guarded(ctx, one)
		switch {
		case err == nil:
			stored = true
			b.dead = append(b.dead, one.dead...)
		case !broken(err) || ctx.Err() != nil:
			return err
		default:
			if first == nil {
				first = err
			}
			bad = append(bad, i)
			s.log.LogAttrs(ctx, slog.LevelError, "a message cannot be persisted", slog.Int64("offset", b.raws[i].Offset), slog.Any("err", err))
		}
	}
	if !stored && !last {
		return first
	}
	for _, i := range bad {
		s.meter.Failed(StageFHIR, string(MeasurementProcessing), 1)
		b.fail(s, i, StageFHIR, &mapping.Error{Class: MeasurementProcessing, Msg: "internal error while the message was stored; the log has the reason"})
	}
	return nil
}

// message returns the part of a batch that comes from one message.
func (b *batch) message(i int) *batch {
	one := &batch{raws: b.raws[i : i+1], maps: b.maps}
	for j, of := range b.of {
		if of == i {
			one.list, one.of = append(one.list, b.list[j]), append(one.of, 0)
		}
	}
	return one
}
