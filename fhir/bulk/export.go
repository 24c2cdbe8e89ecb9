package bulk

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
	"github.com/hygeia-health/hygeia/spec/r4"
)

// StartExport checks a request and queues its job. Two equal requests make two exports.
func (s *Service) StartExport(ctx context.Context, req *ExportRequest) (id string, err error) {
	allowed, err := s.d.FHIR.AllowTypes(ctx, fhir.VerbExport)
	if err != nil {
		return "", err
	}
	d, err := s.parse(ctx, req, allowed)
	if err != nil {
		return "", err
	}
	if d.Group != "" {
		if _, err := s.groups(ctx, d); err != nil { // an unknown Group is refused now, not later
			return "", err
		}
	}
	j, _, err := s.d.Jobs.Submit(ctx, jobs.Spec{Kind: kindExport, Scope: s.d.Scope, Requester: req.Requester, Definition: d, Keep: s.d.Keep})
	return j.ID, err
}

// plan is the checkpoint of an export: what its children need to agree on.
type plan struct {
	At     fhir.Seq  `json:"at"`
	Groups []version `json:"groups,omitempty"`
}

// version names one version of a resource.
type version struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}

// piece is a range of one scan.
type piece struct {
	Type string        `json:"type"`
	What fhir.ScanWhat `json:"what"`
	// Bundles asks for deletions as Bundles, as _since wants them (Bulk Data
	// Access 2.0, "deleted"), instead of as resources that are marked, as
	// _deleted of Azure Health Data Services wants them.
	Bundles bool           `json:"bundles,omitempty"`
	Range   fhir.ScanRange `json:"range"`
}

// part is the definition of a child.
type part struct {
	Export definition `json:"export"`
	Plan   plan       `json:"plan"`
	Job    string     `json:"job"`
	Number int        `json:"number"`
	Pieces []piece    `json:"pieces"`
}

// file is one file of an export.
type file struct {
	Type    string `json:"type"`
	Name    string `json:"name"` // in the URL
	Key     string `json:"key"`  // in the blob store
	Count   int64  `json:"count"`
	Bytes   int64  `json:"bytes"`
	Deleted bool   `json:"deleted,omitempty"`
}

// exported is the result of an export.
type exported struct {
	Time  time.Time `json:"time"` // transactionTime
	Files []file    `json:"files"`
}

// runExport plans at first, then waits for the children, then gathers.
func (s *Service) runExport(ctx context.Context, t *jobs.Task) (any, error) {
	var d definition
	if err := t.Define(&d); err != nil {
		return nil, err
	}
	var p plan
	planned, err := t.Load(&p)
	if err != nil {
		return nil, err
	}
	if planned {
		return s.gather(ctx, t, p)
	}
	if p, err = s.plan(ctx, &d); err != nil {
		return nil, err
	}
	pieces, total, err := s.pieces(ctx, &d)
	if err != nil {
		return nil, err
	}
	var specs []jobs.Spec
	for n, group := range divide(pieces, d.Serial) {
		specs = append(specs, jobs.Spec{Kind: kindPart, Keep: s.d.Keep, Definition: part{Export: d, Plan: p, Job: t.ID, Number: n, Pieces: group}})
	}
	if err := t.Spawn(ctx, p, jobs.Progress{Total: total}, specs); err != nil {
		return nil, err
	}
	return nil, jobs.ErrWait
}

// plan fixes what the export shows.
func (s *Service) plan(ctx context.Context, d *definition) (p plan, err error) {
	if p.At, err = s.d.Store.Mark(ctx); err != nil {
		return p, err
	}
	if d.Till != nil {
		p.At = min(p.At, fhir.SeqAt(*d.Till)-1)
	}
	p.Groups, err = s.groups(ctx, d)
	return p, err
}

// pieces lists what has to be scanned.
func (s *Service) pieces(ctx context.Context, d *definition) (list []piece, total int64, err error) {
	types := d.Types
	if types == nil {
		types = r4.ResourceTypes()
	}
	for _, typ := range types {
		ranges, err := s.d.Store.Ranges(ctx, typ, s.d.PartSize)
		if err != nil {
			return nil, 0, err
		}
		if ranges == nil {
			continue
		}
		for _, r := range ranges {
			list = append(list, piece{Type: typ, What: fhir.ScanCurrent, Range: r})
			total += r.Count
		}
		every := fhir.EveryPosition()
		if d.History {
			list = append(list, piece{Type: typ, What: fhir.ScanOld, Range: every})
		}
		if d.Deleted {
			list = append(list, piece{Type: typ, What: fhir.ScanDeleted, Range: every})
		}
		if d.Since != nil {
			list = append(list, piece{Type: typ, What: fhir.ScanDeleted, Bundles: true, Range: every})
		}
	}
	return list, total, nil
}

// smallPart is the number of resources up to which small types share a child.
const smallPart = 20_000

// divide makes the children: one per large range, one for several small ones,
// one for all when the client wants no parallel work.
func divide(pieces []piece, serial bool) (out [][]piece) {
	var n int64
	for _, p := range pieces {
		if len(out) > 0 && (serial || n+p.Range.Count <= smallPart) {
			out[len(out)-1] = append(out[len(out)-1], p)
			n += p.Range.Count
			continue
		}
		out, n = append(out, []piece{p}), p.Range.Count
	}
	return out
}

// gather makes the result of what the children wrote.
func (s *Service) gather(ctx context.Context, t *jobs.Task, p plan) (any, error) {
	children, err := t.Children(ctx)
	if err != nil {
		return nil, err
	}
	out := exported{Time: p.At.Time(), Files: []file{}}
	for _, c := range children {
		if c.State != jobs.Completed {
			why := c.Error
			if why == "" {
				why = "it was cancelled"
			}
			return nil, fault.New(fault.Internal, "a part of the export failed: %s", why)
		}
		var files []file
		if err := json.Unmarshal(c.Result, &files); err != nil {
			return nil, fault.Wrap("bulk: result of a part", err)
		}
		out.Files = append(out.Files, files...)
	}
	slices.SortStableFunc(out.Files, func(a, b file) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Key, b.Key))
	})
	var n int64
	for _, f := range out.Files {
		n += f.Count
	}
	return out, t.Save(ctx, p, jobs.Progress{Done: n, Total: n})
}

// cleanExport removes the files of an export. Every key has the id of the job in it.
func (s *Service) cleanExport(ctx context.Context, j jobs.Job) error {
	var d definition
	if err := json.Unmarshal(j.Definition, &d); err != nil {
		return fault.Wrap("bulk: definition", err)
	}
	folder := exportFolder + d.Container + "/"
	for i, err := range s.d.Blobs.List(ctx, folder) {
		if err != nil {
			return err
		}
		if strings.Contains(i.Key, j.ID) {
			if err := s.d.Blobs.Delete(ctx, i.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// exportFolder holds the exports of a service in its part of the blob store.
const exportFolder = "export/"
