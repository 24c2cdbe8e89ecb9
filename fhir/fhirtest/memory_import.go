package fhirtest

import (
	"bytes"
	"context"
	"slices"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
)

var _ fhir.Importer = (*Memory)(nil)

// Import implements fhir.Importer.
func (m *Memory) Import(_ context.Context, ops []fhir.ImportOp) func() ([]fhir.Imported, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]fhir.Imported, len(ops))
	for i := range ops {
		out[i].Applied, out[i].Err = m.importOne(&ops[i])
	}
	return func() ([]fhir.Imported, error) { return out, nil }
}

func (m *Memory) importOne(op *fhir.ImportOp) (fhir.Applied, error) {
	r := m.rows[op.Key]
	var have []fhir.Record
	if r != nil {
		have = r.versions
	}
	var placed []fhir.Placed
	for _, v := range have {
		placed = append(placed, fhir.Placed{Version: v.Version, Seq: v.Seq, Deleted: v.Deleted})
	}
	p, err := fhir.Place(placed, op, m.Now(), func(i int) (bool, error) { return bytes.Equal(have[i].Stored, op.Stored), nil })
	if err != nil {
		return fhir.Applied{}, err
	}
	if p.Unchanged || op.NoHistory && !p.Newest {
		return fhir.Applied{Outcome: fhir.Unchanged, Version: p.Version}, nil
	}
	v := fhir.Record{Key: op.Key, Version: p.Version, Method: op.Method, Deleted: op.Kind == fhir.OpDelete, Stored: bytes.Clone(op.Stored)}
	if v.Deleted {
		v.Method, v.Stored = "DELETE", nil
	}
	if op.Initial || op.Time.IsZero() {
		v.Seq = m.next()
	} else if v.Seq, err = m.free(op, p); err != nil {
		return fhir.Applied{}, err
	}
	next := &row{}
	if r == nil {
		m.rid++
		next.rid = m.rid
	} else {
		*next = *r
	}
	a := fhir.Applied{Outcome: fhir.Created, Version: v.Version, Seq: v.Seq}
	if len(have) > 0 && (!p.Newest || !have[len(have)-1].Deleted) {
		a.Outcome = fhir.Updated
	}
	if p.Newest {
		if v.Deleted {
			a.Outcome, next.values = fhir.Deleted, nil
		} else {
			next.values = clone(op.Values)
		}
		m.last = max(m.last, v.Seq)
	}
	at := slices.IndexFunc(have, func(h fhir.Record) bool { return h.Version > v.Version })
	if at < 0 {
		at = len(have)
	}
	next.versions = slices.Insert(slices.Clone(have), at, v)
	m.rows[op.Key] = next
	return a, nil
}

// free returns a place of the op's millisecond between its neighbours.
func (m *Memory) free(op *fhir.ImportOp, p fhir.Placement) (fhir.Seq, error) {
	first, middle, end := fhir.Within(op.Time)
	used := map[fhir.Seq]bool{}
	top := middle - 1
	for _, r := range m.rows {
		for _, v := range r.versions {
			used[v.Seq] = true
			if v.Seq >= first && v.Seq < end {
				top = max(top, v.Seq)
			}
		}
	}
	if next := max(top, p.After) + 1; next < p.Before && next < end {
		return next, nil
	}
	for seq := min(p.Before, end) - 1; seq > p.After && seq >= first; seq-- {
		if !used[seq] {
			return seq, nil
		}
	}
	return 0, fault.New(fault.Conflict, "the millisecond is full")
}
