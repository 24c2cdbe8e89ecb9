package medtechsql

import (
	"context"
	"embed"
	"io/fs"
	"time"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

//go:embed migrations/sqlite/*.sql
var migrations embed.FS

// Store is a medtech.Store on one database.
type Store struct {
	db   *db.DB
	last int64 // newest offset; of the writer
}

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
	files, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	// A rolled back group has given offsets that nobody has: the next one reads
	// them again.
	s.db.OnEnd(func(committed bool) {
		if !committed {
			s.last = 0
		}
	})
	s.db.OnFlush(func(c *db.Conn) error {
		if s.last == 0 {
			return nil
		}
		return c.Exec("UPDATE num SET v = $1 WHERE name = 'last' AND v < $1", s.last)
	})
	return s.db.Migrate(ctx, files)
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
		return c.Exec("INSERT INTO mapping (kind, version, at, body) VALUES ($1, $2, $3, $4)", string(kind), m.Version, at.UnixMilli(), text)
	})
	return m, err
}

func fromMilli(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
