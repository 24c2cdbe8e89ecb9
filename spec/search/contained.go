package search

import (
	"slices"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// Contained makes a search one of contained resources (_contained, R4 section
// 3.1.1.5.6): every type of Query.Types may be a container, and its resources match
// when one that they contain does. Which of those match is Find's to say.
type Contained struct {
	Type  string // what the search is for
	Only  bool   // resources of their own do not count (_contained=true)
	Alone bool   // what is contained is the answer, not its container (_containedType=contained)
	Where []*Clause
	reg   *Registry
}

// Find calls yield for each contained resource of a container that matches,
// until it returns false.
func (c *Contained) Find(container resource.Node, yield func(resource.Node) bool) {
	for n := container.Get("contained").First(); n.Valid(); n = n.Next() {
		if !n.Get("resourceType").Is(c.Type) {
			continue
		}
		var v Values
		if c.reg.Extract(n, nil, &v) != nil {
			continue
		}
		s := Subject{Type: c.Type, ID: text(n.Get("id")), Values: &v, Doc: func() resource.Node { return n }}
		if all(c.Where, s, nil) && !yield(n) {
			return
		}
	}
}

// Mark returns the parameter that is there when a resource of a type contains
// one of the kind that is searched.
func (c *Contained) Mark(typ string) *Param {
	if s := c.reg.schema(typ); s != nil {
		return s.self.Holds(c.Type)
	}
	return nil
}

// holds asks a resource, beyond its mark, about what it contains.
func (c *Contained) holds(s Subject) (found bool) {
	if s.Doc != nil {
		c.Find(s.Doc(), func(resource.Node) bool { found = true; return false })
	}
	return found
}

// Clauses returns what a resource of a type has to fulfil. some says whether any
// resource has a value of a parameter, see Mark.
func (q *Query) Clauses(typ string, some func(*Param) bool) []*Clause {
	c := q.Contained
	if c == nil {
		return q.Where
	}
	mark := c.Mark(typ)
	own := typ == c.Type && !c.Only
	if own && (mark == nil || !some(mark)) {
		return c.Where
	}
	held := &Clause{Name: "_contained", Contained: c, Params: []*Param{mark}, Values: []Value{{Code: held, HasCode: true, HasSystem: true}}}
	switch {
	case own && len(c.Where) == 0:
		return nil
	case own:
		return []*Clause{{Name: "_contained", Any: []*Clause{{Name: "_contained", All: c.Where}, held}}}
	}
	return []*Clause{held}
}

// contained reads _contained and _containedType.
func (p *parser) contained(name string, values []string) error {
	if !p.opt.Contained {
		if name == "_contained" && !slices.ContainsFunc(values, func(v string) bool { return v != "false" }) {
			p.res.Used[name] = values[:1]
			return nil
		}
		return p.leaveOut(notSupported(name, "contained resources are not found here apart from the resource around them"))
	}
	s, ok, err := p.single(name, values)
	if !ok {
		return err
	}
	switch name + "=" + s {
	case "_contained=false":
	case "_contained=true", "_contained=both":
		p.held = &Contained{Only: s == "true", reg: p.reg}
	case "_containedType=container":
	case "_containedType=contained":
		p.alone = true
	default:
		if name == "_contained" {
			return badValue(name, "%q is none of true, false and both", s)
		}
		return badValue(name, "%q is neither container nor contained", s)
	}
	return nil
}

// finishContained turns the search into one of contained resources. What it
// cannot be combined with is refused.
func (p *parser) finishContained() error {
	if p.held == nil {
		return nil // _containedType alone means nothing (R4 section 3.1.1.5.6)
	}
	const name = "_contained"
	c, q := p.held, p.q
	c.Alone = p.alone
	switch {
	case len(q.Types) != 1:
		return refused(name, "only contained resources of one type can be searched at a time")
	case q.Compartment != nil:
		return refused(name, "contained resources are in no compartment")
	case len(q.Includes) > 0:
		return refused(name, "there are no _include and _revinclude for contained resources")
	case c.Alone && q.Total != TotalNone:
		return refused("_containedType", "contained resources are not counted; ask for containers")
	}
	for _, k := range q.Sort {
		if k.Param != nil {
			return refused(name, "containers are only sorted by _lastUpdated and _id")
		}
	}
	for _, cl := range q.Where {
		if cl.Follows() || cl.Field == FieldLastUpdated {
			return refused(name, "%s cannot be asked of a contained resource", cl.Name)
		}
	}
	c.Type, c.Where = q.Types[0], q.Where
	q.Contained, q.Types, q.Where = c, nil, nil
	return nil
}
