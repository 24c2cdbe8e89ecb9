package fhirsql

import (
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/platform/db"
)

// insertArrays inserts all pending rows of PostgreSQL: one statement per
// table, with an array per column.
func insertArrays(c *db.Conn, r *rows) error {
	a := arrays{c: c}
	insertAll(&a, "tok", r.tok, func(x *tokRow) { a.ints(x.p).text(x.c).ints(x.s, x.pat, x.rid) })
	insertAll(&a, "ref", r.ref, func(x *refRow) { a.ints(x.h, x.p, x.rid) })
	insertAll(&a, "str", r.str, func(x *strRow) { a.ints(x.p).text(x.v).ints(x.rid) })
	insertAll(&a, "dat", r.dat, func(x *datRow) { a.ints(x.p, x.lo, x.hi, x.rid) })
	insertAll(&a, "qty", r.qty, func(x *qtyRow) { a.ints(x.p).floats(x.v, x.w).ints(x.s).text(x.c).ints(x.rid) })
	insertAll(&a, "cvq", r.cvq, func(x *cvqRow) {
		a.ints(x.p).text(x.c).ints(x.s).floats(x.v, x.w).ints(x.us).text(x.uc).ints(x.rid)
	})
	insertAll(&a, "txt", r.txt, func(x *txtRow) { a.ints(x.p).text(x.v).text(x.c).ints(x.s) })
	return a.err
}

// arrays are the columns of the rows of one table.
type arrays struct {
	c    *db.Conn
	cols []any // *[]int64, *[]float64, *[]string
	at   int   // the next column of the row
	err  error
}

func column[T any](a *arrays) *[]T {
	if a.at == len(a.cols) {
		a.cols = append(a.cols, new([]T))
	}
	a.at++
	return a.cols[a.at-1].(*[]T)
}

func (a *arrays) ints(list ...int64) *arrays {
	for _, v := range list {
		p := column[int64](a)
		*p = append(*p, v)
	}
	return a
}

func (a *arrays) floats(list ...float64) *arrays {
	for _, v := range list {
		p := column[float64](a)
		*p = append(*p, v)
	}
	return a
}

func (a *arrays) text(v string) *arrays {
	p := column[string](a)
	*p = append(*p, v)
	return a
}

// insertAll inserts the rows of one table. A row that is there already is left
// as it is, as in insert.
func insertAll[R any](a *arrays, table string, list []R, add func(*R)) {
	if len(list) == 0 || a.err != nil {
		return
	}
	a.cols = a.cols[:0]
	for i := range list {
		a.at = 0
		add(&list[i])
	}
	var types []string
	for i, col := range a.cols {
		t := "bigint[]"
		switch col.(type) {
		case *[]float64:
			t = "double precision[]"
		case *[]string:
			t = "text[]"
		}
		types = append(types, "$"+strconv.Itoa(i+1)+"::"+t)
	}
	st, err := a.c.Prepare("INSERT INTO " + table + " SELECT * FROM unnest(" + strings.Join(types, ",") + ") ON CONFLICT DO NOTHING")
	if err != nil {
		a.err = err
		return
	}
	for i, col := range a.cols {
		switch v := col.(type) {
		case *[]int64:
			st.Array(i, *v)
		case *[]float64:
			st.Array(i, *v)
		case *[]string:
			st.Array(i, *v)
		}
	}
	a.err = st.Run()
}
