package dicom

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
)

// ChangeQuery is a request to the change feed.
type ChangeQuery struct {
	// Window selects version 1: the entries with a sequence in (Offset, Offset+Limit].
	Window bool
	Offset int64
	Limit  int
	// From (inclusive) and To (exclusive) bound the time; zero means no bound.
	From, To time.Time
	Metadata bool
}

// Changes returns entries of the change feed in their order. Every change that
// was ever acknowledged is there, and none appears later before one that was seen.
func (s *Service) Changes(ctx context.Context, q ChangeQuery) ([]Change, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMRead); err != nil {
		return nil, err
	}
	return s.store.Changes(ctx, q)
}

// LatestChange returns the newest entry, or nil when there is none.
func (s *Service) LatestChange(ctx context.Context, metadata bool) (*Change, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMRead); err != nil {
		return nil, err
	}
	return s.store.Latest(ctx, metadata)
}
