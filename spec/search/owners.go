package search

import "iter"

// Owners returns the ids of the resources of c.Type into whose compartment the
// index entries v put a resource of type typ. An id may come twice. c.ID has
// no part in it, nor has c.Self.
func (c *CompartmentRef) Owners(typ string, v *Values) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, p := range c.Params[typ] {
			for _, l := range p.leaves(nil, "") {
				for _, r := range v.References {
					if l.owns(r.Param) && l.points(r) && r.Type == c.Type && r.ID != "" && !yield(r.ID) {
						return
					}
				}
			}
		}
	}
}
