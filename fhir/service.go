package fhir

import (
	"context"
	"errors"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// Deps are what a Service needs.
type Deps struct {
	Store  Store
	Search *search.Registry // nil means search.Default()
	Now    func() time.Time // nil means time.Now
	NewID  func() string    // nil means UUIDs of version 7
	Config Config
	Guard  *auth.Guard // who may do what; nil means everybody everything
}

// Service answers interactions. It keeps nothing between them that an answer
// depends on, so that several may stand on one store. Its methods may be called from many
// goroutines.
type Service struct {
	store  Store
	reg    *search.Registry
	params params // custom search parameters
	now    func() time.Time
	newID  func() string
	cfg    Config
	guard  *auth.Guard
	seen   accesses
	turns  *turns
}

// New returns a Service.
func New(d Deps) (*Service, error) {
	if d.Store == nil {
		return nil, fault.New(fault.Internal, "fhir: a store is required")
	}
	cfg, err := d.Config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Service{store: d.Store, reg: d.Search, now: d.Now, newID: d.NewID, cfg: cfg, guard: d.Guard, turns: newTurns()}
	if s.reg == nil {
		s.reg = search.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.newID == nil {
		s.newID = newUUID(s.now)
	}
	return s, nil
}

// Config returns the configuration with its defaults filled in.
func (s *Service) Config() Config { return s.cfg }

// Registry returns the search parameters that the service knows.
func (s *Service) Registry() *search.Registry { return s.reg }

// Check returns nil when the service can answer.
func (s *Service) Check(ctx context.Context) error { return clean(s.store.Check(ctx)) }

// Do answers one interaction. Bundles go to Transaction or Batch.
func (s *Service) Do(ctx context.Context, in *Interaction) (*Response, error) {
	r, err := s.do(ctx, in)
	if err != nil {
		return nil, clean(err)
	}
	return r, nil
}

func (s *Service) do(ctx context.Context, in *Interaction) (*Response, error) {
	if err := s.authorize(ctx, in); err != nil {
		return nil, err
	}
	switch in.Verb {
	case VerbRead:
		return s.read(ctx, in)
	case VerbVRead:
		return s.vread(ctx, in)
	case VerbCreate:
		return s.create(ctx, in)
	case VerbUpdate:
		return s.update(ctx, in)
	case VerbPatch:
		return s.patch(ctx, in)
	case VerbDelete:
		return s.delete(ctx, in)
	case VerbPurgeHistory:
		return s.purgeHistory(ctx, in)
	case VerbHistory:
		return s.history(ctx, in)
	case VerbSearch:
		return s.search(ctx, in)
	}
	return nil, fault.At(fault.NotImplemented, "not-supported", "", "interaction %q is not offered here", in.Verb)
}

// retries is how often a conditional interaction starts again when the matches
// of its condition changed while it was prepared.
const retries = 10

// again runs f until it no longer fails with ErrStale.
func again(ctx context.Context, f func() (*Response, error)) (*Response, error) {
	for range retries {
		r, err := f()
		if !errors.Is(err, ErrStale) {
			return r, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return nil, errStillStale()
}

// errStillStale is the end of the retries.
func errStillStale() error {
	return &fault.Error{
		Kind: fault.Transient, Msg: "the resources that match the condition keep changing; try again",
		Issues:     []fault.Issue{{Severity: "error", Code: "conflict", Diagnostics: "the resources that match the condition keep changing; try again"}},
		RetryAfter: time.Second, Err: ErrStale,
	}
}

// clean makes sure that only *fault.Error leaves the service.
func clean(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return &fault.Error{Kind: fault.Timeout, Msg: "the request took too long", Err: err}
	case errors.Is(err, context.Canceled):
		return &fault.Error{Kind: fault.Timeout, Msg: "the request was cancelled", Err: err}
	}
	return fault.From(err)
}
