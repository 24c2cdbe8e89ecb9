package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/blob/s3"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/keyring"
)

// blobFolder is where blobs lie below the data folder. No workspace has such a name.
const blobFolder = "_blobs"

// blobs is the store of large objects, shared by all services: each has the
// part below WORKSPACE/SERVICE.
type blobs struct {
	blob.Store
	closer io.Closer
}

func openBlobs(ctx context.Context, cfg *Config, ring *keyring.Ring, log *slog.Logger) (*blobs, error) {
	b, err := openPlain(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, bucketTime)
	defer cancel()
	if b.Store, err = encrypted(ctx, b.Store, ring, log); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func openPlain(ctx context.Context, cfg *Config, log *slog.Logger) (*blobs, error) {
	if cfg.Blobs != "" {
		return openBucket(ctx, cfg.Blobs, log)
	}
	f, err := blob.OpenFolder(filepath.Join(cfg.Data, blobFolder))
	if err != nil {
		return nil, errors.Join(errors.New("blobs: the folder cannot be used"), err)
	}
	return &blobs{Store: f, closer: f}, nil
}

// bucketTime is how long the start waits for a bucket.
const bucketTime = 10 * time.Second

// openBucket opens a bucket, and asks whether it is there. One that does not
// answer now may do so later.
func openBucket(ctx context.Context, address string, log *slog.Logger) (*blobs, error) {
	s, err := s3.Open(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, bucketTime)
	defer cancel()
	err = s.(interface{ Check(context.Context) error }).Check(ctx)
	if fault.Is(err, fault.Transient) || fault.Is(err, fault.Timeout) {
		log.LogAttrs(ctx, slog.LevelWarn, "the blob store does not answer", slog.Any("err", err))
		err = nil
	}
	return &blobs{Store: s}, err
}

// Close ends the use of the store.
func (b *blobs) Close() error {
	if b == nil || b.closer == nil {
		return nil
	}
	return b.closer.Close()
}
