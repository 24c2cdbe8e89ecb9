package search

import "slices"

// Access limits a query to what somebody may see, beside what the query asks
// for. A type that is not in Types cannot be seen at all; of the others, what
// one of the rules describes.
type Access struct {
	Types map[string][]AccessRule
}

// AccessRule describes resources of a type: all of it must hold. The zero
// AccessRule describes every resource.
type AccessRule struct {
	Compartment *CompartmentRef
	Where       []*Clause // without chains
}

// Open reports whether every resource of the type is described.
func (r *AccessRule) Open() bool { return r.Compartment == nil && len(r.Where) == 0 }

// Open reports whether every resource of a type can be seen.
func (a *Access) Open(typ string) bool {
	for i := range a.Types[typ] {
		if a.Types[typ][i].Open() {
			return true
		}
	}
	return false
}

// Allows reports whether a resource can be seen.
func (a *Access) Allows(s Subject) bool {
	for i := range a.Types[s.Type] {
		if a.Types[s.Type][i].holds(s) {
			return true
		}
	}
	return false
}

func (r *AccessRule) holds(s Subject) bool {
	if r.Compartment != nil && !r.Compartment.holds(s.Type, s.ID, s.Values) {
		return false
	}
	for _, c := range r.Where {
		if !c.matches(s, nil) {
			return false
		}
	}
	return true
}

// Links reports whether every reference of p from a resource of a type puts it
// into the compartment of what it points to.
func (c *CompartmentRef) Links(typ string, p *Param) bool {
	var inside []leaf
	for _, q := range c.Params[typ] {
		inside = q.leaves(inside, "")
	}
	for _, l := range p.leaves(nil, "") {
		if !slices.ContainsFunc(inside, func(m leaf) bool { return m.param == l.param && (m.target == "" || m.target == l.target) }) {
			return false
		}
	}
	return true
}
