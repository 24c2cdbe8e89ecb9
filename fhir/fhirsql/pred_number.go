package fhirsql

import (
	"slices"
	"strconv"

	"github.com/hygeia-health/hygeia/spec/search"
)

// numConds are the rules of search.Op for the stored range [s, e], as ranges
// of the index on s. Where the end e counts, values that are no ranges are
// found by s, which is the same, and the few true ranges by an index of their own.
func numConds(x search.Value, s, e string) []cond {
	exact, long := s+"="+e+" AND ", e+">"+s+" AND "
	switch x.Op {
	case search.OpNe:
		return []cond{{"(" + s + "<? OR " + e + ">=?)", []any{x.NumLo, x.NumHi}}}
	case search.OpLt:
		return []cond{{s + "<?", []any{x.Num}}}
	case search.OpLe:
		return []cond{{s + "<=?", []any{x.Num}}}
	case search.OpGt:
		return []cond{{exact + s + ">?", []any{x.Num}}, {long + e + ">?", []any{x.Num}}}
	case search.OpGe:
		return []cond{{exact + s + ">=?", []any{x.Num}}, {long + e + ">=?", []any{x.Num}}}
	case search.OpSa:
		return []cond{{s + ">?", []any{x.Num}}}
	case search.OpEb:
		return []cond{{s + "<? AND " + e + "<?", []any{x.Num, x.Num}}}
	case search.OpAp:
		return []cond{{exact + s + ">=? AND " + s + "<?", []any{x.NumLo, x.NumHi}},
			{long + s + "<? AND " + e + ">=?", []any{x.NumHi, x.NumLo}}}
	}
	return []cond{{s + ">=? AND " + s + "<? AND " + e + "<?", []any{x.NumLo, x.NumHi, x.NumHi}}}
}

// number adds the range of one number or quantity. A quantity whose unit has
// a name beside its code has a second row for it, which only a search by unit
// without system may use.
func (cp *compiler) number(p *pred, q *search.Param, v search.Value) {
	id := cp.s.paramID(q)
	if id == 0 {
		return
	}
	cp.amounts(p, q, id, v)
	for _, code := range cp.otherUnits(v) {
		if x, ok := v.InUnit(code); ok {
			cp.amounts(p, q, id, x)
		}
	}
}

// otherUnits are the units that occur and that a quantity may also be given in.
func (cp *compiler) otherUnits(v search.Value) []string {
	if !v.Convert {
		return nil
	}
	all := cp.s.units.all()
	slices.Sort(all)
	return slices.DeleteFunc(all, func(code string) bool { return code == v.Code })
}

// amounts adds the ranges of a quantity in one unit.
func (cp *compiler) amounts(p *pred, q *search.Param, id int64, v search.Value) {
	unit, ok := cp.unit(v, "k.s", "k.c")
	if !ok {
		return
	}
	yu, _ := cp.unit(v, "y.s", "y.c")
	ks, ys := numConds(v, "k.v", "k.w"), numConds(v, "y.v", "y.w")
	for i, k := range ks {
		a := alt{table: "qty", order: []string{"k.v", "k.w", "k.s", "k.c"}, unique: q.Single && !(v.HasCode && !v.HasSystem)}
		if i == 1 {
			a.index = "qty_long"
		}
		a.k = cond{"k.p=? AND " + k.text + unit.text, append(append([]any{id}, k.args...), unit.args...)}
		a.again = "(y.v<k.v OR y.v=k.v AND (y.w<k.w OR y.w=k.w AND (y.s<k.s OR y.s=k.s AND y.c<k.c))) AND " + ys[i].text + yu.text
		a.againArgs = append(slices.Clone(ys[i].args), yu.args...)
		p.alts = append(p.alts, a)
	}
}

// unit is the condition on the unit of a quantity; false when no stored quantity has its system.
func (cp *compiler) unit(v search.Value, s, c string) (cond, bool) {
	switch {
	case v.HasSystem:
		var sys int64
		if v.System != "" {
			if sys = cp.s.systems.id(v.System); sys == 0 {
				return cond{}, false
			}
		}
		if v.HasCode {
			return cond{" AND " + s + "=? AND " + c + "=?", []any{sys, short(v.Code)}}, true
		}
		return cond{" AND " + s + "=?", []any{sys}}, true
	case v.HasCode:
		return cond{" AND " + c + "=?", []any{short(v.Code)}}, true
	}
	return cond{" AND " + s + "<>" + strconv.Itoa(unitOnly), nil}, true
}
