package oracle

import (
	"net/url"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/spec/search"
)

func (o *one) subject() search.Subject {
	return search.Subject{Type: o.key.Type, ID: o.key.ID, Millis: o.millis, Values: o.values, Doc: o.doc.Root}
}

var _ search.Others = (*world)(nil)

// Find implements search.Others.
func (w *world) Find(typ, id string) (search.Subject, bool) {
	if o := w.byKey[fhir.Key{Type: typ, ID: id}]; o != nil {
		return o.subject(), true
	}
	return search.Subject{}, false
}

// Each implements search.Others.
func (w *world) Each(typ string, yield func(search.Subject) bool) {
	if typ == "" {
		for _, t := range w.types {
			w.Each(t, yield)
		}
		return
	}
	for _, o := range w.byType[typ] {
		if !yield(o.subject()) {
			return
		}
	}
}

// fact is one parameter of a search: its name, with the references that it
// follows, and its value.
type fact struct{ name, value string }

// criterion makes a parameter that some resource of the type fulfils, mostly.
func (w *world) criterion(typ string, depth int) (fact, bool) {
	if depth < 3 {
		switch w.r.IntN(5) {
		case 0:
			if w.r.IntN(4) == 0 {
				if f, ok := w.inside(typ); ok {
					return f, true
				}
			}
			return w.chain(typ, depth)
		case 1:
			return w.has(typ, depth)
		}
	}
	if w.r.IntN(20) == 0 {
		return w.words(typ)
	}
	return w.param(typ)
}

// words asks for one or two words of a resource.
func (w *world) words(typ string) (fact, bool) {
	o := w.byType[typ][w.r.IntN(len(w.byType[typ]))]
	all := w.r.IntN(2) == 0
	list := strings.Fields(search.Words(o.doc.Root(), all))
	if len(list) == 0 {
		return fact{}, false
	}
	i := w.r.IntN(len(list))
	value := list[i]
	switch w.r.IntN(4) {
	case 0:
		value += "+" + list[w.r.IntN(len(list))]
	case 1:
		value = `"` + strings.Join(list[i:min(i+2, len(list))], " ") + `"`
	case 2:
		value += "," + list[w.r.IntN(len(list))]
	}
	return fact{map[bool]string{true: "_content", false: "_text"}[all], strings.ReplaceAll(url.QueryEscape(value), "%2B", "+")}, true
}

// chain follows a reference that some resource has to one that is there.
func (w *world) chain(typ string, depth int) (fact, bool) {
	for range 10 {
		o := w.byType[typ][w.r.IntN(len(w.byType[typ]))]
		ref, ok := pick(w, o.values.References, func(r search.ReferenceValue) bool { return r.Param.Link == nil && len(w.byType[r.Type]) > 0 })
		if !ok {
			continue
		}
		rest, ok := w.criterion(ref.Type, depth+1)
		if !ok {
			return fact{}, false
		}
		name := w.alias(ref.Param, ref.Type)
		if w.r.IntN(3) > 0 {
			name += ":" + ref.Type
		}
		return fact{name + "." + rest.name, rest.value}, true
	}
	return fact{}, false
}

// inside follows a reference to a contained resource.
func (w *world) inside(typ string) (fact, bool) {
	for range 30 {
		v := w.byType[typ][w.r.IntN(len(w.byType[typ]))].values
		p := w.held(v)
		if p == nil {
			continue
		}
		name := ""
		for q := p; q.Link != nil; q = q.Link {
			typ := q.Held.Type
			name = ":" + typ + "." + q.Held.Code + name
			if q.Link.Link == nil {
				name = w.alias(q.Link, typ) + name
			}
		}
		if value := w.value(p, v); value != "" {
			return fact{name, value}, true
		}
	}
	return fact{}, false
}

// held picks a parameter of what a resource contains.
func (w *world) held(v *search.Values) *search.Param {
	inside := func(p *search.Param) bool { return p.Link != nil && p.Of == nil }
	switch w.r.IntN(3) {
	case 0:
		t, _ := pick(w, v.Tokens, func(t search.TokenValue) bool { return inside(t.Param) })
		return t.Param
	case 1:
		t, _ := pick(w, v.Strings, func(t search.StringValue) bool { return inside(t.Param) })
		return t.Param
	}
	t, _ := pick(w, v.References, func(r search.ReferenceValue) bool { return inside(r.Param) })
	return t.Param
}

// alias picks one of the parameters that a reference counts for.
func (w *world) alias(p *search.Param, target string) string {
	var codes []string
	for _, q := range w.reg.Params(p.Type) {
		if q == p || slices.Contains(q.Parts, p) && (q.PartTarget == "" || q.PartTarget == target) {
			codes = append(codes, q.Code)
		}
	}
	return codes[w.r.IntN(len(codes))]
}

// has finds a resource that refers to one of the type.
func (w *world) has(typ string, depth int) (fact, bool) {
	for range 20 {
		from := w.types[w.r.IntN(len(w.types))]
		if len(w.byType[from])*len(w.byType[typ]) > 300_000 {
			continue // the model compares every pair
		}
		o := w.byType[from][w.r.IntN(len(w.byType[from]))]
		ref, ok := pick(w, o.values.References, func(r search.ReferenceValue) bool { return r.Param.Link == nil && r.Type == typ })
		if !ok {
			continue
		}
		rest, ok := w.criterion(from, depth+1)
		if !ok {
			return fact{}, false
		}
		return fact{"_has:" + from + ":" + w.alias(ref.Param, typ) + ":" + rest.name, rest.value}, true
	}
	return fact{}, false
}

// include makes an _include or _revinclude and the resources that it adds to
// the matches, by looking at all of them.
func (w *world) include(typ string) (raw string) {
	if w.r.IntN(2) == 0 {
		o := w.byType[typ][w.r.IntN(len(w.byType[typ]))]
		if ref, ok := pick(w, o.values.References, func(r search.ReferenceValue) bool { return r.Param.Link == nil && r.Type != "" }); ok {
			return "_include=" + typ + ":" + w.alias(ref.Param, ref.Type) + []string{"", ":" + ref.Type}[w.r.IntN(2)]
		}
		return "_include=" + []string{"*", typ + ":*"}[w.r.IntN(2)]
	}
	for range 20 {
		from := w.types[w.r.IntN(len(w.types))]
		o := w.byType[from][w.r.IntN(len(w.byType[from]))]
		if ref, ok := pick(w, o.values.References, func(r search.ReferenceValue) bool { return r.Param.Link == nil && r.Type == typ }); ok {
			return "_revinclude=" + from + ":" + []string{"*", w.alias(ref.Param, typ)}[w.r.IntN(2)]
		}
	}
	return "_revinclude=*"
}

// included is the model of includes without :iterate.
func (w *world) included(q *search.Query, page []fhir.Record) []string {
	matches, found := map[fhir.Key]bool{}, map[fhir.Key]bool{}
	for i := range page {
		matches[page[i].Key] = true
	}
	for i := range q.Includes {
		inc := &q.Includes[i]
		for _, list := range w.byType {
			for _, o := range list {
				for _, r := range o.values.References {
					to := fhir.Key{Type: r.Type, ID: r.ID}
					if w.byKey[to] == nil || !inc.Refers(o.key.Type, r) {
						continue
					}
					if inc.Reverse && matches[to] && !matches[o.key] {
						found[o.key] = true
					}
					if !inc.Reverse && matches[o.key] && !matches[to] {
						found[to] = true
					}
				}
			}
		}
	}
	var out []string
	for k := range found {
		out = append(out, k.String())
	}
	slices.Sort(out)
	return out
}

// checkIncluded compares the included resources of a page with the model.
func (w *world) checkIncluded(what string, q *search.Query, page *fhir.Page) {
	w.Helper()
	if len(q.Includes) == 0 || page.NextIncluded != "" {
		return
	}
	var got []string
	for i := range page.Included {
		got = append(got, page.Included[i].Key.String())
	}
	slices.Sort(got)
	if want := w.included(q, page.Records); !slices.Equal(got, want) {
		w.Fatalf("%s: included\n got %d %v\nwant %d %v", what, len(got), clip(got), len(want), clip(want))
	}
}
