package dicomsql

import (
	"context"
	"strconv"

	"github.com/klauspost/compress/s2"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// AddWorkitem implements dicom.Worklist.
func (s *Store) AddWorkitem(ctx context.Context, part dicom.Partition, w *dicom.Workitem) error {
	packed := s2.Encode(nil, w.Attrs)
	return s.write(ctx, func(c *db.Conn) error {
		taken := false
		err := c.Query("SELECT 1 FROM workitem WHERE uid = $1 AND pid = $2", func(*db.Stmt) error { taken = true; return nil }, w.UID, int64(part))
		if err != nil {
			return err
		}
		if taken {
			return fault.New(fault.Conflict, "There is a work item with this UID.")
		}
		wid := int64(0)
		err = c.Query("SELECT coalesce(max(wid), 0) + 1 FROM workitem", func(st *db.Stmt) error { wid = st.ColInt(0); return nil })
		if err == nil {
			err = c.Exec("INSERT INTO workitem (wid, pid, uid, state, tx, version, attrs) VALUES ($1, $2, $3, $4, $5, $6, $7)",
				wid, int64(part), w.UID, string(w.State), w.Transaction, w.Version, packed)
		}
		if err != nil {
			return err
		}
		return saveWorkitemValues(c, wid, w)
	})
}

func saveWorkitemValues(c *db.Conn, wid int64, w *dicom.Workitem) error {
	for _, v := range w.Values {
		if err := c.Exec("INSERT INTO wvalue (k, v, wid) VALUES ($1, $2, $3)", v.Key, v.Value, wid); err != nil {
			return err
		}
	}
	return nil
}

// Workitem implements dicom.Worklist.
func (s *Store) Workitem(ctx context.Context, part dicom.Partition, uid string) (w *dicom.Workitem, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT state, tx, version, attrs FROM workitem WHERE uid = $1 AND pid = $2", func(st *db.Stmt) (err error) {
			w = &dicom.Workitem{UID: uid, State: dicom.WorkitemState(st.ColText(0)), Transaction: st.ColText(1), Version: st.ColInt(2)}
			w.Attrs, err = unpack(nil, st.ColBlob(3, nil))
			return err
		}, uid, int64(part))
	})
	if err == nil && w == nil {
		err = fault.New(fault.NotFound, "There is no such work item.")
	}
	return w, err
}

// SetWorkitem implements dicom.Worklist.
func (s *Store) SetWorkitem(ctx context.Context, part dicom.Partition, w *dicom.Workitem) error {
	packed := s2.Encode(nil, w.Attrs)
	return s.write(ctx, func(c *db.Conn) error {
		wid := int64(0)
		err := c.Query("SELECT wid FROM workitem WHERE uid = $1 AND pid = $2 AND version = $3", func(st *db.Stmt) error { wid = st.ColInt(0); return nil },
			w.UID, int64(part), w.Version)
		if err != nil {
			return err
		}
		if wid == 0 {
			return fault.New(fault.Conflict, "The work item has changed meanwhile.")
		}
		err = c.Exec("UPDATE workitem SET state = $1, tx = $2, version = $3, attrs = $4 WHERE wid = $5", string(w.State), w.Transaction, w.Version+1, packed, wid)
		if err == nil {
			err = c.Exec("DELETE FROM wvalue WHERE wid = $1", wid)
		}
		if err != nil {
			return err
		}
		return saveWorkitemValues(c, wid, w)
	})
}

// SearchWorkitems implements dicom.Worklist. Conditions on rare values are
// looked up; those that many work items meet are tried on each while the list is
// walked from its newest end.
func (s *Store) SearchWorkitems(ctx context.Context, q *dicom.WorkitemQuery, f func(int64, dicom.Attributes) error) (more bool, err error) {
	b := &sqlb{}
	b.add("SELECT w.wid, w.attrs FROM workitem w WHERE w.pid = ")
	b.arg(int64(q.Partition))
	for i := range q.Filters {
		x := &q.Filters[i]
		of := ""
		if dicom.WorkitemKeys[x.Key].Common {
			b.add(" AND EXISTS (SELECT 1 FROM wvalue x WHERE ")
			of = "x.wid = w.wid AND "
		} else {
			b.add(" AND w.wid IN (SELECT x.wid FROM wvalue x WHERE ")
		}
		b.add(of, "x.k = ", strconv.Itoa(x.Key), " AND ")
		column(b, "x.v", &x.Filter)
		b.add(")")
	}
	if q.After > 0 {
		b.add(" AND w.wid < ")
		b.arg(q.After)
	}
	b.add(" ORDER BY w.wid DESC LIMIT 0+")
	b.arg(q.Limit + 1)
	if q.Offset > 0 {
		b.add(" OFFSET ")
		b.arg(q.Offset)
	}
	n := 0
	var packed, attrs []byte
	err = s.db.ReadTx(ctx, func(c *db.Conn) error {
		return c.Query(b.text.String(), func(st *db.Stmt) (err error) {
			if n == q.Limit {
				more = true
				return nil
			}
			n++
			packed = st.ColBlob(1, packed[:0])
			if attrs, err = unpack(attrs, packed); err != nil {
				return err
			}
			return f(st.ColInt(0), attrs)
		}, b.args...)
	})
	return more, err
}
