package fhirtest

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// hit is one match of a search with its place in the order.
type hit struct {
	rec  fhir.Record
	rid  int64
	keys []sortKey
}

// sortKey is the value of one sort parameter. Numbers and dates use Num, the others Text.
type sortKey struct {
	Missing bool    `json:"m,omitempty"`
	Num     float64 `json:"n,omitempty"`
	Text    string  `json:"t,omitempty"`
}

// Search implements fhir.Store: it tests every live resource.
func (m *Memory) Search(_ context.Context, q *search.Query) (*fhir.Page, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	hits := m.matches(q)
	page := &fhir.Page{Total: -1}
	if q.Total != search.TotalNone {
		page.Total = int64(len(hits))
	}
	if q.Count == 0 {
		return page, nil
	}
	slices.SortFunc(hits, func(a, b hit) int { return compare(q.Sort, a, b) })
	if q.After != "" {
		last, err := decodeCursor(q.After, len(q.Sort))
		if err != nil {
			return nil, err
		}
		hits = slices.DeleteFunc(hits, func(h hit) bool { return compare(q.Sort, h, last) <= 0 })
	}
	for i, h := range hits {
		if i == q.Count {
			page.Next = encodeCursor(hits[i-1])
			break
		}
		page.Records = append(page.Records, h.rec)
	}
	if err := m.include(q, page); err != nil {
		return nil, err
	}
	return page, nil
}

// matches returns the live resources that q wants, in no order.
func (m *Memory) matches(q *search.Query) []hit {
	var hits []hit
	for k, r := range m.rows {
		cur := r.current()
		if cur.Deleted || len(q.Types) > 0 && !slices.Contains(q.Types, k.Type) {
			continue
		}
		if !search.Match(q, subject(k, r), others{m}) {
			continue
		}
		h := hit{rec: cur, rid: r.rid}
		for _, s := range q.Sort {
			h.keys = append(h.keys, m.keyOf(s, k, r))
		}
		hits = append(hits, h)
	}
	return hits
}

// compare orders two hits by the sort parameters and then by age. What has no
// value comes last, whatever the direction.
func compare(sorts []search.Sort, a, b hit) int {
	for i, s := range sorts {
		x, y := a.keys[i], b.keys[i]
		if x.Missing || y.Missing {
			if x.Missing != y.Missing {
				if x.Missing {
					return 1
				}
				return -1
			}
			continue
		}
		c := cmp.Or(cmp.Compare(x.Num, y.Num), cmp.Compare(x.Text, y.Text))
		if s.Desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(a.rid, b.rid)
}

// keyOf returns the value a resource is sorted by: the least of several for
// ascending order, the greatest for descending (R4 section 3.1.1.5.1).
func keyOf(s search.Sort, rec fhir.Record, v *search.Values) sortKey {
	switch s.Special {
	case "_lastUpdated":
		return sortKey{Num: float64(rec.Seq.Time().UnixMilli())}
	case "_id":
		return sortKey{Text: rec.ID}
	}
	best := sortKey{Missing: true}
	for _, k := range keysOf(s, rec.Type, v) {
		k.Num = max(-math.MaxFloat64, min(math.MaxFloat64, k.Num))
		c := cmp.Or(cmp.Compare(k.Num, best.Num), cmp.Compare(k.Text, best.Text))
		if best.Missing || s.Desc && c > 0 || !s.Desc && c < 0 {
			best = k
		}
	}
	return best
}

// keysOf returns all values of the sort parameter. Of a range, the end that
// comes first in the direction counts.
func keysOf(s search.Sort, typ string, v *search.Values) (keys []sortKey) {
	if s.Param == nil {
		return nil
	}
	of := func(p *search.Param) bool {
		return p.Key() == typ+"."+s.Param.Code || slices.Contains(s.Param.Parts, p)
	}
	for _, x := range v.Tokens {
		if of(x.Param) {
			keys = append(keys, sortKey{Text: x.Code})
		}
	}
	for _, x := range v.References {
		if of(x.Param) {
			keys = append(keys, sortKey{Text: x.Type + "/" + x.ID + x.URL})
		}
	}
	for _, x := range v.Dates {
		if of(x.Param) {
			keys = append(keys, sortKey{Num: end(s, float64(x.Lo), float64(x.Hi))})
		}
	}
	for _, x := range v.Numbers {
		if of(x.Param) {
			keys = append(keys, sortKey{Num: end(s, x.Lo, x.Hi)})
		}
	}
	for _, x := range v.Strings {
		if of(x.Param) {
			keys = append(keys, sortKey{Text: x.Norm})
		}
	}
	for _, x := range v.URIs {
		if of(x.Param) {
			keys = append(keys, sortKey{Text: x.URI})
		}
	}
	return keys
}

func end(s search.Sort, lo, hi float64) float64 {
	if s.Desc {
		return hi
	}
	return lo
}

// cursor is the last hit of a page.
type cursor struct {
	RID  int64     `json:"r"`
	Keys []sortKey `json:"k,omitempty"`
}

func encodeCursor(h hit) string {
	b, err := json.Marshal(cursor{h.rid, h.keys})
	if err != nil {
		return "" // a struct of numbers and strings always encodes
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeCursor(s string, keys int) (hit, error) {
	var c cursor
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || len(c.Keys) != keys || c.RID <= 0 {
		return hit{}, fault.New(fault.Invalid, "the cursor is not one of this search")
	}
	return hit{rid: c.RID, keys: c.Keys}, nil
}

func encodeHistory(s fhir.Seq) string { return strconv.FormatInt(int64(s), 36) }

func decodeHistory(s string) (fhir.Seq, error) {
	n, err := strconv.ParseInt(s, 36, 64)
	if err != nil || n == 0 {
		return 0, fault.New(fault.Invalid, "the cursor is not one of a history")
	}
	return fhir.Seq(n), nil
}

// keyOf returns the sort key of a resource, or with Via the first of those that
// it refers to.
func (m *Memory) keyOf(s search.Sort, k fhir.Key, r *row) sortKey {
	if s.Via == nil {
		return keyOf(s, r.current(), r.values)
	}
	best := sortKey{Missing: true}
	link := &search.Include{Source: k.Type, Target: s.Target, Params: []*search.Param{s.Via}}
	for _, to := range m.linked(link, k) {
		x := keyOf(s, m.rows[to].current(), m.rows[to].values)
		if x.Missing {
			continue
		}
		c := cmp.Or(cmp.Compare(x.Num, best.Num), cmp.Compare(x.Text, best.Text))
		if best.Missing || s.Desc && c > 0 || !s.Desc && c < 0 {
			best = x
		}
	}
	return best
}
