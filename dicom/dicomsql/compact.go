package dicomsql

import (
	"context"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
)

// Sparse implements dicom.Compactor. Of several processes the one that reserved
// numbers last does it, so that no two copy the same files; anybody while none has.
func (s *Store) Sparse(ctx context.Context, from int64, limit int) (list []int64, err error) {
	node := s.objects.name()
	err = s.db.ReadTx(ctx, func(c *db.Conn) error {
		list = nil
		mine := true
		err := c.Query("SELECT node FROM reserve WHERE node <> '' ORDER BY first DESC LIMIT 1", func(st *db.Stmt) error {
			mine = !s.shared || st.ColText(0) == node
			return nil
		})
		if err != nil || !mine {
			return err
		}
		return c.Query("SELECT id FROM obj WHERE live > 0 AND dead > 3 * live AND id >= $1 ORDER BY id LIMIT $2+0", func(st *db.Stmt) error {
			list = append(list, st.ColInt(0))
			return nil
		}, from, limit)
	})
	return list, err
}

// Files implements dicom.Compactor.
func (s *Store) Files(ctx context.Context, object int64) (list []dicom.StoredFile, err error) {
	err = s.db.ReadTx(ctx, func(c *db.Conn) error {
		list = nil
		for _, original := range []bool{false, true} {
			text := "SELECT iid, pos, size FROM instance WHERE obj = $1 ORDER BY pos"
			if original {
				text = "SELECT iid, orig_pos, orig_size FROM instance WHERE orig_obj = $1 ORDER BY orig_pos"
			}
			err := c.Query(text, func(st *db.Stmt) error {
				list = append(list, dicom.StoredFile{
					Version: dicom.Version(st.ColInt(0)), Original: original,
					Location: dicom.Location{Object: object, Pos: st.ColInt(1), Size: st.ColInt(2)},
				})
				return nil
			}, object)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

const (
	sqlMove         = "UPDATE instance SET obj = $1, pos = $2 WHERE iid = $3 AND obj = $4 AND pos = $5 RETURNING iid"
	sqlMoveOriginal = "UPDATE instance SET orig_obj = $1, orig_pos = $2 WHERE iid = $3 AND orig_obj = $4 AND orig_pos = $5 RETURNING iid"
)

// Move implements dicom.Compactor.
func (s *Store) Move(ctx context.Context, files []dicom.StoredFile, to []dicom.Location) (moved int, err error) {
	err = s.db.Write(ctx, &db.Work{Bulk: true, Size: len(files), Do: func(c *db.Conn) error {
		moved = 0
		p := &putting{s: s, c: c, used: map[int64]usage{}}
		for i, f := range files {
			text, there := sqlMove, false
			if f.Original {
				text = sqlMoveOriginal
			}
			err := c.Query(text, func(*db.Stmt) error { there = true; return nil }, to[i].Object, to[i].Pos, int64(f.Version), f.Location.Object, f.Location.Pos)
			if err != nil {
				return &db.Broken{Err: err}
			}
			if there {
				moved++
				s.recent.changed = true
				p.use(to[i].Object, f.Location.Size)
				p.use(f.Location.Object, -f.Location.Size)
			}
		}
		if err := p.saveUse(); err != nil {
			return &db.Broken{Err: err}
		}
		return nil
	}})
	return moved, err
}

// Locate implements dicom.Compactor.
func (s *Store) Locate(ctx context.Context, v dicom.Version) (now, original dicom.Location, err error) {
	there := false
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT obj, pos, size, orig_obj, orig_pos, orig_size FROM instance WHERE iid = $1", func(st *db.Stmt) error {
			there = true
			now = dicom.Location{Object: st.ColInt(0), Pos: st.ColInt(1), Size: st.ColInt(2)}
			if !st.ColNull(3) {
				original = dicom.Location{Object: st.ColInt(3), Pos: st.ColInt(4), Size: st.ColInt(5)}
			}
			return nil
		}, int64(v))
	})
	if err == nil && !there {
		err = notFound(dicom.UIDs{SOP: "x"})
	}
	return now, original, err
}
