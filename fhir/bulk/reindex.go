package bulk

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
)

const kindReindex = "reindex"

// reindexDef is what a reindex is about: the parameters that are not complete,
// and the types that they are for. Without any, everything is indexed again.
type reindexDef struct {
	Keys  []string `json:"keys,omitempty"`
	Types []string `json:"types,omitempty"`
}

// reindexSave is how often a reindex keeps a checkpoint; what was done after it
// is done again after a crash, which changes nothing.
const reindexSave = time.Second

// StartReindex queues a reindex, or returns the one that is about the same and
// not finished.
func (s *Service) StartReindex(ctx context.Context, requester string) (jobs.Job, error) {
	if err := s.d.FHIR.Allow(ctx, fhir.VerbReindex); err != nil {
		return jobs.Job{}, err
	}
	if _, ok := s.d.Store.(fhir.Reindexer); !ok {
		return jobs.Job{}, fault.New(fault.NotImplemented, "this store cannot be indexed again")
	}
	keys, types := s.d.FHIR.Partials()
	slices.Sort(keys)
	j, _, err := s.d.Jobs.Submit(ctx, jobs.Spec{Kind: kindReindex, Scope: s.d.Scope, Requester: requester, Definition: reindexDef{keys, types}, Unique: true, Keep: s.d.Keep})
	return j, err
}

// Reindex returns a reindex.
func (s *Service) Reindex(ctx context.Context, id string) (jobs.Job, error) {
	if err := s.d.FHIR.Allow(ctx, fhir.VerbReindex); err != nil {
		return jobs.Job{}, err
	}
	j, err := s.d.Jobs.Get(ctx, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return j, err
	}
	if err != nil || j.Kind != kindReindex || j.Scope != s.d.Scope {
		return j, fault.New(fault.NotFound, "there is no such reindex")
	}
	return j, nil
}

// EndReindex cancels a reindex. What it has indexed stays; a later one begins anew.
func (s *Service) EndReindex(ctx context.Context, id string) error {
	j, err := s.Reindex(ctx, id)
	if err != nil || j.State.Finished() {
		return err
	}
	_, err = s.d.Jobs.Cancel(ctx, id)
	return err
}

// ReindexTypes returns the types that a reindex is about, none for all.
func ReindexTypes(j jobs.Job) []string {
	var d reindexDef
	if json.Unmarshal(j.Definition, &d) != nil {
		return nil
	}
	return d.Types
}

// runReindex goes through the resources, a few in each turn of the writer.
func (s *Service) runReindex(ctx context.Context, t *jobs.Task) (any, error) {
	store, ok := s.d.Store.(fhir.Reindexer)
	if !ok {
		return nil, fault.New(fault.NotImplemented, "this store cannot be indexed again")
	}
	var d reindexDef
	if err := t.Define(&d); err != nil {
		return nil, err
	}
	from := fhir.ReindexFrom{Types: d.Types, More: true}
	if _, err := t.Load(&from); err != nil {
		return nil, err
	}
	total, err := store.Size(ctx, d.Types)
	if err != nil {
		return nil, err
	}
	var saved time.Time
	for from.More {
		if from, err = store.Reindex(ctx, from); err != nil {
			return nil, err
		}
		if now := s.d.Now(); now.Sub(saved) >= reindexSave || !from.More {
			saved = now
			if err := t.Save(ctx, from, jobs.Progress{Done: from.Done, Total: max(total, from.Done)}); err != nil {
				return nil, err
			}
		}
	}
	if err := s.d.FHIR.Reindexed(ctx, d.Keys); err != nil {
		return nil, err
	}
	return map[string]int64{"resources": from.Done}, nil
}
