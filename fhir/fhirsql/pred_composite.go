package fhirsql

import (
	"slices"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// composite adds the range of a token-quantity combination. Any other
// combination is searched by the entries of its first part that has an index
// of its own, and checked against the body.
func (cp *compiler) composite(p *pred, cl *search.Clause, q *search.Param, v search.Value) error {
	if len(v.Parts) != len(q.Components) {
		return fault.At(fault.Invalid, "value", "", "the parameter %s wants %d parts joined by $", cl.Name, len(q.Components))
	}
	if isTokenQuantity(q) {
		done, err := cp.tokenQuantity(p, q, v)
		if done || err != nil {
			return err
		}
	}
	p.post = cl
	for i, comp := range q.Components {
		own := cp.s.reg.Param(cp.typ, comp.Param.Code)
		if own == nil || own.Unsupported != "" || own.Kind != comp.Param.Kind || own.URL != comp.Param.URL {
			continue
		}
		return cp.values(p, cl, own, "", v.Parts[i])
	}
	p.rank = rankWide
	p.alts = append(p.alts, everything())
	return nil
}

// tokenQuantity adds ranges of cvq, unless the shape of the value needs the body.
func (cp *compiler) tokenQuantity(p *pred, q *search.Param, v search.Value) (bool, error) {
	tok, num := v.Parts[0], v.Parts[1]
	if !tok.HasCode || num.HasCode && !num.HasSystem || num.Op == search.OpNe {
		return false, nil
	}
	for _, code := range cp.otherUnits(num) {
		if x, ok := num.InUnit(code); ok {
			x.Convert = false
			if _, err := cp.tokenQuantity(p, q, search.Value{Parts: []search.Value{tok, x}}); err != nil {
				return true, err
			}
		}
	}
	id := cp.s.paramID(q)
	if id == 0 {
		return true, nil
	}
	unit, ok := cp.unit(num, "k.us", "k.uc")
	if !ok {
		return true, nil
	}
	if !num.HasSystem && !num.HasCode {
		unit = cond{}
	}
	systems := []int64{0}
	switch {
	case !tok.HasSystem:
		var err error
		if systems, err = cp.distinctSystems("cvq", id, tok.Code); err != nil {
			return true, err
		}
	case tok.System != "":
		if systems[0] = cp.s.systems.id(tok.System); systems[0] == 0 {
			return true, nil
		}
	}
	single := slices.ContainsFunc(cp.lay.pairs, func(x pair) bool { return x.param == q })
	for i, k := range numConds(num, "k.v", "k.w") {
		for _, s := range systems {
			a := alt{table: "cvq", order: []string{"k.v", "k.w", "k.us", "k.uc"}, unique: single,
				k: cond{"k.p=? AND k.c=? AND k.s=? AND " + k.text + unit.text, append(append([]any{id, short(tok.Code), s}, k.args...), unit.args...)}}
			if i == 1 {
				a.index = "cvq_long"
			}
			p.alts = append(p.alts, a)
		}
	}
	p.rank = min(p.rank, rankUnique+1)
	return true, nil
}
