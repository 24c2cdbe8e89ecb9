package dicomsql

import (
	"context"

	"github.com/klauspost/compress/s2"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Update implements dicom.Updater.
func (s *Store) Update(ctx context.Context, part dicom.Partition, old *dicom.Instance, rec *dicom.Record, tags int64) error {
	packed := s2.Encode(nil, rec.Attrs)
	return s.write(ctx, func(c *db.Conn) error {
		if err := s.checkTags(c, tags); err != nil {
			return err
		}
		p := s.putting(c)
		st, err := p.findStudy(int64(part), rec)
		if err != nil {
			return err
		}
		se, err := p.findSeries(st, rec)
		if err != nil {
			return err
		}
		there := false
		err = c.Query("SELECT 1 FROM instance WHERE iid = $1 AND eid = $2", func(*db.Stmt) error { there = true; return nil }, int64(old.Version), se.id)
		if err != nil {
			return err
		}
		if !there || st.fresh || se.fresh {
			return fault.New(fault.Conflict, "The instance has changed meanwhile.")
		}
		if err := p.supersede(st, se, old, rec, packed); err != nil {
			return err
		}
		if err := p.saveStudy(st); err != nil {
			return err
		}
		if err := p.saveSeries(se); err != nil {
			return err
		}
		return p.saveUse()
	})
}

// supersede puts the row of a changed version in the place of the old one. The
// first version stays as the original.
func (p *putting) supersede(st, se *group, old *dicom.Instance, r *dicom.Record, packed []byte) error {
	p.s.recent.changed = true
	seq, at, err := p.s.next(p.c)
	if err != nil {
		return err
	}
	original, originalAt := old.Location, int64(old.Version)
	if old.Original.Size > 0 {
		original, originalAt = old.Original, int64(old.OriginalVersion)
		p.use(old.Location.Object, -old.Location.Size)
		if err := p.c.Exec("DELETE FROM body WHERE iid = $1", int64(old.Version)); err != nil {
			return err
		}
	}
	if err := p.c.Exec("DELETE FROM instance WHERE iid = $1", int64(old.Version)); err != nil {
		return err
	}
	if err := dropValues(p.c, dicom.LevelInstance, int64(old.Version)); err != nil {
		return err
	}
	l := r.Location
	err = p.c.Exec(sqlInstance, seq, se.id, st.id, st.part, r.SOP, r.Class, null(instanceNumber(r)), r.Syntax, l.Object, l.Pos, l.Size)
	if err == nil {
		err = p.c.Exec("UPDATE instance SET orig_iid = $1, orig_obj = $2, orig_pos = $3, orig_size = $4 WHERE iid = $5",
			originalAt, original.Object, original.Pos, original.Size, seq)
	}
	if err == nil {
		err = p.c.Exec(sqlBody, seq, packed, nullBlob(r.Frames))
	}
	if err == nil {
		err = p.c.Exec(sqlChange, seq, at, int(dicom.ActionUpdate), st.part, r.UIDs.Study, r.UIDs.Series, r.SOP)
	}
	if err == nil {
		err = saveValues(p.c, &indexed{iid: seq, eid: se.id, sid: st.id, uids: r.UIDs, values: r.Tags}, at)
	}
	p.use(l.Object, l.Size)
	p.tally(st.part, int64(old.Version), -1)
	p.tally(st.part, seq, 1)
	st.take(dicom.LevelStudy, r, r.Study, seq)
	se.take(dicom.LevelSeries, r, r.Series, seq)
	r.Version, r.Stored = dicom.Version(seq), true
	return err
}
