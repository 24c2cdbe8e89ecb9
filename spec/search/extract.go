package search

import (
	"fmt"
	"unsafe"

	"github.com/hygeia-health/hygeia/spec/fhirpath"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Resolve maps the text of a reference to a resource of this service: a
// urn:uuid of the Bundle around it, or an absolute URL that begins with our own
// base. It returns false for what it does not know.
type Resolve func(ref string) (typ, id string, ok bool)

// Extract appends the index entries of a resource to v, each value once per
// parameter. The resource may be part of a larger Doc (an entry of a Bundle).
//
// resolve may be nil. What it does not know is local when it has the form
// Type/id or Type/id/_history/v, and a URL otherwise. References to contained
// resources (#x) have no entry; what those hold has (see Param.Inside).
//
// Strings without escapes alias the text of the Doc, so v lives no longer than
// that text. Elements of a wrong JSON type are skipped: Extract relies on
// validation for messages, but no input makes it fail otherwise. The error says
// that n is not a resource of a known type.
func (r *Registry) Extract(n resource.Node, resolve func(ref string) (typ, id string, ok bool), v *Values) error {
	v.Generation = r.Generation() // before the schema is read, so that it is never too new
	name := n.Get("resourceType")
	s := r.schema(text(name))
	if s == nil {
		return fmt.Errorf("search: %q is not a resource type of FHIR R4", name.Bytes())
	}
	x := extractor{root: n, resolve: resolve, v: v}
	from := x.mark()
	x.walk(s.trie, n)
	for _, e := range s.evals {
		x.evaluate(e, n)
	}
	x.contained(r, s)
	x.dedupe(from)
	return nil
}

// extractor is the state of one walk.
type extractor struct {
	root    resource.Node
	resolve Resolve
	v       *Values
	part    bool     // inside of a composite
	names   nameSet  // of the members of the base element of composites
	locals  []local  // references to contained resources
	inlines []inline // resources that stand in place of a reference
}

// text returns a JSON string without copying it when it has no escapes.
func text(n resource.Node) string {
	if n.Kind() != resource.String {
		return ""
	}
	return alias(n)
}

// alias returns the text of a primitive of any JSON type.
func alias(n resource.Node) string {
	b := n.Bytes()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// walk runs the actions of t on n and goes down to its children.
func (x *extractor) walk(t *trie, n resource.Node) {
	kind := n.Kind()
	if kind == resource.Array {
		for c := n.First(); c.Valid(); c = c.Next() {
			x.walk(t, c)
		}
		return
	}
	if t.gather {
		x.names = 0
		for c := n.First(); c.Valid(); c = c.Next() {
			x.names |= nameBit(c.Key())
		}
	}
	for i := range t.acts {
		x.act(&t.acts[i], n)
	}
	if kind != resource.Object || len(t.edges) == 0 {
		return
	}
	for c := n.First(); c.Valid(); c = c.Next() {
		key := c.Key()
		edges := t.sized(len(key))
		for i := range edges {
			e := &edges[i]
			if string(key) != e.name {
				continue
			}
			if e.cond.name == "" {
				x.walk(e.to, c)
			} else {
				x.walkIf(e, c)
			}
		}
	}
}

// walkIf goes down an edge for the items that its condition holds for.
func (x *extractor) walkIf(e *edge, n resource.Node) {
	if n.Kind() == resource.Array {
		for c := n.First(); c.Valid(); c = c.Next() {
			x.walkIf(e, c)
		}
		return
	}
	if e.cond.holds(n) {
		x.walk(e.to, n)
	}
}

// act makes the entries of one parameter from one element.
func (x *extractor) act(a *action, n resource.Node) {
	p := a.param
	switch a.op {
	case opTokenCode, opTokenCoding, opTokenConcept, opTokenID, opTokenContact:
		x.token(p, a.op, n)
	case opString, opStringName, opStringAddress:
		x.stringParts(p, a.op, n)
	case opDate, opDatePeriod, opDateTiming:
		x.date(p, a.op, n)
	case opNumber, opNumberRange, opQuantity, opQuantityRange, opMoney:
		x.number(p, a.op, n)
	case opReference, opCanonical, opInline:
		x.reference(p, a.op, a.resolveIs, n)
	case opPosition:
		x.position(p, n)
	case opURI:
		if s := text(n); s != "" {
			x.v.URIs = append(x.v.URIs, URIValue{p, s})
		}
	case opComposite:
		x.composite(a.composite, n)
	}
}

// composite makes one entry from a base element, if every part has a value.
// The last part is tried first, as it is the one that is mostly missing.
func (x *extractor) composite(c *composite, n resource.Node) {
	for i := range c.parts {
		if t := c.parts[i].trie; t != nil && t.names&x.names == 0 && len(t.acts) == 0 {
			return
		}
	}
	v := x.v
	x.part = true
	defer func() { x.part = false }()
	entry := v.addComposite(c.param, len(c.parts))
	for i := len(c.parts) - 1; i >= 0; i-- {
		x.v = &entry.Parts[i]
		if part := &c.parts[i]; part.trie != nil {
			x.walk(part.trie, n)
		} else {
			x.evaluate(part.eval, n)
		}
		if x.v.empty() {
			v.Composites = v.Composites[:len(v.Composites)-1]
			break
		}
	}
	x.v = v
}

// addComposite appends an entry and uses the memory of earlier ones again.
func (v *Values) addComposite(p *Param, parts int) *CompositeValue {
	if n := len(v.Composites); n < cap(v.Composites) {
		v.Composites = v.Composites[:n+1]
	} else {
		v.Composites = append(v.Composites, CompositeValue{})
	}
	c := &v.Composites[len(v.Composites)-1]
	c.Param = p
	if cap(c.Parts) < parts {
		c.Parts = make([]Values, parts)
	}
	c.Parts = c.Parts[:parts]
	for i := range c.Parts {
		c.Parts[i].Reset()
	}
	return c
}

func (v *Values) empty() bool {
	return len(v.Tokens)+len(v.References)+len(v.Dates)+len(v.Numbers)+len(v.Strings)+len(v.URIs)+len(v.Composites) == 0
}

// evaluate runs an expression of the interpreter from the element n. An
// expression that fails on this resource gives no entries.
func (x *extractor) evaluate(e *evaluation, n resource.Node) {
	values, err := e.expr.Eval(n, &fhirpath.Env{Resource: x.root})
	if err != nil {
		return
	}
	for _, v := range values {
		x.value(e.param, v)
	}
}

// value makes the entries of one result of the interpreter.
func (x *extractor) value(p *Param, v fhirpath.Value) {
	o := ops[p.Kind][v.Type()]
	switch t := v.FHIRType(); {
	case !v.IsNode():
		switch o {
		case opTokenCode:
			x.v.Tokens = append(x.v.Tokens, TokenValue{Param: p, Code: v.String()})
		case opString:
			x.addString(p, v.String())
		}
	case o != opNone:
		x.act(&action{param: p, op: o}, v.Node())
	case t != nil && t.Name == "Extension":
		for c := v.Node().First(); c.Valid(); c = c.Next() {
			if e, ref, ok := t.Element(c.Key()); ok && e.Name == "value" {
				x.act(&action{param: p, op: ops[p.Kind][ref.Name]}, c)
			}
		}
	case t != nil && t.Kind == r4.Resource && p.Kind == Reference:
		x.act(&action{param: p, op: opInline}, v.Node())
	}
}
