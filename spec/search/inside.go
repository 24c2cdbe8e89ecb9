package search

import (
	"slices"
	"strings"
	"sync"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// Contained resources (R4 section 2.28.2) have no name of their own, so that no
// index row can be theirs. What they hold is indexed as the container's, under
// parameters of their own kind: Observation.subject#Patient.name are the names of
// the Patient inside of an Observation that its subject points to. A chain through
// the reference (subject:Patient.name=x, R4 section 3.1.1.5.5) asks for
// it beside the names of the resources outside. Which types are contained is indexed,
// too, and nothing more of contained resources that no parameter leads to: who asks
// for those themselves (_contained) has the containers read. A resource without
// contained ones has no such entries.

// maxInside is how many references are followed from one contained resource to
// the next.
const maxInside = 3

// insides are the parameters of what a reference leads to inside of a container.
type insides struct {
	params sync.Map // *Param of the contained type -> *Param
	marks  sync.Map // contained type -> *Param
}

// Inside returns the parameter of a container for the values that q has in a
// contained resource that the reference p points to. It is the same for the
// same two.
func (p *Param) Inside(q *Param) *Param {
	if v, ok := p.insides.params.Load(q); ok {
		return v.(*Param)
	}
	out := p.inside(q)
	if v, loaded := p.insides.params.LoadOrStore(q, out); loaded {
		return v.(*Param)
	}
	return out
}

func (p *Param) inside(q *Param) *Param {
	out := &Param{
		Type: p.Type, Code: p.Code + "#" + q.Type + "." + q.Code, URL: q.URL, Kind: q.Kind, Expression: q.Expression,
		Targets: q.Targets, PartTarget: q.PartTarget, System: q.System, Bit: -1, Unsupported: q.Unsupported, Link: p, Held: q,
		key: p.Key() + "#" + q.Key(),
	}
	for _, part := range q.Parts {
		out.Parts = append(out.Parts, p.Inside(part))
	}
	for _, c := range q.Components {
		out.Components = append(out.Components, Component{Param: p.Inside(c.Param), Expression: c.Expression})
	}
	if q.Of != nil {
		out.Of = p.Inside(q.Of)
	}
	return out
}

// Holds returns the parameter of a container with one entry when the reference p
// points to a contained resource of a type. It counts for p: a reference to a
// contained resource is not missing.
func (p *Param) Holds(typ string) *Param {
	if v, ok := p.insides.marks.Load(typ); ok {
		return v.(*Param)
	}
	typ = strings.Clone(typ) // it may alias the text of a resource
	v, _ := p.insides.marks.LoadOrStore(typ, &Param{
		Type: p.Type, Code: p.Code + "#" + typ, Kind: Token, Bit: -1, Of: p, key: p.Key() + "#" + typ,
	})
	return v.(*Param)
}

// held is the code of the entry of Holds.
const held = "1"

// local is a reference to a contained resource, of a type if it is not "".
type local struct {
	param  *Param
	id, is string
}

// inline is a resource in place of a reference: the Composition of a document.
type inline struct {
	param *Param
	n     resource.Node
}

// contained adds the entries of the contained resources, and of those that stand
// in place of a reference.
func (x *extractor) contained(r *Registry, s *schema) {
	for _, in := range x.inlines {
		x.enter(r, in.param, in.n, maxInside-1)
	}
	list := x.root.Get("contained")
	if list.Kind() != resource.Array {
		return
	}
	for c := list.First(); c.Valid(); c = c.Next() {
		if typ := text(c.Get("resourceType")); r.schema(typ) != nil {
			x.v.Tokens = append(x.v.Tokens, TokenValue{Param: s.self.Holds(typ), Code: held})
		}
	}
	x.follow(r, x.locals, nil, 0)
}

// follow enters the contained resources that references lead to: those of the
// resource itself, or of the contained one that via led to.
func (x *extractor) follow(r *Registry, locals []local, via *Param, depth int) {
	for _, l := range locals {
		link := l.param
		if via != nil {
			link = via.Inside(link)
		}
		for c := x.root.Get("contained").First(); c.Valid(); c = c.Next() {
			if text(c.Get("id")) == l.id && (l.is == "" || c.Get("resourceType").Is(l.is)) {
				x.enter(r, link, c, depth)
			}
		}
	}
}

// enter adds the entries of one contained resource, as what a reference leads to.
func (x *extractor) enter(r *Registry, link *Param, n resource.Node, depth int) {
	typ := text(n.Get("resourceType"))
	s := r.schema(typ)
	if s == nil {
		return
	}
	in := extractor{root: n, resolve: x.resolve, v: &Values{}}
	in.walk(s.trie, n)
	for _, e := range s.evals {
		in.evaluate(e, n)
	}
	x.v.Tokens = append(x.v.Tokens, TokenValue{Param: link.Holds(typ), Code: held})
	x.v.within(link, in.v)
	if depth == maxInside {
		return
	}
	x.follow(r, in.locals, link, depth+1)
	if entries := x.root.Get("entry"); len(x.inlines) > 0 && entries.Kind() == resource.Array {
		for _, ref := range in.v.References {
			if n := entry(entries, ref); n.Valid() && ref.Param.Single {
				x.enter(r, link.Inside(ref.Param), n, maxInside)
			}
		}
	}
}

// entry returns what a reference between the entries of a Bundle leads to (R4
// section 2.36.4.1): the entry with that fullUrl.
func entry(list resource.Node, ref ReferenceValue) resource.Node {
	for e := list.First(); e.Valid(); e = e.Next() {
		url := text(e.Get("fullUrl"))
		if url == "" {
			continue
		}
		if ref.URL != "" && url == ref.URL || ref.Type != "" && (url == ref.Type+"/"+ref.ID || strings.HasSuffix(url, "/"+ref.Type+"/"+ref.ID)) {
			return e.Get("resource")
		}
	}
	return resource.Node{}
}

// within appends the entries of a contained resource as those of its container.
// Those of custom parameters are not kept: an index made anew for the type of the
// contained resource would not reach its containers.
func (v *Values) within(link *Param, in *Values) {
	v.Tokens = inside(v.Tokens, in.Tokens, link, func(e *TokenValue) **Param { return &e.Param })
	v.References = inside(v.References, in.References, link, func(e *ReferenceValue) **Param { return &e.Param })
	v.Dates = inside(v.Dates, in.Dates, link, func(e *DateValue) **Param { return &e.Param })
	v.Numbers = inside(v.Numbers, in.Numbers, link, func(e *NumberValue) **Param { return &e.Param })
	v.Strings = inside(v.Strings, in.Strings, link, func(e *StringValue) **Param { return &e.Param })
	v.URIs = inside(v.URIs, in.URIs, link, func(e *URIValue) **Param { return &e.Param })
	v.Composites = inside(v.Composites, in.Composites, link, func(e *CompositeValue) **Param { return &e.Param })
}

func inside[T any](out, in []T, link *Param, param func(*T) **Param) []T {
	for _, e := range in {
		p := param(&e)
		if (*p).Custom || (*p).Of != nil && (*p).Of.Custom {
			continue
		}
		*p = link.Inside(*p)
		out = append(out, e)
	}
	return out
}

// Insides returns what a chain from a type is where it leads to contained
// resources: clauses of which one holds then. some says whether any resource has
// a value of a parameter of Holds; nothing is asked for where none has.
func (c *Clause) Insides(typ string, some func(*Param) bool) (out []*Clause) {
	p := c.paramOf(typ)
	if p == nil {
		return nil
	}
	for _, l := range p.leaves(nil, "") {
		for i := range c.Chain {
			alt := &c.Chain[i]
			if l.target != "" && l.target != alt.Target || !some(l.param.Holds(alt.Target)) {
				continue
			}
			if in := alt.Next.Inside(l.param, alt.Target); in != nil {
				out = append(out, in)
			}
		}
	}
	return out
}

// Inside returns what a clause on a contained resource of a type is on its
// container, where the reference link points to it; nil when that cannot be asked
// there.
func (c *Clause) Inside(link *Param, typ string) *Clause {
	out := c.inside(link, typ)
	if out == nil || !c.absent() {
		return out
	}
	mark := &Clause{Name: c.Name, Params: []*Param{link.Holds(typ)}, Values: []Value{{Code: held, HasCode: true, HasSystem: true}}}
	return &Clause{Name: c.Name, All: []*Clause{mark, out}}
}

// absent reports whether a clause may hold for a resource without any values.
func (c *Clause) absent() bool {
	if c.Negate || c.Modifier == "not" || c.Modifier == "not-in" || c.Modifier == "missing" {
		return true
	}
	for _, part := range c.Any {
		if part.absent() {
			return true
		}
	}
	for _, part := range c.All {
		if !part.absent() {
			return false
		}
	}
	return len(c.All) > 0
}

func (c *Clause) inside(link *Param, typ string) *Clause {
	if c.Field != FieldParam || c.Has != nil {
		return nil
	}
	out := *c
	out.Params, out.Any, out.All = nil, nil, nil
	for _, part := range c.Any {
		if in := part.inside(link, typ); in != nil {
			out.Any = append(out.Any, in)
		}
	}
	if len(c.All) > 1 && !link.Single {
		return nil // they need not hold for the same contained resource
	}
	for _, part := range c.All {
		in := part.inside(link, typ)
		if in == nil {
			return nil
		}
		out.All = append(out.All, in)
	}
	if len(c.Any)+len(c.All) > 0 {
		if len(out.Any)+len(out.All) == 0 {
			return nil
		}
		return &out
	}
	p := c.paramOf(typ)
	if p == nil || p.Custom {
		return nil
	}
	out.Params = []*Param{link.Inside(p)}
	return &out
}

// Follows reports whether a clause asks for another resource, which its own
// body says nothing about.
func (c *Clause) Follows() bool {
	return len(c.Chain) > 0 || c.Has != nil || slices.ContainsFunc(c.Any, (*Clause).Follows) || slices.ContainsFunc(c.All, (*Clause).Follows)
}
