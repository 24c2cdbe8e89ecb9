package medtechsql

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/db"
)

// Append implements medtech.Store.
func (s *Store) Append(ctx context.Context, list []medtech.Raw) error {
	return s.write(ctx, 1+len(list)/8, func(c *db.Conn) error { return s.append(c, list) })
}

// append adds messages, and tells other nodes. The caller is the writer.
func (s *Store) append(c *db.Conn, list []medtech.Raw) error {
	known, err := knownOf(c, list)
	if err != nil {
		return err
	}
	if s.last == 0 {
		// Offsets are never given twice, also when the log was trimmed.
		if err := c.Query("SELECT v FROM num WHERE name = 'last'", func(r *db.Stmt) error { s.last = r.ColInt(0); return nil }); err != nil {
			return err
		}
	}
	fresh := make([]*medtech.Raw, 0, len(list))
	for i := range list {
		m := &list[i]
		if m.SourceID != "" {
			id := name{m.Source, m.SourceID}
			if off, ok := known[id]; ok {
				m.Offset = off
				continue
			}
			known[id] = s.last + 1
		}
		s.last++
		m.Offset = s.last
		fresh = append(fresh, m)
	}
	if err := db.Insert(c, "INSERT INTO raw (off, at, src, sid, dev, body)", 6, fresh, bindRaw); err != nil {
		return err
	}
	return c.Notify(changes)
}

func bindRaw(st *db.Stmt, i int, r **medtech.Raw) {
	m := *r
	st.Int(i, m.Offset)
	st.Int(i+1, m.Arrived.UnixMilli())
	st.Text(i+2, m.Source)
	if m.SourceID == "" {
		st.Null(i + 3)
	} else {
		st.Text(i+3, m.SourceID)
	}
	st.Text(i+4, m.Device)
	st.Blob(i+5, m.Body)
}

// name is what a source calls a message.
type name struct{ source, id string }

// askTogether is how many names are looked up with one statement.
const askTogether = 32

var knownRaw = "SELECT sid, off FROM raw WHERE src = $1 AND sid IN ($2" + func() (marks string) {
	for i := range askTogether - 1 {
		marks += ", $" + strconv.Itoa(i+3)
	}
	return marks
}() + ")"

// knownOf returns the offsets of messages that were delivered before.
func knownOf(c *db.Conn, list []medtech.Raw) (map[name]int64, error) {
	ids := map[string][]string{}
	for i := range list {
		if list[i].SourceID != "" {
			ids[list[i].Source] = append(ids[list[i].Source], list[i].SourceID)
		}
	}
	known := map[name]int64{}
	for source, list := range ids {
		for part := range slices.Chunk(list, askTogether) {
			args := make([]any, 0, askTogether+1)
			args = append(args, source)
			for i := range askTogether { // the last name again where there are fewer
				args = append(args, part[min(i, len(part)-1)])
			}
			err := c.Query(knownRaw, func(r *db.Stmt) error { known[name{source, r.ColText(0)}] = r.ColInt(1); return nil }, args...)
			if err != nil {
				return nil, err
			}
		}
	}
	return known, nil
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
