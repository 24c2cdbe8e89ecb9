package jobs

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the table of jobs. Its methods may be called from many goroutines.
type Store struct {
	db   *db.DB
	now  func() time.Time
	wake chan struct{} // there may be something to claim
}

// New prepares the table in d. A nil now is time.Now.
func New(ctx context.Context, d *db.DB, now func() time.Time) (*Store, error) {
	if now == nil {
		now = time.Now
	}
	if err := d.Migrate(ctx, migrations); err != nil {
		return nil, err
	}
	return &Store{db: d, now: now, wake: make(chan struct{}, 1)}, nil
}

// columns are those of scan, in its order.
const columns = "id, parent, kind, scope, requester, definition, priority, state, stop, attempts, worker, done, total, note, checkpoint, result, error, created, started, changed, finished, expires, fence"

func scan(s *db.Stmt) Job {
	return Job{
		ID: s.ColText(0), Parent: s.ColText(1), Kind: s.ColText(2), Scope: s.ColText(3), Requester: s.ColText(4),
		Definition: raw(s.ColText(5)), Priority: int(s.ColInt(6)), State: State(s.ColText(7)), Stopping: s.ColInt(8) != 0,
		Attempts: int(s.ColInt(9)), Worker: s.ColText(10),
		Progress:   Progress{Done: s.ColInt(11), Total: s.ColInt(12), Note: s.ColText(13)},
		Checkpoint: raw(s.ColText(14)), Result: raw(s.ColText(15)), Error: s.ColText(16),
		Created: instant(s.ColInt(17)), Started: instant(s.ColInt(18)), Changed: instant(s.ColInt(19)),
		Finished: instant(s.ColInt(20)), Expires: instant(s.ColInt(21)), fence: s.ColInt(22),
	}
}

func raw(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

// write runs f in the writer. All checks of f stand before its first change;
// a failure after that undoes the transaction.
func (s *Store) write(ctx context.Context, f func(w *work) error) error {
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		w := &work{c: c}
		err := f(w)
		if err != nil && w.changed {
			return &db.Broken{Err: err}
		}
		return err
	}})
}

// work is one transaction.
type work struct {
	c       *db.Conn
	changed bool
}

func (w *work) exec(text string, args ...any) error {
	w.changed = true
	return w.c.Exec(text, args...)
}

// query returns the jobs that a statement gives. A statement that changes rows
// ends with RETURNING, so one that gives none has changed nothing: a worker that
// finds its job lost must not undo the work of others in the transaction.
func (w *work) query(text string, args ...any) ([]Job, error) {
	list, err := query(w.c, text, args...)
	if !strings.HasPrefix(text, "SELECT") && (err != nil || len(list) > 0) {
		w.changed = true
	}
	return list, err
}

func query(c *db.Conn, text string, args ...any) ([]Job, error) {
	var out []Job
	err := c.Query(text, func(st *db.Stmt) error {
		out = append(out, scan(st))
		return nil
	}, args...)
	return out, err
}

// Submit stores a job to be run, or returns the one that Spec.Unique says is the same.
func (s *Store) Submit(ctx context.Context, spec Spec) (job Job, created bool, err error) {
	row, err := s.row(spec, "", 0)
	if err != nil {
		return job, false, err
	}
	err = s.write(ctx, func(w *work) error {
		created = false // the work may be run again
		if row.hash != "" {
			same, err := w.query("SELECT "+columns+" FROM job WHERE hash=$1 AND hash<>'' AND finished=0", row.hash)
			if err != nil {
				return err
			}
			if len(same) > 0 {
				job = same[0]
				return nil
			}
		}
		created = true
		job, err = row.insert(w)
		return err
	})
	if err != nil {
		return Job{}, false, err
	}
	if created {
		s.signal()
	}
	return job, created, nil
}

// row is a job to insert.
type row struct {
	id, parent, hash string
	spec             Spec
	definition       []byte
	now              int64
}

// row makes a row; n orders those that are made together.
func (s *Store) row(spec Spec, parent string, n int) (row, error) {
	def, err := json.Marshal(spec.Definition)
	if err != nil {
		return row{}, fault.Wrap("jobs: definition", err)
	}
	if spec.Kind == "" {
		return row{}, fault.New(fault.Internal, "a job needs a kind")
	}
	if spec.Keep <= 0 {
		spec.Keep = defaultKeep
	}
	now := s.now()
	return row{id: newID(now, n), parent: parent, hash: spec.hash(def), spec: spec, definition: def, now: now.UnixMilli()}, nil
}

func (r row) insert(w *work) (Job, error) {
	list, err := w.query(`INSERT INTO job (id, parent, kind, scope, requester, hash, definition, priority, state, stop, dirty, attempts, after,
 lease, fence, worker, done, total, note, checkpoint, result, error, created, started, changed, finished, keep, expires)
 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', 0, 0, 0, 0, 0, 0, '', 0, 0, '', '', '', '', $9, 0, $9, 0, $10, 0) RETURNING `+columns,
		r.id, r.parent, r.spec.Kind, r.spec.Scope, r.spec.Requester, r.hash, string(r.definition), r.spec.Priority, r.now, r.spec.Keep.Milliseconds())
	if err != nil {
		return Job{}, err
	}
	return list[0], nil
}

// signal tells the runner of this process to look.
func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Get returns a job, NotFound if there is none.
func (s *Store) Get(ctx context.Context, id string) (job Job, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		job, err = get(c, id)
		return err
	})
	return job, err
}

func get(c *db.Conn, id string) (Job, error) {
	list, err := query(c, "SELECT "+columns+" FROM job WHERE id=$1", id)
	if err != nil {
		return Job{}, err
	}
	if len(list) == 0 {
		return Job{}, errUnknown()
	}
	return list[0], nil
}

func errUnknown() error { return fault.New(fault.NotFound, "there is no such job") }

// Children returns the jobs that a job spawned, oldest first.
func (s *Store) Children(ctx context.Context, id string) (list []Job, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		list, err = query(c, "SELECT "+columns+" FROM job WHERE parent=$1 AND parent<>'' ORDER BY created, id", id)
		return err
	})
	return list, err
}

// Filter selects jobs that somebody asked for; empty fields select all.
type Filter struct {
	Kind, Scope string
	State       State
	Limit       int    // default 100
	After       string // the id behind which to go on, from newest to oldest
}

// List returns jobs without their children, newest first.
func (s *Store) List(ctx context.Context, f Filter) (list []Job, err error) {
	text := "SELECT " + columns + " FROM job WHERE parent=''"
	var args []any
	for _, x := range []struct{ column, op, value string }{
		{"kind", "=", f.Kind}, {"scope", "=", f.Scope}, {"state", "=", string(f.State)}, {"id", "<", f.After},
	} {
		if x.value != "" {
			args = append(args, x.value)
			text += fmt.Sprintf(" AND %s%s$%d", x.column, x.op, len(args))
		}
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	args = append(args, f.Limit)
	text += fmt.Sprintf(" ORDER BY id DESC LIMIT $%d+0", len(args))
	err = s.db.Read(ctx, func(c *db.Conn) error {
		list, err = query(c, text, args...)
		return err
	})
	return list, err
}

// Cancel stops a job and its children. What runs is told by its next
// heartbeat; all else is cancelled when Cancel returns. A job that is
// finished is a Conflict.
func (s *Store) Cancel(ctx context.Context, id string) (job Job, err error) {
	now := s.now().UnixMilli()
	err = s.write(ctx, func(w *work) error {
		if job, err = get(w.c, id); err != nil {
			return err
		}
		if job.State.Finished() {
			return fault.New(fault.Conflict, "the job is %s already", job.State)
		}
		if err := w.exec("UPDATE job SET stop=1, dirty=1, changed=$1 WHERE (id=$2 OR parent=$2) AND finished=0", now, id); err != nil {
			return err
		}
		err := w.exec("UPDATE job SET state='cancelled', finished=$1, expires=$1+keep WHERE (id=$2 OR parent=$2) AND state IN ('queued', 'waiting')", now, id)
		if err != nil {
			return err
		}
		job, err = get(w.c, id)
		return err
	})
	if err != nil {
		return Job{}, err
	}
	s.signal()
	return job, nil
}

// Discard makes a finished job expire now, with what it made.
func (s *Store) Discard(ctx context.Context, id string) error {
	now := s.now().UnixMilli()
	err := s.write(ctx, func(w *work) error {
		list, err := w.query("UPDATE job SET expires=$1 WHERE id=$2 AND finished>0 RETURNING "+columns, now, id)
		if err == nil && len(list) == 0 {
			err = errUnknown()
		}
		return err
	})
	s.signal()
	return err
}

// Forget removes every job of a scope with its row, whatever its state: the
// service is gone, and so is what its jobs made. Workers notice at their next write.
func (s *Store) Forget(ctx context.Context, scope string) error {
	return s.write(ctx, func(w *work) error { return w.exec("DELETE FROM job WHERE scope=$1", scope) })
}
