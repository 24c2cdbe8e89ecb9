package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/fhir/bulk"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
)

// jobsFile is the database of the jobs below the data folder. No workspace has such a name.
const jobsFile = "_jobs.db"

// queue is the table of jobs and the runner of this node.
type queue struct {
	db     *db.DB
	store  *jobs.Store
	runner *jobs.Runner
	stop   context.CancelFunc
	done   chan struct{}
}

// openQueue opens the table. What ran when the last process died goes on at
// once, or, where other nodes may still run it, when its lease is over.
func openQueue(ctx context.Context, cfg *Config) (*queue, error) {
	d, err := db.Open(cfg.place(jobsFile), db.Options{Readers: 2, ReaderCache: 512, WriterCache: 512})
	if err != nil {
		return nil, err
	}
	s, err := jobs.New(ctx, d, nil)
	if err == nil && cfg.Database == "" {
		err = s.Recover(ctx) // the data folder is locked, so nobody else runs jobs
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &queue{db: d, store: s}, nil
}

// run starts the runner.
func (q *queue) run(kinds map[string]jobs.Handler, log *slog.Logger) {
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	q.runner = jobs.NewRunner(q.store, kinds, jobs.Options{Worker: host + "-" + strconv.Itoa(os.Getpid()), Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	q.stop, q.done = cancel, make(chan struct{})
	go func() {
		defer close(q.done)
		q.runner.Run(ctx)
	}()
}

// halt ends the runner; jobs that run are given back.
func (q *queue) halt() {
	if q != nil && q.stop != nil {
		q.stop()
		<-q.done
	}
}

// drop ends the jobs of a service that run here.
func (q *queue) drop(scope string) {
	if q.runner != nil {
		q.runner.Drop(scope)
	}
}

// Close closes the table.
func (q *queue) Close() error {
	if q == nil {
		return nil
	}
	return q.db.Close()
}

// hold returns an open service, which stays open until release is called.
func (s *services) hold(ctx context.Context, scope string) (_ *handlers, release func(), _ error) {
	sv := s.table.Load().byPath[scope]
	if sv == nil {
		return nil, nil, fault.New(fault.NotFound, "there is no service %s", scope)
	}
	sv.inFlight.RLock()
	if sv.closed {
		sv.inFlight.RUnlock()
		return nil, nil, fault.New(fault.NotFound, "there is no service %s", scope)
	}
	h, err := sv.open(ctx)
	if err != nil {
		sv.inFlight.RUnlock()
		return nil, nil, err
	}
	return h, sv.inFlight.RUnlock, nil
}

// bulk is hold for the bulk work of a FHIR service.
func (s *services) bulk(ctx context.Context, scope string) (_ *bulk.Service, release func(), _ error) {
	h, release, err := s.hold(ctx, scope)
	if err == nil && h.bulk == nil {
		release()
		err = fault.New(fault.NotFound, "%s is no FHIR service", scope)
	}
	if err != nil {
		return nil, nil, err
	}
	return h.bulk, release, nil
}

// dicom is hold for a DICOM service.
func (s *services) dicom(ctx context.Context, scope string) (_ *dicom.Service, release func(), _ error) {
	h, release, err := s.hold(ctx, scope)
	if err == nil && h.dicom == nil {
		release()
		err = fault.New(fault.NotFound, "%s is no DICOM service", scope)
	}
	if err != nil {
		return nil, nil, err
	}
	return h.dicom, release, nil
}
