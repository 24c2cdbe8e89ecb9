package fhir

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/spec/search"
)

// Allow returns nil when the principal of ctx may use a verb on the whole
// service: for work that is no interaction, such as an export.
func (s *Service) Allow(ctx context.Context, verb Verb) error {
	return clean(s.authorize(ctx, &Interaction{Verb: verb}))
}

// Guarded reports whether the service asks who somebody is.
func (s *Service) Guarded() bool { return s.guard.On() }

// Criteria returns what the parameters of in ask for, as of a time: it is the
// query that a search of the type would run.
func (s *Service) Criteria(ctx context.Context, in *Interaction, now time.Time) (*search.Query, error) {
	opt := s.parseOptions(ctx, in)
	opt.Now = now
	q, _, err := s.reg.Parse([]string{in.Type}, nil, in.Params, in.RawQuery, opt)
	if err != nil {
		return nil, searchError(err)
	}
	return q, nil
}
