package server

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/hygeia-health/hygeia/fhir/fhirsql"
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
	if s.shared != nil {
		wg.Go(func() {
			s.queue.db.ListenAll(ctx, fhirsql.ParamsTopic, func(ctx context.Context, schema string) {
				if err := s.services.followParams(ctx, schema); err != nil && ctx.Err() == nil {
					failed(err)
				}
			})
		})
	}
	s.unfollow = func() {
		cancel()
		wg.Wait()
	}
}

// followParams takes over the search parameters that another node changed, of the
// service whose store has the schema; of all when it is "". A service that is
// not open reads them when it opens.
func (s *services) followParams(ctx context.Context, schema string) error {
	var errs []error
	for _, sv := range s.list() {
		errs = append(errs, sv.followParams(ctx, schema))
	}
	return errors.Join(errs...)
}

func (s *service) followParams(ctx context.Context, schema string) error {
	s.inFlight.RLock()
	defer s.inFlight.RUnlock()
	h := s.handlers.Load()
	if s.closed || h == nil || h.room == nil || schema != "" && schema != s.schema() {
		return nil
	}
	return h.room.FollowParams(ctx)
}

func (s *service) schema() string {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.store == nil {
		return ""
	}
	return s.store.Schema()
}
