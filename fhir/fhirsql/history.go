package fhirsql

import (
	"context"
	"fmt"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// History implements fhir.Store. Versions come in the order of the change
// sequence, so a page begins behind the seq that the one before ended with. The
// first page of a newest-first listing also fixes nothing: later changes lie
// before it and are not seen; an oldest-first listing sees them at its end.
func (s *Store) History(ctx context.Context, q fhir.HistoryQuery) (*fhir.Page, error) {
	after, err := decodeCursor(q.After, historyPrint(q), 1)
	if err != nil {
		return nil, err
	}
	page := &fhir.Page{Total: -1}
	err = s.snapshot(ctx, func(c *db.Conn) error {
		w, err := s.historyWindow(c, q)
		if err != nil {
			return err
		}
		if q.Total {
			if err := s.historyTotal(c, q, &w, page); err != nil {
				return err
			}
		}
		if len(after) == 1 {
			at, _ := after[0].(int64)
			if q.Ascending {
				w.lo = max(w.lo, at+1)
			} else {
				w.hi = min(w.hi, at)
			}
		}
		if q.Count <= 0 {
			return nil
		}
		return s.historyPage(c, q, &w, page)
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// historyWindow is where the versions of a HistoryQuery lie.
type historyWindow struct {
	current, old versions
	arg          int64 // $1 of both: a rid, a type, or 0 for everything
	lo, hi       int64 // seq >= lo and < hi
}

// versions are a part of the versions that are asked for.
type versions struct {
	from string // a FROM clause with a first condition; x has the versions
	seq  string // the column that it is ordered by
}

// historyWindow finds the versions of q.
func (s *Store) historyWindow(c *db.Conn, q fhir.HistoryQuery) (w historyWindow, err error) {
	w.lo, w.hi = int64(fhir.FirstSeq), int64(1)<<62
	if !q.Since.IsZero() {
		w.lo = int64(fhir.SeqAt(q.Since))
	}
	if !q.Before.IsZero() {
		w.hi = int64(fhir.SeqAt(q.Before))
	}
	switch {
	case q.ID != "":
		w.current, w.old = versions{"FROM body x WHERE x.rid=$1", "x.seq"}, versions{"FROM hist x WHERE x.rid=$1", "x.seq"}
		w.arg, err = s.rid(c, fhir.Key{Type: q.Type, ID: q.ID})
	case q.Type != "":
		w.current, w.old = versions{"FROM res r CROSS JOIN body x WHERE x.rid=r.rid AND r.t=$1", "r.seq"}, versions{"FROM hist x WHERE x.t=$1", "x.seq"}
		w.arg = s.types.id(q.Type)
	default:
		w.current, w.old = versions{"FROM chg g CROSS JOIN body x WHERE x.rid=g.rid AND x.seq=g.seq AND $1=0", "g.seq"}, versions{"FROM hist x WHERE $1=0", "x.seq"}
	}
	return w, err
}

// historyTotal counts from the narrow tables: a live resource has one row in
// res, and every other version, deletions too, one in hist.
func (s *Store) historyTotal(c *db.Conn, q fhir.HistoryQuery, w *historyWindow, page *fhir.Page) error {
	page.Total = 0
	// The index of res begins with the type, so that a window of the whole
	// history is one of each type.
	live, old := "t IN (SELECT id FROM type) AND $1=0", "$1=0"
	switch {
	case q.ID != "":
		live, old = "rid=$1", "rid=$1"
	case q.Type != "":
		live, old = "t=$1", "t=$1"
	}
	for _, from := range [...]string{"res WHERE " + live, "hist WHERE " + old} {
		err := c.Query("SELECT count(*) FROM "+from+" AND seq>=$2 AND seq<$3", func(st *db.Stmt) error {
			page.Total += st.ColInt(0)
			return nil
		}, w.arg, w.lo, w.hi)
		if err != nil {
			return err
		}
	}
	return nil
}

// versionAt is where one version lies.
type versionAt struct {
	rid, seq int64
	key      fhir.Key
	old      bool // in hist
}

// historyPage lists the versions without their bodies, then reads these one by
// one until the page is full, so that the bodies are never sorted.
func (s *Store) historyPage(c *db.Conn, q fhir.HistoryQuery, w *historyWindow, page *fhir.Page) error {
	dir := "DESC"
	if q.Ascending {
		dir = "ASC"
	}
	var sel [2]string
	for i, part := range [...]versions{w.current, w.old} {
		sel[i] = fmt.Sprintf("SELECT * FROM (SELECT x.rid, x.seq, x.t, x.id, %[1]d AS old %[2]s AND %[3]s>=$2 AND %[3]s<$3 ORDER BY %[3]s %[4]s LIMIT $4+0) p%[1]d", i, part.from, part.seq, dir)
	}
	text := sel[0] + " UNION ALL " + sel[1] + " ORDER BY 2 " + dir + " LIMIT $4+0"
	var list []versionAt
	err := c.Query(text, func(st *db.Stmt) error {
		list = append(list, versionAt{
			rid: st.ColInt(0), seq: st.ColInt(1), old: st.ColInt(4) == 1,
			key: fhir.Key{Type: s.types.name(st.ColInt(2)), ID: idText(st.ColBlob(3, nil))},
		})
		return nil
	}, w.arg, w.lo, w.hi, q.Count+1)
	if err != nil {
		return fault.Wrap("fhirsql: history", err)
	}
	size := 0
	for i := range list {
		if i == q.Count {
			page.Next = historyNext(q, page)
			break
		}
		rec, err := s.versionOf(c, &list[i])
		if err != nil {
			return fault.Wrap("fhirsql: history", err)
		}
		if size += len(rec.Stored); fullPage(i, size) {
			page.Next = historyNext(q, page)
			break
		}
		page.Records = append(page.Records, rec)
	}
	return nil
}

// historyNext is the cursor behind the last version of page.
func historyNext(q fhir.HistoryQuery, page *fhir.Page) string {
	return encodeCursor(historyPrint(q), []any{int64(page.Records[len(page.Records)-1].Seq)})
}

// versionOf reads one version.
func (s *Store) versionOf(c *db.Conn, v *versionAt) (fhir.Record, error) {
	rec := fhir.Record{Key: v.key}
	text, arg := "SELECT ver, seq, op, z FROM body WHERE rid=$1", v.rid
	if v.old {
		text, arg = "SELECT ver, seq, op, z FROM hist WHERE seq=$1", v.seq
	}
	err := c.Query(text, func(st *db.Stmt) error { return s.version(st, 0, &rec) }, arg)
	return rec, err
}

// historyPrint binds a cursor to the listing it came from.
func historyPrint(q fhir.HistoryQuery) string {
	return fmt.Sprint("h", q.Type, "/", q.ID, q.Since.UnixNano(), q.Before.UnixNano(), q.Ascending)
}
