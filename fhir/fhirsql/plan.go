package fhirsql

import (
	"context"
	"slices"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/spec/search"
)

// plan is how one type is searched: a driver whose index ranges are walked,
// filters that test each candidate, clauses that are checked against bodies.
type plan struct {
	s       *Store // nil where nothing is chosen
	typ     string
	t       int64
	dialect dialect
	limits  Limits
	out     link // what a gathered plan yields instead of its rids
	driver  *pred
	filters []*pred
	post    []*search.Clause
	access  *search.Access // rules that only the body decides; nil = none
	sort    []sortKey
	path    string // the name of the path in page tokens
	// fallback, if set, is the plan to take when the matches turn out to be
	// sparse along the walk of this one. Both give the same order.
	fallback *plan
	// listed, if set, is a walk of bound steps to try before the driver is sorted,
	// which is one by the rows of the driver among all of the type; see list.
	listed       *plan
	bound, among int64
	// then, if set, is the plan that goes on behind the last row of this one,
	// and whole one that finds the same in any order.
	then, whole *plan
	few         bool // the driver has few rows
	// others, if set, lists what the only clause that narrows the walk, a :not,
	// may leave.
	others  func() (*pred, error)
	natural bool     // sort lists columns of the index of the driver, in its order
	twice   bool     // rows of resources that came before are wanted, too
	fresh   bool     // the place of the page token lies before all rows
	cols    []string // natural order of the driver before rid; without sort only
}

// plan compiles q for one type; nil when nothing can match.
func (s *Store) plan(ctx context.Context, c *db.Conn, q *search.Query, typ, path string) (*plan, error) {
	cp := &compiler{s: s, ctx: ctx, c: c, typ: typ, t: s.types.id(typ), lay: s.layouts.of(typ)}
	if cp.t == 0 {
		return nil, nil
	}
	pl := &plan{s: s, typ: typ, t: cp.t, dialect: s.dialect, limits: s.opt.Limits}
	within, where, ok := pl.restrict(q, typ, q.Clauses(typ, func(p *search.Param) bool { return s.paramID(p) != 0 }))
	if !ok {
		return nil, nil
	}
	preds, where, err := cp.pairs(where)
	if err != nil {
		return nil, err
	}
	for _, cl := range where {
		p, err := cp.clause(cl)
		if err != nil {
			return nil, err
		}
		if p == nil {
			return nil, nil
		}
		if p.post != nil {
			pl.post = append(pl.post, p.post)
		}
		preds = append(preds, p)
	}
	for _, c := range []*search.CompartmentRef{q.Compartment, within} {
		if c == nil {
			continue
		}
		p, err := cp.compartment(c)
		if err != nil || p == nil {
			return nil, err
		}
		preds = append(preds, p)
	}
	preds = windows(preds)
	for _, k := range q.Sort {
		sk, err := cp.sortKey(k)
		if err != nil {
			return nil, err
		}
		pl.sort = append(pl.sort, sk)
	}
	if len(q.Types) == 1 && len(pl.sort) > 0 && pl.sort[0].walk != nil {
		return pl.sorted(cp, preds, q, path)
	}
	return pl, pl.choose(c, preds, path)
}

// restrict adds to the clauses of the query what Query.Access demands. One rule is part of the query like
// any other; of several, the compartment that all have in common is, and the
// bodies decide the rest. ok is false when nothing of the type can be seen.
func (pl *plan) restrict(q *search.Query, typ string, own []*search.Clause) (within *search.CompartmentRef, where []*search.Clause, ok bool) {
	if q.Access == nil || q.Access.Open(typ) {
		return nil, own, true
	}
	rules := q.Access.Types[typ]
	if len(rules) == 0 {
		return nil, nil, false
	}
	if len(rules) == 1 {
		return rules[0].Compartment, append(slices.Clone(own), rules[0].Where...), true
	}
	pl.access = q.Access
	within = rules[0].Compartment
	for _, r := range rules[1:] {
		if r.Compartment != within {
			within = nil
		}
	}
	return within, own, true
}

// pairs finds a token clause and a quantity clause that together are a
// composite over the resource itself (code=..&value-quantity=..): the rows of
// the composite answer both at once. It returns the predicates made, and the
// clauses that are left.
func (cp *compiler) pairs(where []*search.Clause) (preds []*pred, rest []*search.Clause, err error) {
	rest = where
	for _, comp := range cp.s.layouts.of(cp.typ).pairs {
		i := slices.IndexFunc(rest, func(c *search.Clause) bool { return plain(c, comp.token) })
		j := slices.IndexFunc(rest, func(c *search.Clause) bool { return plain(c, comp.quantity) })
		if i < 0 || j < 0 || len(rest[i].Values)*len(rest[j].Values) > maxPairs {
			continue
		}
		p := &pred{name: comp.param.Code, rank: rankOther}
		whole := true
		for _, t := range rest[i].Values {
			for _, n := range rest[j].Values {
				done, err := cp.tokenQuantity(p, comp.param, search.Value{Parts: []search.Value{t, n}})
				if err != nil {
					return nil, nil, err
				}
				whole = whole && done
			}
		}
		if whole && len(p.alts) > 0 && len(p.alts) <= maxAlts {
			preds = append(preds, p)
			a, b := rest[i], rest[j]
			rest = slices.DeleteFunc(slices.Clone(rest), func(c *search.Clause) bool { return c == a || c == b })
		}
	}
	return preds, rest, nil
}

// maxPairs bounds the combinations that are asked for at once; above it each of
// the two parameters is a condition of its own.
const maxPairs = 64

// plain reports whether a clause is a simple test of p.
func plain(c *search.Clause, p *search.Param) bool {
	return c.Field == search.FieldParam && c.Modifier == "" && len(c.Chain) == 0 && c.Has == nil && slices.Contains(c.Params, p)
}

// compartment is the membership in a compartment: one of the references, or the resource itself.
func (cp *compiler) compartment(ref *search.CompartmentRef) (*pred, error) {
	p := &pred{name: "compartment", rank: rankOther}
	for _, q := range ref.Params[cp.typ] {
		if err := cp.values(p, &search.Clause{Name: q.Code}, q, "", search.Value{RefType: ref.Type, Code: ref.ID}); err != nil {
			return nil, err
		}
	}
	if ref.Self && ref.Type == cp.typ {
		rid, err := cp.s.rid(cp.c, fhir.Key{Type: cp.typ, ID: ref.ID})
		if err != nil {
			return nil, err
		}
		if rid != 0 {
			p.alts = append(p.alts, alt{table: "res", unique: true, k: cond{"r.rid=?", []any{rid}}})
		}
	}
	if len(p.alts) == 0 {
		return nil, nil
	}
	return p, nil
}

// narrowed returns a token path limited to one patient, nil if p is none.
func (p *pred) narrowed(patient *pred) *pred {
	if len(p.alts) == 0 || p.post != nil {
		return nil
	}
	out := *p
	out.name, out.rank, out.alts = "patient+"+p.name, rankPatient, nil
	for _, a := range p.alts {
		if !a.patient {
			return nil
		}
		a.k = cond{a.k.text + " AND k.pat=?", append(slices.Clone(a.k.args), patient.alts[0].k.args[0])}
		a.order = nil
		out.alts = append(out.alts, a)
	}
	return &out
}
