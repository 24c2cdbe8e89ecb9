package jobs

import (
	"context"
	"errors"

	"github.com/hygeia-health/hygeia/platform/db"
)

// Recover gives back every running job at once instead of when its lease runs
// out. Only for a database that no other process uses.
func (s *Store) Recover(ctx context.Context) error {
	return s.write(ctx, func(w *work) error {
		return w.exec("UPDATE job SET lease=0 WHERE state='running'")
	})
}

// sweep does what no run does: wakes parents, frees what cancelled jobs
// made, and removes expired jobs. Cleaning may happen on two nodes at once,
// so it must bear repetition.
func (s *Store) sweep(ctx context.Context, kinds map[string]Handler) error {
	err := s.write(ctx, func(w *work) error { return w.exec(wakeParents) })
	if err != nil {
		return err
	}
	now := s.now().UnixMilli()
	var dirty, expired []Job
	err = s.db.Read(ctx, func(c *db.Conn) error {
		const idle = " AND NOT EXISTS (SELECT 1 FROM job c WHERE c.parent=job.id AND c.finished=0) ORDER BY id LIMIT 100"
		if dirty, err = query(c, "SELECT "+columns+" FROM job WHERE state='cancelled' AND parent='' AND dirty=1"+idle); err != nil {
			return err
		}
		expired, err = query(c, "SELECT "+columns+" FROM job WHERE finished>0 AND parent='' AND expires<=$1"+idle, now)
		return err
	})
	for _, j := range dirty {
		err = errors.Join(err, s.clean(ctx, kinds, j, "UPDATE job SET dirty=0 WHERE id=$1"))
	}
	for _, j := range expired {
		err = errors.Join(err, s.clean(ctx, kinds, j, "DELETE FROM job WHERE id=$1 OR parent=$1"))
	}
	return err
}

// clean frees what a job made and then notes it.
func (s *Store) clean(ctx context.Context, kinds map[string]Handler, j Job, then string) error {
	h, ok := kinds[j.Kind]
	if !ok {
		return nil // a kind of another version of the program
	}
	if h.Clean != nil {
		if err := h.Clean(ctx, j); err != nil {
			return err
		}
	}
	return s.write(ctx, func(w *work) error { return w.exec(then, j.ID) })
}
