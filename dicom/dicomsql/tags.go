package dicomsql

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Tags implements dicom.Tags.
func (s *Store) Tags(ctx context.Context) (list []*dicom.ExtendedTag, version int64, err error) {
	err = s.db.ReadTx(ctx, func(c *db.Conn) error {
		list = nil
		err := c.Query("SELECT v FROM meta WHERE k = 'tags'", func(st *db.Stmt) error { version = st.ColInt(0); return nil })
		if err != nil {
			return err
		}
		return c.Query("SELECT xid, tag, vr, creator, level, status, disabled, operation, "+
			"(SELECT count(*) FROM xerror e WHERE e.xid = xtag.xid) FROM xtag ORDER BY tag", func(st *db.Stmt) error {
			vr, _ := dcm.ParseVR(st.ColText(2))
			list = append(list, &dicom.ExtendedTag{
				ID: st.ColInt(0), Tag: dcm.Tag(st.ColInt(1)), VR: vr, Creator: st.ColText(3), Level: dicom.Level(st.ColInt(4)),
				Status: dicom.TagStatus(st.ColInt(5)), Disabled: st.ColInt(6) != 0, Operation: st.ColText(7), Errors: st.ColInt(8),
			})
			return nil
		})
	})
	return list, version, err
}

// changeTags notes that the list of tags is another one.
func (s *Store) changeTags(c *db.Conn) error {
	if err := s.load(c); err != nil {
		return err
	}
	s.tags++
	if err := c.Exec("INSERT INTO meta (k, v) VALUES ('tags', $1) ON CONFLICT (k) DO UPDATE SET v = excluded.v", s.tags); err != nil {
		return err
	}
	return c.Notify("tags")
}

// checkTags refuses values of another list of tags than the one that is there.
func (s *Store) checkTags(c *db.Conn, version int64) error {
	if err := s.load(c); err != nil {
		return &db.Broken{Err: err}
	}
	if version != s.tags {
		return dicom.ErrTagsChanged
	}
	return nil
}

// AddTags implements dicom.Tags.
func (s *Store) AddTags(ctx context.Context, list []*dicom.ExtendedTag) error {
	return s.write(ctx, func(c *db.Conn) error {
		var next int64
		if err := c.Query("SELECT coalesce(max(xid), 0) FROM xtag", func(st *db.Stmt) error { next = st.ColInt(0); return nil }); err != nil {
			return err
		}
		for _, t := range list {
			taken := false
			if err := c.Query("SELECT 1 FROM xtag WHERE tag = $1", func(*db.Stmt) error { taken = true; return nil }, int64(t.Tag)); err != nil {
				return err
			}
			if taken {
				return fault.New(fault.Conflict, "The tag %s is an extended query tag already.", t.Tag.Hex())
			}
		}
		for _, t := range list {
			next++
			t.ID = next
			err := c.Exec("INSERT INTO xtag (xid, tag, vr, creator, level, status, disabled, operation) VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
				t.ID, int64(t.Tag), t.VR.String(), t.Creator, int(t.Level), int(t.Status), t.Operation)
			if err != nil {
				return err
			}
		}
		return s.changeTags(c)
	})
}

// SetTag implements dicom.Tags.
func (s *Store) SetTag(ctx context.Context, t *dicom.ExtendedTag) error {
	disabled := 0
	if t.Disabled {
		disabled = 1
	}
	return s.write(ctx, func(c *db.Conn) error {
		if err := c.Exec("UPDATE xtag SET status = $1, disabled = $2, operation = $3 WHERE xid = $4", int(t.Status), disabled, t.Operation, t.ID); err != nil {
			return err
		}
		return c.Notify("tags")
	})
}

// DeleteTag implements dicom.Tags.
func (s *Store) DeleteTag(ctx context.Context, t *dicom.ExtendedTag) error {
	return s.write(ctx, func(c *db.Conn) error {
		for _, text := range []string{"DELETE FROM xvalue WHERE xid = $1", "DELETE FROM xerror WHERE xid = $1", "DELETE FROM xtag WHERE xid = $1"} {
			if err := c.Exec(text, t.ID); err != nil {
				return err
			}
		}
		return s.changeTags(c)
	})
}

// indexed is an instance whose values are being written.
type indexed struct {
	iid, eid, sid int64
	uids          dicom.UIDs
	values        []dicom.TagValue
}

// key is what the value of a tag belongs to.
func (x *indexed) key(l dicom.Level) int64 { return [...]int64{x.sid, x.eid, x.iid}[l] }

// saveValues writes the values of extended tags; the latest of a study or series counts.
func saveValues(c *db.Conn, x *indexed, at int64) error {
	for i := range x.values {
		v := &x.values[i]
		var err error
		if v.Err == "" {
			err = c.Exec("INSERT INTO xvalue (xid, k, v) VALUES ($1, $2, $3) ON CONFLICT (xid, k) DO UPDATE SET v = excluded.v", v.Tag.ID, x.key(v.Tag.Level), v.Value)
		} else {
			err = c.Exec("INSERT INTO xerror (xid, iid, study, series, sop, at, message) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (xid, iid) DO NOTHING",
				v.Tag.ID, x.iid, x.uids.Study, x.uids.Series, x.uids.SOP, at, v.Err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dropValues removes the values of what is gone at a level.
func dropValues(c *db.Conn, level dicom.Level, key int64) error {
	if level == dicom.LevelInstance {
		if err := c.Exec("DELETE FROM xerror WHERE iid = $1 AND xid IN (SELECT xid FROM xtag)", key); err != nil {
			return err
		}
	}
	return c.Exec("DELETE FROM xvalue WHERE xid IN (SELECT xid FROM xtag WHERE level = $1) AND k = $2", int(level), key)
}

// Reindex implements dicom.Tags.
func (s *Store) Reindex(ctx context.Context, after dicom.Version, limit int, f func(dicom.Attributes) []dicom.TagValue) (last dicom.Version, more bool, err error) {
	var list []*indexed
	n := 0
	err = s.db.ReadTx(ctx, func(c *db.Conn) error {
		list, n, last = nil, 0, after
		var packed, attrs []byte
		return c.Query("SELECT i.iid, i.eid, i.sid, st.uid, se.uid, i.uid, (SELECT attrs FROM body WHERE body.iid = i.iid) "+
			"FROM instance i CROSS JOIN series se CROSS JOIN study st "+
			"WHERE se.eid = i.eid AND st.sid = i.sid AND i.iid > $1 ORDER BY i.iid LIMIT $2+0", func(st *db.Stmt) (err error) {
			n++
			packed = st.ColBlob(6, packed[:0])
			if attrs, err = unpack(attrs, packed); err != nil {
				return err
			}
			x := &indexed{
				iid: st.ColInt(0), eid: st.ColInt(1), sid: st.ColInt(2),
				uids: dicom.UIDs{Study: st.ColText(3), Series: st.ColText(4), SOP: st.ColText(5)}, values: f(attrs),
			}
			last = dicom.Version(x.iid)
			if len(x.values) > 0 {
				list = append(list, x)
			}
			return nil
		}, int64(after), limit)
	})
	if err != nil {
		return after, false, err
	}
	at := s.now().UnixMicro()
	err = s.db.Write(ctx, &db.Work{Bulk: true, Size: len(list), Do: func(c *db.Conn) error {
		for _, x := range list {
			if err := s.reindexed(c, x, at); err != nil {
				return &db.Broken{Err: err}
			}
		}
		return nil
	}})
	return last, n == limit, err
}

// reindexed writes the values of an instance that is still there. Those of its
// study or series count unless a newer instance has given one already.
func (s *Store) reindexed(c *db.Conn, x *indexed, at int64) error {
	there := false
	if err := c.Query("SELECT 1 FROM instance WHERE iid = $1", func(*db.Stmt) error { there = true; return nil }, x.iid); err != nil || !there {
		return err
	}
	return saveValues(c, x, at)
}

// TagErrors implements dicom.Tags.
func (s *Store) TagErrors(ctx context.Context, t *dicom.ExtendedTag, limit, offset int) (list []dicom.TagError, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT study, series, sop, at, message FROM xerror WHERE xid = $1 ORDER BY iid LIMIT $2+0 OFFSET $3", func(st *db.Stmt) error {
			list = append(list, dicom.TagError{
				UIDs: dicom.UIDs{Study: st.ColText(0), Series: st.ColText(1), SOP: st.ColText(2)},
				At:   time.UnixMicro(st.ColInt(3)).UTC(), Message: st.ColText(4),
			})
			return nil
		}, t.ID, limit, offset)
	})
	return list, err
}
