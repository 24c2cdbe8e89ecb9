package medtechsql

import (
	"context"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/db"
)

// PutReplay implements medtech.Store.
func (s *Store) PutReplay(ctx context.Context, r medtech.Replay) (medtech.Replay, error) {
	err := s.write(ctx, 1, func(c *db.Conn) error {
		if r.ID == 0 {
			if err := c.Query("SELECT coalesce(max(id), 0) + 1 FROM replay", func(st *db.Stmt) error { r.ID = st.ColInt(0); return nil }); err != nil {
				return err
			}
		}
		if err := putReplay(c, &r); err != nil {
			return err
		}
		return c.Notify(changes)
	})
	return r, err
}

func putReplay(c *db.Conn, r *medtech.Replay) error {
	return c.Exec("INSERT INTO replay (id, after_off, until_off, dev, cur, state, messages, failed, created, changed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "+
		"ON CONFLICT (id) DO UPDATE SET cur = excluded.cur, state = CASE WHEN replay.state = 'cancelled' THEN replay.state ELSE excluded.state END, messages = excluded.messages, failed = excluded.failed, changed = excluded.changed",
		r.ID, r.After, r.Until, r.Device, r.Cursor, string(r.State), r.Messages, r.Failed, r.Created.UnixMilli(), r.Changed.UnixMilli())
}

// Replays implements medtech.Store.
func (s *Store) Replays(ctx context.Context) ([]medtech.Replay, error) {
	out := []medtech.Replay{}
	err := s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT id, after_off, until_off, dev, cur, state, messages, failed, created, changed FROM replay ORDER BY id DESC", func(r *db.Stmt) error {
			out = append(out, medtech.Replay{
				ID: r.ColInt(0), After: r.ColInt(1), Until: r.ColInt(2), Device: r.ColText(3), Cursor: r.ColInt(4), State: medtech.ReplayState(r.ColText(5)),
				Messages: r.ColInt(6), Failed: r.ColInt(7), Created: fromMilli(r.ColInt(8)), Changed: fromMilli(r.ColInt(9)),
			})
			return nil
		})
	})
	return out, err
}
