package terminology

import (
	"fmt"
	"slices"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// Coding is a code in a code system.
type Coding struct{ System, Code string }

// Source finds value sets and code systems by their canonical URL, which may
// have a version behind a bar. ok is false for what it does not know.
type Source interface {
	ValueSet(canonical string) (n resource.Node, ok bool, err error)
	CodeSystem(canonical string) (n resource.Node, ok bool, err error)
}

// Limits of one expansion.
const (
	maxCodes = 50_000
	maxDepth = 10 // value sets that name value sets
)

// Expand lists the codes of the value set with a canonical URL.
func Expand(src Source, canonical string) ([]Coding, error) {
	e := &expander{src: src}
	set, err := e.valueSet(canonical)
	if err != nil {
		return nil, err
	}
	return set.list, nil
}

type expander struct {
	src   Source
	depth int
}

// codes is a set that remembers its order.
type codes struct {
	list []Coding
	has  map[Coding]bool
}

func (s *codes) add(c Coding) {
	if s.has == nil {
		s.has = map[Coding]bool{}
	}
	if c.Code != "" && !s.has[c] {
		s.has[c] = true
		s.list = append(s.list, c)
	}
}

// keep removes what f does not want.
func (s *codes) keep(f func(Coding) bool) {
	s.list = slices.DeleteFunc(s.list, func(c Coding) bool {
		if f(c) {
			return false
		}
		delete(s.has, c)
		return true
	})
}

func (e *expander) valueSet(canonical string) (*codes, error) {
	if e.depth++; e.depth > maxDepth {
		return nil, fmt.Errorf("the value set %s names too many others, or itself", canonical)
	}
	defer func() { e.depth-- }()
	n, ok, err := e.src.ValueSet(canonical)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("the value set %s is not known here", canonical)
	}
	out := &codes{}
	compose := n.Get("compose")
	if !compose.Valid() {
		if x := n.Get("expansion"); x.Valid() {
			contained(out, x)
			return out, nil
		}
		return nil, fmt.Errorf("the value set %s has neither a definition nor an expansion", canonical)
	}
	for inc := compose.Get("include").First(); inc.Valid(); inc = inc.Next() {
		set, err := e.part(inc)
		if err != nil {
			if x := n.Get("expansion"); x.Valid() { // it was expanded by somebody who could
				out = &codes{}
				contained(out, x)
				return out, nil
			}
			return nil, err
		}
		for _, c := range set.list {
			out.add(c)
		}
		if len(out.list) > maxCodes {
			return nil, fmt.Errorf("the value set %s has more than %d codes", canonical, maxCodes)
		}
	}
	for exc := compose.Get("exclude").First(); exc.Valid(); exc = exc.Next() {
		set, err := e.part(exc)
		if err != nil {
			return nil, err
		}
		out.keep(func(c Coding) bool { return !set.has[c] })
	}
	return out, nil
}

// contained adds ValueSet.expansion.contains, at every level.
func contained(out *codes, n resource.Node) {
	for c := n.Get("contains").First(); c.Valid(); c = c.Next() {
		if c.Get("abstract").Text() != "true" {
			out.add(Coding{c.Get("system").Text(), c.Get("code").Text()})
		}
		contained(out, c)
	}
}

// part lists one include or exclude: the codes of a system, or a part of them,
// that are in all the value sets named.
func (e *expander) part(n resource.Node) (*codes, error) {
	out := &codes{}
	system := n.Get("system").Text()
	sets := n.Get("valueSet")
	concepts, filters := n.Get("concept"), n.Get("filter")
	switch {
	case concepts.Valid():
		for c := concepts.First(); c.Valid(); c = c.Next() {
			out.add(Coding{system, c.Get("code").Text()})
		}
	case system != "":
		cs, err := e.system(system, n.Get("version").Text())
		if err != nil {
			return nil, err
		}
		for _, code := range cs.order {
			out.add(Coding{system, code})
		}
		for f := filters.First(); f.Valid(); f = f.Next() {
			if err := cs.filter(out, f); err != nil {
				return nil, err
			}
		}
	}
	first := system == ""
	for v := sets.First(); v.Valid(); v = v.Next() {
		set, err := e.valueSet(v.Text())
		if err != nil {
			return nil, err
		}
		if first {
			out, first = set, false
			continue
		}
		out.keep(func(c Coding) bool { return set.has[c] })
	}
	return out, nil
}
