package fhir

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/spec/search"
)

// wholePerms is what a SMART scope of the system must permit for a verb on the
// whole service, besides the role (Bulk Data Access 2.0, "Scopes"). A token of a
// patient or a user, or one about some types only, has no such verb.
var wholePerms = map[Verb]auth.Perms{
	VerbExport: auth.PermRead,
	VerbImport: auth.PermCreate | auth.PermUpdate | auth.PermDelete,
}

// Allow returns nil when the principal of ctx may use a verb on the whole
// service: for work that is no interaction, such as an export.
func (s *Service) Allow(ctx context.Context, verb Verb) error {
	if !s.guard.On() {
		return nil
	}
	need := actionsOf(&Interaction{Verb: verb})
	if err := s.guard.Authorize(ctx, need); err != nil {
		return clean(err)
	}
	who := auth.From(ctx)
	if who == nil || !who.Limited {
		return nil
	}
	perms, ok := wholePerms[verb]
	for _, sc := range who.Scopes {
		if ok && sc.For == auth.ForSystem && sc.Type == "*" && sc.Query == "" && sc.Perms&perms == perms {
			return nil
		}
	}
	return clean(scopeMissing())
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
