package server

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/manage/managefile"
	"github.com/hygeia-health/hygeia/manage/managesql"
)

// openPlane opens the store of the list of workspaces: a file in the data
// folder, or a schema of the database that the nodes share.
func (s *Server) openPlane(ctx context.Context) (manage.Store, error) {
	if s.cfg.Database == "" {
		return managefile.New(filepath.Join(s.cfg.Data, "manage.json")), nil
	}
	store, err := managesql.Open(ctx, s.cfg.place("manage.db"))
	if err != nil {
		return nil, err
	}
	s.shared = store
	return store, nil
}

// follow takes over what other nodes change in the list of workspaces and in
// identity, until Close.
func (s *Server) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	failed := func(err error) {
		s.log.LogAttrs(ctx, slog.LevelError, "follow other nodes", slog.Any("err", err))
	}
	wg.Go(func() { s.plane.Follow(ctx, failed) })
	if s.shared != nil && s.identity != nil {
		wg.Go(func() { s.identity.provider.Follow(ctx, failed) })
	}
	s.unfollow = func() {
		cancel()
		wg.Wait()
	}
}
