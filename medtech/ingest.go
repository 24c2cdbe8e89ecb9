package medtech

import (
	"context"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// MaxMessage is the largest message that Send takes, in bytes.
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
	for i := range list {
		if len(list[i].Body) > MaxMessage {
			return fault.New(fault.TooLarge, "message %d has %d bytes; the limit is %d", i, len(list[i].Body), MaxMessage)
		}
	}
	return s.keep(ctx, list)
}
