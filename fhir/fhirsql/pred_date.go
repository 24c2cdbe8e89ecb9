package fhirsql

import (
	"slices"
	"strconv"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/spec/search"
)

// lastUpdated compares the seq of the current version: the time t in
// milliseconds is the range [t<<20, (t+1)<<20).
func (cp *compiler) lastUpdated(p *pred, cl *search.Clause) *pred {
	for _, v := range cl.Values {
		lo := int64(fhir.SeqAtMilli(v.Lo))
		hi := int64(fhir.SeqAtMilli(v.Hi + 1)) // exclusive
		var k cond
		switch v.Op {
		case search.OpNe:
			k = cond{"(r.seq<? OR r.seq>=?)", []any{lo, hi}}
		case search.OpLt, search.OpEb:
			k = cond{"r.seq<?", []any{lo}}
		case search.OpLe:
			k = cond{"r.seq<?", []any{hi}}
		case search.OpGt, search.OpSa:
			k = cond{"r.seq>=?", []any{hi}}
		case search.OpGe:
			k = cond{"r.seq>=?", []any{lo}}
		default:
			k = cond{"r.seq>=? AND r.seq<?", []any{lo, hi}}
		}
		p.alts = append(p.alts, alt{table: "res", k: k, unique: true, index: "res_seq", order: []string{"r.seq"}})
	}
	p.rank = rankWide
	return p
}

const (
	longSpan   = 86400000      // a day: longer slots have an index of their own
	longerSpan = 40 * longSpan // and so have those that are longer than this
)

// date adds the ranges of one date value; see search.Op for the rules. The
// start of a slot is indexed; its end is not, but only periods longer than a
// day end more than a day after they start, and those have their own index, as
// have the few that are longer than forty days.
func (cp *compiler) date(p *pred, q *search.Param, v search.Value) {
	n := cp.lay.dateSlot(q)
	if n == 0 {
		if id := cp.s.paramID(q); id != 0 {
			k := cond{"k.p=? AND ", []any{id}}
			c := dateCond(v, "k.lo", "k.hi")
			y := dateCond(v, "y.lo", "y.hi")
			p.alts = append(p.alts, alt{table: "dat", order: []string{"k.lo", "k.hi"}, unique: q.Single,
				k: cond{k.text + c.text, append(k.args, c.args...)}, again: "(y.lo<k.lo OR y.lo=k.lo AND y.hi<k.hi) AND " + y.text, againArgs: y.args})
		}
		return
	}
	if len(p.alts) == 0 {
		p.slot = n
	} else {
		p.slot = 0 // alternatives
	}
	d, e := "r.d"+strconv.Itoa(n), "r.e"+strconv.Itoa(n)
	c := dateCond(v, d, d+"+"+e)
	a := alt{table: "res", index: "res_d" + strconv.Itoa(n), unique: true, order: []string{d}}
	with := func(text string, args ...any) {
		b := a
		b.k = cond{text + c.text, append(args, c.args...)}
		p.alts = append(p.alts, b)
	}
	switch v.Op {
	case search.OpEq:
		with(d+">=? AND "+d+"<=? AND ", v.Lo, v.Hi)
	case search.OpLt, search.OpEb:
		with(d+"<? AND ", v.Lo)
	case search.OpLe:
		with(d+"<=? AND ", v.Hi)
	case search.OpSa:
		with(d+">? AND ", v.Hi)
	case search.OpNe:
		p.rank = rankWide
		with(d + " IS NOT NULL AND ")
	default: // gt, ge, ap, overlap: the end counts, but for what starts late enough
		from := v.Lo
		if v.Op == search.OpGt {
			from = v.Hi + 1
		}
		b := a
		b.k = cond{d + ">=?", []any{from}}
		if v.Op == search.OpAp || v.Op == search.OpOverlap {
			b.k = cond{d + ">=? AND " + d + "<=?", []any{from, v.Hi}}
		}
		p.alts = append(p.alts, b)
		with(e+"<=? AND "+d+"<? AND "+d+">=? AND ", longSpan, from, from-longSpan)
		a.index = "res_e" + strconv.Itoa(n)
		with(e+">"+strconv.Itoa(longSpan)+" AND "+e+"<=? AND "+d+"<? AND "+d+">=? AND ", longerSpan, from, from-longerSpan)
		a.index = "res_f" + strconv.Itoa(n)
		with(e+">"+strconv.Itoa(longerSpan)+" AND "+d+"<? AND ", from)
	}
}

// dateCond is the rule of search.Op for the stored range [s, e].
func dateCond(v search.Value, s, e string) cond {
	switch v.Op {
	case search.OpNe:
		return cond{"(" + s + "<? OR " + e + ">?)", []any{v.Lo, v.Hi}}
	case search.OpLt:
		return cond{s + "<?", []any{v.Lo}}
	case search.OpLe:
		return cond{s + "<=?", []any{v.Hi}}
	case search.OpGt:
		return cond{e + ">?", []any{v.Hi}}
	case search.OpGe:
		return cond{e + ">=?", []any{v.Lo}}
	case search.OpSa:
		return cond{s + ">?", []any{v.Hi}}
	case search.OpEb:
		return cond{e + "<?", []any{v.Lo}}
	case search.OpAp, search.OpOverlap:
		return cond{"(" + s + "<=? AND " + e + ">=?)", []any{v.Hi, v.Lo}}
	}
	return cond{"(" + s + ">=? AND " + e + "<=?)", []any{v.Lo, v.Hi}}
}

// windows joins a range of a date that is open above with one that is open
// below: date=ge2010&date=lt2012 is one range of the index. A slot holds one
// value, so that both hold for the same.
func windows(preds []*pred) []*pred {
	for i, p := range preds {
		for j, q := range preds {
			if i == j || p.slot == 0 || p.slot != q.slot || len(q.alts) != 1 || p.filterOnly || q.filterOnly || len(p.alts) < len(q.alts) {
				continue
			}
			out := *p
			out.name = p.name + "&" + q.name
			out.alts = nil
			for _, a := range p.alts {
				a.k = cond{a.k.text + " AND " + q.alts[0].k.text, append(slices.Clone(a.k.args), q.alts[0].k.args...)}
				out.alts = append(out.alts, a)
			}
			rest := slices.DeleteFunc(slices.Clone(preds), func(x *pred) bool { return x == q })
			rest[slices.Index(rest, p)] = &out
			return windows(rest)
		}
	}
	return preds
}
