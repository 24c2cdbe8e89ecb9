package fhirsql

import (
	"slices"

	"github.com/hygeia-health/hygeia/platform/db"
)

// The newest of a code: a driver with some hundred rows would be sorted, for which
// each row is looked up in res to learn its date. PostgreSQL takes 2 to 3 µs for that.
// It takes a tenth to list the rids of the driver in a hash table, and a tenth to walk past a row
// of an index that has the order and look into that table. So where a page is expected
// soon, the beginning of such a walk is tried first; when it does not fill the page
// the driver is sorted all the same.

// walkSteps is how many steps of such a walk are tried for each row of the driver:
// they take half of what sorting does.
const walkSteps = 6

// list adds to a plan that sorts the few rows of its driver the walk to try first. Other
// clauses would leave an unknown part of the matches, so there must be none.
func (pl *plan) list(c *db.Conn, preds []*pred) error {
	d := pl.driver
	if !pl.dialect.lists || !d.known || d.rows < int64(pl.limits.List) || !pl.listable(preds) {
		return nil
	}
	all := allOf(pl.walkIndex())
	// It counts to where a page of one match is not expected soon enough.
	n, err := pl.estimate(c, all, min(max(probeFirst, walkSteps*d.rows*d.rows/4+1), probeLast))
	if err != nil {
		return err
	}
	list, walk := *d, *pl
	list.listed = true
	walk.drive([]*pred{&list}, all)
	walk.bound = walkSteps * d.rows
	pl.listed, pl.among = &walk, n
	return nil
}

// listable reports whether the rows of the driver can be listed, and decide alone.
func (pl *plan) listable(preds []*pred) bool {
	if len(preds) != 1 || len(pl.sort) != 1 || pl.walkIndex() == "" || len(pl.post) > 0 || pl.access != nil {
		return false
	}
	return !slices.ContainsFunc(pl.driver.alts, func(a alt) bool {
		return a.table == "res" || a.joined || a.link || a.nest != nil
	})
}

// dense reports whether a page of so many matches is expected in the first half of the walk.
func (pl *plan) dense(want int) bool {
	return pl.listed.bound*pl.driver.rows >= 2*int64(want)*pl.among
}

// filterListed writes p as a condition on r: the list of what its ranges hold. PostgreSQL
// makes a join of an IN that stands alone, and a hash table of one that does not.
func (p *pred) filterListed(b *sqlb) {
	b.w("(r.rid IN (")
	for i := range p.alts {
		if i > 0 {
			b.w(" UNION ALL ")
		}
		a := &p.alts[i]
		b.w("SELECT k.rid FROM ")
		b.as(a.table, "k", a.index)
		b.w(" WHERE ")
		b.walk(a)
	}
	b.w(")) IS TRUE")
}

// beginning writes the rows at the beginning of a walk.
func (pl *plan) beginning(b *sqlb) {
	k := pl.sort[0]
	b.w("(SELECT * FROM res r WHERE r.t=? ORDER BY "+k.expr+dir(k.desc)+nulls(k.desc)+", r.rid"+dir(k.desc)+" LIMIT ?+0) r", pl.t, pl.bound)
}
