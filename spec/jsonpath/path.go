package jsonpath

import (
	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Path is a parsed expression. It may be used by many goroutines.
type Path struct {
	text  string
	steps []step
}

// String returns the expression as it was written.
func (p *Path) String() string { return p.text }

// yield takes one match; false ends the search.
type yield func(jsonvalue.Value) bool

// step is one part of a path: it passes on what it finds from v and reports
// whether the search goes on.
type step interface {
	from(root, v jsonvalue.Value, next yield) bool
}

// Each calls found for the matches in the order of the document until it
// returns false.
func (p *Path) Each(root jsonvalue.Value, found func(jsonvalue.Value) bool) {
	walk(p.steps, root, root, found)
}

// All returns the matches.
func (p *Path) All(root jsonvalue.Value) []jsonvalue.Value {
	var out []jsonvalue.Value
	p.Each(root, func(v jsonvalue.Value) bool { out = append(out, v); return true })
	return out
}

// First returns the first match; it is absent when there is none.
func (p *Path) First(root jsonvalue.Value) jsonvalue.Value {
	var first jsonvalue.Value
	p.Each(root, func(v jsonvalue.Value) bool { first = v; return false })
	return first
}

func walk(steps []step, root, v jsonvalue.Value, found yield) bool {
	if len(steps) == 0 {
		return found(v)
	}
	return steps[0].from(root, v, func(c jsonvalue.Value) bool { return walk(steps[1:], root, c, found) })
}

// field is .name; an empty list of names is .* , more than one ['a','b'].
type field struct{ names []string }

func (f field) from(_, v jsonvalue.Value, next yield) bool {
	if v.Kind() != resource.Object {
		return true
	}
	if len(f.names) == 0 {
		for c := range v.Children() {
			if !next(c) {
				return false
			}
		}
		return true
	}
	for _, n := range f.names {
		if c := v.Get(n); c.Valid() && !next(c) {
			return false
		}
	}
	return true
}

// scan is ..name: the members of these names at any depth; without names the
// value itself and everything below it.
type scan struct{ names []string }

func (s scan) from(_, v jsonvalue.Value, next yield) bool {
	if len(s.names) == 0 {
		return selfAndBelow(v, next)
	}
	return s.below(v, next)
}

func (s scan) below(v jsonvalue.Value, next yield) bool {
	if v.Kind() == resource.Object {
		for name, c := range v.Members() {
			for _, n := range s.names {
				if n == name && !next(c) {
					return false
				}
			}
			if !s.below(c, next) {
				return false
			}
		}
		return true
	}
	for c := range v.Children() {
		if !s.below(c, next) {
			return false
		}
	}
	return true
}

// selfAndBelow visits v and all values below it, parents first.
func selfAndBelow(v jsonvalue.Value, next yield) bool {
	if !next(v) {
		return false
	}
	for c := range v.Children() {
		if !selfAndBelow(c, next) {
			return false
		}
	}
	return true
}

// items is [0], [1,3] or, without numbers, [*].
type items struct{ at []int }

func (s items) from(_, v jsonvalue.Value, next yield) bool {
	if v.Kind() != resource.Array {
		return true
	}
	if len(s.at) == 0 {
		for c := range v.Children() {
			if !next(c) {
				return false
			}
		}
		return true
	}
	for _, i := range s.at {
		if c := v.At(i); c.Valid() && !next(c) {
			return false
		}
	}
	return true
}

// slice is [start:end:step] as in Python.
type slice struct{ start, end, step *int }

func (s slice) from(_, v jsonvalue.Value, next yield) bool {
	if v.Kind() != resource.Array {
		return true
	}
	n, by := v.Len(), 1
	if s.step != nil {
		by = *s.step
	}
	start, end := 0, n
	if by < 0 {
		start, end = n-1, -n-1
	}
	if s.start != nil {
		start = *s.start
	}
	if s.end != nil {
		end = *s.end
	}
	if start < 0 {
		start += n
	}
	if end < 0 {
		end += n
	}
	if by > 0 {
		start, end = max(start, 0), min(end, n)
	} else {
		start, end = min(start, n-1), max(end, -1)
	}
	for i := start; by > 0 && i < end || by < 0 && i > end; i += by {
		if c := v.At(i); c.Valid() && !next(c) {
			return false
		}
	}
	return true
}

// where is [?(...)]; deep when .. stands before it.
type where struct {
	cond condition
	deep bool
}

func (w where) from(root, v jsonvalue.Value, next yield) bool {
	test := func(c jsonvalue.Value) bool { return !w.cond.holds(root, c) || next(c) }
	if w.deep {
		return selfAndBelow(v, test)
	}
	if v.Kind() != resource.Array {
		return true // members of an object are no candidates in this dialect
	}
	for c := range v.Children() {
		if !test(c) {
			return false
		}
	}
	return true
}
