package fhirsql

import (
	"context"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
)

// Entry is one entry of the change sequence: which version of what came to be.
type Entry struct {
	Key     fhir.Key
	Version int64
	Seq     fhir.Seq
	Deleted bool
}

// Changes returns up to limit entries of the change sequence after a position,
// in order, and the position of the last one that it looked at. The sequence has
// no gaps: what is committed later has a later position. Versions that were
// purged, and resources that were erased, are no longer in it.
func (s *Store) Changes(ctx context.Context, after fhir.Seq, limit int) (list []Entry, last fhir.Seq, err error) {
	last = after
	err = s.snapshot(ctx, func(c *db.Conn) error {
		list, last = list[:0], after
		return c.Query(`SELECT g.seq, g.ver, g.op, b.t, b.id, h.t, h.id FROM (SELECT seq, rid, ver, op FROM chg WHERE seq>$1 ORDER BY seq LIMIT $2+0) g
LEFT JOIN body b ON b.rid=g.rid LEFT JOIN hist h ON h.rid=g.rid AND h.ver=g.ver ORDER BY g.seq`, func(st *db.Stmt) error {
			last = fhir.Seq(st.ColInt(0))
			col := 3
			if st.ColNull(3) {
				col = 5
			}
			if op := st.ColInt(2); op == opErased || op == opPlaced || st.ColNull(col) {
				return nil
			}
			list = append(list, Entry{
				Key:     fhir.Key{Type: s.types.name(st.ColInt(col)), ID: idText(st.ColBlob(col+1, nil))},
				Version: st.ColInt(1), Seq: last, Deleted: st.ColInt(2) == opDelete,
			})
			return nil
		}, int64(after), limit)
	})
	return list, last, err
}
