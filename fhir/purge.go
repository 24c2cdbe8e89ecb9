package fhir

import (
	"context"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// purgeHistory answers DELETE [base]/Type/id/$purge-history: all versions but
// the current one are removed. It is an extension of Azure Health Data Services.
func (s *Service) purgeHistory(ctx context.Context, in *Interaction) (*Response, error) {
	k, err := keyOf(in)
	if err != nil {
		return nil, err
	}
	done, err := s.apply(ctx, Op{Kind: OpPurgeHistory, Key: k, Method: "DELETE"}, nil)
	if err != nil {
		return nil, notFound(err, k)
	}
	if done.Outcome == Absent {
		return nil, fault.At(fault.NotFound, "not-found", "", "%s does not exist", k)
	}
	return &Response{Status: 204, Outcome: done.Outcome, Version: done.Version, Seq: done.Seq}, nil
}
