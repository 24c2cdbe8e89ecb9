package fhirsql

import (
	"strconv"
	"strings"
	"sync"

	"github.com/hygeia-health/hygeia/platform/db"
)

// pending are index rows of the open transaction that are not inserted yet.
// They are inserted together, many to a statement, before the commit, before a
// search inside the transaction and before rows are deleted.
type pending struct {
	rows rows
	n    int
}

const pendingLimit = 4000 // rows

func (p *pending) add(r *rows) {
	p.rows.tok = append(p.rows.tok, r.tok...)
	p.rows.ref = append(p.rows.ref, r.ref...)
	p.rows.str = append(p.rows.str, r.str...)
	p.rows.dat = append(p.rows.dat, r.dat...)
	p.rows.qty = append(p.rows.qty, r.qty...)
	p.rows.cvq = append(p.rows.cvq, r.cvq...)
	p.rows.txt = append(p.rows.txt, r.txt...)
	p.n += len(r.txt) + len(r.tok) + len(r.ref) + len(r.str) + len(r.dat) + len(r.qty) + len(r.cvq)
}

func (p *pending) clear() {
	r := &p.rows
	clear(r.tok) // they hold strings of requests
	clear(r.str)
	clear(r.qty)
	clear(r.cvq)
	clear(r.txt)
	r.reset()
	p.n = 0
}

func (p *pending) flush(c *db.Conn) error {
	if p.n == 0 {
		return nil
	}
	r := &p.rows
	if c.Dialect() == db.Postgres {
		if err := insertArrays(c, r); err != nil {
			return err
		}
		p.clear()
		return nil
	}
	for _, f := range []func() error{
		func() error { return insert(c, "tok", 5, r.tok, bindTok) },
		func() error { return insert(c, "ref", 3, r.ref, bindRef) },
		func() error { return insert(c, "str", 3, r.str, bindStr) },
		func() error { return insert(c, "dat", 4, r.dat, bindDat) },
		func() error { return insert(c, "qty", 6, r.qty, bindQty) },
		func() error { return insert(c, "cvq", 8, r.cvq, bindCvq) },
		func() error { return insert(c, "txt", 4, r.txt, bindTxt) },
	} {
		if err := f(); err != nil {
			return err
		}
	}
	p.clear()
	return nil
}

func bindTok(s *db.Stmt, i int, r *tokRow) {
	s.Int(i, r.p)
	s.Text(i+1, r.c)
	s.Int(i+2, r.s)
	s.Int(i+3, r.pat)
	s.Int(i+4, r.rid)
}

func bindRef(s *db.Stmt, i int, r *refRow) {
	s.Int(i, r.h)
	s.Int(i+1, r.p)
	s.Int(i+2, r.rid)
}

func bindStr(s *db.Stmt, i int, r *strRow) {
	s.Int(i, r.p)
	s.Text(i+1, r.v)
	s.Int(i+2, r.rid)
}

func bindDat(s *db.Stmt, i int, r *datRow) {
	s.Int(i, r.p)
	s.Int(i+1, r.lo)
	s.Int(i+2, r.hi)
	s.Int(i+3, r.rid)
}

func bindQty(s *db.Stmt, i int, r *qtyRow) {
	s.Int(i, r.p)
	s.Float(i+1, r.v)
	s.Float(i+2, r.w)
	s.Int(i+3, r.s)
	s.Text(i+4, r.c)
	s.Int(i+5, r.rid)
}

func bindCvq(s *db.Stmt, i int, r *cvqRow) {
	s.Int(i, r.p)
	s.Text(i+1, r.c)
	s.Int(i+2, r.s)
	s.Float(i+3, r.v)
	s.Float(i+4, r.w)
	s.Int(i+5, r.us)
	s.Text(i+6, r.uc)
	s.Int(i+7, r.rid)
}

func bindTxt(s *db.Stmt, i int, r *txtRow) {
	s.Int(i, r.p)
	s.Text(i+1, r.v)
	s.Text(i+2, r.c)
	s.Int(i+3, r.s)
}

// insert inserts rows, up to 32 with one statement. A row that is there
// already is left as it is: equal rows of one resource say the same.
func insert[R any](c *db.Conn, table string, cols int, list []R, bind func(*db.Stmt, int, *R)) error {
	for len(list) > 0 {
		n := 32
		for n > len(list) {
			n >>= 1
		}
		st, err := c.Prepare(insertText(table, cols, n))
		if err != nil {
			return err
		}
		for i := range n {
			bind(st, i*cols, &list[i])
		}
		if err := st.Run(); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

var insertTexts sync.Map // insertKey -> string

type insertKey struct {
	table string
	n     int
}

func insertText(table string, cols, n int) string {
	k := insertKey{table, n}
	if v, ok := insertTexts.Load(k); ok {
		return v.(string)
	}
	var b strings.Builder
	b.WriteString("INSERT INTO " + table + " VALUES ")
	for i := range n * cols {
		switch {
		case i%cols != 0:
			b.WriteByte(',')
		case i > 0:
			b.WriteString("),(")
		default:
			b.WriteByte('(')
		}
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	b.WriteString(") ON CONFLICT DO NOTHING")
	insertTexts.Store(k, b.String())
	return b.String()
}

// remove deletes rows one by one; only updates and deletes of resources do it.
func remove(c *db.Conn, r *rows) error {
	for _, f := range []func() error{
		func() error {
			return removeAll(c, "DELETE FROM tok WHERE p=$1 AND c=$2 AND s=$3 AND pat=$4 AND rid=$5", r.tok, bindTok)
		},
		func() error { return removeAll(c, "DELETE FROM ref WHERE h=$1 AND p=$2 AND rid=$3", r.ref, bindRef) },
		func() error { return removeAll(c, "DELETE FROM str WHERE p=$1 AND v=$2 AND rid=$3", r.str, bindStr) },
		func() error {
			return removeAll(c, "DELETE FROM dat WHERE p=$1 AND lo=$2 AND hi=$3 AND rid=$4", r.dat, bindDat)
		},
		func() error {
			return removeAll(c, "DELETE FROM qty WHERE p=$1 AND v=$2 AND w=$3 AND s=$4 AND c=$5 AND rid=$6", r.qty, bindQty)
		},
		func() error {
			return removeAll(c, "DELETE FROM cvq WHERE p=$1 AND c=$2 AND s=$3 AND v=$4 AND w=$5 AND us=$6 AND uc=$7 AND rid=$8", r.cvq, bindCvq)
		},
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func removeAll[R any](c *db.Conn, text string, list []R, bind func(*db.Stmt, int, *R)) error {
	for i := range list {
		st, err := c.Prepare(text)
		if err != nil {
			return err
		}
		bind(st, 0, &list[i])
		if err := st.Run(); err != nil {
			return err
		}
	}
	return nil
}
