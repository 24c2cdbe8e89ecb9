package fhir

import (
	"context"
	"slices"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/spec/search"
)

// Allow returns nil when the principal of ctx may use a verb on the whole
// service: for work that is no interaction, such as an export.
func (s *Service) Allow(ctx context.Context, verb Verb) error {
	types, err := s.AllowTypes(ctx, verb)
	if err == nil && types != nil {
		err = clean(scopeMissing())
	}
	return err
}

// AllowTypes is Allow for work that may be about some resource types only. It
// returns those that the scopes of the token permit as a whole, sorted; nil when
// that is all of them.
func (s *Service) AllowTypes(ctx context.Context, verb Verb) ([]string, error) {
	if !s.guard.On() {
		return nil, nil
	}
	if err := s.guard.Authorize(ctx, actionsOf(&Interaction{Verb: verb})); err != nil {
		return nil, clean(err)
	}
	who := auth.From(ctx)
	if who == nil || !who.Limited {
		return nil, nil
	}
	var types []string
	perms := needs[verb].whole
	for _, sc := range who.Scopes {
		switch {
		case perms == 0 || sc.For != auth.ForSystem || sc.Query != "" || sc.Perms&perms != perms:
		case sc.Type == "*":
			return nil, nil
		default:
			types = append(types, sc.Type)
		}
	}
	if types == nil {
		return nil, clean(scopeMissing())
	}
	slices.Sort(types)
	return slices.Compact(types), nil
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
