package server

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
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

// shareable reports whether services of a kind can run on several nodes: what
// they do between requests has one owner, and what they keep is not in files.
func shareable(k manage.Kind) bool { return k == manage.KindFHIR || k == manage.KindMedTech }

// validateShared refuses services that cannot run on a shared database.
func (c *Config) validateShared() error {
	for _, w := range c.Workspaces {
		for _, s := range w.Services {
			if c.Database != "" && !shareable(manage.Kind(s.Kind)) {
				return fmt.Errorf("workspaces: service %s/%s: kind %s needs the embedded database in this version; leave database empty", w.Name, s.Name, s.Kind)
			}
		}
	}
	return nil
}

// onlyShareable leaves out what cannot run on the database of c.
func (c *Config) onlyShareable(list []manage.Workspace) []manage.Workspace {
	if c.Database == "" {
		return list
	}
	for i := range list {
		list[i].Services = slices.DeleteFunc(list[i].Services, func(s manage.Service) bool { return !shareable(s.Kind) })
	}
	return list
}
