package fhirsql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// plan is how one type is searched: a driver whose index ranges are walked,
// filters that test each candidate, clauses that are checked against bodies.
type plan struct {
	typ     string
	t       int64
	driver  *pred
	filters []*pred
	post    []*search.Clause
	sort    []sortKey
	cols    []string // natural order of the driver before rid; without sort only
}

// sortKey is one key of _sort as SQL on r.
type sortKey struct {
	expr string
	args []any
	join string // a derived table that expr needs
	jarg []any
	desc bool
}

// plan compiles q for one type; nil when nothing can match.
func (s *Store) plan(c *db.Conn, q *search.Query, typ string) (*plan, error) {
	cp := &compiler{s: s, c: c, typ: typ, t: s.types.id(typ), lay: s.layouts.of(typ)}
	if cp.t == 0 {
		return nil, nil
	}
	pl := &plan{typ: typ, t: cp.t}
	preds, where, err := cp.pairs(q.Where)
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
	if q.Compartment != nil {
		p, err := cp.compartment(q.Compartment)
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
	return c.Field == search.FieldParam && c.Modifier == "" && c.Chain == nil && c.Has == nil && slices.Contains(c.Params, p)
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

func (cp *compiler) sortKey(k search.Sort, i int) (sortKey, error) {
	out := sortKey{desc: k.Desc}
	if k.Param == nil {
		out.expr = "r.seq"
		if k.Special == "_id" {
			out.expr = "(SELECT y.id FROM body y WHERE y.rid=r.rid)"
		}
		return out, nil
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
	best := func(col string) string {
		if k.Desc {
			return "max(y." + col + ")"
		}
		return "min(y." + col + ")"
	}
	one := func(table, lo, hi string) {
		col := lo
		if k.Desc {
			col = hi
		}
		out.expr = "(SELECT " + best(col) + " FROM " + table + " y WHERE y.rid=r.rid AND y.p=?)"
		out.args = []any{cp.s.paramID(p)}
	}
	switch n := cp.lay.dateSlot(p); {
	case len(p.Parts) > 0, p.Kind == search.Reference, p.Kind == search.Composite, p.Kind == search.Special, p.Unsupported != "":
		return out, fault.At(fault.Invalid, "not-supported", "", "cannot sort by %s", p.Code)
	case n > 0:
		out.expr = "r.d" + strconv.Itoa(n)
	case p.Kind == search.Date:
		one("dat", "lo", "hi")
	case p.Kind == search.String:
		one("str", "v", "v")
	case p.Kind == search.Number, p.Kind == search.Quantity:
		one("qty", "v", "w")
	case p == cp.lay.status:
		out.expr = "(SELECT y.name FROM sys y WHERE y.id=r.st)"
	default: // tokens and URIs have no index by resource: one pass over the parameter
		s := "s" + strconv.Itoa(i)
		out.join = " LEFT JOIN (SELECT y.rid AS rid, " + best("c") + " AS v FROM tok y WHERE y.p=? GROUP BY y.rid) " + s + " ON " + s + ".rid=r.rid"
		out.jarg = []any{cp.s.paramID(p)}
		out.expr = s + ".v"
	}
	return out, nil
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
		pl.driver = &pred{name: "type", rank: rankWide, alts: []alt{everything()}}
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
		b := &sqlb{}
		b.w("SELECT count(*) FROM (SELECT 1 FROM ")
		a := &p.alts[i]
		if a.table == "res" {
			b.w("res r"+indexedBy(a.index)+" WHERE r.t=? AND ", pl.t)
		} else {
			b.w(a.table + " k" + indexedBy(a.index) + " WHERE ")
		}
		b.cond(a.k)
		b.w(" LIMIT ?)", limit)
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
	if pl.driver.name != "type" {
		n, err := pl.estimate(c, pl.driver, sortLimit)
		if err != nil || n < sortLimit {
			return err
		}
		pl.filters = append(pl.filters, pl.driver)
	}
	walk := everything()
	walk.index = map[string]string{"r.d1": "res_d1", "r.seq": "res_seq"}[pl.sort[0].expr]
	pl.driver = &pred{name: "walk", rank: rankWide, alts: []alt{walk}}
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

// order returns the columns before rid in which the path can be walked without
// sorting. Several ranges are merged, which needs columns that a resource has
// only one value of: those of the narrow row, the patient, or of the one row
// that a single-valued parameter has.
func (p *pred) order() []string {
	first := p.alts[0].order
	if len(p.alts) == 1 {
		if a := &p.alts[0]; !a.unique && a.again == "" {
			return nil
		}
		return first
	}
	for i := range p.alts {
		a := &p.alts[i]
		own := a.table == "res" || a.table == "tok" || a.table == p.alts[0].table && a.k.args[0] == p.alts[0].k.args[0]
		if !a.unique || !own || !slices.Equal(a.order, first) {
			return nil
		}
	}
	return first
}

// keys writes the statement that yields the candidates: sort keys or order
// columns, then rid. after holds the values of the row before, nil at the start.
func (pl *plan) keys(after []any, limit int) *sqlb {
	b := &sqlb{}
	if len(pl.sort) > 0 {
		b.w("SELECT * FROM (")
		pl.compound(b, nil)
		b.w(") q")
		if after != nil {
			b.w(" WHERE ")
			pl.behind(b, after, 0)
		}
		b.w(" ORDER BY ")
		for i, k := range pl.sort {
			b.w("c" + strconv.Itoa(i) + dir(k.desc) + ", ")
		}
		b.w("rid"+dir(pl.ridDesc())+" LIMIT ?", limit)
		return b
	}
	pl.compound(b, after)
	b.w(" ORDER BY ")
	for i := range len(pl.cols) + 1 {
		if i > 0 {
			b.w(", ")
		}
		b.w(strconv.Itoa(i + 1))
	}
	b.w(" LIMIT ?", limit)
	return b
}

// ridDesc lets ties follow the last sort key, as its index has them.
func (pl *plan) ridDesc() bool { return pl.sort[len(pl.sort)-1].desc }

func dir(desc bool) string {
	if desc {
		return " DESC"
	}
	return ""
}

// behind writes the condition "after the row with these values" for sorted
// pages: NULL comes first ascending and last descending.
func (pl *plan) behind(b *sqlb, after []any, i int) {
	if i == len(pl.sort) {
		op := ">"
		if pl.ridDesc() {
			op = "<"
		}
		b.w("rid"+op+"?", after[i])
		return
	}
	c, v := "c"+strconv.Itoa(i), after[i]
	switch {
	case v == nil && pl.sort[i].desc:
		b.w("(" + c + " IS NULL AND ")
	case v == nil:
		b.w("(" + c + " IS NOT NULL OR " + c + " IS NULL AND ")
	case pl.sort[i].desc:
		b.w("("+c+"<? OR "+c+" IS NULL OR "+c+"=? AND ", v, v)
	default:
		b.w("("+c+">? OR "+c+"=? AND ", v, v)
	}
	pl.behind(b, after, i+1)
	b.w(")")
}

// compound writes one SELECT per range of the driver, joined by UNION.
func (pl *plan) compound(b *sqlb, after []any) {
	for i := range pl.driver.alts {
		if i > 0 {
			b.w(" UNION ")
		}
		pl.selectAlt(b, &pl.driver.alts[i], len(pl.driver.alts) == 1, after)
	}
}

func (pl *plan) selectAlt(b *sqlb, a *alt, alone bool, after []any) {
	rid := "k.rid"
	if a.table == "res" {
		rid = "r.rid"
	}
	b.w("SELECT ")
	if alone && !a.unique && (len(pl.cols) == 0 || len(pl.sort) > 0) {
		b.w("DISTINCT ")
	}
	if len(pl.sort) > 0 {
		for i, k := range pl.sort {
			b.w(k.expr+" AS c"+strconv.Itoa(i)+", ", k.args...)
		}
	} else {
		for _, c := range pl.cols {
			b.w(c + ", ")
		}
	}
	b.w(rid + " AS rid FROM ")
	if a.table == "res" {
		b.w("res r" + indexedBy(a.index))
	} else {
		b.w(a.table + " k" + indexedBy(a.index))
		if len(pl.filters) > 0 || len(pl.sort) > 0 {
			b.w(" CROSS JOIN res r ON r.rid=k.rid")
		}
	}
	for _, k := range pl.sort {
		b.w(k.join, k.jarg...)
	}
	b.w(" WHERE ")
	if a.table == "res" {
		b.w("r.t=? AND ", pl.t)
	}
	b.cond(a.k)
	if alone && !a.unique && len(pl.cols) > 0 && len(pl.sort) == 0 {
		b.w(" AND NOT EXISTS (SELECT 1 FROM "+a.table+" y WHERE y.rid=k.rid AND y.p=k.p AND "+a.again+")", a.againArgs...)
	}
	for _, f := range pl.filters {
		b.w(" AND ")
		f.filter(b)
	}
	if after != nil {
		cols := append(slices.Clone(pl.cols), rid)
		if len(cols) == 1 {
			b.w(" AND "+rid+">?", after[0])
		} else {
			b.w(" AND ("+strings.Join(cols, ",")+")>("+strings.TrimSuffix(strings.Repeat("?,", len(cols)), ",")+")", after...)
		}
	}
}

// indexedBy pins the index of a walk (SQLite only).
func indexedBy(index string) string {
	if index == "" {
		return ""
	}
	return " INDEXED BY " + index
}

// filter writes p as a condition on r.
func (p *pred) filter(b *sqlb) {
	if len(p.alts) == 0 {
		b.w("1=1") // the body decides, or nothing is excluded
		return
	}
	if p.negate {
		b.w("NOT ")
	}
	b.w("(")
	for i := range p.alts {
		if i > 0 {
			b.w(" OR ")
		}
		a := &p.alts[i]
		if a.table == "res" {
			if p.negate {
				b.w("coalesce(")
			}
			b.cond(a.k)
			if p.negate {
				b.w(",0)")
			}
			continue
		}
		if a.slot.text != "" {
			b.w("coalesce(")
			b.cond(a.slot)
			b.w(",0)")
			continue
		}
		b.w("EXISTS (SELECT 1 FROM " + a.table + " f WHERE f.rid=r.rid AND ")
		if a.patient {
			b.w("f.pat=coalesce(r.pat,0) AND ")
		}
		b.w(strings.ReplaceAll(a.k.text, "k.", "f."), a.k.args...)
		b.w(")")
	}
	b.w(")")
}
