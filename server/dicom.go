package server

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomhttp"
	"github.com/hygeia-health/hygeia/dicom/dicomsql"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/web"
)

// openDICOM opens a DICOM service; the caller holds opening.
func (s *service) openDICOM(ctx context.Context, folder string) error {
	store, err := dicomsql.Open(ctx, filepath.Join(folder, "dicom.db"), dicomsql.Options{})
	if err != nil {
		return err
	}
	room, err := dicom.New(dicom.Deps{
		Store: store, Blobs: blob.Sub(s.all.blobs, s.ref.String()), Guard: s.all.identity.guard(s.ref), Log: s.all.log,
		Config: dicom.Config{Partitions: s.spec.Partitions},
	})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	m := s.all.metrics.Store(s.ref.String(), func() int { return store.Stats().Queue })
	store.OnCommit(func(d time.Duration, n int) { m.Commit(n, d) })
	face := func(base string) http.Handler {
		return dicomhttp.New(room, dicomhttp.Options{
			BasePath: base, BaseURL: web.BaseURL, Health: store.Check, Log: s.all.log,
			Observe: func(op string, status int, d time.Duration, in, out int64) {
				s.observe(op, "", status, d, int(in), int(out))
			},
		})
	}
	s.handlers.Store(&handlers{
		check:  store.Check,
		close:  func() error { room.Close(); return store.Close() },
		byPath: face("/" + s.ref.String()), byHost: face(""),
	})
	return nil
}
