package dicomsql

import (
	"context"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
)

// doomed is an instance that is being deleted.
type doomed struct {
	in       *dicom.Instance
	eid, sid int64
}

// Delete implements dicom.Store.
func (s *Store) Delete(ctx context.Context, part dicom.Partition, u dicom.UIDs) (int, error) {
	var list []doomed
	err := s.write(ctx, func(c *db.Conn) error {
		list = nil
		where, args := below(part, u)
		err := c.Query("SELECT "+instanceColumns+", i.eid, i.sid"+from(u)+where+" ORDER BY i.iid", func(st *db.Stmt) error {
			list = append(list, doomed{scanInstance(st), st.ColInt(13), st.ColInt(14)})
			return nil
		}, args...)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return notFound(u)
		}
		return s.remove(c, int64(part), list)
	})
	return len(list), err
}

// remove takes instances of one study out.
func (s *Store) remove(c *db.Conn, part int64, list []doomed) error {
	p := &putting{s: s, c: c, used: map[int64]usage{}}
	s.recent.changed = true
	series := map[int64]int64{}
	for _, d := range list {
		seq, at, err := s.next(c)
		if err != nil {
			return err
		}
		iid := int64(d.in.Version)
		for _, text := range []string{"DELETE FROM instance WHERE iid = $1", "DELETE FROM body WHERE iid = $1"} {
			if err := c.Exec(text, iid); err != nil {
				return err
			}
		}
		if err := dropValues(c, dicom.LevelInstance, iid); err != nil {
			return err
		}
		if d.in.Original.Size > 0 {
			if err := c.Exec("DELETE FROM body WHERE iid = $1", int64(d.in.OriginalVersion)); err != nil {
				return err
			}
			p.use(d.in.Original.Object, -d.in.Original.Size)
		}
		if err := c.Exec(sqlChange, seq, at, int(dicom.ActionDelete), part, d.in.Study, d.in.Series, d.in.SOP); err != nil {
			return err
		}
		p.use(d.in.Location.Object, -d.in.Location.Size)
		p.tally(part, iid, -1)
		series[d.eid]++
	}
	if err := p.saveUse(); err != nil {
		return err
	}
	return s.shrink(c, list[0].sid, series, int64(len(list)))
}

// shrink corrects the counts of a study and its series, and removes those that
// are empty. The version moves, so that entity tags change.
func (s *Store) shrink(c *db.Conn, sid int64, series map[int64]int64, n int64) error {
	gone := int64(0)
	for eid, k := range series {
		if err := c.Exec("UPDATE series SET ninstances = ninstances - $1, version = $2 WHERE eid = $3", k, s.seq, eid); err != nil {
			return err
		}
		left := int64(0)
		if err := c.Query("SELECT ninstances FROM series WHERE eid = $1", func(st *db.Stmt) error { left = st.ColInt(0); return nil }, eid); err != nil {
			return err
		}
		if left <= 0 {
			gone++
			if err := dropValues(c, dicom.LevelSeries, eid); err != nil {
				return err
			}
			if err := c.Exec("DELETE FROM series WHERE eid = $1", eid); err != nil {
				return err
			}
		}
	}
	var mods []string
	err := c.Query("SELECT DISTINCT modality FROM series WHERE sid = $1", func(st *db.Stmt) error {
		if m := st.ColText(0); m != "" {
			mods = append(mods, strings.ToUpper(m))
		}
		return nil
	}, sid)
	if err != nil {
		return err
	}
	slices.Sort(mods)
	err = c.Exec("UPDATE study SET ninstances = ninstances - $1, nseries = nseries - $2, modalities = $3, version = $4 WHERE sid = $5",
		n, gone, strings.Join(mods, `\`), s.seq, sid)
	if err != nil {
		return err
	}
	left := int64(0)
	if err := c.Query("SELECT ninstances FROM study WHERE sid = $1", func(st *db.Stmt) error { left = st.ColInt(0); return nil }, sid); err != nil || left > 0 {
		return err
	}
	if err := dropValues(c, dicom.LevelStudy, sid); err != nil {
		return err
	}
	if err := c.Exec(sqlDropWords, sid); err != nil {
		return err
	}
	return c.Exec("DELETE FROM study WHERE sid = $1", sid)
}
