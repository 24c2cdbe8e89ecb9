package server

import (
	"errors"
	"io"
	"path/filepath"

	"github.com/hygeia-health/hygeia/platform/blob"
)

// blobFolder is where blobs lie below the data folder. No workspace has such a name.
const blobFolder = "_blobs"

// blobs is the store of large objects, shared by all services: each has the
// part below WORKSPACE/SERVICE.
type blobs struct {
	blob.Store
	closer io.Closer
}

func openBlobs(cfg *Config) (*blobs, error) {
	f, err := blob.OpenFolder(filepath.Join(cfg.Data, blobFolder))
	if err != nil {
		return nil, errors.Join(errors.New("blobs: the folder cannot be used"), err)
	}
	return &blobs{Store: f, closer: f}, nil
}

// Close ends the use of the store.
func (b *blobs) Close() error {
	if b == nil {
		return nil
	}
	return b.closer.Close()
}
