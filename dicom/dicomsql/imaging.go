package dicomsql

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/imaging"
	"github.com/hygeia-health/hygeia/platform/db"
)

var _ imaging.Store = (*Store)(nil)

// Lead implements imaging.Store.
func (s *Store) Lead(ctx context.Context, work func(context.Context)) {
	s.db.Lead(ctx, "imaging", func(ctx context.Context, t *db.Term) {
		s.term.Store(t)
		defer s.term.Store(nil)
		work(ctx)
	})
}

// Shared implements imaging.Store.
func (s *Store) Shared() bool { return s.shared }

// led is write for what only the node does that has the turn.
func (s *Store) led(ctx context.Context, f func(*db.Conn) error) error {
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		t := s.term.Load()
		if t == nil {
			return db.ErrNotLeading
		}
		if err := t.Check(c); err != nil {
			return err
		}
		if err := f(c); err != nil {
			return &db.Broken{Err: err}
		}
		return nil
	}})
}

// Begin implements imaging.Store.
func (s *Store) Begin(ctx context.Context, settings string) error {
	return s.led(ctx, func(c *db.Conn) error {
		return c.Exec("INSERT INTO imaging (id, settings, pos) VALUES (1, $1, 0) ON CONFLICT (id) DO UPDATE SET "+
			"settings = excluded.settings, pos = 0 WHERE imaging.settings <> excluded.settings", settings)
	})
}

// noted is what a page of changes says about one study.
type noted struct {
	pid        int64
	study      string
	first, seq int64
}

const (
	sqlPosition = "SELECT pos FROM imaging WHERE id = 1"
	// A change of a study that waits begins a new wait for it.
	sqlNote = "INSERT INTO note (pid, study, seq, first, due, tries) VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (pid, study) DO UPDATE SET " +
		"seq = excluded.seq, tries = 0, first = CASE WHEN note.tries > 0 THEN excluded.first ELSE note.first END, " +
		"due = CASE WHEN note.tries > 0 OR note.first + $6 > excluded.due THEN excluded.due ELSE note.first + $6 END"
)

// Collect implements imaging.Store.
func (s *Store) Collect(ctx context.Context, now time.Time, settle, patience time.Duration, limit int) (more bool, err error) {
	var pos, last int64
	var list []*noted
	err = s.db.Read(ctx, func(c *db.Conn) error {
		err := c.Query(sqlPosition, func(st *db.Stmt) error { pos = st.ColInt(0); return nil })
		if err != nil {
			return err
		}
		list, last, more, err = changed(c, pos, limit)
		return err
	})
	if err != nil || last == 0 {
		return false, err
	}
	due := now.Add(settle).UnixMicro()
	return more, s.led(ctx, func(c *db.Conn) error {
		for _, n := range list {
			at := min(due, max(n.first+patience.Microseconds(), now.UnixMicro()))
			if err := c.Exec(sqlNote, n.pid, n.study, n.seq, n.first, at, patience.Microseconds()); err != nil {
				return err
			}
		}
		return c.Exec("UPDATE imaging SET pos = $1 WHERE id = 1 AND pos = $2", last, pos)
	})
}

// changed reads changes after a position, study by study; last is 0 when there are none.
func changed(c *db.Conn, pos int64, limit int) (list []*noted, last int64, more bool, err error) {
	type key struct {
		pid   int64
		study string
	}
	seen, n := map[key]*noted{}, 0
	err = c.Query("SELECT seq, at, pid, study FROM chg WHERE seq > $1 ORDER BY seq LIMIT $2+0", func(st *db.Stmt) error {
		n++
		last = st.ColInt(0)
		k := key{st.ColInt(2), st.ColText(3)}
		if seen[k] == nil {
			seen[k] = &noted{pid: k.pid, study: k.study, first: st.ColInt(1)}
			list = append(list, seen[k])
		}
		seen[k].seq = last
		return nil
	}, pos, limit)
	return list, last, n == limit, err
}

// Due implements imaging.Store.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) (list []imaging.Note, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT n.pid, part.name, n.study, n.seq, n.first, n.tries FROM note n CROSS JOIN part WHERE part.pid = n.pid AND n.due <= $1 "+
			"ORDER BY n.due, n.pid, n.study LIMIT $2+0", func(st *db.Stmt) error {
			list = append(list, imaging.Note{
				Partition: dicom.Partition(st.ColInt(0)), Name: st.ColText(1), Study: st.ColText(2), Sequence: st.ColInt(3),
				First: time.UnixMicro(st.ColInt(4)).UTC(), Tries: int(st.ColInt(5)),
			})
			return nil
		}, now.UnixMicro(), limit)
	})
	return list, err
}

// Done implements imaging.Store.
func (s *Store) Done(ctx context.Context, list []imaging.Done) error {
	if len(list) == 0 {
		return nil
	}
	return s.led(ctx, func(c *db.Conn) error {
		for i := range list {
			d := &list[i]
			var err error
			if d.Again.IsZero() {
				err = c.Exec("DELETE FROM note WHERE pid = $1 AND study = $2 AND seq = $3", int64(d.Partition), d.Study, d.Sequence)
			} else {
				tries := 1
				if d.Passing {
					tries = 0
				}
				err = c.Exec("UPDATE note SET due = $1, tries = tries + $2 WHERE pid = $3 AND study = $4 AND seq = $5",
					d.Again.UnixMicro(), tries, int64(d.Partition), d.Study, d.Sequence)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Backlog implements imaging.Store.
func (s *Store) Backlog(ctx context.Context) (b imaging.Backlog, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT CASE WHEN tries > 0 THEN 1 ELSE 0 END, count(*), min(first) FROM note GROUP BY 1", func(st *db.Stmt) error {
			if n := int(st.ColInt(1)); st.ColInt(0) != 0 {
				b.Waiting = n
			} else {
				b.Pending, b.Oldest = n, time.UnixMicro(st.ColInt(2)).UTC()
			}
			return nil
		})
	})
	return b, err
}

// NextDue implements imaging.Store.
func (s *Store) NextDue(ctx context.Context) (due time.Time, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT due FROM note ORDER BY due LIMIT 1", func(st *db.Stmt) error { due = time.UnixMicro(st.ColInt(0)).UTC(); return nil })
	})
	return due, err
}

// Study implements imaging.Store.
func (s *Store) Study(ctx context.Context, part dicom.Partition, uid string, limit int) (out *imaging.Study, err error) {
	err = s.db.ReadTx(ctx, func(c *db.Conn) error {
		sid := int64(0)
		err := c.Query("SELECT sid, ninstances, attrs FROM study WHERE uid = $1 AND pid = $2", func(st *db.Stmt) error {
			sid = st.ColInt(0)
			out = &imaging.Study{Instances: st.ColInt(1), Attrs: st.ColBlob(2, nil)}
			return nil
		}, uid, int64(part))
		if err != nil || out == nil {
			return err
		}
		at := map[int64]int{}
		err = c.Query("SELECT eid, uid, ninstances, attrs FROM series WHERE sid = $1 ORDER BY eid", func(st *db.Stmt) error {
			at[st.ColInt(0)] = len(out.Series)
			out.Series = append(out.Series, imaging.Series{UID: st.ColText(1), Count: st.ColInt(2), Attrs: st.ColBlob(3, nil)})
			return nil
		}, sid)
		if err != nil || out.Instances > int64(limit) {
			return err
		}
		return c.Query("SELECT eid, uid, class, number FROM instance WHERE sid = $1 ORDER BY iid", func(st *db.Stmt) error {
			if i, ok := at[st.ColInt(0)]; ok {
				e := &out.Series[i]
				e.Instances = append(e.Instances, imaging.Instance{UID: st.ColText(1), Class: st.ColText(2), Number: st.ColText(3)})
			}
			return nil
		}, sid)
	})
	if err == nil && out == nil {
		err = notFound(dicom.UIDs{Study: uid})
	}
	return out, err
}

// ImagingPosition returns the sequence of the last change that notes were taken of.
func (s *Store) ImagingPosition(ctx context.Context) (pos int64, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query(sqlPosition, func(st *db.Stmt) error { pos = st.ColInt(0); return nil })
	})
	return pos, err
}
