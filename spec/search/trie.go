package search

import (
	"slices"

	"github.com/hygeia-health/hygeia/spec/fhirpath"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// trie is a tree of element names, compiled from the paths of all parameters of
// a type, so that one walk over a resource serves them all. Arrays are
// transparent: a list stands for each of its items.
type trie struct {
	acts   []action
	edges  []edge
	bySize []uint16 // bySize[n] is the first edge with a name of n bytes or more
	names  nameSet  // the names of the edges
	// gather is true when one of the acts is a composite, which wants to know
	// the names of the members before it looks at any of them.
	gather bool
}

// nameSet is a set of element names that may hold too many (a Bloom filter).
type nameSet uint64

func nameBit(name []byte) nameSet {
	if len(name) == 0 {
		return 0
	}
	return 1 << ((len(name)*9 + int(name[0])*5 + int(name[len(name)-1])) & 63)
}

// edge leads to a child element, for those children that cond holds for.
type edge struct {
	name string
	cond condition
	to   *trie
}

// condition keeps elements with a child of a certain value; the zero condition
// keeps all.
type condition struct {
	name, value string
}

// action makes entries from the element at a node of the trie.
type action struct {
	param     *Param
	op        op
	resolveIs string     // references: keep those to this type
	composite *composite // opComposite
}

// composite is a composite parameter, ready to run at its base element.
type composite struct {
	param *Param
	parts []component
}

// component finds the values of one part below the base element: by a trie, or
// by an expression when it reaches outside of the element.
type component struct {
	trie *trie
	eval *evaluation
}

// evaluation is an expression that needs the interpreter.
type evaluation struct {
	param *Param
	expr  *fhirpath.Expr
}

func (t *trie) child(name string, c condition) *trie {
	for i := range t.edges {
		if t.edges[i].name == name && t.edges[i].cond == c {
			return t.edges[i].to
		}
	}
	to := &trie{}
	t.edges = append(t.edges, edge{name, c, to})
	return to
}

// finish sorts the edges for lookup.
func (t *trie) finish() {
	slices.SortStableFunc(t.edges, func(a, b edge) int { return len(a.name) - len(b.name) })
	t.gather = slices.ContainsFunc(t.acts, func(a action) bool { return a.op == opComposite })
	longest := 0
	for i := range t.edges {
		t.names |= nameBit([]byte(t.edges[i].name))
		longest = max(longest, len(t.edges[i].name))
		t.edges[i].to.finish()
	}
	t.bySize = make([]uint16, longest+2)
	for n := range t.bySize {
		i := 0
		for i < len(t.edges) && len(t.edges[i].name) < n {
			i++
		}
		t.bySize[n] = uint16(i)
	}
}

// sized returns the edges whose names have n bytes.
func (t *trie) sized(n int) []edge {
	if n+1 >= len(t.bySize) {
		return nil
	}
	return t.edges[t.bySize[n]:t.bySize[n+1]]
}

// holds tests the element n.
func (c *condition) holds(n resource.Node) bool {
	if c.name == "" {
		return true
	}
	v := n.Get(c.name)
	if v.Kind() == resource.Array {
		for item := range v.Children() {
			if item.Is(c.value) {
				return true
			}
		}
		return false
	}
	return v.Is(c.value)
}

// insert adds a branch that ends in the actions that act makes for each type.
func (t *trie) insert(br branch, act func(*r4.Type) (action, bool)) {
	for _, e := range br.ends {
		a, ok := act(e.typ)
		if !ok {
			continue
		}
		a.resolveIs = resolveIs(br)
		at := t
		for i, name := range e.json {
			step := br.path.Steps[i]
			cond := condition{step.WhereName, step.WhereValue}
			if step.Extension != "" {
				cond = condition{"url", step.Extension}
			}
			at = at.child(name, cond)
		}
		at.acts = append(at.acts, a)
	}
}

// index puts p into the trie of the schema, or with its evaluations.
func (b *builder) index(p *Param) {
	if p.Unsupported != "" || len(p.Parts) > 0 {
		return
	}
	d := b.defs[p]
	if p.Kind == Composite {
		b.indexComposite(p, d)
		return
	}
	if d.branches == nil {
		b.schema.evals = append(b.schema.evals, &evaluation{p, d.expr})
		return
	}
	for _, br := range d.branches {
		b.schema.trie.insert(br, leafAction(p))
	}
}

// leafAction returns the maker of actions for p.
func leafAction(p *Param) func(*r4.Type) (action, bool) {
	return func(typ *r4.Type) (action, bool) {
		o := ops[p.Kind][typ.Name]
		return action{param: p, op: o}, o != opNone && o != opSkip
	}
}

func (b *builder) indexComposite(p *Param, d *definition) {
	for _, br := range d.branches {
		for _, e := range br.ends {
			c, ok := b.composite(p, e.typ)
			if !ok {
				p.Unsupported = "its components do not fit the elements of " + e.typ.Name
				return
			}
			only := br
			only.ends = []end{e}
			b.schema.trie.insert(only, func(*r4.Type) (action, bool) {
				return action{param: p, op: opComposite, composite: c}, true
			})
		}
	}
}

// composite compiles the components of p relative to its base element. R4 has a
// composite whose two expressions stand in the wrong order
// (DocumentReference.relationship); the types of the components tell.
func (b *builder) composite(p *Param, base *r4.Type) (*composite, bool) {
	c, ok := compileComponents(p, base)
	if !ok && len(p.Components) == 2 {
		x, y := &p.Components[0], &p.Components[1]
		x.Expression, y.Expression = y.Expression, x.Expression
		c, ok = compileComponents(p, base)
	}
	return c, ok
}

func compileComponents(p *Param, base *r4.Type) (*composite, bool) {
	c := &composite{param: p}
	for _, part := range p.Components {
		expr, err := fhirpath.Compile(part.Expression)
		if err != nil {
			return nil, false
		}
		paths, ok := expr.Paths()
		if !ok || slices.ContainsFunc(paths, func(p fhirpath.Path) bool { return p.Type != "" }) {
			c.parts = append(c.parts, component{eval: &evaluation{part.Param, expr}})
			continue
		}
		branches, ok := resolvePaths(base, paths)
		if !ok {
			return nil, false
		}
		t := &trie{}
		for _, br := range branches {
			t.insert(br, leafAction(part.Param))
		}
		if len(t.acts)+len(t.edges) == 0 {
			return nil, false
		}
		t.finish()
		c.parts = append(c.parts, component{trie: t})
	}
	return c, true
}
