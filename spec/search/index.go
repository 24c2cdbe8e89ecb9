package search

import (
	"slices"
	"sort"
	"strings"
)

// Index finds, among many resources in memory, those that a search may find, so
// that Match need not look at all of them: a transaction may have thousands of
// references that are searches to as many of its resources. It is not changed once
// it is made, and may be used by several goroutines.
type Index struct {
	size    int
	byName  map[string][]int // by id, code, uri, and the target of a reference
	strings []stringAt
	dates   []dateAt
	numbers []numberAt
}

type stringAt struct {
	norm string
	at   int
}

type dateAt struct {
	lo int64
	at int
}

type numberAt struct {
	lo float64
	at int
}

// The kinds of names in Index.byName, as first bytes of its keys.
const (
	nameID   = "i"
	nameCode = "c"
	nameURI  = "u"
	nameRef  = "r"
)

// NewIndex makes the index of a list of resources; their numbers are those in the list.
func NewIndex(list []Subject) *Index {
	x := &Index{size: len(list), byName: map[string][]int{}}
	for at := range list {
		x.add(at, &list[at])
	}
	slices.SortFunc(x.strings, func(a, b stringAt) int { return strings.Compare(a.norm, b.norm) })
	sort.Slice(x.dates, func(i, j int) bool { return x.dates[i].lo < x.dates[j].lo })
	sort.Slice(x.numbers, func(i, j int) bool { return x.numbers[i].lo < x.numbers[j].lo })
	return x
}

func (x *Index) add(at int, s *Subject) {
	name := func(kind, text string) {
		key := kind + text
		if list := x.byName[key]; len(list) == 0 || list[len(list)-1] != at {
			x.byName[key] = append(list, at)
		}
	}
	uri := func(kind, text string) {
		name(kind, text)
		for _, t := range Shorter(text) {
			name(kind, t)
		}
	}
	name(nameID, s.ID)
	v := s.Values
	for i := range v.Tokens {
		name(nameCode, v.Tokens[i].Code)
	}
	for i := range v.URIs {
		uri(nameURI, v.URIs[i].URI)
	}
	for i := range v.References {
		if r := &v.References[i]; r.ID != "" {
			name(nameRef, r.ID)
		} else {
			uri(nameRef, r.URL)
		}
	}
	for i := range v.Strings {
		x.strings = append(x.strings, stringAt{v.Strings[i].Norm, at})
	}
	for i := range v.Dates {
		x.dates = append(x.dates, dateAt{v.Dates[i].Lo, at})
	}
	for i := range v.Numbers {
		x.numbers = append(x.numbers, numberAt{v.Numbers[i].Lo, at})
	}
}

// Candidates returns the numbers of the resources that q may find, some of them
// perhaps several times. They come from the clause that leaves the fewest; where
// none has an index, these are all.
func (x *Index) Candidates(q *Query) []int {
	var best []int
	found := false
	for _, c := range q.Where {
		if list, ok := x.clause(c); ok && (!found || len(list) < len(best)) {
			best, found = list, true
		}
	}
	if found {
		return best
	}
	best = make([]int, x.size)
	for i := range best {
		best[i] = i
	}
	return best
}

// clause returns who may fulfil a clause. It is not ok when that cannot be looked up.
func (x *Index) clause(c *Clause) (out []int, ok bool) {
	if c.Negate || c.Has != nil || c.Contained != nil || len(c.Chain)+len(c.Any)+len(c.All) > 0 {
		return nil, false
	}
	if c.Field != FieldParam && c.Field != FieldID || c.Field == FieldParam && len(c.Params) == 0 {
		return nil, false
	}
	if c.Modifier != "" && (c.kind() != String || c.Modifier != "exact") {
		return nil, false
	}
	for i := range c.Values {
		list, ok := x.value(c, &c.Values[i])
		if !ok {
			return nil, false
		}
		if len(c.Values) == 1 {
			return list, true
		}
		out = append(out, list...)
	}
	return out, true
}

func (x *Index) value(c *Clause, w *Value) ([]int, bool) {
	if c.Field == FieldID {
		return x.byName[nameID+w.Code], true
	}
	switch c.kind() {
	case Token:
		return x.byName[nameCode+w.Code], w.HasCode
	case URI:
		return x.byName[nameURI+w.Text], true
	case Reference:
		if w.Text != "" {
			return x.byName[nameRef+w.Text], true
		}
		return x.byName[nameRef+w.Code], true
	case String:
		begin := sort.Search(len(x.strings), func(i int) bool { return x.strings[i].norm >= w.Norm })
		return collect(x.strings[begin:], func(e stringAt) (int, bool) { return e.at, strings.HasPrefix(e.norm, w.Norm) }), true
	case Date:
		begin := sort.Search(len(x.dates), func(i int) bool { return x.dates[i].lo >= w.Lo })
		return collect(x.dates[begin:], func(e dateAt) (int, bool) { return e.at, e.lo <= w.Hi }), w.Op == OpEq
	case Number, Quantity:
		begin := sort.Search(len(x.numbers), func(i int) bool { return x.numbers[i].lo >= w.NumLo })
		return collect(x.numbers[begin:], func(e numberAt) (int, bool) { return e.at, e.lo < w.NumHi }), w.Op == OpEq && !w.Convert
	}
	return nil, false
}

// collect returns the resources of the entries up to the first one that is too far.
func collect[E any](list []E, near func(E) (at int, ok bool)) (out []int) {
	for i := range list {
		at, ok := near(list[i])
		if !ok {
			break
		}
		out = append(out, at)
	}
	return out
}
