package dicomsql

import (
	"context"

	"github.com/klauspost/compress/s2"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// instanceColumns is the select list that scanInstance reads; i is the instance,
// se the series and st the study.
const instanceColumns = "st.uid, se.uid, i.uid, i.class, i.syntax, i.obj, i.pos, i.size, i.iid, i.orig_iid, i.orig_obj, i.orig_pos, i.orig_size"

// The joins from the outside in; CROSS JOIN pins their order in SQLite.
const fromStudy = " FROM study st CROSS JOIN series se CROSS JOIN instance i WHERE se.sid = st.sid AND i.eid = se.eid AND st.pid = $1 AND st.uid = $2"

func scanInstance(st *db.Stmt) *dicom.Instance {
	in := &dicom.Instance{
		UIDs:  dicom.UIDs{Study: st.ColText(0), Series: st.ColText(1), SOP: st.ColText(2)},
		Class: st.ColText(3), Syntax: st.ColText(4),
		Location: dicom.Location{Object: st.ColInt(5), Pos: st.ColInt(6), Size: st.ColInt(7)},
		Version:  dicom.Version(st.ColInt(8)),
	}
	if !st.ColNull(9) {
		in.OriginalVersion = dicom.Version(st.ColInt(9))
		in.Original = dicom.Location{Object: st.ColInt(10), Pos: st.ColInt(11), Size: st.ColInt(12)}
	}
	return in
}

func notFound(u dicom.UIDs) error {
	what := [...]string{"study", "series", "instance"}[u.Level()]
	return fault.New(fault.NotFound, "The specified %s cannot be found.", what)
}

// Instance implements dicom.Store.
func (s *Store) Instance(ctx context.Context, part dicom.Partition, u dicom.UIDs) (*dicom.Instance, error) {
	f, err := s.find(ctx, part, u, false)
	if err != nil {
		return nil, err
	}
	return &f.in, nil
}

// Frames implements dicom.Store.
func (s *Store) Frames(ctx context.Context, part dicom.Partition, u dicom.UIDs) (*dicom.Instance, []byte, error) {
	f, err := s.find(ctx, part, u, true)
	if err != nil {
		return nil, nil, err
	}
	return &f.in, f.table, nil
}

// find returns an instance, with its frame table if that is wanted.
func (s *Store) find(ctx context.Context, part dicom.Partition, u dicom.UIDs, table bool) (found, error) {
	known, turn, series := s.recent.get(recentKey{part, u}, table)
	if known != nil {
		return *known, nil
	}
	var list []*found
	scan := func(st *db.Stmt) error {
		f := &found{in: *scanInstance(st), tabled: table}
		if table && !st.ColNull(13) {
			f.table = st.ColBlob(13, nil)
		}
		list = append(list, f)
		return nil
	}
	text := "SELECT " + instanceColumns
	if table {
		text += ", (SELECT frames FROM body WHERE body.iid = i.iid)"
	}
	text += fromStudy + " AND se.uid = $3"
	err := s.db.Read(ctx, func(c *db.Conn) error {
		list = nil
		err := c.Query(text+" AND i.uid = $4", scan, int64(part), u.Study, u.Series, u.SOP)
		if err != nil || len(list) == 0 || !series || len(list[0].table) > maxRecentTable {
			return err // where tables are too large to be remembered, every frame comes here
		}
		return c.Query(text+" AND i.iid > $4 ORDER BY i.iid LIMIT 0+$5", scan, int64(part), u.Study, u.Series, int64(list[0].in.Version), ahead)
	})
	if err == nil && len(list) == 0 {
		err = notFound(u)
	}
	if err != nil {
		return found{}, err
	}
	s.recent.add(part, turn, list)
	return *list[0], nil
}

// Known implements dicom.Store. It begins with the instance: one that is new,
// as most are, is not found by a single look.
func (s *Store) Known(ctx context.Context, part dicom.Partition, list []dicom.UIDs) ([]bool, error) {
	known := make([]bool, len(list))
	err := s.db.Read(ctx, func(c *db.Conn) error {
		for i, u := range list {
			err := c.Query("SELECT 1 FROM instance i CROSS JOIN series se CROSS JOIN study st WHERE i.uid = $1 AND se.eid = i.eid AND se.uid = $2 AND st.sid = se.sid AND st.uid = $3 AND st.pid = $4",
				func(*db.Stmt) error { known[i] = true; return nil }, u.SOP, u.Series, u.Study, int64(part))
			if err != nil {
				return err
			}
		}
		return nil
	})
	return known, err
}

// below adds the conditions for what lies below u and returns the arguments.
func below(part dicom.Partition, u dicom.UIDs) (where string, args []any) {
	args = []any{int64(part), u.Study}
	if u.Series != "" {
		where += " AND se.uid = $3"
		args = append(args, u.Series)
	}
	if u.SOP != "" {
		where += " AND i.uid = $4"
		args = append(args, u.SOP)
	}
	return where, args
}

// from is the join for what lies below u, in the order of the instances.
func from(u dicom.UIDs) string {
	if u.Series == "" {
		return " FROM study st CROSS JOIN instance i CROSS JOIN series se WHERE i.sid = st.sid AND se.eid = i.eid AND st.pid = $1 AND st.uid = $2"
	}
	return fromStudy
}

// List implements dicom.Store.
func (s *Store) List(ctx context.Context, part dicom.Partition, u dicom.UIDs, after dicom.Version, limit int) (list []*dicom.Instance, err error) {
	where, args := below(part, u)
	b := sqlb{args: args}
	b.add("SELECT ", instanceColumns, from(u), where, " AND i.iid > ")
	b.arg(int64(after))
	b.add(" ORDER BY i.iid LIMIT 0+")
	b.arg(limit)
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query(b.text.String(), func(st *db.Stmt) error {
			list = append(list, scanInstance(st))
			return nil
		}, b.args...)
	})
	return list, err
}

// Metadata implements dicom.Store.
func (s *Store) Metadata(ctx context.Context, part dicom.Partition, u dicom.UIDs, original bool, f func(*dicom.Instance, dicom.Attributes) error) error {
	where, args := below(part, u)
	iid := "i.iid"
	if original {
		iid = "coalesce(i.orig_iid, i.iid)"
	}
	text := "SELECT " + instanceColumns + ", (SELECT attrs FROM body WHERE body.iid = " + iid + ")" + from(u) + where + " ORDER BY i.iid"
	var packed, attrs []byte
	return s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query(text, func(st *db.Stmt) (err error) {
			packed = st.ColBlob(13, packed[:0])
			if attrs, err = unpack(attrs, packed); err != nil {
				return err
			}
			return f(scanInstance(st), attrs)
		}, args...)
	})
}

// unpack decompresses metadata into dst if it is large enough.
func unpack(dst, packed []byte) ([]byte, error) {
	out, err := s2.Decode(dst[:cap(dst)], packed)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Internal, Op: "dicomsql: metadata", Msg: "the stored metadata are damaged", Err: err}
	}
	return out, nil
}

// Revision implements dicom.Store.
func (s *Store) Revision(ctx context.Context, part dicom.Partition, u dicom.UIDs) (v dicom.Version, n int64, err error) {
	text := "SELECT version, ninstances FROM study st WHERE st.pid = $1 AND st.uid = $2"
	switch u.Level() {
	case dicom.LevelSeries:
		text = "SELECT se.version, se.ninstances FROM study st CROSS JOIN series se WHERE se.sid = st.sid AND st.pid = $1 AND st.uid = $2"
	case dicom.LevelInstance:
		text = "SELECT i.iid, 1" + fromStudy
	}
	where, args := below(part, u)
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query(text+where, func(st *db.Stmt) error {
			v, n = dicom.Version(st.ColInt(0)), st.ColInt(1)
			return nil
		}, args...)
	})
	if err == nil && n == 0 {
		err = notFound(u)
	}
	return v, n, err
}
