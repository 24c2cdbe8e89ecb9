package fhirsql

import (
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/platform/db"
)

// insertArrays is flush for PostgreSQL: one statement per table, with an array
// per column.
func (p *pending) insertArrays(c *db.Conn) error {
	a, r := arrays{c: c}, &p.rows
	insertAll(&a, "key", p.keys, func(x *keyRow) { a.ints(x.t).bytes(x.id).ints(x.rid) })
	insertAll(&a, resColumns, p.heads, func(x *headRow) {
		a.ints(x.rid, x.t, int64(x.seq), x.has).nullable(x.st, x.pat, x.enc)
		for i := range x.d {
			a.nullable(x.d[i], x.e[i])
		}
	})
	insertAll(&a, bodyColumns, p.bodies, func(x *bodyRow) {
		a.ints(x.rid, x.t, x.ver, int64(x.seq), x.op).bytes(x.id).bytes(x.z)
	})
	insertAll(&a, "chg", p.chgs, func(x *chgRow) { a.ints(int64(x.seq), x.rid, x.ver, x.op) })
	a.equal = p.known
	insertAll(&a, "tok", r.tok, func(x *tokRow) { a.ints(x.p).text(x.c).ints(x.s, x.pat, x.rid) })
	insertAll(&a, "ref", r.ref, func(x *refRow) { a.ints(x.h, x.p, x.rid) })
	insertAll(&a, "str", r.str, func(x *strRow) { a.ints(x.p).text(x.v).ints(x.rid) })
	insertAll(&a, "dat", r.dat, func(x *datRow) { a.ints(x.p, x.lo, x.hi, x.rid) })
	insertAll(&a, "qty", r.qty, func(x *qtyRow) { a.ints(x.p).floats(x.v, x.w).ints(x.s).text(x.c).ints(x.rid) })
	insertAll(&a, "cvq", r.cvq, func(x *cvqRow) {
		a.ints(x.p).text(x.c).ints(x.s).floats(x.v, x.w).ints(x.us).text(x.uc).ints(x.rid)
	})
	a.equal = true
	insertAll(&a, "txt", r.txt, func(x *txtRow) { a.ints(x.p).text(x.v).text(x.c).ints(x.s) })
	return a.err
}

// arrays are the columns of the rows of one table.
type arrays struct {
	c     *db.Conn
	equal bool  // rows may be there already, and say the same
	cols  []any // *[]int64, *nullInts, *[]float64, *[]string, *[][]byte
	at    int   // the next column of the row
	err   error
}

// nullInts are integers of which null is NULL.
type nullInts []int64

func column[T any](a *arrays) *T {
	if a.at == len(a.cols) {
		a.cols = append(a.cols, new(T))
	}
	a.at++
	return a.cols[a.at-1].(*T)
}

func (a *arrays) ints(list ...int64) *arrays {
	for _, v := range list {
		p := column[[]int64](a)
		*p = append(*p, v)
	}
	return a
}

func (a *arrays) nullable(list ...int64) {
	for _, v := range list {
		p := column[nullInts](a)
		*p = append(*p, v)
	}
}

func (a *arrays) floats(list ...float64) *arrays {
	for _, v := range list {
		p := column[[]float64](a)
		*p = append(*p, v)
	}
	return a
}

func (a *arrays) text(v string) *arrays {
	if strings.IndexByte(v, 0) >= 0 { // PostgreSQL has no such text, so two may become equal
		a.equal = true
	}
	p := column[[]string](a)
	*p = append(*p, v)
	return a
}

func (a *arrays) bytes(v []byte) *arrays {
	p := column[[][]byte](a)
	*p = append(*p, v)
	return a
}

// insertAll inserts the rows of one table.
func insertAll[R any](a *arrays, table string, list []R, add func(*R)) {
	if len(list) == 0 || a.err != nil {
		return
	}
	a.cols = a.cols[:0]
	for i := range list {
		a.at = 0
		add(&list[i])
	}
	var values, types []string
	for i, col := range a.cols {
		name := "c" + strconv.Itoa(i)
		t := "bigint[]"
		switch col.(type) {
		case *[]float64:
			t = "double precision[]"
		case *[]string:
			t = "text[]"
		case *[][]byte:
			t = "bytea[]"
		case *nullInts:
			values = append(values, "nullif("+name+", "+strconv.FormatInt(null, 10)+")")
		}
		if len(values) == i {
			values = append(values, name)
		}
		types = append(types, "$"+strconv.Itoa(i+1)+"::"+t)
	}
	names := make([]string, len(types))
	for i := range names {
		names[i] = "c" + strconv.Itoa(i)
	}
	clause := ""
	if a.equal {
		clause = " ON CONFLICT DO NOTHING" // which is dear
	}
	st, err := a.c.Prepare("INSERT INTO " + table + " SELECT " + strings.Join(values, ",") +
		" FROM unnest(" + strings.Join(types, ",") + ") q(" + strings.Join(names, ",") + ")" + clause)
	if err != nil {
		a.err = err
		return
	}
	for i, col := range a.cols {
		switch v := col.(type) {
		case *[]int64:
			st.Array(i, *v)
		case *nullInts:
			st.Array(i, []int64(*v))
		case *[]float64:
			st.Array(i, *v)
		case *[]string:
			st.Array(i, *v)
		case *[][]byte:
			st.Array(i, *v)
		}
	}
	a.err = st.Run()
}
