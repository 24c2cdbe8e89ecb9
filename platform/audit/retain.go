package audit

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hygeia-health/hygeia/platform/blob"
)

// Retain moves files whose last record is older than hot into the archive,
// compressed, and deletes from it what is older than keep. The file in use
// stays. A file is only removed when its archive is durable. Files follow each
// other into the archive: one that cannot go there stays with those after it.
func (l *Log) Retain(ctx context.Context, archive blob.Store, hot, keep time.Duration) error {
	return errors.Join(l.archive(ctx, archive, hot), l.expire(ctx, archive, keep))
}

// archive moves files whose last record is older than hot.
func (l *Log) archive(ctx context.Context, archive blob.Store, hot time.Duration) error {
	list, err := segments(l.dir)
	if err != nil {
		return err
	}
	now := l.opt.Now()
	for _, n := range list[:max(0, len(list)-1)] {
		path := filepath.Join(l.dir, segmentName(n))
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if now.Sub(info.ModTime()) < hot {
			break
		}
		if err := store(ctx, archive, path, segmentName(n)+archived); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// expire deletes what is older than keep.
func (l *Log) expire(ctx context.Context, archive blob.Store, keep time.Duration) error {
	now := l.opt.Now()
	var old []string
	for info, err := range archive.List(ctx, "") {
		if err != nil {
			return err
		}
		if now.Sub(info.Modified) >= keep {
			old = append(old, info.Key)
		}
	}
	for _, key := range old {
		if err := archive.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// store puts a compressed file into the archive. Compression is the same every
// time, so that an attempt that failed half way can be repeated.
func store(ctx context.Context, archive blob.Store, path, key string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, w := io.Pipe()
	go func() {
		zw := gzip.NewWriter(w)
		_, err := io.Copy(zw, f)
		if e := zw.Close(); err == nil {
			err = e
		}
		_ = w.CloseWithError(err) // never fails
	}()
	_, err = archive.Put(ctx, key, r, blob.PutOptions{ContentType: "application/gzip"})
	_ = r.CloseWithError(io.ErrClosedPipe) // ends the goroutine when Put gave up
	return err
}
