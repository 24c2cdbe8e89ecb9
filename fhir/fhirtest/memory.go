package fhirtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// Memory is a fhir.Store in maps.
type Memory struct {
	// Now is the clock of the change sequence. Set it before the first use.
	Now func() time.Time

	mu   sync.RWMutex
	last fhir.Seq
	rid  int64
	rows map[fhir.Key]*row
}

// row is one resource with all its versions, oldest first.
type row struct {
	rid      int64 // the order of first creation
	versions []fhir.Record
	values   *search.Values // of the current version; nil when deleted
}

func (r *row) current() fhir.Record { return r.versions[len(r.versions)-1] }

var _ fhir.Store = (*Memory)(nil)

// NewMemory returns an empty store. The registry is not needed by the model
// itself: queries and values come with their parameters.
func NewMemory(*search.Registry) *Memory {
	return &Memory{Now: time.Now, rows: map[fhir.Key]*row{}}
}

// Check implements fhir.Store.
func (m *Memory) Check(ctx context.Context) error { return ctx.Err() }

// Close implements fhir.Store.
func (m *Memory) Close() error { return nil }

// Read implements fhir.Store.
func (m *Memory) Read(_ context.Context, k fhir.Key) (fhir.Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	r, ok := m.rows[k]
	if !ok {
		return fhir.Record{}, fault.New(fault.NotFound, "%s does not exist", k)
	}
	return r.current(), nil
}

// ReadVersion implements fhir.Store.
func (m *Memory) ReadVersion(_ context.Context, k fhir.Key, version int64) (fhir.Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if r, ok := m.rows[k]; ok {
		for _, v := range r.versions {
			if v.Version == version {
				return v, nil
			}
		}
	}
	return fhir.Record{}, fault.New(fault.NotFound, "%s has no version %d", k, version)
}

// History implements fhir.Store.
func (m *Memory) History(_ context.Context, q fhir.HistoryQuery) (*fhir.Page, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var all []fhir.Record
	for k, r := range m.rows {
		if q.Type != "" && k.Type != q.Type || q.ID != "" && k.ID != q.ID {
			continue
		}
		for _, v := range r.versions {
			at := v.Seq.Time()
			if !q.Since.IsZero() && at.Before(q.Since) || !q.Before.IsZero() && !at.Before(q.Before) {
				continue
			}
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b fhir.Record) int {
		if q.Ascending {
			return int(a.Seq - b.Seq)
		}
		return int(b.Seq - a.Seq)
	})
	page := &fhir.Page{Total: -1}
	if q.Total {
		page.Total = int64(len(all))
	}
	if q.Count == 0 {
		return page, nil
	}
	if q.After != "" {
		after, err := decodeHistory(q.After)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(v fhir.Record) bool {
			return q.Ascending && v.Seq <= after || !q.Ascending && v.Seq >= after
		})
	}
	page.Records = all
	if len(all) > q.Count {
		page.Records = all[:q.Count]
		page.Next = encodeHistory(page.Records[q.Count-1].Seq)
	}
	return page, nil
}

// Apply implements fhir.Store.
func (m *Memory) Apply(_ context.Context, c *fhir.Change) ([]fhir.Applied, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range c.Guards {
		if !m.holds(g) {
			return nil, fhir.ErrStale
		}
	}
	// Rows are replaced, never changed in place, so that the old map is the way back.
	before := make(map[fhir.Key]*row, len(c.Ops))
	done := make([]fhir.Applied, len(c.Ops))
	for i := range c.Ops {
		op := &c.Ops[i]
		if _, ok := before[op.Key]; !ok {
			before[op.Key] = m.rows[op.Key]
		}
		var err error
		if done[i], err = m.do(op); err != nil {
			for k, r := range before {
				m.set(k, r)
			}
			return nil, &fhir.OpError{Index: i, Err: err}
		}
	}
	return done, nil
}

func (m *Memory) set(k fhir.Key, r *row) {
	if r == nil {
		delete(m.rows, k)
		return
	}
	m.rows[k] = r
}

// holds reports whether the matches of a guard are still the same, as far as two.
func (m *Memory) holds(g fhir.Guard) bool {
	var found []fhir.Key
	for _, h := range m.matches(g.Query) {
		found = append(found, h.rec.Key)
	}
	if len(found) > 2 && len(g.IDs) >= 2 {
		return true // many stay many
	}
	if len(found) != len(g.IDs) {
		return false
	}
	for _, k := range g.IDs {
		if !slices.Contains(found, k) {
			return false
		}
	}
	return true
}

// do does one operation.
func (m *Memory) do(op *fhir.Op) (fhir.Applied, error) {
	r := m.rows[op.Key]
	live := r != nil && !r.current().Deleted
	if err := precondition(op, r, live); err != nil {
		return fhir.Applied{}, err
	}
	switch op.Kind {
	case fhir.OpPut:
		return m.put(op, r, live), nil
	case fhir.OpDelete:
		if !live {
			return absent(r), nil
		}
		v := m.append(op, r, fhir.Record{Deleted: true}, nil)
		return fhir.Applied{Outcome: fhir.Deleted, Version: v.Version, Seq: v.Seq}, nil
	case fhir.OpHardDelete:
		if r == nil {
			return fhir.Applied{Outcome: fhir.Absent}, nil
		}
		delete(m.rows, op.Key)
		return fhir.Applied{Outcome: fhir.Deleted, Version: r.current().Version, Seq: r.current().Seq}, nil
	case fhir.OpPurgeHistory:
		if r == nil {
			return fhir.Applied{Outcome: fhir.Absent}, nil
		}
		v := r.current()
		m.rows[op.Key] = &row{rid: r.rid, versions: []fhir.Record{v}, values: r.values}
		return fhir.Applied{Outcome: fhir.Unchanged, Version: v.Version, Seq: v.Seq}, nil
	}
	return fhir.Applied{}, fault.Wrap("fhirtest: apply", errors.New("unknown operation"))
}

// precondition checks what the operation demands of the current version.
func precondition(op *fhir.Op, r *row, live bool) error {
	switch {
	case op.MustExist && r == nil:
		return fault.New(fault.NotFound, "%s does not exist", op.Key)
	case op.MustExist && !live:
		e := fault.New(fault.Gone, "%s was deleted", op.Key)
		e.Version = r.current().Version
		return e
	case op.MustNotExist && live:
		return fault.New(fault.Conflict, "%s exists already", op.Key)
	case op.IfMatch > 0 && (r == nil || r.current().Version != op.IfMatch):
		return fault.New(fault.Precondition, "version %d of %s is not the current one", op.IfMatch, op.Key)
	}
	return nil
}

func absent(r *row) fhir.Applied {
	if r == nil {
		return fhir.Applied{Outcome: fhir.Absent}
	}
	return fhir.Applied{Outcome: fhir.Absent, Version: r.current().Version, Seq: r.current().Seq}
}

func (m *Memory) put(op *fhir.Op, r *row, live bool) fhir.Applied {
	if live && bytes.Equal(r.current().Stored, op.Stored) {
		return fhir.Applied{Outcome: fhir.Unchanged, Version: r.current().Version, Seq: r.current().Seq}
	}
	v := m.append(op, r, fhir.Record{Stored: bytes.Clone(op.Stored)}, clone(op.Values))
	out := fhir.Applied{Outcome: fhir.Created, Version: v.Version, Seq: v.Seq}
	if live {
		out.Outcome = fhir.Updated
	}
	return out
}

// append makes the next version of a resource.
func (m *Memory) append(op *fhir.Op, r *row, v fhir.Record, vals *search.Values) fhir.Record {
	next := &row{values: vals}
	v.Key, v.Method, v.Version, v.Seq = op.Key, op.Method, 1, m.next()
	if r == nil {
		m.rid++
		next.rid = m.rid
	} else {
		next.rid = r.rid
		v.Version = r.current().Version + 1
		next.versions = slices.Clone(r.versions)
		if op.NoHistory {
			next.versions = next.versions[:len(next.versions)-1]
		}
	}
	next.versions = append(next.versions, v)
	m.rows[op.Key] = next
	return v
}

// next takes a place in the change sequence: never before the last one.
func (m *Memory) next() fhir.Seq {
	m.last = max(m.last+1, fhir.SeqAt(m.Now()))
	return m.last
}

var _ fhir.Scanner = (*Memory)(nil)

// Mark implements fhir.Scanner.
func (m *Memory) Mark(context.Context) (fhir.Seq, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.next(), nil
}

// Ranges implements fhir.Scanner: one range, because size is only a wish.
func (m *Memory) Ranges(_ context.Context, typ string, _ int) ([]fhir.ScanRange, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	r, known := fhir.EveryPosition(), false
	for k := range m.rows {
		if k.Type == typ {
			known = true
			r.Count++
		}
	}
	if !known {
		return nil, nil
	}
	return []fhir.ScanRange{r}, nil
}

// Scan implements fhir.Scanner. Positions are the order of creation.
func (m *Memory) Scan(_ context.Context, q fhir.ScanQuery, f func(*fhir.Record) bool) (next int64, more bool, err error) {
	m.mu.RLock()
	var rows []*row
	for k, r := range m.rows {
		if k.Type == q.Type && r.rid > q.After && r.rid <= q.Last {
			rows = append(rows, r)
		}
	}
	m.mu.RUnlock()
	slices.SortFunc(rows, func(a, b *row) int { return int(a.rid - b.rid) })
	for i, r := range rows {
		enough := false
		current := true
		for _, v := range slices.Backward(r.versions) {
			if v.Seq > q.At {
				continue
			}
			what := fhir.ScanOld
			if current {
				if what = fhir.ScanCurrent; v.Deleted {
					what = fhir.ScanDeleted
				}
			}
			current = false
			if what == q.What && v.Seq >= q.Since && !f(&v) {
				enough = true
			}
		}
		if enough {
			return r.rid, i < len(rows)-1, nil
		}
	}
	return q.Last, false, nil
}
