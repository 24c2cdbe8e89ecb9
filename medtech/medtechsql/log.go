package medtechsql

import (
	"context"
	"errors"
	"time"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/db"
)

// Append implements medtech.Store.
func (s *Store) Append(ctx context.Context, list []medtech.Raw) error {
	return s.write(ctx, 1+len(list)/8, func(c *db.Conn) error {
		for i := range list {
			if err := s.append(c, &list[i]); err != nil {
				return err
			}
		}
		return c.Notify(changes)
	})
}

const (
	insertRaw = "INSERT INTO raw (off, at, src, sid, dev, body) VALUES ($1, $2, $3, $4, $5, $6)"
	knownRaw  = "SELECT off FROM raw WHERE src = $1 AND sid = $2"
)

// append adds one message. The caller is the writer.
func (s *Store) append(c *db.Conn, m *medtech.Raw) error {
	var sid any
	if m.SourceID != "" {
		known := int64(0)
		if err := c.Query(knownRaw, func(r *db.Stmt) error { known = r.ColInt(0); return nil }, m.Source, m.SourceID); err != nil {
			return err
		}
		if known > 0 {
			m.Offset = known
			return nil
		}
		sid = m.SourceID
	}
	if s.last == 0 {
		// Offsets are never given twice, also when the log was trimmed.
		if err := c.Query("SELECT v FROM num WHERE name = 'last'", func(r *db.Stmt) error { s.last = r.ColInt(0); return nil }); err != nil {
			return err
		}
	}
	s.last++
	m.Offset = s.last
	st, err := c.Prepare(insertRaw)
	if err != nil {
		return err
	}
	st.Bind(m.Offset, m.Arrived.UnixMilli(), m.Source, sid, m.Device, m.Body)
	return st.Run()
}

// pageBytes is how much one page of the log holds; errEnough ends it.
const pageBytes = 4 << 20

var errEnough = errors.New("enough")

// Read implements medtech.Store.
func (s *Store) Read(ctx context.Context, after int64, limit int) ([]medtech.Raw, error) {
	var out []medtech.Raw
	size := 0
	err := s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT off, at, src, sid, dev, body FROM raw WHERE off > $1 ORDER BY off LIMIT $2+0", func(r *db.Stmt) error {
			out = append(out, medtech.Raw{
				Offset: r.ColInt(0), Arrived: fromMilli(r.ColInt(1)), Source: r.ColText(2), SourceID: r.ColText(3), Device: r.ColText(4), Body: r.ColBlob(5, nil),
			})
			if size += len(out[len(out)-1].Body); size >= pageBytes {
				return errEnough
			}
			return nil
		}, after, limit)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return out, err
}

// Position implements medtech.Store.
func (s *Store) Position(ctx context.Context) (medtech.Position, error) {
	var p medtech.Position
	err := s.db.ReadTx(ctx, func(c *db.Conn) error {
		err := c.Query("SELECT name, v FROM num", func(r *db.Stmt) error {
			if r.ColText(0) == "done" {
				p.Done = r.ColInt(1)
			} else {
				p.Last = r.ColInt(1)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := c.Query("SELECT off FROM raw ORDER BY off LIMIT 1", func(r *db.Stmt) error { p.First = r.ColInt(0); return nil }); err != nil {
			return err
		}
		err = c.Query("SELECT at FROM raw WHERE off > $1 ORDER BY off LIMIT 1", func(r *db.Stmt) error { p.Pending = fromMilli(r.ColInt(0)); return nil }, p.Done)
		if err != nil {
			return err
		}
		return c.Query("SELECT count(*) FROM letter WHERE state = 'open'", func(r *db.Stmt) error { p.Open = r.ColInt(0); return nil })
	})
	return p, err
}

// OffsetAt implements medtech.Store. Times of arrival grow with the offset but
// for a clock that is set back, so the search is binary.
func (s *Store) OffsetAt(ctx context.Context, at time.Time) (int64, error) {
	var found int64
	err := s.db.ReadTx(ctx, func(c *db.Conn) error {
		low, high := int64(0), int64(0) // at or before low all are earlier
		if err := c.Query("SELECT v FROM num WHERE name = 'last'", func(r *db.Stmt) error { high = r.ColInt(0); return nil }); err != nil {
			return err
		}
		for low < high {
			mid := low + (high-low+1)/2
			// The first message from mid on stands for mid.
			off, when := int64(0), int64(0)
			err := c.Query("SELECT off, at FROM raw WHERE off >= $1 ORDER BY off LIMIT 1", func(r *db.Stmt) error { off, when = r.ColInt(0), r.ColInt(1); return nil }, mid)
			if err != nil {
				return err
			}
			if off != 0 && off <= high && when < at.UnixMilli() {
				low = off
			} else {
				high = mid - 1
			}
		}
		found = low
		return nil
	})
	return found, err
}

// Finish implements medtech.Store.
func (s *Store) Finish(ctx context.Context, f medtech.Finished) error {
	return s.work(ctx, 1+len(f.Dead), func(c *db.Conn) error {
		for i := range f.Dead {
			if err := insertLetter(c, &f.Dead[i]); err != nil {
				return err
			}
		}
		if f.Replay != nil {
			return putReplay(c, f.Replay)
		}
		return c.Exec("UPDATE num SET v = $1 WHERE name = 'done' AND v < $1", f.Done)
	})
}

// trimPage is how many messages one transaction removes.
const trimPage = 2000

// Trim implements medtech.Store.
func (s *Store) Trim(ctx context.Context, at time.Time) (int64, error) {
	until, err := s.OffsetAt(ctx, at)
	if err != nil {
		return 0, err
	}
	pos, err := s.Position(ctx)
	if err != nil {
		return 0, err
	}
	until = min(until, pos.Done)
	removed := int64(0)
	err = s.work(ctx, 1, func(c *db.Conn) error {
		return c.Exec("DELETE FROM letter WHERE state <> 'open' AND failed < $1", at.UnixMilli())
	})
	if err != nil {
		return 0, err
	}
	for from := pos.First; from > 0 && from <= until; from += trimPage {
		end, n := min(from+trimPage-1, until), int64(0)
		err := s.db.Write(ctx, &db.Work{Bulk: true, Do: func(c *db.Conn) error {
			err := c.Query("SELECT count(*) FROM raw WHERE off <= $1", func(r *db.Stmt) error { n = r.ColInt(0); return nil }, end)
			if err == nil {
				err = c.Exec("DELETE FROM raw WHERE off <= $1", end)
			}
			if err != nil {
				return &db.Broken{Err: err}
			}
			return nil
		}})
		if err != nil {
			return removed, err
		}
		removed += n
	}
	return removed, nil
}
