package fhirsql

import (
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/spec/search"
)

// A page that is sorted by a parameter whose values are rows of a table is found
// by walking those rows in their order. The order is that of the whole row: by
// the value and then by the columns behind it, so that a place in it is one
// place of the index, however many resources have the same value. Resources
// without a value are a stretch of their own, by the combinations of parameters
// that resources have (res_has).

// walk is an index in the order of a sort key.
type walk struct {
	alt   alt
	cols  []string // its columns before rid: the key, and what follows it
	param *search.Param
}

// orders are the columns behind p in the tables of values.
var orders = map[string][]string{
	"tok": {"c", "s", "pat"}, "str": {"v"}, "dat": {"lo", "hi"}, "qty": {"v", "w", "s", "c"},
}

// rowsOf are the indexes that hold the rows of a resource together.
var rowsOf = map[string]string{"tok": "tok_rid", "str": "str_rid", "dat": "dat_rid", "qty": "qty_rid"}

// walkRows walks the values of a parameter. Of several values of a resource the
// first in the direction counts.
func (cp *compiler) walkRows(table string, p *search.Param, desc bool) *walk {
	op := "<"
	if desc {
		op = ">"
	}
	w := &walk{param: p, alt: alt{table: table, k: cond{"k.p=?", []any{cp.s.paramID(p)}}, unique: p.Single && table != "qty" && p.Kind != search.URI}}
	var again strings.Builder
	for i, c := range orders[table] {
		w.cols = append(w.cols, "k."+c)
		if i > 0 {
			again.WriteString(" OR y." + orders[table][i-1] + "=k." + orders[table][i-1] + " AND (")
		}
		again.WriteString("y." + c + op + "k." + c)
	}
	w.alt.again = "(" + again.String() + strings.Repeat(")", len(w.cols))
	return w
}

// walkSlot walks the index of a date that has a slot.
func (cp *compiler) walkSlot(n int, p *search.Param) *walk {
	d := "d" + strconv.Itoa(n)
	return &walk{param: p, cols: []string{"r." + d}, alt: alt{table: "res", index: "res_" + d, unique: true, k: cond{text: "r." + d + " IS NOT NULL"}}}
}

// walkIDs walks the ids of a type. Names that are only referred to, and those of
// what is deleted, have no narrow row.
func (cp *compiler) walkIDs() *walk {
	return &walk{cols: []string{"k.id"}, alt: alt{table: "key", unique: true, joined: true, k: cond{"k.t=?", []any{cp.t}}}}
}

// sorted chooses the path of a page whose first sort key has a walk: the best
// driver is sorted when it has few rows or matches are sparse along the walk.
func (pl *plan) sorted(cp *compiler, preds []*pred, q *search.Query, path string) (*plan, error) {
	driven := *pl
	if err := driven.choose(cp.c, preds, ""); err != nil {
		return nil, err
	}
	driven.fallback = nil
	all := driven.driver.whole // nothing else narrows the search
	driven.path = pathSorted
	if path == pathSorted || path == "" && driven.few {
		return &driven, nil
	}
	values, nulls, err := pl.walked(cp, preds)
	if err != nil {
		return nil, err
	}
	begin := values
	switch {
	case path == pathNulls && nulls == nil && pl.sort[0].desc:
		return nil, nil // the page before ended among those without a value, and there is none now
	case path == pathNulls && nulls == nil:
		values.fresh = true
	case path == pathNulls:
		begin = nulls
	case path == "" && nulls != nil && !pl.sort[0].desc:
		begin = nulls
	}
	for _, w := range []*plan{values, nulls} {
		if w == nil {
			continue
		}
		w.whole = &driven
		if path == "" && !all {
			w.fallback = &driven
		}
	}
	if nulls != nil && pl.sort[0].desc {
		values.then = nulls
	} else if nulls != nil {
		nulls.then = values
	}
	return begin, nil
}

// walked returns the walks of the resources with and without a value; nulls is
// nil when there are none.
func (pl *plan) walked(cp *compiler, preds []*pred) (values, nulls *plan, err error) {
	first := pl.sort[0]
	v, w := *pl, first.walk
	v.path = pathValues
	v.drive(preds, &pred{name: "all by " + w.alt.table, whole: true, inOrder: true, rank: rankWide, alts: []alt{w.alt}})
	v.sort = []sortKey{{expr: w.cols[0], desc: first.desc}}
	if len(pl.sort) == 1 {
		for _, c := range w.cols[1:] {
			v.sort = append(v.sort, sortKey{expr: c, desc: first.desc})
		}
		v.natural = true
	}
	v.sort = append(v.sort, pl.sort[1:]...)
	if w.param == nil {
		return &v, nil, nil
	}
	lack, err := cp.lacking(w)
	if err != nil || lack == nil {
		return &v, nil, err
	}
	n := *pl
	n.path = pathNulls
	n.sort = pl.sort[1:]
	if lack.filterOnly {
		n.drive(append([]*pred{lack}, preds...), allOf(""))
	} else {
		n.drive(preds, lack)
	}
	return &v, &n, nil
}

// lacking is a predicate of the resources without a row in a walk, nil if there
// is none.
func (cp *compiler) lacking(w *walk) (*pred, error) {
	p := &pred{name: "no " + w.param.Code, rank: rankWide}
	if mask, ok := bits(w.param); ok {
		return cp.present(p, mask, false)
	}
	p.filterOnly = true
	p.test = cond{"NOT EXISTS (SELECT 1 FROM " + w.alt.table + " y WHERE y.rid=r.rid AND y.p=?)", w.alt.k.args}
	if w.alt.table == "res" {
		p.test = cond{text: strings.Replace(w.alt.k.text, "IS NOT NULL", "IS NULL", 1)}
	}
	p.alts = []alt{{table: "res", k: p.test, unique: true}}
	return p, nil
}
