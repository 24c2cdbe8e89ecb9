package dicom

import (
	"context"

	"github.com/hygeia-health/hygeia/platform/auth"
)

// Delete removes a study, a series or an instance, and says how many instances
// it was; NotFound when nothing is there. Their files are removed soon after.
func (s *Service) Delete(ctx context.Context, t Target) (int, error) {
	part, err := s.find(ctx, t, auth.DICOMDelete)
	if err != nil {
		return 0, err
	}
	return s.store.Delete(ctx, part, t.UIDs)
}
