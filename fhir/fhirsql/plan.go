package fhirsql

import (
	"context"
	"slices"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/spec/search"
)

// plan is how one type is searched: a driver whose index ranges are walked,
// filters that test each candidate, clauses that are checked against bodies.
type plan struct {
	typ     string
	t       int64
	dialect dialect
	out     link // what a gathered plan yields instead of its rids
	driver  *pred
	filters []*pred
	post    []*search.Clause
	access  *search.Access // rules that only the body decides; nil = none
	sort    []sortKey
	cols    []string // natural order of the driver before rid; without sort only
}

// plan compiles q for one type; nil when nothing can match.
func (s *Store) plan(ctx context.Context, c *db.Conn, q *search.Query, typ string) (*plan, error) {
	cp := &compiler{s: s, ctx: ctx, c: c, typ: typ, t: s.types.id(typ), lay: s.layouts.of(typ)}
	if cp.t == 0 {
		return nil, nil
	}
	pl := &plan{typ: typ, t: cp.t, dialect: s.dialect}
	within, where, ok := pl.restrict(q, typ)
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
	for i, k := range q.Sort {
		sk, err := cp.sortKey(k, i)
		if err != nil {
			return nil, err
		}
		pl.sort = append(pl.sort, sk)
	}
	return pl, pl.choose(c, preds)
}

// restrict adds what Query.Access demands. One rule is part of the query like
// any other; of several, the compartment that all have in common is, and the
// bodies decide the rest. ok is false when nothing of the type can be seen.
func (pl *plan) restrict(q *search.Query, typ string) (within *search.CompartmentRef, where []*search.Clause, ok bool) {
	if q.Access == nil || q.Access.Open(typ) {
		return nil, q.Where, true
	}
	rules := q.Access.Types[typ]
	if len(rules) == 0 {
		return nil, nil, false
	}
	if len(rules) == 1 {
		return rules[0].Compartment, append(slices.Clone(q.Where), rules[0].Where...), true
	}
	pl.access = q.Access
	within = rules[0].Compartment
	for _, r := range rules[1:] {
		if r.Compartment != within {
			within = nil
		}
	}
	return within, q.Where, true
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
		if i < 0 || j < 0 {
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
		if whole && len(p.alts) > 0 {
			preds = append(preds, p)
			a, b := rest[i], rest[j]
			rest = slices.DeleteFunc(slices.Clone(rest), func(c *search.Clause) bool { return c == a || c == b })
		}
	}
	return preds, rest, nil
}

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
		rid, err := lookup(cp.c, cp.t, ref.ID)
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

// choose picks the driver. A patient turns every token range into one prefix;
// else the best kind of path wins, and ties are broken by counting a little.
func (pl *plan) choose(c *db.Conn, preds []*pred) error {
	var drivers []*pred
	for _, p := range preds {
		if !p.filterOnly {
			drivers = append(drivers, p)
		}
	}
	slices.SortStableFunc(drivers, func(a, b *pred) int { return a.rank - b.rank })
	var patient *pred
	for _, p := range drivers {
		if len(p.alts) == 1 && p.alts[0].k.text == patientIs {
			patient = p
		}
	}
	switch {
	case len(drivers) == 0:
		pl.driver = &pred{name: "type", whole: true, rank: rankWide, alts: []alt{everything()}}
	case patient != nil && drivers[0].rank >= rankPatient:
		pl.driver = patient
		for _, p := range drivers {
			if n := p.narrowed(patient); n != nil {
				pl.driver = n
				preds = slices.DeleteFunc(slices.Clone(preds), func(x *pred) bool { return x == p || x == patient })
				break
			}
		}
	case len(drivers) == 1 || drivers[0].rank == rankID:
		pl.driver = drivers[0]
	default:
		if err := pl.cheapest(c, drivers); err != nil {
			return err
		}
	}
	for _, p := range preds {
		if p != pl.driver {
			pl.filters = append(pl.filters, p)
		}
	}
	if err := pl.preferWalk(c); err != nil {
		return err
	}
	pl.cols = pl.driver.order()
	return nil
}

// probe is how many rows of a range are counted to compare paths.
const probe = 1000

func (pl *plan) cheapest(c *db.Conn, drivers []*pred) error {
	least := int64(probe)
	pl.driver = drivers[0]
	for _, p := range drivers {
		n, err := pl.estimate(c, p, least)
		if err != nil {
			return err
		}
		if n < least {
			least, pl.driver = n, p
		}
	}
	return nil
}

// estimate counts the rows of a path, up to limit.
func (pl *plan) estimate(c *db.Conn, p *pred, limit int64) (n int64, err error) {
	for i := range p.alts {
		b := &sqlb{d: pl.dialect}
		b.w("SELECT count(*) FROM (SELECT 1 FROM ")
		a := &p.alts[i]
		if a.table == "res" {
			b.as("res", "r", a.index)
			b.w(" WHERE r.t=? AND ", pl.t)
		} else {
			b.as(a.table, "k", a.index)
			b.w(" WHERE ")
		}
		b.walk(a)
		b.w(" LIMIT ?) n", limit)
		err := c.Query(string(b.text), func(st *db.Stmt) error { n += st.ColInt(0); return nil }, b.args...)
		if err != nil || n >= limit {
			return limit, err
		}
	}
	return n, nil
}

// sortLimit is how many candidates are sorted rather than walked in order.
const sortLimit = 1000

// preferWalk walks the index of the sort key when the driver would give too
// many candidates to sort: they are frequent, so the walk finds them soon.
func (pl *plan) preferWalk(c *db.Conn) error {
	if len(pl.sort) != 1 || pl.sort[0].expr != "r.d1" && pl.sort[0].expr != "r.seq" || pl.driver.rank < rankOther {
		return nil
	}
	if !pl.driver.whole {
		n, err := pl.estimate(c, pl.driver, sortLimit)
		if err != nil || n < sortLimit {
			return err
		}
		pl.filters = append(pl.filters, pl.driver)
	}
	walk := everything()
	walk.index = map[string]string{"r.d1": "res_d1", "r.seq": "res_seq"}[pl.sort[0].expr]
	pl.driver = &pred{name: "walk", whole: true, rank: rankWide, alts: []alt{walk}}
	return nil
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
