package fhirsql

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
)

// pending are rows of the open transaction that are not inserted yet: index
// rows, names, changes, and the rows of resources without a current version.
// They are sorted and inserted together, many to a statement, before the
// commit, before a search inside the transaction and before anything reads or
// deletes what may be among them.
type pending struct {
	rows   rows
	keys   []keyRow
	heads  []headRow
	bodies []bodyRow
	chgs   []chgRow
	n      int           // rows
	bytes  int           // of the bodies
	put    map[int64]int // the resources of heads and bodies, and where in bodies
	tick   fhir.Seq      // the first place of now that was given meanwhile; 0: none
	known  bool          // some of rows may be in the tables
	times  int           // that the open transaction has inserted what there was
}

// The rows that each resource has one of.
type (
	keyRow struct {
		t   int64
		id  []byte
		rid int64
	}
	headRow struct {
		rid, t int64
		seq    fhir.Seq
		resRow
	}
	bodyRow struct {
		rid, t, ver int64
		seq         fhir.Seq
		op          int64
		id, z       []byte
	}
	chgRow struct {
		seq          fhir.Seq
		rid, ver, op int64
	}
)

// pendingBytes are the bytes of bodies that are kept at most.
const pendingBytes = 8 << 20

// add adds the index rows of a resource. Rows of one that is not new may be
// there already.
func (p *pending) add(r *rows, fresh bool) {
	p.rows.tok = append(p.rows.tok, r.tok...)
	p.rows.ref = append(p.rows.ref, r.ref...)
	p.rows.str = append(p.rows.str, r.str...)
	p.rows.dat = append(p.rows.dat, r.dat...)
	p.rows.qty = append(p.rows.qty, r.qty...)
	p.rows.cvq = append(p.rows.cvq, r.cvq...)
	p.rows.txt = append(p.rows.txt, r.txt...)
	p.n += len(r.txt) + len(r.tok) + len(r.ref) + len(r.str) + len(r.dat) + len(r.qty) + len(r.cvq)
	p.known = p.known || !fresh
}

func (p *pending) addKey(k keyRow) {
	p.keys = append(p.keys, k)
	p.n++
}

// addCurrent adds the rows of a resource that has no current version.
func (p *pending) addCurrent(h headRow, b bodyRow) {
	p.put[h.rid] = len(p.bodies)
	p.heads, p.bodies = append(p.heads, h), append(p.bodies, b)
	p.n += 2
	p.bytes += len(b.z)
}

func (p *pending) addChange(r chgRow) {
	p.chgs = append(p.chgs, r)
	p.n++
}

// full reports whether it is time to insert what there is.
func (p *pending) full(d dialect) bool {
	limit := d.pending
	if d.first > 0 {
		limit = min(limit, d.first<<min(p.times, 10))
	}
	return p.n > limit || p.bytes > pendingBytes
}

func (p *pending) clear() {
	r := &p.rows
	clear(r.tok) // they hold strings of requests
	clear(r.str)
	clear(r.qty)
	clear(r.cvq)
	clear(r.txt)
	r.reset()
	clear(p.keys)
	clear(p.bodies)
	p.keys, p.heads, p.bodies, p.chgs = p.keys[:0], p.heads[:0], p.bodies[:0], p.chgs[:0]
	if p.put == nil || len(p.put) > 4000 { // a map that was large is slow to clear
		p.put = map[int64]int{}
	}
	clear(p.put)
	p.n, p.bytes, p.tick, p.known = 0, 0, 0, false
}

func (p *pending) flush(c *db.Conn) error {
	if p.n == 0 {
		return nil
	}
	p.sort()
	f := p.insert
	if c.Dialect() == db.Postgres {
		f = p.insertArrays
	}
	if err := f(c); err != nil {
		return err
	}
	p.clear()
	p.times++
	return nil
}

// insert is flush for SQLite. Neither word lets SQLite keep a journal for one
// statement: an error ends the transaction anyway.
func (p *pending) insert(c *db.Conn) error {
	r := &p.rows
	const (
		fresh = "INSERT OR FAIL INTO "
		equal = "INSERT OR IGNORE INTO " // equal rows of one resource say the same
	)
	for _, f := range []func() error{
		func() error { return db.Insert(c, fresh+"key", 3, p.keys, bindKey) },
		func() error { return db.Insert(c, fresh+resColumns, 13, p.heads, bindHead) },
		func() error { return db.Insert(c, fresh+bodyColumns, 7, p.bodies, bindBody) },
		func() error { return db.Insert(c, fresh+"chg", 4, p.chgs, bindChg) },
		func() error { return db.Insert(c, equal+"tok", 5, r.tok, bindTok) },
		func() error { return db.Insert(c, equal+"ref", 3, r.ref, bindRef) },
		func() error { return db.Insert(c, equal+"str", 3, r.str, bindStr) },
		func() error { return db.Insert(c, equal+"dat", 4, r.dat, bindDat) },
		func() error { return db.Insert(c, equal+"qty", 6, r.qty, bindQty) },
		func() error { return db.Insert(c, equal+"cvq", 8, r.cvq, bindCvq) },
		func() error { return db.Insert(c, equal+"txt", 4, r.txt, bindTxt) },
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

const (
	resColumns  = "res (rid, t, seq, has, st, pat, enc, d1, e1, d2, e2, d3, e3)"
	bodyColumns = "body (rid, t, ver, seq, op, id, z)"
)

// sort puts the rows into the order of the tables' keys, so that neighbours are
// written to one page after the other, and drops those that are there twice:
// equal rows of one resource say the same. The tokens are half of all rows.
func (p *pending) sort() {
	var tokens sync.WaitGroup
	r := &p.rows
	order := func() {
		r.tok = inOrder(r.tok, func(a, b tokRow) int {
			return cmp.Or(cmp.Compare(a.p, b.p), strings.Compare(a.c, b.c), cmp.Compare(a.s, b.s), cmp.Compare(a.pat, b.pat), cmp.Compare(a.rid, b.rid))
		})
	}
	if len(r.tok) > sortBeside {
		tokens.Go(order)
	} else {
		order()
	}
	slices.SortFunc(p.keys, func(a, b keyRow) int { return cmp.Or(cmp.Compare(a.t, b.t), bytes.Compare(a.id, b.id)) })
	slices.SortFunc(p.heads, func(a, b headRow) int { return cmp.Compare(a.rid, b.rid) })
	slices.SortFunc(p.bodies, func(a, b bodyRow) int { return cmp.Compare(a.rid, b.rid) })
	slices.SortFunc(p.chgs, func(a, b chgRow) int { return cmp.Compare(a.seq, b.seq) })
	r.ref = inOrder(r.ref, func(a, b refRow) int {
		return cmp.Or(cmp.Compare(a.h, b.h), cmp.Compare(a.p, b.p), cmp.Compare(a.rid, b.rid))
	})
	r.str = inOrder(r.str, func(a, b strRow) int {
		return cmp.Or(cmp.Compare(a.p, b.p), strings.Compare(a.v, b.v), cmp.Compare(a.rid, b.rid))
	})
	r.dat = inOrder(r.dat, func(a, b datRow) int {
		return cmp.Or(cmp.Compare(a.p, b.p), cmp.Compare(a.lo, b.lo), cmp.Compare(a.hi, b.hi), cmp.Compare(a.rid, b.rid))
	})
	r.qty = inOrder(r.qty, func(a, b qtyRow) int {
		return cmp.Or(cmp.Compare(a.p, b.p), cmp.Compare(a.v, b.v), cmp.Compare(a.w, b.w), cmp.Compare(a.s, b.s), strings.Compare(a.c, b.c), cmp.Compare(a.rid, b.rid))
	})
	r.cvq = inOrder(r.cvq, func(a, b cvqRow) int {
		return cmp.Or(cmp.Compare(a.p, b.p), strings.Compare(a.c, b.c), cmp.Compare(a.s, b.s), cmp.Compare(a.v, b.v), cmp.Compare(a.w, b.w),
			cmp.Compare(a.us, b.us), strings.Compare(a.uc, b.uc), cmp.Compare(a.rid, b.rid))
	})
	tokens.Wait()
}

// sortBeside is how many tokens are sorted by a goroutine of their own.
const sortBeside = 2000

func inOrder[R comparable](list []R, order func(a, b R) int) []R {
	slices.SortFunc(list, order)
	return slices.Compact(list)
}

func bindKey(s *db.Stmt, i int, r *keyRow) {
	s.Int(i, r.t)
	s.Blob(i+1, r.id)
	s.Int(i+2, r.rid)
}

func bindHead(s *db.Stmt, i int, r *headRow) {
	s.Int(i, r.rid)
	s.Int(i+1, r.t)
	s.Int(i+2, int64(r.seq))
	bindRes(s, i+3, &r.resRow)
}

func bindBody(s *db.Stmt, i int, r *bodyRow) {
	s.Int(i, r.rid)
	s.Int(i+1, r.t)
	s.Int(i+2, r.ver)
	s.Int(i+3, int64(r.seq))
	s.Int(i+4, r.op)
	s.Blob(i+5, r.id)
	s.Blob(i+6, r.z)
}

func bindChg(s *db.Stmt, i int, r *chgRow) {
	s.Int(i, int64(r.seq))
	s.Int(i+1, r.rid)
	s.Int(i+2, r.ver)
	s.Int(i+3, r.op)
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
