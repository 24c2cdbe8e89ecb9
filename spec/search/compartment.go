package search

import (
	"maps"
	"slices"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// Compartment returns the compartment of one resource, for a search over types
// (all types in the compartment when empty). The error is an *Error when there
// is no such compartment, or one of the types is never in it.
func (r *Registry) Compartment(name, id string, types []string) (*CompartmentRef, error) {
	def := r4.Compartment(name)
	if def == nil {
		return nil, invalid("", "there is no compartment %q", name)
	}
	if !isID(id) {
		return nil, invalid("", "%q is not an id", id)
	}
	out := &CompartmentRef{Type: name, ID: id, Params: make(map[string][]*Param)}
	all := len(types) == 0
	if all {
		types = slices.Sorted(maps.Keys(def.Resources))
	}
	for _, t := range types {
		codes := def.Resources[t]
		if len(codes) == 0 && t != name {
			if all {
				continue
			}
			return nil, invalid("", "%s resources are never in the compartment of a %s", t, name)
		}
		out.Self = out.Self || t == name
		out.Params[t] = r.linking(t, codes)
	}
	return out, nil
}

// linking returns the parameters of codes. {def} among them stands for the
// resource itself, which Self is for.
func (r *Registry) linking(resourceType string, codes []string) []*Param {
	var out []*Param
	for _, code := range codes {
		if p := r.Param(resourceType, code); p != nil && p.Unsupported == "" {
			out = append(out, p)
		}
	}
	return out
}

// Types returns the types that can be in the compartment, sorted: what a search
// over all of it looks through.
func (c *CompartmentRef) Types() []string { return slices.Sorted(maps.Keys(c.Params)) }
