// Package managesql keeps the list of workspaces in the database that several
// nodes share.
//
// The list is one document with a version, as in managefile. Save replaces the
// version that Load or Save saw last, and no other, so that two nodes cannot
// overwrite each other's changes; every change is announced to the nodes.
package managesql

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is a manage.Store in a database.
type Store struct {
	db *db.DB

	mu      sync.Mutex
	version int64 // what Load or Save saw last; 0 = nothing is kept yet
}

var (
	_ manage.Store    = (*Store)(nil)
	_ manage.Follower = (*Store)(nil)
)

// channel is where changes are announced.
const channel = "workspaces"

// Open opens or creates the store in a database, see db.Open.
func Open(ctx context.Context, path string) (*Store, error) {
	d, err := db.OpenMigrated(ctx, path, db.Options{Readers: 1}, migrations)
	if err != nil {
		return nil, err
	}
	return &Store{db: d}, nil
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// Check returns nil when the database answers.
func (s *Store) Check(ctx context.Context) error {
	return s.db.Check(ctx)
}

// Load implements manage.Store.
func (s *Store) Load(ctx context.Context) ([]manage.Workspace, bool, error) {
	var doc string
	var version int64
	err := s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT version, doc FROM plane WHERE id=1", func(st *db.Stmt) error {
			version, doc = st.ColInt(0), st.ColText(1)
			return nil
		})
	})
	if err != nil {
		return nil, false, err
	}
	var list []manage.Workspace
	if version > 0 {
		if err := json.Unmarshal([]byte(doc), &list); err != nil {
			return nil, false, fmt.Errorf("the list of workspaces is damaged: %w", err)
		}
	}
	s.mu.Lock()
	s.version = version
	s.mu.Unlock()
	return list, version == 0, nil
}

// Save implements manage.Store. It is Conflict when another node saved after
// the last Load or Save of this one.
func (s *Store) Save(ctx context.Context, list []manage.Workspace) error {
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		have := int64(0)
		err := c.Query("SELECT version FROM plane WHERE id=1", func(st *db.Stmt) error { have = st.ColInt(0); return nil })
		if err != nil {
			return err
		}
		if have != s.version {
			return fault.New(fault.Conflict, "another node changed the workspaces at the same time; try again")
		}
		err = c.Exec("INSERT INTO plane (id, version, doc) VALUES (1, $1, $2) ON CONFLICT (id) DO UPDATE SET version=excluded.version, doc=excluded.doc", have+1, string(text))
		if err == nil {
			err = c.Notify(channel)
		}
		if err != nil {
			return &db.Broken{Err: err}
		}
		return nil
	}})
	if err == nil {
		s.version++
	}
	return err
}

// Follow implements manage.Follower.
func (s *Store) Follow(ctx context.Context, changed func(context.Context)) {
	s.db.Listen(ctx, channel, changed)
}
