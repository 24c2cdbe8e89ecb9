package search

import (
	"slices"
	"sort"
	"strings"

	"github.com/hygeia-health/hygeia/spec/fhirpath"
	"github.com/hygeia-health/hygeia/spec/r4"
)

// components resolves the parts of a composite to the parameters of the type.
func (b *builder) components(p *Param) {
	if p.Kind != Composite || p.Unsupported != "" {
		return
	}
	for _, c := range b.defs[p].sp.Components {
		var part *Param
		if def := r4.SearchParamByURL(c.Definition); def != nil {
			part = b.schema.byCode[def.Code]
		}
		if part == nil || part.Unsupported != "" {
			p.Unsupported = "one of its components is not a parameter of the resource type: " + c.Definition
			return
		}
		if _, err := fhirpath.Compile(c.Expression); err != nil {
			p.Unsupported = "the expression of a component cannot be compiled: " + c.Expression
			return
		}
		p.Components = append(p.Components, Component{Param: part, Expression: c.Expression})
	}
	if len(p.Components) == 0 {
		p.Unsupported = "its definition has no components"
	}
}

// findParts fills Param.Parts: first aliases (the same paths), then parameters
// that only keep one type of reference, then unions.
func (b *builder) findParts() {
	var list []*Param
	for _, p := range b.schema.params {
		if p.Unsupported == "" && b.defs[p].branches != nil {
			list = append(list, p)
		}
	}
	// The canonical one of a group of aliases comes first.
	sort.SliceStable(list, func(i, j int) bool { return canonicalLess(list[i].Code, list[j].Code) })
	seen := make(map[string]*Param)
	for _, p := range list {
		key, is := b.key(p)
		if first := seen[key+is]; first != nil {
			p.Parts = []*Param{first}
		} else {
			seen[key+is] = p
		}
	}
	for _, p := range list {
		key, is := b.key(p)
		if whole := seen[key]; is != "" && len(p.Parts) == 0 && whole != nil {
			p.Parts, p.PartTarget = []*Param{whole}, is
		}
	}
	for _, p := range list {
		if len(p.Parts) == 0 {
			p.Parts = b.union(p, list)
		}
	}
	// The parts of a part are the parts of the whole.
	for _, p := range list {
		for len(p.Parts) == 1 && len(p.Parts[0].Parts) > 0 && p.Parts[0].PartTarget == "" {
			p.Parts = p.Parts[0].Parts
		}
	}
}

// canonicalLess orders parameters of equal meaning: the names that R4 uses for
// most types first, then the shorter one.
func canonicalLess(a, b string) bool {
	rank := func(s string) int {
		switch s {
		case "subject":
			return 0
		case "code":
			return 1
		}
		return 1 + len(s)
	}
	if x, y := rank(a), rank(b); x != y {
		return x < y
	}
	return a < b
}

// key describes what p extracts; is holds the type of a where(resolve() is X)
// that all branches share.
func (b *builder) key(p *Param) (key, is string) {
	branches := b.defs[p].branches
	is = resolveIs(branches[0])
	texts := b.texts(p)
	for _, br := range branches {
		if resolveIs(br) != is {
			return p.Key(), "" // nothing else is like it
		}
	}
	return strings.Join(texts, "|"), is
}

// texts returns the branches of p in a form that can be compared between
// parameters: equal text means equal values.
func (b *builder) texts(p *Param) []string {
	prefix := string(rune('0'+p.Kind)) + ":"
	for _, c := range p.Components {
		prefix += c.Expression + ";"
	}
	var out []string
	for _, br := range b.defs[p].branches {
		out = append(out, prefix+br.text)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// union returns the parameters that together have exactly the branches of p,
// or nil. The largest are taken first.
func (b *builder) union(p *Param, list []*Param) []*Param {
	if _, is := b.key(p); is != "" {
		return nil
	}
	want := b.texts(p)
	if len(want) < 2 {
		return nil
	}
	var candidates []*Param
	for _, q := range list {
		if _, is := b.key(q); q == p || is != "" || len(q.Parts) > 0 || !b.plain(q) {
			continue
		}
		have := b.texts(q)
		if len(have) < len(want) && subset(have, want) {
			candidates = append(candidates, q)
		}
	}
	slices.SortStableFunc(candidates, func(x, y *Param) int { return len(b.texts(y)) - len(b.texts(x)) })
	covered := make(map[string]bool)
	var parts []*Param
	for _, q := range candidates {
		added := false
		for _, t := range b.texts(q) {
			added = added || !covered[t]
			covered[t] = true
		}
		if added {
			parts = append(parts, q)
		}
	}
	if len(covered) != len(want) {
		return nil
	}
	return parts
}

// plain reports that no branch of p is filtered by the type of reference.
func (b *builder) plain(p *Param) bool {
	for _, br := range b.defs[p].branches {
		if resolveIs(br) != "" {
			return false
		}
	}
	return true
}

func subset(a, b []string) bool {
	for _, s := range a {
		if !slices.Contains(b, s) {
			return false
		}
	}
	return true
}
