package search

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/fhirpath"
	"github.com/hygeia-health/hygeia/spec/r4"
)

// builder compiles the parameters of one resource type.
type builder struct {
	schema *schema
	typ    *r4.Type
	defs   map[*Param]*definition
}

// definition is a parameter on its way into the schema.
type definition struct {
	sp       *r4.SearchParam
	expr     *fhirpath.Expr
	branches []branch // nil when the expression is not a union of simple paths
}

// branch is one simple path with the elements and types along it.
type branch struct {
	path  fhirpath.Path
	ends  []end
	names string // the element names, "value.text"
	text  string // all of the path but ResolveIs, for comparing
	many  bool   // an element on the way may repeat
}

// end is one way a branch can end: the JSON names on the way (they differ by
// the types of choices) and the type of the last element.
type end struct {
	json []string
	typ  *r4.Type
	refs []string // for references: the types that the element may point to
	vs   string   // the value set of a required binding
}

// add makes the Param of a definition.
func (b *builder) add(sp *r4.SearchParam) {
	p := &Param{
		Type: b.typ.Name, Code: sp.Code, URL: sp.URL, Kind: kindOf(sp.Type),
		Expression: reduce(sp.Expression, b.typ.Name), Targets: sp.Target,
	}
	switch reason, ok := unindexed[sp.Code]; {
	case ok:
		p.Unsupported = reason
	case p.Kind == Special && (p.Code != "near" || p.Type != "Location"):
		p.Unsupported = "it has rules of its own that are not offered"
	case p.Expression == "":
		p.Unsupported = "its definition has no expression"
	}
	b.schema.params = append(b.schema.params, p)
	b.schema.byCode[p.Code] = p
	b.defs[p] = &definition{sp: sp}
}

// reduce keeps the branches of a union that begin with the type, with one of the
// two abstract types above it, or with no type at all ("name | alias").
func reduce(expression, resourceType string) string {
	var keep []string
	for _, part := range splitUnion(expression) {
		name := strings.TrimLeft(part, "( ")
		if i := strings.IndexFunc(name, func(r rune) bool { return !isLetter(r) }); i >= 0 {
			name = name[:i]
		}
		relative := name != "" && 'a' <= name[0] && name[0] <= 'z'
		if relative || name == resourceType || name == "Resource" || name == "DomainResource" {
			keep = append(keep, part)
		}
	}
	return strings.Join(keep, " | ")
}

func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// splitUnion cuts an expression at the | outside of parentheses and quotes.
func splitUnion(s string) []string {
	var out []string
	depth, quoted, start := 0, false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			out = append(out, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	return append(out, strings.TrimSpace(s[start:]))
}

// compile reads the expression of p and finds the elements it ends at.
func (b *builder) compile(p *Param) {
	if p.Unsupported != "" {
		return
	}
	d := b.defs[p]
	expr, err := fhirpath.Compile(p.Expression)
	if err != nil {
		p.Unsupported = fmt.Sprintf("its expression cannot be compiled: %v", err)
		return
	}
	d.expr = expr
	paths, ok := expr.Paths()
	if !ok {
		return
	}
	branches, ok := resolvePaths(b.typ, paths)
	if !ok {
		p.Unsupported = "its expression names an element that the resource type does not have"
		return
	}
	d.branches = branches
	if p.Kind == Composite {
		return
	}
	usable := false
	for _, br := range branches {
		for _, e := range br.ends {
			usable = usable || ops[p.Kind][e.typ.Name] != opNone
		}
	}
	if !usable {
		p.Unsupported = fmt.Sprintf("a %s parameter has no meaning for elements of type %s", d.sp.Type, branches[0].ends[0].typ.Name)
		return
	}
	p.Single = single(p.Kind, branches)
	p.Targets = targets(d.sp.Target, branches)
	if p.Kind == Token {
		p.System = impliedSystem(branches)
	}
}

// impliedSystem returns the code system of code elements that are bound to one
// value set. FHIR names the value set of each of its own code systems after it:
// http://hl7.org/fhir/ValueSet/x holds http://hl7.org/fhir/x.
func impliedSystem(branches []branch) string {
	vs := branches[0].ends[0].vs
	for _, br := range branches {
		for _, e := range br.ends {
			if e.typ.Name != "code" || e.vs != vs {
				return ""
			}
		}
	}
	before, after, ok := strings.Cut(vs, "/ValueSet/")
	if !ok {
		return ""
	}
	return before + "/" + after
}

func required(e *r4.Element) string {
	if e.Binding == nil || e.Binding.Strength != "required" {
		return ""
	}
	return e.Binding.ValueSet
}

// resolvePaths follows paths from a type through the R4 tables.
func resolvePaths(root *r4.Type, paths []fhirpath.Path) ([]branch, bool) {
	var out []branch
	for _, path := range paths {
		if path.Type == "%resource" {
			return nil, false
		}
		br := branch{path: path}
		if !br.resolve(root) {
			return nil, false
		}
		out = append(out, br)
	}
	return out, true
}

func (br *branch) resolve(root *r4.Type) bool {
	if n := len(br.path.Steps); n > 0 && br.path.Steps[n-1].Extension != "" {
		// A parameter that ends at an extension means its value.
		br.path.Steps = append(slices.Clone(br.path.Steps), fhirpath.Step{Name: "value"})
	}
	states := []end{{typ: root}}
	var names, text []string
	for _, step := range br.path.Steps {
		names = append(names, step.Name)
		key := step
		key.ResolveIs = ""
		text = append(text, fmt.Sprintf("%q", key))
		var following []end
		for _, st := range states {
			e := elementByName(st.typ, step.Name)
			if e == nil {
				continue
			}
			// extension(url) picks one of a list: by rule there is one at most
			// of each url that has a value, but nothing checks it.
			br.many = br.many || e.Many()
			for i := range e.Types {
				ref := &e.Types[i]
				if ref.Type == nil || step.As != "" && ref.Name != step.As {
					continue
				}
				json := append(slices.Clone(st.json), ref.JSONName)
				following = append(following, end{json: json, typ: ref.Type, refs: ref.TargetProfiles, vs: required(e)})
			}
		}
		if len(following) == 0 {
			return false
		}
		states = following
	}
	br.ends = states
	br.names, br.text = strings.Join(names, "."), strings.Join(text, ".")
	return true
}

func elementByName(t *r4.Type, name string) *r4.Element {
	for _, e := range t.Elements {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// single reports whether no resource can have two values.
func single(k Kind, branches []branch) bool {
	for i, br := range branches {
		if br.many {
			return false
		}
		for _, e := range br.ends {
			if ops[k][e.typ.Name].many() {
				return false
			}
		}
		for _, other := range branches[:i] {
			if !exclusive(other, br) {
				return false
			}
		}
	}
	return true
}

// exclusive reports whether two paths never both have a value: they are the
// same element, or choose different types of one choice.
func exclusive(a, b branch) bool {
	if a.names == b.names {
		return true
	}
	for i := 0; i < len(a.path.Steps) && i < len(b.path.Steps); i++ {
		x, y := a.path.Steps[i], b.path.Steps[i]
		if x.Name != y.Name {
			return false
		}
		if x.As != "" && y.As != "" && x.As != y.As {
			return true
		}
	}
	return false
}

// targets narrows the types that a reference may point to, by what the
// elements allow and by where(resolve() is X).
func targets(declared []string, branches []branch) []string {
	allowed := make(map[string]bool)
	for _, br := range branches {
		if is := resolveIs(br); is != "" {
			allowed[is] = true
			continue
		}
		for _, e := range br.ends {
			for _, t := range e.refs {
				if t == "Resource" {
					return declared
				}
				allowed[t] = true
			}
		}
	}
	var out []string
	for _, t := range declared {
		if allowed[t] {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return declared
	}
	return out
}

// resolveIs returns the type that a branch keeps references to, or "".
func resolveIs(br branch) string {
	if n := len(br.path.Steps); n > 0 {
		return br.path.Steps[n-1].ResolveIs
	}
	return ""
}
