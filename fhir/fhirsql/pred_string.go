package fhirsql

import (
	"github.com/hygeia-health/hygeia/spec/search"
)

func (cp *compiler) str(p *pred, cl *search.Clause, q *search.Param, v search.Value) {
	id := cp.s.paramID(q)
	if id == 0 {
		return
	}
	a := alt{table: "str", unique: q.Single, order: []string{"k.v"}, again: "y.v<k.v"}
	norm, d := v.Norm, cp.s.dialect
	switch cl.Modifier {
	case "contains", "ends":
		test := func(col string) string { return d.instr + "(" + col + ", ?)>0" }
		if d.cuts { // what was cut off may contain it as well
			test = func(col string) string {
				return "(" + d.instr + "(" + col + ", ?)>0 OR " + d.instr + "(" + col + ", '" + cut + "')>0)"
			}
		}
		if d.cuts || cl.Modifier == "ends" {
			p.post = cl
		}
		a.k = cond{"k.p=? AND " + test("k.v"), []any{id, norm}}
		a.again, a.againArgs = "y.v<k.v AND "+test("y.v"), []any{norm}
		p.rank = rankWide
	case "equals":
		a.k = cond{"k.p=? AND k.v=?", []any{id, d.str(norm)}}
		a.unique, a.order = true, nil
		if d.str(norm) != norm {
			p.post = cl
		}
	case "gt", "ge", "lt", "le":
		op := map[string]string{"gt": ">", "ge": ">=", "lt": "<", "le": "<="}[cl.Modifier]
		if d.str(norm) != norm { // what is cut off decides among those that begin so
			norm, op, p.post = prefix(norm, maxKey-1), map[byte]string{'g': ">=", 'l': "<="}[op[0]], cl
		}
		a.k = cond{"k.p=? AND k.v" + op + "?", []any{id, norm}}
		a.again, a.againArgs = "y.v<k.v AND y.v"+op+"?", []any{norm}
		p.rank = rankWide
	case "exact":
		a.k = cond{"k.p=? AND k.v=?", []any{id, d.str(norm)}}
		a.unique, a.order = true, nil
		p.post = cl
	default:
		if d.cuts && len(norm) >= maxKey {
			norm, p.post = prefix(norm, maxKey-1), cl
		}
		a.k = cond{"k.p=? AND k.v>=? AND k.v<?", []any{id, norm, norm + last}}
		a.again, a.againArgs = "y.v<k.v AND y.v>=?", []any{norm}
	}
	p.alts = append(p.alts, a)
}
