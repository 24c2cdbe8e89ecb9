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
	switch cl.Modifier {
	case "contains":
		a.k = cond{"k.p=? AND " + cp.s.dialect.instr + "(k.v, ?)>0", []any{id, v.Norm}}
		a.again, a.againArgs = "y.v<k.v AND "+cp.s.dialect.instr+"(y.v, ?)>0", []any{v.Norm}
		p.rank = rankWide
	case "exact":
		a.k = cond{"k.p=? AND k.v=?", []any{id, v.Norm}}
		a.unique, a.order = true, nil
		p.post = cl
	default:
		a.k = cond{"k.p=? AND k.v>=? AND k.v<?", []any{id, v.Norm, v.Norm + "\U0010FFFF"}}
		a.again, a.againArgs = "y.v<k.v AND y.v>=?", []any{v.Norm}
	}
	p.alts = append(p.alts, a)
}
