package fhir

import (
	"context"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// vread answers GET [base]/Type/id/_history/vid (R4 section 3.1.0.2).
func (s *Service) vread(ctx context.Context, in *Interaction) (*Response, error) {
	k, err := keyOf(in)
	if err != nil {
		return nil, err
	}
	unknown := fault.At(fault.NotFound, "not-found", "", "%s has no version %q", k, clip(in.VersionID))
	v, ok := parseVersion(in.VersionID)
	if !ok {
		return nil, unknown
	}
	rec, err := s.store.ReadVersion(ctx, k, v)
	if fault.Is(err, fault.NotFound) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	if ok, err := s.Visible(ctx, &rec); err != nil || !ok {
		if err == nil {
			err = unknown
		}
		return nil, err
	}
	if rec.Deleted {
		return nil, gone(k, rec.Version)
	}
	return answer(in, rec)
}
