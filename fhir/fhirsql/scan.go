package fhirsql

import (
	"context"
	"math"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// scanRows is how many rows one call of Scan looks at: a read transaction must
// be short, or the WAL cannot be moved into the file.
const scanRows = 2000

var _ fhir.Scanner = (*Store)(nil)

// Mark implements fhir.Scanner. The writer answers, so that no change is on its
// way. With one node it is now; the clocks of several may differ, so there it is
// the last change, behind which every node writes.
func (s *Store) Mark(ctx context.Context) (seq fhir.Seq, err error) {
	err = s.db.Write(ctx, &db.Work{Do: func(*db.Conn) error {
		if !s.shared {
			s.last = max(s.last, fhir.SeqAt(s.opt.Now()))
		}
		seq = s.last
		return nil
	}})
	return seq, err
}

// Ranges implements fhir.Scanner. It walks the index of the type once.
func (s *Store) Ranges(ctx context.Context, typ string, size int) (list []fhir.ScanRange, err error) {
	err = s.snapshot(ctx, func(c *db.Conn) error {
		t := s.types.id(typ)
		if t == 0 {
			return nil
		}
		r, known, at := fhir.EveryPosition(), false, int64(0)
		err := c.Query("SELECT rid FROM res WHERE t=$1 ORDER BY rid", func(st *db.Stmt) error {
			if known = true; r.Count == int64(size) {
				r.Last = at
				list = append(list, r)
				r = fhir.ScanRange{After: at, Last: math.MaxInt64}
			}
			at = st.ColInt(0)
			r.Count++
			return nil
		}, t)
		if err == nil && !known {
			err = c.Query("SELECT 1 FROM hist WHERE t=$1 LIMIT 1", func(*db.Stmt) error { known = true; return nil }, t)
		}
		if known {
			list = append(list, r)
		}
		return err
	})
	return list, fault.Wrap("fhirsql: ranges", err)
}

// Scan implements fhir.Scanner.
func (s *Store) Scan(ctx context.Context, q fhir.ScanQuery, f func(*fhir.Record) bool) (next int64, more bool, err error) {
	sc := &scan{s: s, q: q, f: f, next: q.After}
	err = s.snapshot(ctx, func(c *db.Conn) error {
		if sc.t = s.types.id(q.Type); sc.t == 0 {
			return nil
		}
		if q.What == fhir.ScanCurrent {
			return sc.current(c)
		}
		return sc.old(c)
	})
	return sc.next, sc.more, fault.Wrap("fhirsql: scan", err)
}

// scan is one call of Scan.
type scan struct {
	s    *Store
	q    fhir.ScanQuery
	f    func(*fhir.Record) bool
	t    int64
	next int64
	more bool
	full bool // f had enough
	z    []byte
	body []byte
	late []int64 // resources whose version at q.At is in the history
}

// current gives what was current at q.At: the current version where it is old
// enough, else the newest of the history that is. Resources that were deleted
// since are in no current row, only in the history.
func (sc *scan) current(c *db.Conn) error {
	n, last := 0, sc.q.Last
	err := c.Query("SELECT r.rid, r.seq, b.ver, b.op, b.id, b.z FROM res r"+dialects[sc.s.db.Dialect()].indexedBy("res_t")+
		" CROSS JOIN body b WHERE r.t=$1 AND r.rid>$2 AND r.rid<=$3 AND r.seq>=$4 AND b.rid=r.rid ORDER BY r.rid LIMIT $5+0",
		func(st *db.Stmt) error {
			n++
			sc.next = st.ColInt(0)
			seq := fhir.Seq(st.ColInt(1))
			if seq > sc.q.At {
				sc.late = append(sc.late, sc.next)
				return nil
			}
			if err := sc.give(st, fhir.Record{Version: st.ColInt(2), Seq: seq}, 3); err != nil {
				return err
			}
			if sc.full {
				return errEnough
			}
			return nil
		}, sc.t, sc.q.After, sc.q.Last, int64(sc.q.Since), scanRows)
	if err != nil && err != errEnough {
		return err
	}
	if sc.more = sc.full || n == scanRows; sc.more {
		last = sc.next
	} else {
		sc.next = sc.q.Last
	}
	const deleted = "SELECT DISTINCT h.rid FROM hist h WHERE h.t=$1 AND h.seq>$2 AND h.rid>$3 AND h.rid<=$4 AND NOT EXISTS (SELECT 1 FROM body b WHERE b.rid=h.rid)"
	err = c.Query(deleted, func(st *db.Stmt) error {
		sc.late = append(sc.late, st.ColInt(0))
		return nil
	}, sc.t, int64(sc.q.At), sc.q.After, last)
	if err != nil {
		return err
	}
	for _, rid := range sc.late {
		const before = "SELECT seq, ver, op, id, z FROM hist WHERE rid=$1 AND seq<=$2 ORDER BY ver DESC LIMIT 1"
		err := c.Query(before, func(st *db.Stmt) error {
			seq := fhir.Seq(st.ColInt(0))
			if seq < sc.q.Since || st.ColInt(2) == opDelete {
				return nil
			}
			return sc.give(st, fhir.Record{Version: st.ColInt(1), Seq: seq}, 2)
		}, rid, int64(sc.q.At))
		if err != nil {
			return err
		}
	}
	return nil
}

// old gives versions of the history, in the order of the change sequence. One
// is replaced when there is a newer one up to q.At.
func (sc *scan) old(c *db.Conn) error {
	not := ""
	if sc.q.What == fhir.ScanDeleted {
		not = "AND h.op=4 AND NOT "
	} else {
		not = "AND "
	}
	lo := max(sc.q.After, int64(sc.q.Since)-1) // the first Seq of all is never given
	if sc.q.Since == fhir.FirstSeq {
		lo = sc.q.After
	}
	n := 0
	err := c.Query("SELECT h.seq, h.ver, h.op, h.id, h.z FROM hist h WHERE h.t=$1 AND h.seq>$2 AND h.seq<=$3 "+not+
		"(EXISTS (SELECT 1 FROM hist n WHERE n.rid=h.rid AND n.ver>h.ver AND n.seq<=$3) OR EXISTS (SELECT 1 FROM body b WHERE b.rid=h.rid AND b.ver>h.ver AND b.seq<=$3)) ORDER BY h.seq LIMIT $4+0",
		func(st *db.Stmt) error {
			n++
			sc.next = st.ColInt(0)
			err := sc.give(st, fhir.Record{Version: st.ColInt(1), Seq: fhir.Seq(sc.next)}, 2)
			if err == nil && sc.full {
				return errEnough
			}
			return err
		}, sc.t, lo, min(sc.q.Last, int64(sc.q.At)), scanRows)
	if err != nil && err != errEnough {
		return err
	}
	sc.more = sc.full || n == scanRows
	return nil
}

// errEnough ends a query from its callback.
var errEnough = fault.New(fault.Internal, "enough")

// give completes a record from the columns op, id, z that begin at i, and passes it on.
func (sc *scan) give(st *db.Stmt, rec fhir.Record, i int) error {
	op := st.ColInt(i)
	sc.z = st.ColBlob(i+1, sc.z[:0])
	rec.Key = fhir.Key{Type: sc.q.Type, ID: idText(sc.z)}
	rec.Method, rec.Deleted = methods[op], op == opDelete
	if !rec.Deleted {
		sc.z = st.ColBlob(i+2, sc.z[:0])
		var err error
		if sc.body, err = sc.s.unpack(sc.body, rec.Key, sc.z); err != nil {
			return &fault.Error{Kind: fault.Internal, Op: "fhirsql: decode " + sc.q.Type, Msg: "the stored form of " + rec.Key.String() + " is damaged", Err: err}
		}
		rec.Stored = sc.body
	}
	if !sc.f(&rec) {
		sc.full = true
	}
	return nil
}
