package fhirsql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// sortKey is one key of _sort as SQL on r.
type sortKey struct {
	expr string
	args []any
	desc bool
	walk *walk // an index in the order of the key; nil = none
}

func (cp *compiler) sortKey(k search.Sort) (sortKey, error) {
	out := sortKey{desc: k.Desc}
	if k.Param == nil {
		out.expr = "r.seq"
		if k.Special == "_id" {
			out.expr = "(SELECT y.id FROM body y WHERE y.rid=r.rid)"
			out.walk = cp.walkIDs()
		}
		return out, nil
	}
	if k.Via != nil {
		return cp.sortVia(k)
	}
	p := k.Param
	if p.Type != cp.typ { // the same code on another type of a search over several
		if p = cp.s.reg.Param(cp.typ, p.Code); p == nil {
			out.expr = "NULL"
			return out, nil
		}
	}
	for len(p.Parts) == 1 {
		p = p.Parts[0]
	}
	one := func(table string) {
		best := "min(y."
		if k.Desc {
			best = "max(y."
		}
		out.expr = "(SELECT " + best + orders[table][0] + ") FROM " + table + " y" + cp.s.dialect.indexedBy(rowsOf[table]) + " WHERE y.rid=r.rid AND y.p=?)"
		out.args = []any{cp.s.paramID(p)}
		out.walk = cp.walkRows(table, p, k.Desc)
	}
	switch n := cp.lay.dateSlot(p); {
	case len(p.Parts) > 0, p.Kind == search.Reference, p.Kind == search.Composite, p.Kind == search.Special, p.Unsupported != "":
		return out, fault.At(fault.Invalid, "not-supported", "", "cannot sort by %s", p.Code)
	case n > 0:
		out.expr = "r.d" + strconv.Itoa(n)
		if n > 1 { // the index of the first has the resources without a value, too
			out.walk = cp.walkSlot(n, p)
		}
	case p.Kind == search.Date:
		one("dat")
	case p.Kind == search.String:
		one("str")
	case p.Kind == search.Number, p.Kind == search.Quantity:
		one("qty")
	default:
		one("tok")
		if p == cp.lay.status {
			out.expr, out.args = "(SELECT y.name FROM sys y WHERE y.id=r.st)", nil
		}
	}
	return out, nil
}

// sortVia is the key of a resource that a reference leads to: the text of a key
// on r becomes one on x.
func (cp *compiler) sortVia(k search.Sort) (sortKey, error) {
	far := &compiler{s: cp.s, ctx: cp.ctx, c: cp.c, typ: k.Target, t: cp.s.types.id(k.Target), lay: cp.s.layouts.of(k.Target)}
	out, err := far.sortKey(search.Sort{Param: k.Param, Desc: k.Desc})
	out.walk = nil
	if err != nil {
		return out, err
	}
	best := "min("
	if k.Desc {
		best = "max("
	}
	expr := strings.ReplaceAll(out.expr, "r.", "x.")
	args := out.args
	out.expr, out.args = "NULL", nil
	for _, l := range cp.links(k.Via, "", k.Target) {
		if l.slot != "" {
			out.expr = "(SELECT " + expr + " FROM res x WHERE x.rid=r." + l.slot + " AND x.t=?)"
			out.args = append(slices.Clone(args), far.t)
			return out, nil
		}
		out.expr = "(SELECT " + best + expr + ") FROM ref g CROSS JOIN res x WHERE g.rid=r.rid AND g.p=? AND x.rid=g.h AND x.t=?)"
		out.args = append(slices.Clone(args), l.p, far.t)
	}
	return out, nil
}
