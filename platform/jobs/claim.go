package jobs

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// claimable selects what a worker may take at time $1: what waits, and what
// somebody held whose lease ran out.
const claimable = "SELECT " + columns + " FROM job WHERE (state='queued' AND after<=$1) OR (state='running' AND lease<$1) ORDER BY priority DESC, created, id LIMIT 64"

// claim takes the next job of one of the kinds for worker, for the time of
// ttl; nil when there is none.
func (s *Store) claim(ctx context.Context, worker string, kinds map[string]Handler, ttl time.Duration) (job *Job, err error) {
	now := s.now().UnixMilli()
	idle := true
	err = s.db.Read(ctx, func(c *db.Conn) error {
		list, err := query(c, claimable, now)
		idle = len(list) == 0
		return err
	})
	if err != nil || idle {
		return nil, err
	}
	err = s.write(ctx, func(w *work) error {
		list, err := w.query(claimable, now)
		if err != nil {
			return err
		}
		for i := range list {
			j := &list[i]
			h, ok := kinds[j.Kind]
			if !ok {
				continue
			}
			switch {
			case j.Stopping: // its worker died before it could stop
				err = finish(w, *j, Cancelled, "", "", now)
			case j.Attempts >= h.attempts():
				err = finish(w, *j, Failed, "", "it was started "+times(j.Attempts)+" and never got further", now)
			default:
				job, err = take(w, *j, worker, now, ttl)
			}
			if err != nil || job != nil {
				return err
			}
		}
		return nil
	})
	return job, err
}

func times(n int) string {
	text, _ := json.Marshal(n)
	return string(text) + " times"
}

// take is the compare and set of a claim: nil when another node was faster.
func take(w *work, j Job, worker string, now int64, ttl time.Duration) (*Job, error) {
	list, err := w.query(`UPDATE job SET state='running', fence=fence+1, attempts=attempts+1, worker=$1, lease=$2, changed=$3,
 started=CASE WHEN started=0 THEN $3 ELSE started END
 WHERE id=$4 AND fence=$5 AND stop=0 AND ((state='queued' AND after<=$3) OR (state='running' AND lease<$3)) RETURNING `+columns,
		worker, now+ttl.Milliseconds(), now, j.ID, j.fence)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// beat renews the lease. It says whether the job is to be cancelled; ErrLost
// when it belongs to another worker.
func (s *Store) beat(ctx context.Context, j *Job, ttl time.Duration) (stop bool, err error) {
	err = s.write(ctx, func(w *work) error {
		list, err := w.query("UPDATE job SET lease=$1 WHERE id=$2 AND fence=$3 AND state='running' RETURNING "+columns,
			s.now().Add(ttl).UnixMilli(), j.ID, j.fence)
		if err == nil && len(list) == 0 {
			return ErrLost
		}
		stop = err == nil && list[0].Stopping
		return err
	})
	return stop, err
}

// save keeps a checkpoint and, in the same transaction, stores children.
func (s *Store) save(ctx context.Context, j *Job, checkpoint any, p Progress, children []Spec) error {
	text, err := json.Marshal(checkpoint)
	if err != nil {
		return fault.Wrap("jobs: checkpoint", err)
	}
	var rows []row
	for i, c := range children {
		c.Scope, c.Requester, c.Priority = j.Scope, j.Requester, j.Priority
		r, err := s.row(c, j.ID, i)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	err = s.write(ctx, func(w *work) error {
		// The cancel of the job may be in this transaction, so this looks before it
		// changes something; a cancel from another node is seen by the UPDATE.
		cur, err := get(w.c, j.ID)
		switch {
		case err != nil || cur.fence != j.fence || cur.State != Running:
			return lost(err)
		case cur.Stopping && len(rows) > 0:
			return ErrCancelled
		}
		list, err := w.query("UPDATE job SET checkpoint=$1, done=$2, total=$3, note=$4, attempts=1, error='', changed=$5 WHERE id=$6 AND fence=$7 AND state='running' RETURNING "+columns,
			string(text), p.Done, p.Total, p.Note, s.now().UnixMilli(), j.ID, j.fence)
		if err == nil && len(list) == 0 {
			err = ErrLost
		}
		if err != nil {
			return err
		}
		if list[0].Stopping && len(rows) > 0 {
			return ErrCancelled
		}
		for _, r := range rows {
			if _, err := r.insert(w); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && len(rows) > 0 {
		s.signal()
	}
	return err
}

// end stores how a run ended.
func (s *Store) end(ctx context.Context, j *Job, st State, result, why string) error {
	err := s.write(ctx, func(w *work) error {
		now := s.now().UnixMilli()
		cur, err := get(w.c, j.ID)
		if err != nil || cur.fence != j.fence || cur.State != Running {
			return lost(err)
		}
		return finish(w, cur, st, result, why, now)
	})
	s.signal()
	return err
}

// lost turns the absence of a row into ErrLost.
func lost(err error) error {
	if err == nil || fault.Is(err, fault.NotFound) {
		return ErrLost
	}
	return err
}

// finish ends a job, stops the siblings of a child that failed, and wakes a
// parent whose last child it was.
func finish(w *work, j Job, st State, result, why string, now int64) error {
	dirty := 0
	if st == Cancelled {
		dirty = 1
	}
	list, err := w.query("UPDATE job SET state=$1, result=$2, error=$3, finished=$4, changed=$4, expires=$4+keep, dirty=$5, worker='', lease=0 WHERE id=$6 AND fence=$7 AND finished=0 RETURNING "+columns,
		string(st), result, why, now, dirty, j.ID, j.fence)
	if err != nil || len(list) == 0 || j.Parent == "" {
		return err
	}
	if st == Failed {
		if err := w.exec("UPDATE job SET stop=1, changed=$1 WHERE parent=$2 AND finished=0", now, j.Parent); err != nil {
			return err
		}
		err := w.exec("UPDATE job SET state='cancelled', finished=$1, expires=$1+keep WHERE parent=$2 AND state='queued'", now, j.Parent)
		if err != nil {
			return err
		}
	}
	return w.exec(wakeParents+" AND id=$1", j.Parent)
}

// wakeParents queues the jobs that wait for children that are all finished.
const wakeParents = "UPDATE job SET state='queued', after=0 WHERE state='waiting' AND NOT EXISTS (SELECT 1 FROM job c WHERE c.parent=job.id AND c.finished=0)"

// wait ends a run that goes on when the children are finished.
func (s *Store) wait(ctx context.Context, j *Job) error {
	err := s.write(ctx, func(w *work) error {
		list, err := w.query("UPDATE job SET state='waiting', worker='', lease=0, attempts=0, changed=$1 WHERE id=$2 AND fence=$3 AND state='running' RETURNING "+columns,
			s.now().UnixMilli(), j.ID, j.fence)
		if err == nil && len(list) == 0 {
			return ErrLost
		}
		if err != nil {
			return err
		}
		return w.exec(wakeParents+" AND id=$1", j.ID)
	})
	s.signal()
	return err
}

// requeue gives a job back, to be run again after a while. A run that ended
// through no fault of its own does not count as an attempt.
func (s *Store) requeue(ctx context.Context, j *Job, after time.Duration, why string, counts bool) error {
	back := 1
	if counts {
		back = 0
	}
	return s.write(ctx, func(w *work) error {
		now := s.now()
		list, err := w.query("UPDATE job SET state='queued', worker='', lease=0, after=$1, error=$2, attempts=attempts-$3, changed=$4 WHERE id=$5 AND fence=$6 AND state='running' RETURNING "+columns,
			now.Add(after).UnixMilli(), why, back, now.UnixMilli(), j.ID, j.fence)
		if err == nil && len(list) == 0 {
			return ErrLost
		}
		return err
	})
}
