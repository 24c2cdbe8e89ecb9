package bulk

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

const kindReindex = "reindex"

// ReindexRequest says what a reindex is about, and how gently it goes.
type ReindexRequest struct {
	Body      resource.Node // Parameters; invalid when there is none
	Requester string
}

// reindexDef is what a reindex is about: the parameters that it makes complete,
// and the types whose resources it reads; without any, all.
type reindexDef struct {
	Keys  []string      `json:"keys,omitempty"`
	Types []string      `json:"types,omitempty"`
	Limit int           `json:"limit,omitempty"` // resources in one turn of the writer
	Pause time.Duration `json:"pause,omitempty"` // between two turns
}

// reindexSave is how often a reindex keeps a checkpoint; what was done after it
// is done again after a crash, which changes nothing.
const reindexSave = time.Second

// StartReindex queues a reindex, or returns the one that is about the same and
// not finished.
func (s *Service) StartReindex(ctx context.Context, req *ReindexRequest) (jobs.Job, error) {
	if err := s.d.FHIR.Allow(ctx, fhir.VerbReindex); err != nil {
		return jobs.Job{}, err
	}
	if _, ok := s.d.Store.(fhir.Reindexer); !ok {
		return jobs.Job{}, fault.New(fault.NotImplemented, "this store cannot be indexed again")
	}
	d, err := s.parseReindex(req)
	if err != nil {
		return jobs.Job{}, err
	}
	j, _, err := s.d.Jobs.Submit(ctx, jobs.Spec{Kind: kindReindex, Scope: s.d.Scope, Requester: req.Requester, Definition: d, Unique: true, Keep: s.d.Keep})
	return j, err
}

// parseReindex reads the Parameters of Azure Health Data Services.
func (s *Service) parseReindex(req *ReindexRequest) (d reindexDef, err error) {
	if req.Body.Valid() && !req.Body.Get("resourceType").Is("Parameters") {
		return d, fault.At(fault.Invalid, "structure", "", "the body of $reindex is a Parameters resource")
	}
	var urls, types []string
	for p := range req.Body.Get("parameter").Children() {
		switch name := p.Get("name").Text(); name {
		case "targetResourceTypes":
			types, err = commaList(p)
			for _, t := range types {
				if !r4.IsResource(t) && err == nil {
					err = fault.At(fault.Invalid, "value", p.Path(), "%.64q is no resource type of FHIR R4", t)
				}
			}
		case "targetSearchParameterTypes":
			urls, err = commaList(p)
		case "maximumConcurrency": // a reindex has one writer, which is never too many
			_, err = between(p, 1, 10)
		case "maximumNumberOfResourcesPerQuery", "maximumNumberOfResourcesPerWrite":
			var n int
			if n, err = between(p, 1, 10_000); d.Limit == 0 || n < d.Limit {
				d.Limit = n
			}
		case "queryDelayIntervalInMilliseconds":
			var n int
			n, err = between(p, 50, 500_000)
			d.Pause = time.Duration(n) * time.Millisecond
		default:
			err = fault.At(fault.Invalid, "not-supported", p.Path(), "$reindex has no parameter %.64q", name)
		}
		if err != nil {
			return d, err
		}
	}
	d.Keys, d.Types, err = s.d.FHIR.Partials(urls, types)
	return d, err
}

// between reads a number with its bounds.
func between(p resource.Node, low, high int) (int, error) {
	n, err := strconv.Atoi(string(p.Get("valueInteger").Raw()))
	if err != nil || n < low || n > high {
		return 0, fault.At(fault.Invalid, "value", p.Path(), "%s must be a valueInteger from %d to %d", p.Get("name").Text(), low, high)
	}
	return n, nil
}

// commaList reads a text with values between commas.
func commaList(p resource.Node) ([]string, error) {
	out := strings.Split(p.Get("valueString").Text(), ",")
	for i := range out {
		if out[i] = strings.TrimSpace(out[i]); out[i] == "" {
			return nil, fault.At(fault.Invalid, "value", p.Path(), "%s must be a valueString with values between commas", p.Get("name").Text())
		}
	}
	return out, nil
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
	from := fhir.ReindexFrom{Types: d.Types, Limit: d.Limit, More: true}
	if _, err := t.Load(&from); err != nil {
		return nil, err
	}
	total, err := store.Size(ctx, d.Types)
	if err != nil {
		return nil, err
	}
	var saved time.Time
	for from.More {
		if from, err = s.d.FHIR.Reindex(ctx, from); err != nil {
			return nil, err
		}
		if now := s.d.Now(); now.Sub(saved) >= reindexSave || !from.More {
			saved = now
			if err := t.Save(ctx, from, progressOf(from, total)); err != nil {
				return nil, err
			}
		}
		if from.More && d.Pause > 0 {
			select {
			case <-time.After(d.Pause):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	if err := s.d.FHIR.Reindexed(ctx, d.Keys); err != nil {
		return nil, err
	}
	return reindexed{Resources: from.Done - from.Failed, Failed: from.Failed, Unread: from.Unread}, nil
}

// reindexed is the result of a reindex.
type reindexed struct {
	Resources int64    `json:"resources"`
	Failed    int64    `json:"failed,omitempty"`
	Unread    []string `json:"unread,omitempty"` // the first of those that failed, as Type/id
}

// progressOf says how far a reindex is.
func progressOf(from fhir.ReindexFrom, total int64) jobs.Progress {
	p := jobs.Progress{Done: from.Done - from.Failed, Total: max(total, from.Done)}
	if from.Failed > 0 {
		p.Note = fmt.Sprintf("resources, %d cannot be read", from.Failed)
	}
	return p
}

// ReindexFailed returns how many resources a reindex could not read, up to where
// it is known, and the names of the first of them.
func ReindexFailed(j jobs.Job) (n int64, names []string) {
	var end reindexed
	if json.Unmarshal(j.Result, &end) == nil && end.Failed > 0 {
		return end.Failed, end.Unread
	}
	var at fhir.ReindexFrom
	if json.Unmarshal(j.Checkpoint, &at) == nil {
		return at.Failed, at.Unread
	}
	return 0, nil
}
