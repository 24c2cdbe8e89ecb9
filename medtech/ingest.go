package medtech

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// MaxMessage is the largest message in bytes.
const MaxMessage = 1 << 20

// Send keeps messages. When it returns without error they are on disk, have
// their Offset, and will be processed. It is Throttled when the pipeline is too
// far behind.
func (s *Service) Send(ctx context.Context, list []Raw) error {
	if err := s.guard.Authorize(ctx, auth.MedTechSend); err != nil {
		return err
	}
	if len(list) == 0 {
		return nil
	}
	if backlog := s.last.Load() - s.done.Load(); backlog > s.cfg.MaxBacklog {
		return &fault.Error{Kind: fault.Throttled, Msg: "too many messages wait to be processed; try again", RetryAfter: 5 * time.Second}
	}
	size := 0
	at := s.now().Truncate(time.Millisecond)
	for i := range list {
		if len(list[i].Body) > MaxMessage {
			return fault.New(fault.TooLarge, "message %d has %d bytes; the limit is %d", i, len(list[i].Body), MaxMessage)
		}
		if list[i].Arrived.IsZero() {
			list[i].Arrived = at
		}
		size += len(list[i].Body)
	}
	begin := time.Now()
	if err := s.store.Append(ctx, list); err != nil {
		return err
	}
	raise(&s.last, list[len(list)-1].Offset)
	s.meter.Ingested(len(list), size, time.Since(begin))
	s.wakeUp()
	return nil
}
