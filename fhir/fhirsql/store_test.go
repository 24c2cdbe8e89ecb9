package fhirsql_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirsql"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/spec/search"
)

func open(t *testing.T, path string) fhir.Store { return openSealed(t, path) }

// openSealed opens a store that encrypts bodies under the first of some keys.
func openSealed(t *testing.T, path string, keys ...string) fhir.Store {
	t.Helper()
	return openWith(t, path, db.Options{}, keys...)
}

func openWith(t *testing.T, path string, opt db.Options, keys ...string) *fhirsql.Store {
	t.Helper()
	s, err := fhirsql.Open(t.Context(), path, search.Default(), fhirsql.Options{DB: opt, Keys: ring(t, keys...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		fhirtest.Run(t, func(t *testing.T) fhir.Store { return open(t, filepath.Join(t.TempDir(), "fhir.db")) })
	})
	t.Run("postgres", func(t *testing.T) {
		fhirtest.Run(t, func(t *testing.T) fhir.Store { return open(t, dbtest.Postgres(t)) })
	})
	t.Run("nodes", func(t *testing.T) {
		fhirtest.Run(t, func(t *testing.T) fhir.Store {
			at, a, b := dbtest.Postgres(t), key(t, "a"), key(t, "b")
			return &nodes{list: []fhir.Store{openSealed(t, at, a, b), openWith(t, at, eager, b, a), openWith(t, at, eager, a, b)}}
		})
	})
}

// eager nodes ask for a grant (db.Trust) whenever they have none.
var eager = db.Options{Trust: db.TrustOptions{Time: 200 * time.Millisecond, Quiet: time.Microsecond, Uses: 1}}

// nodes are several nodes on one database. Each call goes to the next one, so
// that what one wrote is read, updated and guarded by another.
type nodes struct {
	list []fhir.Store
	n    atomic.Uint32
}

func (s *nodes) next() fhir.Store { return s.list[int(s.n.Add(1))%len(s.list)] }

func (s *nodes) Read(ctx context.Context, k fhir.Key) (fhir.Record, error) {
	return s.next().Read(ctx, k)
}

func (s *nodes) ReadVersion(ctx context.Context, k fhir.Key, v int64) (fhir.Record, error) {
	return s.next().ReadVersion(ctx, k, v)
}

func (s *nodes) Search(ctx context.Context, q *search.Query) (*fhir.Page, error) {
	return s.next().Search(ctx, q)
}

func (s *nodes) History(ctx context.Context, q fhir.HistoryQuery) (*fhir.Page, error) {
	return s.next().History(ctx, q)
}

func (s *nodes) Apply(ctx context.Context, c *fhir.Change) ([]fhir.Applied, error) {
	return s.next().Apply(ctx, c)
}

func (s *nodes) Import(ctx context.Context, ops []fhir.ImportOp) func() ([]fhir.Imported, error) {
	return s.next().(fhir.Importer).Import(ctx, ops)
}

func (s *nodes) Mark(ctx context.Context) (fhir.Seq, error) { return s.next().(fhir.Scanner).Mark(ctx) }

func (s *nodes) Ranges(ctx context.Context, typ string, size int) ([]fhir.ScanRange, error) {
	return s.next().(fhir.Scanner).Ranges(ctx, typ, size)
}

func (s *nodes) Scan(ctx context.Context, q fhir.ScanQuery, f func(*fhir.Record) bool) (int64, bool, error) {
	return s.next().(fhir.Scanner).Scan(ctx, q, f)
}

func (s *nodes) Check(ctx context.Context) error { return s.next().Check(ctx) }
func (s *nodes) Close() error                    { return nil }
