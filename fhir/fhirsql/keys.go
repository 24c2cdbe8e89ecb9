package fhirsql

import (
	"slices"
	"strconv"
	"strings"
)

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

// parts are conditions on the first sort key that cut the rows behind a place
// into stretches, in their order: a range of an index each, where the whole
// condition is none because of the rows without a value.
func (pl *plan) parts(after []any) []cond {
	if len(pl.sort) == 0 || after == nil || pl.natural {
		return []cond{{}}
	}
	v := after[0]
	switch desc := pl.sort[0].desc; {
	case v == nil && desc:
		return []cond{{"c0 IS NULL AND ", nil}}
	case v == nil:
		return []cond{{"c0 IS NULL AND ", nil}, {"c0 IS NOT NULL AND ", nil}}
	case desc:
		return []cond{{"c0<=? AND ", []any{v}}, {"c0 IS NULL AND ", nil}}
	}
	return []cond{{"c0>=? AND ", []any{v}}}
}

// keys writes the statement that yields the candidates: sort keys or order
// columns, then rid. after holds the values of the row before, nil at the
// start; part is one of parts.
// end, if not nil, is the last row that counts.
func (pl *plan) keys(after, end []any, part cond, limit int) *sqlb {
	b := &sqlb{d: pl.dialect, text: make([]byte, 0, 512), args: make([]any, 0, 8)}
	if len(pl.sort) > 0 {
		b.w("SELECT * FROM (")
		pl.compound(b, nil, nil)
		b.w(") q")
		b.w(" WHERE ")
		if end != nil {
			pl.before(b, end)
		}
		if after != nil {
			b.cond(part)
			pl.behind(b, after, 0)
		} else {
			b.w("1=1")
		}
		b.w(" ORDER BY ")
		for i, k := range pl.sort {
			b.w("c" + strconv.Itoa(i) + dir(k.desc))
			if !pl.natural && !(i == 0 && pl.driver.inOrder) {
				b.w(nulls(k.desc))
			}
			b.w(", ")
		}
		b.w("rid"+dir(pl.ridDesc())+" LIMIT ?+0", limit)
		return b
	}
	if len(pl.driver.alts) == 1 || pl.dialect.merges {
		pl.compound(b, after, end)
	} else {
		for i := range pl.driver.alts {
			if i > 0 {
				b.w(" UNION ")
			}
			b.w("(")
			pl.selectAlt(b, &pl.driver.alts[i], !pl.driver.alts[i].unique, after, end)
			pl.ordered(b, limit)
			b.w(")")
		}
	}
	pl.ordered(b, limit)
	return b
}

// ordered writes the order of the driver and the size of the page.
func (pl *plan) ordered(b *sqlb, limit int) {
	b.w(" ORDER BY ")
	for i := range len(pl.cols) + 1 {
		if i > 0 {
			b.w(", ")
		}
		b.w(strconv.Itoa(i + 1))
		if i < len(pl.cols) && strings.HasPrefix(pl.cols[i], "r.") {
			b.w(nulls(false)) // as its index has them
		}
	}
	b.w(" LIMIT ?+0", limit)
}

// ridDesc lets ties follow the last sort key, as its index has them.
func (pl *plan) ridDesc() bool { return pl.sort[len(pl.sort)-1].desc }

// nulls puts resources without a value first, and last when descending. It is
// what SQLite does by itself.
func nulls(desc bool) string {
	if desc {
		return " NULLS LAST"
	}
	return " NULLS FIRST"
}

func dir(desc bool) string {
	if desc {
		return " DESC"
	}
	return ""
}

// before writes that the first sort key does not lie behind that of a row. Of
// the rows with the same key it lets more in, which does no harm.
func (pl *plan) before(b *sqlb, end []any) {
	switch v, desc := end[0], pl.sort[0].desc; {
	case pl.natural:
		op := "<="
		if desc {
			op = ">="
		}
		pl.rowValue(b, op, end)
		b.w(" AND ")
	case v == nil && desc: // the last ones
	case v == nil:
		b.w("c0 IS NULL AND ")
	case desc:
		b.w("c0>=? AND ", v)
	default:
		b.w("(c0<=? OR c0 IS NULL) AND ", v)
	}
}

// behind writes the condition "after the row with these values" for sorted
// pages: NULL comes first ascending and last descending.
func (pl *plan) behind(b *sqlb, after []any, i int) {
	if pl.natural {
		op := ">"
		if pl.ridDesc() {
			op = "<"
		}
		pl.rowValue(b, op, after)
		return
	}
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

// rowValue compares all columns of the order at once, which is a range of their index.
func (pl *plan) rowValue(b *sqlb, op string, vals []any) {
	b.w("(")
	for i := range pl.sort {
		b.w("c" + strconv.Itoa(i) + ",")
	}
	b.w("rid)"+op+"("+marks(len(vals))+")", vals...)
}

// compound writes one SELECT per range of the driver, joined by UNION.
func (pl *plan) compound(b *sqlb, after, end []any) {
	for i := range pl.driver.alts {
		if i > 0 {
			b.w(" UNION ")
		}
		pl.selectAlt(b, &pl.driver.alts[i], len(pl.driver.alts) == 1, after, end)
	}
}

func (pl *plan) selectAlt(b *sqlb, a *alt, alone bool, after, end []any) {
	rid, join := "k.rid", ""
	if a.table == "res" {
		rid = "r.rid"
	}
	out, row := pl.out.yields(a, rid)
	// Tokens beside tokens need no narrow row: their rows know the patient.
	keyed := a.patient && (len(pl.sort) == 0 || pl.natural || !pl.sortsRows()) && !row && !slices.ContainsFunc(pl.filters, func(p *pred) bool { return !p.keyed() })
	rows := a.table == "res" || row || a.joined || len(pl.filters) > 0 && !keyed || len(pl.sort) > 0 && !pl.natural && pl.sortsRows()
	b.w("SELECT ")
	if alone && !a.unique && !pl.driver.inOrder && (len(pl.cols) == 0 || len(pl.sort) > 0) {
		b.w("DISTINCT ")
	}
	pl.columns(b, rows)
	b.w(out + " AS rid FROM ")
	switch {
	case pl.bound > 0:
		pl.beginning(b)
	case a.table == "res":
		b.as("res", "r", a.index)
	default:
		b.as(a.table, "k", a.index)
		if rows {
			b.w(" CROSS JOIN res " + b.letter("r"))
			join = "r.rid=k.rid AND "
		}
	}
	if l := pl.out; l.back && l.slot == "" {
		b.w(" CROSS JOIN ")
		b.as("ref", "g", "ref_rid")
	}
	b.w(" WHERE " + join)
	if l := pl.out; l.back && l.slot == "" {
		b.w("g.rid="+rid+" AND g.p=? AND ", l.p)
	}
	if a.table == "res" {
		b.w("r.t=? AND ", pl.t)
	}
	b.walk(a)
	if alone && !a.unique && !pl.twice && (pl.driver.inOrder || len(pl.cols) > 0 && len(pl.sort) == 0) {
		b.w(" AND NOT EXISTS (SELECT 1 FROM ")
		b.as(a.table, "y", rowsOf[a.table])
		b.w(" WHERE y.rid=k.rid AND y.p=k.p AND "+a.again, a.againArgs...)
		b.closeExists()
	}
	was := b.byPatient
	b.byPatient = a.patient
	defer func() { b.byPatient = was }()
	for _, f := range pl.filters {
		b.w(" AND ")
		if keyed {
			f.filterKeyed(b)
		} else {
			f.filter(b)
		}
	}
	pl.stretch(b, rid, after, end)
}

// stretch writes which part of the order is wanted: behind a row, up to another one.
func (pl *plan) stretch(b *sqlb, rid string, after, end []any) {
	if end != nil { // of a walk by rid
		b.w(" AND "+rid+"<=?", end[len(end)-1])
	}
	if after == nil {
		return
	}
	cols := append(slices.Clone(pl.cols), rid)
	if len(cols) == 1 {
		b.w(" AND "+rid+">?", after[0])
		return
	}
	b.w(" AND ("+strings.Join(cols, ",")+")>("+strings.TrimSuffix(strings.Repeat("?,", len(cols)), ",")+")", after...)
}

// columns writes what a page is ordered by; rows says that the narrow row is there.
func (pl *plan) columns(b *sqlb, rows bool) {
	if len(pl.sort) == 0 {
		for _, c := range pl.cols {
			b.w(c + ", ")
		}
		return
	}
	for i, k := range pl.sort {
		if !rows {
			k.expr = strings.ReplaceAll(k.expr, "r.rid", "k.rid")
		}
		b.w(k.expr+" AS c"+strconv.Itoa(i)+", ", k.args...)
	}
}

// sortsRows reports whether a sort key asks for more of the narrow row than which it is.
func (pl *plan) sortsRows() bool {
	return slices.ContainsFunc(pl.sort, func(k sortKey) bool {
		return strings.Contains(strings.ReplaceAll(k.expr, "r.rid", ""), "r.")
	})
}

// filter writes p as a condition on r.
func (p *pred) filter(b *sqlb) {
	if len(p.group) > 0 {
		p.filterGroup(b)
		return
	}
	if p.listed {
		p.filterListed(b)
		return
	}
	if len(p.alts) == 0 {
		b.w("1=1") // the body decides, or nothing is excluded
		return
	}
	if p.negate {
		b.w("NOT ")
	}
	if p.test.text != "" {
		b.isTrue(p.test)
		return
	}
	b.w("(")
	for i := range p.alts {
		if i > 0 {
			b.w(" OR ")
		}
		p.alts[i].filter(b, p.negate)
	}
	b.w(")")
}

// filter writes one alternative of a predicate as a condition on r.
func (a *alt) filter(b *sqlb, negate bool) {
	switch {
	case a.link:
		b.linked(a)
	case a.nest != nil:
		a.nest.filter(b)
	case a.table == "res" && !negate:
		b.cond(a.k)
	case a.table == "res":
		b.isTrue(a.k)
	case a.slot.text != "":
		b.isTrue(a.slot)
	default:
		a.exists(b)
	}
}

// exists writes that the resource has a row of the alternative.
func (a *alt) exists(b *sqlb) {
	// Where patients come in turn, the token rows of one lie side by side in their
	// key. Elsewhere those of the resource do in tok_rid, and without a look at
	// its patient a walk needs no more than its index.
	index, patient := "", a.patient
	switch {
	case a.patient && b.byPatient:
		index = tokKey
	case a.patient && b.d.pins:
		index, patient = rowsOf["tok"], false
	}
	b.w("EXISTS (SELECT 1 FROM ")
	b.as(a.table, "f", index)
	b.w(" WHERE f.rid=r.rid AND ")
	if patient {
		b.w("f.pat=coalesce(r.pat,0) AND ")
	}
	b.w(strings.ReplaceAll(a.k.text, "k.", "f."), a.k.args...)
	b.closeExists()
}

// tokKey is the primary key of tok.
const tokKey = "sqlite_autoindex_tok_1"

// keyed reports whether a predicate is about rows of tok only.
func (p *pred) keyed() bool {
	return len(p.group) == 0 && len(p.alts) > 0 && !slices.ContainsFunc(p.alts, func(a alt) bool { return a.table != "tok" || !a.patient })
}

// filterKeyed writes a keyed predicate as a condition on k, a row of tok.
func (p *pred) filterKeyed(b *sqlb) {
	if p.negate {
		b.w("NOT ")
	}
	b.w("(")
	for i := range p.alts {
		if i > 0 {
			b.w(" OR ")
		}
		a := &p.alts[i]
		b.w("EXISTS (SELECT 1 FROM ")
		b.as("tok", "f", tokKey) // the rows at hand come in the order of patients
		b.w(" WHERE f.rid=k.rid AND f.pat=k.pat AND ")
		b.w(strings.ReplaceAll(a.k.text, "k.", "f."), a.k.args...)
		b.closeExists()
	}
	b.w(")")
}

// walk writes the condition of a range.
func (b *sqlb) walk(a *alt) {
	b.cond(a.k)
	if a.nest != nil {
		a.nest.gather(b)
	}
}
