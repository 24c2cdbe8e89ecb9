package fhirtest

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// others lets chains look at all resources.
type others struct{ *Memory }

var _ search.Others = others{}

func subject(k fhir.Key, r *row) search.Subject {
	rec := r.current()
	return search.Subject{Type: k.Type, ID: k.ID, Millis: rec.Seq.Time().UnixMilli(), Values: r.values, Doc: func() resource.Node {
		d := &resource.Doc{}
		if d.Parse(resource.AppendResource(nil, resource.Header{Type: k.Type, ID: k.ID}, rec.Stored), resource.Options{}) != nil {
			return resource.Node{}
		}
		return d.Root()
	}}
}

// Find implements search.Others.
func (o others) Find(typ, id string) (search.Subject, bool) {
	k := fhir.Key{Type: typ, ID: id}
	r, ok := o.rows[k]
	if !ok || r.current().Deleted {
		return search.Subject{}, false
	}
	return subject(k, r), true
}

// Each implements search.Others.
func (o others) Each(typ string, yield func(search.Subject) bool) {
	for k, r := range o.rows {
		if (typ == "" || k.Type == typ) && !r.current().Deleted && !yield(subject(k, r)) {
			return
		}
	}
}

// include puts into the page what the matches on it refer to and what refers
// to them, in the order of age (R4 section 3.1.1.5.5).
func (m *Memory) include(q *search.Query, page *fhir.Page) error {
	if len(q.Includes) == 0 {
		return nil
	}
	matches := map[fhir.Key]bool{}
	for i := range page.Records {
		matches[page.Records[i].Key] = true
	}
	found := map[fhir.Key]bool{}
	from := slices.Collect(maps.Keys(matches))
	for first := true; len(from) > 0; first = false {
		var next []fhir.Key
		for i := range q.Includes {
			inc := &q.Includes[i]
			if !first && !inc.Iterate {
				continue
			}
			for _, k := range from {
				for _, to := range m.linked(inc, k) {
					if !matches[to] && !found[to] {
						found[to] = true
						next = append(next, to)
					}
				}
			}
		}
		from = next
	}
	keys := slices.SortedFunc(maps.Keys(found), func(a, b fhir.Key) int { return cmp.Compare(m.rows[a].rid, m.rows[b].rid) })
	if q.IncludeAfter != "" {
		after, err := strconv.ParseInt(q.IncludeAfter, 36, 64)
		if err != nil {
			return fault.New(fault.Invalid, "the cursor is not one of the included resources")
		}
		keys = slices.DeleteFunc(keys, func(k fhir.Key) bool { return m.rows[k].rid <= after })
	}
	if q.IncludeCount > 0 && len(keys) > q.IncludeCount {
		keys = keys[:q.IncludeCount]
		page.NextIncluded = strconv.FormatInt(m.rows[keys[len(keys)-1]].rid, 36)
	}
	for _, k := range keys {
		page.Included = append(page.Included, m.rows[k].current())
	}
	return nil
}

// linked returns the current resources that an include finds from one resource.
func (m *Memory) linked(inc *search.Include, k fhir.Key) (out []fhir.Key) {
	if !inc.Reverse {
		for _, r := range m.rows[k].values.References {
			to := fhir.Key{Type: r.Type, ID: r.ID}
			if row, ok := m.rows[to]; ok && !row.current().Deleted && inc.Refers(k.Type, r) {
				out = append(out, to)
			}
		}
		return out
	}
	for from, row := range m.rows {
		if row.current().Deleted {
			continue
		}
		if slices.ContainsFunc(row.values.References, func(r search.ReferenceValue) bool {
			return r.Type == k.Type && r.ID == k.ID && inc.Refers(from.Type, r)
		}) {
			out = append(out, from)
		}
	}
	return out
}
