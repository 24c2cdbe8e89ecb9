package fhirsql

import (
	"math"
	"slices"

	"github.com/hygeia-health/hygeia/spec/search"
)

// group is a clause made of others. Alternatives that are all ranges can drive
// a search together; everything else tests each candidate.
func (cp *compiler) group(p *pred, cl *search.Clause) (*pred, error) {
	parts := cl.All
	if len(cl.Any) > 0 {
		parts, p.any = cl.Any, true
	}
	exact, chained := true, slices.ContainsFunc(parts, (*search.Clause).Follows)
	for _, part := range parts {
		child, err := cp.clause(part)
		if err == nil && child != nil && child.post != nil && chained {
			child, err = cp.listed(part) // the body knows nothing of the other parts
		}
		if err != nil {
			return nil, err
		}
		switch {
		case child != nil:
			p.group = append(p.group, child)
			exact = exact && child.post == nil
		case !p.any: // one that nothing fulfils
			return always(p, cl.Negate), nil
		}
	}
	if len(p.group) == 0 {
		return always(p, cl.Negate), nil
	}
	if !exact {
		p.post = cl
		if cl.Negate || !ranges(p.group) {
			p.group = nil
			return always(p, true), nil
		}
	}
	p.negate, p.filterOnly = cl.Negate, true
	if p.any && !cl.Negate && ranges(p.group) {
		return p, p.join()
	}
	return p, nil
}

// join makes the ranges of a group of alternatives those of the predicate.
func (p *pred) join() error {
	p.filterOnly = false
	for _, child := range p.group {
		p.alts = append(p.alts, child.alts...)
		p.rank = max(p.rank, child.rank)
	}
	p.group = nil
	return p.merge()
}

// listed finds the resources of a clause by a search of its own.
func (cp *compiler) listed(cl *search.Clause) (*pred, error) {
	pl, err := cp.inner(cp.typ, cl)
	if err != nil || pl == nil {
		return nil, err
	}
	return pl.driver, nil
}

// insides adds to a chain what it finds in contained resources (see
// search.Param.Inside). Mostly nothing of the kind is stored.
func (cp *compiler) insides(chain *pred, cl *search.Clause) (*pred, error) {
	within := cl.Insides(cp.typ, func(mark *search.Param) bool { return cp.s.paramID(mark) != 0 })
	p := &pred{name: chain.name, rank: rankOther, any: true}
	for _, in := range within {
		child, err := cp.clause(in)
		if err == nil && child != nil && child.post != nil {
			child, err = cp.listed(in)
		}
		if err != nil {
			return nil, err
		}
		if child != nil {
			p.group = append(p.group, child)
		}
	}
	if len(chain.alts) == 0 {
		chain = nil
	}
	switch {
	case len(p.group) == 0:
		return chain, nil
	case chain != nil:
		p.group = append(p.group, chain)
	}
	p.filterOnly = true
	if ranges(p.group) {
		return p, p.join()
	}
	return p, nil
}

// ranges reports whether all predicates can be walked.
func ranges(list []*pred) bool {
	return !slices.ContainsFunc(list, func(p *pred) bool { return p.filterOnly || p.negate || len(p.group) > 0 || len(p.alts) == 0 })
}

// filterGroup writes a group as a condition on r.
func (p *pred) filterGroup(b *sqlb) {
	if p.negate {
		b.w("NOT ")
	}
	b.w("((")
	for i, child := range p.group {
		switch {
		case i > 0 && p.any:
			b.w(" OR ")
		case i > 0:
			b.w(" AND ")
		}
		child.filter(b)
	}
	b.w(") IS TRUE)")
}

// near finds positions in the belt of latitudes around a place; the bodies
// decide about the distance.
func (cp *compiler) near(p *pred, cl *search.Clause, q *search.Param, v search.Value) {
	id := cp.s.paramID(q)
	if id == 0 {
		return
	}
	p.post, p.rank = cl, rankOther
	d := search.Degrees(v.NumHi) * 1.001
	k := cond{"k.p=? AND k.v>=? AND k.v<=?", []any{id, v.Num - d, v.Num + d}}
	// Away from the poles and the date line the longitude narrows it further.
	if lat := math.Abs(v.Num) + d; lat < 89 {
		east := d / math.Cos(lat*math.Pi/180)
		if v.NumLo-east > -180 && v.NumLo+east < 180 {
			k.text += " AND k.w>=? AND k.w<=?"
			k.args = append(k.args, v.NumLo-east, v.NumLo+east)
		}
	}
	p.alts = append(p.alts, alt{table: "qty", unique: q.Single, k: k})
}

// unreferenced holds for what no current resource refers to, or none of a type,
// or not by one parameter.
func (cp *compiler) unreferenced(p *pred, h *search.Has) (*pred, error) {
	p.filterOnly, p.negate = true, true
	add := func(table, index, text string, args ...any) {
		p.alts = append(p.alts, alt{table: table, index: index, link: true, k: cond{text, args}})
	}
	patient := cp.s.types.id("Patient")
	switch {
	case h.Type == "":
		add("ref", "", "k.h=")
		add("res", "res_pat", "r.t<>? AND r.pat=", patient) // a patient's own row names itself
		add("res", "res_enc", "r.enc=")
	case cp.s.types.id(h.Type) == 0:
		return always(&pred{name: p.name}, true), nil
	default:
		from := &compiler{s: cp.s, c: cp.c, typ: h.Type, lay: cp.s.layouts.of(h.Type)}
		params := []*search.Param{h.Ref}
		if h.Ref == nil {
			params = cp.s.reg.Params(h.Type)
		}
		t := cp.s.types.id(h.Type)
		var done []link
		for _, q := range params {
			if q.Kind != search.Reference || q.Unsupported != "" || h.Ref == nil && len(q.Parts) > 0 {
				continue
			}
			for _, l := range from.links(q, "", cp.typ) {
				if slices.Contains(done, l) {
					continue
				}
				done = append(done, l)
				if l.slot != "" {
					add("res", "res_"+l.slot, "r.t=? AND r."+l.slot+"=", t)
				} else {
					add("ref", "", "k.p=? AND k.h=", l.p)
				}
			}
		}
	}
	if len(p.alts) == 0 {
		return always(&pred{name: p.name}, true), nil
	}
	return p, nil
}

// linked writes EXISTS of a row that refers to the row at hand.
func (b *sqlb) linked(a *alt) {
	outer := b.letter("r")
	b.depth++
	b.w("EXISTS (SELECT 1 FROM ")
	if a.table == "res" {
		b.as("res", "r", a.index)
	} else {
		b.as("ref", "k", a.index)
	}
	b.w(" WHERE ")
	b.cond(a.k)
	b.depth--
	b.raw(outer + ".rid")
	b.closeExists()
}
