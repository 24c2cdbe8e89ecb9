package medtechsql

import (
	"context"
	"embed"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is a medtech.Store on one database.
type Store struct {
	db   *db.DB
	last int64                   // newest offset; of the writer, 0 when it has to be read
	term atomic.Pointer[db.Term] // while this node has the pipeline
}

// changes is the channel on which nodes tell each other that something is new.
const changes = "medtech"

var _ medtech.Store = (*Store)(nil)

// Open opens or creates the database in the file at path.
func Open(ctx context.Context, path string, opt db.Options) (*Store, error) {
	d, err := db.Open(path, opt)
	if err != nil {
		return nil, err
	}
	s := &Store{db: d}
	if err := s.start(ctx); err != nil {
		_ = d.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	// A rolled back group has given offsets that nobody has, and another node gives
	// further ones: the next group reads the last one again.
	s.db.OnEnd(func(committed bool) {
		if !committed || s.Shared() {
			s.last = 0
		}
	})
	s.db.OnFlush(func(c *db.Conn) error {
		if s.last == 0 {
			return nil
		}
		return c.Exec("UPDATE num SET v = $1 WHERE name = 'last' AND v < $1", s.last)
	})
	return s.db.Migrate(ctx, migrations)
}

// Shared implements medtech.Store.
func (s *Store) Shared() bool { return s.db.Dialect() == db.Postgres }

// Lead implements medtech.Store.
func (s *Store) Lead(ctx context.Context, name string, work func(context.Context)) {
	s.db.Lead(ctx, name, func(ctx context.Context, t *db.Term) {
		if name == medtech.Pipeline {
			s.term.Store(t)
			defer s.term.Store(nil)
		}
		work(ctx)
	})
}

// Listen implements medtech.Store.
func (s *Store) Listen(ctx context.Context, f func()) {
	s.db.Listen(ctx, changes, func(context.Context) { f() })
}

// work is write for what only the node does that has the pipeline.
func (s *Store) work(ctx context.Context, size int, do func(*db.Conn) error) error {
	return s.db.Write(ctx, &db.Work{Size: size, Do: func(c *db.Conn) error {
		if t := s.term.Load(); t != nil {
			if err := t.Check(c); err != nil {
				return err
			}
		}
		if err := do(c); err != nil {
			return &db.Broken{Err: err}
		}
		return nil
	}})
}

// Close implements medtech.Store.
func (s *Store) Close() error { return s.db.Close() }

// Check implements medtech.Store.
func (s *Store) Check(ctx context.Context) error {
	return s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT v FROM num WHERE name = 'done'", func(*db.Stmt) error { return nil })
	})
}

// OnCommit sets a function that is called after each commit with its duration.
func (s *Store) OnCommit(f func(commit time.Duration, works int)) { s.db.OnCommit(f) }

// Queue returns how many changes wait for the writer.
func (s *Store) Queue() int { return s.db.Stats().Queue }

// write runs do in the writer; what it wrote before an error is undone with the
// whole group.
func (s *Store) write(ctx context.Context, size int, do func(*db.Conn) error) error {
	return s.db.Write(ctx, &db.Work{Size: size, Do: func(c *db.Conn) error {
		err := do(c)
		if err == nil || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) {
			return err // these are found before anything is written
		}
		return &db.Broken{Err: err}
	}})
}

// Mapping implements medtech.Store.
func (s *Store) Mapping(ctx context.Context, kind medtech.MappingKind) (medtech.Mapping, error) {
	var m medtech.Mapping
	err := s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT version, at, body FROM mapping WHERE kind = $1 ORDER BY version DESC LIMIT 1", func(r *db.Stmt) error {
			m = medtech.Mapping{Version: r.ColInt(0), Changed: fromMilli(r.ColInt(1)), Text: r.ColBlob(2, nil)}
			return nil
		}, string(kind))
	})
	if err == nil && m.Version == 0 {
		err = fault.New(fault.NotFound, "there is no %s mapping yet", kind)
	}
	return m, err
}

// Versions implements medtech.Store.
func (s *Store) Versions(ctx context.Context) (device, fhir int64, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT kind, max(version) FROM mapping GROUP BY kind", func(r *db.Stmt) error {
			if r.ColText(0) == string(medtech.DeviceMapping) {
				device = r.ColInt(1)
			} else {
				fhir = r.ColInt(1)
			}
			return nil
		})
	})
	return device, fhir, err
}

// PutMapping implements medtech.Store.
func (s *Store) PutMapping(ctx context.Context, kind medtech.MappingKind, text []byte, at time.Time) (medtech.Mapping, error) {
	m := medtech.Mapping{Changed: at, Text: text}
	err := s.write(ctx, 1, func(c *db.Conn) error {
		err := c.Query("SELECT coalesce(max(version), 0) FROM mapping WHERE kind = $1", func(r *db.Stmt) error {
			m.Version = r.ColInt(0) + 1
			return nil
		}, string(kind))
		if err != nil {
			return err
		}
		if err := c.Exec("INSERT INTO mapping (kind, version, at, body) VALUES ($1, $2, $3, $4)", string(kind), m.Version, at.UnixMilli(), text); err != nil {
			return err
		}
		return c.Notify(changes)
	})
	return m, err
}

func fromMilli(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
