package dicomsql

import (
	"context"
	"embed"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options of a store. The zero value is ready to use.
type Options struct {
	DB  db.Options
	Now func() time.Time // the clock of the change feed; default time.Now
}

// Store is a dicom.Index on one database.
type Store struct {
	db  *db.DB
	now func() time.Time

	shared bool // other processes may write to the database

	// The writer's own state. A seq below 0 says that it has to be read.
	seq  int64 // the last number given
	last int64 // the time of the last change, in microseconds
	tags int64 // counts the changes of the list of extended query tags

	objects objects
	recent  recent

	term atomic.Pointer[db.Term] // while this node keeps ImagingStudies in step

	checked db.Inspection // after a crash
}

var _ dicom.Index = (*Store)(nil)

// Open opens or creates the store in the database at path, see db.Open.
func Open(ctx context.Context, path string, opt Options) (*Store, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	d, err := db.Open(path, opt.DB)
	if err != nil {
		return nil, err
	}
	s := &Store{db: d, now: opt.Now, shared: d.Dialect() == db.Postgres}
	s.recent.off = s.shared
	if s.shared {
		d.OnBegin(func(*db.Conn, []*db.Work) error { s.seq = -1; return nil }) // others wrote since
	}
	d.OnEnd(func(committed bool) {
		if !committed {
			s.seq = -1 // read again: what the transaction gave is free
		}
		s.recent.end(committed)
	})
	if err := s.start(ctx); err != nil {
		_ = d.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	if err := s.db.Migrate(ctx, migrations); err != nil {
		return err
	}
	crashed := false
	err := s.write(ctx, func(c *db.Conn) error {
		s.seq = -1
		if s.shared {
			return nil // a process that dies leaves no mark; see object.go
		}
		err := c.Query("SELECT v FROM meta WHERE k = 'open'", func(st *db.Stmt) error { crashed = st.ColInt(0) != 0; return nil })
		if err == nil {
			err = s.leftOver(c)
		}
		if err != nil {
			return err
		}
		return c.Exec("INSERT INTO meta (k, v) VALUES ('open', 1) ON CONFLICT (k) DO UPDATE SET v = 1")
	})
	if err != nil {
		return err
	}
	s.checked.Start(s.db, crashed)
	return nil
}

// write runs f in the writer. An error after which rows may be half written
// rolls everything back; f wraps the others in a refusal.
func (s *Store) write(ctx context.Context, f func(*db.Conn) error) error {
	err := s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		err := f(c)
		if err == nil || isRefusal(err) {
			return err
		}
		return &db.Broken{Err: err}
	}})
	return err
}

// isRefusal reports an error that was found before anything was written.
func isRefusal(err error) bool {
	if errors.Is(err, dicom.ErrTagsChanged) {
		return true
	}
	return fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) || fault.Is(err, fault.Invalid)
}

// load reads the writer's state, if it is not there.
func (s *Store) load(c *db.Conn) error {
	if s.seq >= 0 {
		return nil
	}
	return c.Query("SELECT coalesce(max(g.seq), 0), coalesce(max(g.at), 0), (SELECT coalesce(max(v), 0) FROM meta WHERE k = 'tags') "+
		"FROM chg g WHERE g.seq = (SELECT max(seq) FROM chg)", func(st *db.Stmt) error {
		s.seq, s.last, s.tags = st.ColInt(0), st.ColInt(1), st.ColInt(2)
		return nil
	})
}

// next gives the number and the time of a change, in the writer. Both only grow.
func (s *Store) next(c *db.Conn) (seq, at int64, err error) {
	if err := s.load(c); err != nil {
		return 0, 0, err
	}
	s.seq++
	s.last = max(s.last, s.now().UnixMicro())
	return s.seq, s.last, nil
}

// Check returns nil when the store answers a read and no damage was found.
func (s *Store) Check(ctx context.Context) error {
	if err := s.checked.Err(); err != nil {
		return err
	}
	return s.db.Check(ctx)
}

// Queue returns how many changes wait for the writer.
func (s *Store) Queue() int { return s.db.Stats().Queue }

// OnCommit sets a function that is told the duration of each commit.
func (s *Store) OnCommit(f func(commit time.Duration, works int)) { s.db.OnCommit(f) }

// Close finishes the writes that were submitted and closes the database.
func (s *Store) Close() error {
	sound := s.checked.Stop()
	_ = s.write(context.Background(), func(c *db.Conn) error {
		if err := s.objects.giveBack(c); err != nil || s.shared || !sound {
			return err
		}
		return c.Exec("UPDATE meta SET v = 0 WHERE k = 'open'")
	})
	return s.db.Close()
}

// Partition implements dicom.Store.
func (s *Store) Partition(ctx context.Context, name string, create bool) (dicom.Partition, error) {
	find := func(c *db.Conn) (p dicom.Partition, err error) {
		err = c.Query("SELECT pid FROM part WHERE name = $1", func(st *db.Stmt) error { p = dicom.Partition(st.ColInt(0)); return nil }, name)
		return p, err
	}
	var p dicom.Partition
	err := s.db.Read(ctx, func(c *db.Conn) (err error) { p, err = find(c); return err })
	if err != nil || p != 0 {
		return p, err
	}
	if !create {
		return 0, fault.New(fault.NotFound, "There is no such partition.")
	}
	err = s.write(ctx, func(c *db.Conn) (err error) {
		if p, err = find(c); err != nil || p != 0 {
			return err
		}
		if name == dicom.DefaultPartition {
			p = 1
		} else {
			err = c.Query("SELECT coalesce(max(pid), 1) + 1 FROM part", func(st *db.Stmt) error { p = dicom.Partition(st.ColInt(0)); return nil })
			if err != nil {
				return err
			}
		}
		return c.Exec("INSERT INTO part (pid, name, created) VALUES ($1, $2, $3)", int64(p), name, s.now().UnixMicro())
	})
	return p, err
}

// Partitions implements dicom.Store.
func (s *Store) Partitions(ctx context.Context) (list []dicom.PartitionInfo, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT pid, name, created FROM part ORDER BY pid", func(st *db.Stmt) error {
			list = append(list, dicom.PartitionInfo{
				Key: dicom.Partition(st.ColInt(0)), Name: st.ColText(1), Created: time.UnixMicro(st.ColInt(2)).UTC(),
			})
			return nil
		})
	})
	return list, err
}
