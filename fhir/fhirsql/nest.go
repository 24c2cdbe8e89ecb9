package fhirsql

import (
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// A chain or reverse chain is a condition on another resource, the inner one.
// It is written in one of two ways:
//
//   - gathered: the inner resources that match are listed first, and their
//     links are ranges of an index. That can drive a search, and is taken when
//     a bounded count shows that they are few.
//   - tested: EXISTS, from the row at hand to the inner one by its key.
//
// A clause that only the bodies can decide is searched beforehand, as a search
// of its own, and stands as a list of rids.

// nest is a condition on a resource that is linked to the one at hand.
type nest struct {
	link  link
	inner *plan
	size  int  // inner resources that match, counted up to a limit
	huge  bool // more inner resources match than are gathered
	more  bool // size was counted to a first limit only
}

// sizeFirst is how far the inner resources are counted at first: few drive the
// search, and of many the beginning of a walk tells more than their number.
const sizeFirst = 128

// link says which rows belong together: a column of the narrow row, or a
// parameter in ref.
type link struct {
	back bool   // the inner resource refers to the one at hand
	slot string // "pat" or "enc"; "" for ref
	p    int64  // the parameter in ref
}

// chain adds the alternatives of a chained parameter.
func (cp *compiler) chain(p *pred, cl *search.Clause, q *search.Param) error {
	for _, alt := range cl.Chain {
		inner, err := cp.inner(alt.Target, alt.Next)
		if err != nil {
			return err
		}
		if inner == nil {
			continue
		}
		for _, l := range cp.links(q, "", alt.Target) {
			if err := cp.nested(p, l, inner); err != nil {
				return err
			}
		}
	}
	return nil
}

// has adds the alternatives of a reverse chain.
func (cp *compiler) has(p *pred, h *search.Has) error {
	inner, err := cp.inner(h.Type, h.Next)
	if err != nil || inner == nil {
		return err
	}
	from := &compiler{s: cp.s, c: cp.c, typ: h.Type, lay: cp.s.layouts.of(h.Type)}
	for _, l := range from.links(h.Ref, "", cp.typ) {
		l.back = true
		if err := cp.nested(p, l, inner); err != nil {
			return err
		}
	}
	return nil
}

// links are the places that hold the references of q to one type.
func (cp *compiler) links(q *search.Param, only, target string) []link {
	if q.PartTarget != "" {
		only = q.PartTarget
	}
	var out []link
	for _, part := range q.Parts {
		out = append(out, cp.links(part, only, target)...)
	}
	if len(q.Parts) > 0 || only != "" && only != target {
		return out
	}
	switch {
	case q == cp.lay.patient && target == "Patient":
		return []link{{slot: "pat"}}
	case q == cp.lay.enc && target == "Encounter":
		return []link{{slot: "enc"}}
	}
	if id := cp.s.paramID(q); id != 0 {
		return []link{{p: id}}
	}
	return nil
}

// inner plans the search for the resources that a chain leads to; nil when
// there are none.
func (cp *compiler) inner(typ string, cl *search.Clause) (*plan, error) {
	q := &search.Query{Types: []string{typ}, Where: []*search.Clause{cl}}
	if len(cl.All) > 0 && !cl.Negate {
		q.Where = cl.All
	}
	pl, err := cp.s.plan(cp.ctx, cp.c, q, typ, "")
	if err != nil || pl == nil || len(pl.post) == 0 {
		return pl, err
	}
	r := &run{s: cp.s, ctx: cp.ctx, c: cp.c, q: q}
	hits, err := r.fill(nil, pl, nil, listLimit+1)
	if err != nil {
		return nil, err
	}
	if len(hits) > listLimit {
		return nil, fault.At(fault.TooCostly, "too-costly", "", "%s: more than %d resources of type %s match what stands behind the reference", cl.Name, listLimit, typ)
	}
	if len(hits) == 0 {
		return nil, nil
	}
	a := alt{table: "res", unique: true, k: cond{text: "r.rid IN (" + marks(len(hits)) + ")"}}
	for i := range hits {
		a.k.args = append(a.k.args, hits[i].row.rid())
	}
	return &plan{typ: typ, t: pl.t, dialect: pl.dialect, driver: &pred{name: "list", rank: rankID, alts: []alt{a}}}, nil
}

// listLimit bounds the resources that stand as a list in a statement.
const listLimit = 10_000

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

// nested adds one alternative.
func (cp *compiler) nested(p *pred, l link, inner *plan) error {
	n := &nest{link: l, inner: inner}
	if err := n.count(cp.c, min(sizeFirst, cp.s.opt.Limits.Gather), cp.s.opt.Limits.Gather); err != nil {
		return err
	}
	a := alt{table: "res", nest: n}
	switch {
	case l.back:
		a.unique = true
		a.k.text = "r.rid IN ("
	case l.slot != "":
		a.unique, a.index = true, "res_"+l.slot
		a.k.text = "r." + l.slot + " IN ("
	default:
		a.table = "ref"
		a.k.text, a.k.args = "k.p=? AND k.h IN (", []any{l.p}
	}
	p.filterOnly = p.filterOnly || n.huge
	p.alts = append(p.alts, a)
	return nil
}

// count counts the inner resources up to a limit, of the last of which they are huge.
func (n *nest) count(c *db.Conn, limit, last int) error {
	size, err := n.inner.size(c, limit)
	n.size, n.more, n.huge = size, size >= limit && limit < last, size >= last
	return err
}

// resolve counts the inner resources of a predicate as far as they may be
// gathered; when there are more, it only filters.
func (p *pred) resolve(c *db.Conn, last int) error {
	for i := range p.alts {
		n := p.alts[i].nest
		if n == nil || !n.more {
			continue
		}
		if err := n.count(c, last, last); err != nil {
			return err
		}
		p.filterOnly = p.filterOnly || n.huge
	}
	return nil
}

// unsure reports whether resolve may find that a predicate only filters.
func (p *pred) unsure() bool {
	return slices.ContainsFunc(p.alts, func(a alt) bool { return a.nest != nil && a.nest.more })
}

// size counts the rows of a plan, up to limit.
func (pl *plan) size(c *db.Conn, limit int) (n int, err error) {
	b := &sqlb{d: pl.dialect}
	b.w("SELECT count(*) FROM (SELECT rid FROM (")
	pl.compound(b, nil, nil)
	b.w(") q LIMIT ?+0) q", limit)
	err = c.Query(string(b.text), func(st *db.Stmt) error { n = int(st.ColInt(0)); return nil }, b.args...)
	return n, err
}

// gather writes the list of the links of the inner resources, and closes the
// parenthesis before it.
func (n *nest) gather(b *sqlb) {
	b.depth++
	pl := *n.inner
	pl.sort, pl.cols = nil, nil
	if n.link.back {
		pl.out = n.link
	}
	pl.compound(b, nil, nil)
	b.depth--
	b.w(")")
}

// filter writes the test of one row at hand.
func (n *nest) filter(b *sqlb) {
	outer := b.letter("r")
	b.depth++
	defer func() { b.depth-- }()
	if n.link.back && n.link.slot == "pat" {
		if a := n.inner.tokens(); a != nil {
			b.w("EXISTS (SELECT 1 FROM ")
			b.as("tok", "k", "")
			b.w(" WHERE ")
			b.cond(a.k)
			b.w(" AND k.pat=")
			b.raw(outer + ".rid")
			b.closeExists()
			return
		}
	}
	b.w("EXISTS (SELECT 1 FROM ")
	switch l := n.link; {
	case l.slot != "" && l.back:
		b.as("res", "r", "res_"+l.slot)
		b.w(" WHERE r." + l.slot + "=")
		b.raw(outer + ".rid")
	case l.slot != "":
		b.as("res", "r", "")
		b.w(" WHERE r.rid=")
		b.raw(outer + "." + l.slot)
	case l.back:
		b.as("ref", "g", "")
		b.w(" CROSS JOIN res "+b.letter("r")+" WHERE r.rid=g.rid AND g.p=? AND g.h=", l.p)
		b.raw(outer + ".rid")
	default:
		b.as("ref", "g", "ref_rid")
		b.w(" CROSS JOIN res "+b.letter("r")+" WHERE r.rid=g.h AND g.p=? AND g.rid=", l.p)
		b.raw(outer + ".rid")
	}
	b.w(" AND r.t=?", n.inner.t)
	if d := n.inner.driver; !d.whole {
		b.w(" AND ")
		d.filter(b)
	}
	for _, f := range n.inner.filters {
		b.w(" AND ")
		f.filter(b)
	}
	b.closeExists()
}

// tokens returns the only range of a plan when it is one of tok, whose rows
// carry the patient, and nothing else is asked for.
func (pl *plan) tokens() *alt {
	if len(pl.filters) == 0 && len(pl.driver.alts) == 1 && pl.driver.alts[0].patient {
		return &pl.driver.alts[0]
	}
	return nil
}

// yields says what the statement of a plan selects: its rids, or the resources
// that those refer to by the link. row asks for the narrow row beside an index.
func (l link) yields(a *alt, rid string) (out string, row bool) {
	switch {
	case !l.back:
		return rid, false
	case l.slot == "pat" && a.patient:
		return "k.pat", false
	case l.slot != "":
		return "r." + l.slot, true
	}
	return "g.h", false
}
