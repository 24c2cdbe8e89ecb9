package dicomsql

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
)

// changeColumns: the instance that is there now, if any, tells the state.
const changeColumns = "SELECT g.seq, g.at, g.action, g.study, g.series, g.sop, " +
	"(SELECT name FROM part WHERE part.pid = g.pid), " +
	"(SELECT i.iid FROM study st CROSS JOIN series se CROSS JOIN instance i " +
	"WHERE se.sid = st.sid AND i.eid = se.eid AND st.pid = g.pid AND st.uid = g.study AND se.uid = g.series AND i.uid = g.sop) FROM chg g"

// Changes implements dicom.Feed.
func (s *Store) Changes(ctx context.Context, q dicom.ChangeQuery) ([]dicom.Change, error) {
	var b sqlb
	b.add(changeColumns)
	if q.Window {
		b.add(" WHERE g.seq > ")
		b.arg(q.Offset)
		b.add(" AND g.seq <= ")
		b.arg(q.Offset + int64(q.Limit))
		b.add(" ORDER BY g.seq")
		return s.changes(ctx, &b, q.Metadata)
	}
	// Every number of the sequence has a row, and time goes with it, so that the
	// offset need not be walked.
	b.add(" WHERE g.seq >= (SELECT f.seq FROM chg f WHERE f.at >= ")
	b.arg(micros(q.From, 0))
	b.add(" ORDER BY f.at, f.seq LIMIT 1) + ")
	b.arg(q.Offset)
	b.add(" AND g.at < ")
	b.arg(micros(q.To, 1<<62))
	b.add(" ORDER BY g.seq LIMIT 0+")
	b.arg(q.Limit)
	return s.changes(ctx, &b, q.Metadata)
}

// Before returns the sequence of the last change before a time; 0 if there is none.
func (s *Store) Before(ctx context.Context, t time.Time) (seq int64, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT seq FROM chg WHERE at < $1 ORDER BY at DESC, seq DESC LIMIT 1", func(st *db.Stmt) error {
			seq = st.ColInt(0)
			return nil
		}, micros(t, 0))
	})
	return seq, err
}

// After returns changes after a sequence in their order, without their state.
func (s *Store) After(ctx context.Context, seq int64, limit int) (list []dicom.Change, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT seq, at, action, study, series, sop, (SELECT name FROM part WHERE part.pid = chg.pid) FROM chg WHERE seq > $1 ORDER BY seq LIMIT $2+0", func(st *db.Stmt) error {
			list = append(list, dicom.Change{
				Sequence: st.ColInt(0), At: time.UnixMicro(st.ColInt(1)).UTC(), Action: dicom.Action(st.ColInt(2)),
				UIDs: dicom.UIDs{Study: st.ColText(3), Series: st.ColText(4), SOP: st.ColText(5)}, Partition: st.ColText(6),
			})
			return nil
		}, seq, limit)
	})
	return list, err
}

// micros returns a time as it is stored, rounded up, so that both bounds hold
// exactly; def when there is none.
func micros(t time.Time, def int64) int64 {
	if t.IsZero() {
		return def
	}
	return t.Add(time.Microsecond - 1).UnixMicro()
}

// Latest implements dicom.Feed.
func (s *Store) Latest(ctx context.Context, metadata bool) (*dicom.Change, error) {
	var b sqlb
	b.add(changeColumns, " WHERE g.seq = (SELECT max(seq) FROM chg)")
	list, err := s.changes(ctx, &b, metadata)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

func (s *Store) changes(ctx context.Context, b *sqlb, metadata bool) (list []dicom.Change, err error) {
	err = s.db.ReadTx(ctx, func(c *db.Conn) error {
		err := c.Query(b.text.String(), func(st *db.Stmt) error {
			ch := dicom.Change{
				Sequence: st.ColInt(0), At: time.UnixMicro(st.ColInt(1)).UTC(), Action: dicom.Action(st.ColInt(2)),
				UIDs:      dicom.UIDs{Study: st.ColText(3), Series: st.ColText(4), SOP: st.ColText(5)},
				Partition: st.ColText(6), Version: dicom.Version(st.ColInt(7)),
			}
			switch {
			case st.ColNull(7):
				ch.State = dicom.StateDeleted
			case st.ColInt(7) != ch.Sequence:
				ch.State = dicom.StateReplaced
			}
			list = append(list, ch)
			return nil
		}, b.args...)
		if err != nil || !metadata {
			return err
		}
		for i := range list {
			if list[i].State != dicom.StateCurrent || list[i].Action == dicom.ActionDelete {
				continue
			}
			err := c.Query("SELECT attrs FROM body WHERE iid = $1", func(st *db.Stmt) (err error) {
				list[i].Attrs, err = unpack(nil, st.ColBlob(0, nil))
				return err
			}, int64(list[i].Version))
			if err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}
