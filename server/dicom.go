package server

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomhttp"
	"github.com/hygeia-health/hygeia/dicom/dicomsql"
	"github.com/hygeia-health/hygeia/dicom/imaging"
	"github.com/hygeia-health/hygeia/events"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/web"
)

// openDICOM opens a DICOM service; the caller holds opening.
func (s *service) openDICOM(ctx context.Context, _ string) error {
	store, err := dicomsql.Open(ctx, s.all.place(storeName(s.ref, s.kind)), dicomsql.Options{})
	if err != nil {
		return err
	}
	room, err := dicom.New(dicom.Deps{
		Store: store, Blobs: blob.Sub(s.all.blobs, s.ref.String()), Guard: s.all.identity.guard(s.ref), Log: s.all.log,
		Config: dicom.Config{Partitions: s.spec.Partitions}, Jobs: s.all.queue.store, Scope: s.ref.String(),
		Containers: containers{s.all.containers, s.ref.String()},
	})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	m := s.all.metrics.Store(s.ref.String(), store.Queue)
	follower := new(atomic.Pointer[imaging.Follower])
	store.OnCommit(func(d time.Duration, n int) {
		m.Commit(n, d)
		s.all.events.wake(s.ref.Workspace)
		if f := follower.Load(); f != nil {
			f.Wake()
		}
	})
	face := func(base string) http.Handler {
		return dicomhttp.New(room, dicomhttp.Options{
			BasePath: base, BaseURL: web.BaseURL, Health: store.Check, Log: s.all.log,
			Observe: func(op string, status int, d time.Duration, in, out int64) {
				s.observe(op, "", status, d, int(in), int(out))
			},
		})
	}
	s.handlers.Store(&handlers{
		check: store.Check,
		close: func() error {
			if f := follower.Load(); f != nil {
				f.Close()
			}
			room.Close()
			return store.Close()
		},
		images: store, dicom: room, follower: follower, byPath: face("/" + s.ref.String()), byHost: face(""),
	})
	s.followStudies(s.handlers.Load(), s.spec)
	return nil
}

// dicomSource is the change feed of a DICOM service, which may be closed, as a
// source of events.
type dicomSource struct{ sv *service }

var _ events.Source = dicomSource{}

// use calls f with the store of the service, unless it is closed.
func (d dicomSource) use(ctx context.Context, f func(*dicomsql.Store) error) error {
	d.sv.inFlight.RLock()
	defer d.sv.inFlight.RUnlock()
	if d.sv.closed {
		return nil
	}
	h, err := d.sv.open(ctx)
	if err != nil {
		return err
	}
	return f(h.images)
}

// Since implements events.Source.
func (d dicomSource) Since(ctx context.Context, t time.Time) (seq int64, err error) {
	err = d.use(ctx, func(s *dicomsql.Store) error {
		seq, err = s.Before(ctx, t)
		return err
	})
	return seq, err
}

// Changes implements events.Source.
func (d dicomSource) Changes(ctx context.Context, after int64, limit int) (out []events.Change, last int64, err error) {
	last = after
	err = d.use(ctx, func(s *dicomsql.Store) error {
		list, err := s.After(ctx, after, limit)
		for i := range list {
			c := &list[i]
			kind := events.DICOMCreated
			switch c.Action {
			case dicom.ActionUpdate:
				kind = events.DICOMUpdated
			case dicom.ActionDelete:
				kind = events.DICOMDeleted
			}
			ref := "studies/" + c.Study + "/series/" + c.UIDs.Series + "/instances/" + c.SOP
			if d.sv.partitions {
				ref = "partitions/" + c.Partition + "/" + ref
			}
			out = append(out, events.Change{At: c.Sequence, Kind: kind, Ref: ref, Version: c.Sequence, Time: c.At})
			last = c.Sequence
		}
		return err
	})
	return out, last, err
}
