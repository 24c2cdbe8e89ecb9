package blob

import (
	"context"
	"io"
	"iter"
	"time"
)

// Info describes a stored blob.
type Info struct {
	Key      string
	Size     int64
	Modified time.Time
	// SHA256 is the sum of the content. Put always returns it, Stat, Open and
	// List only where the backend keeps it; else it is nil.
	SHA256 []byte
	// Tag changes with the content. Stat and Open return it where the backend
	// keeps one; else it is "".
	Tag string
}

// PutOptions say what is known of the content. The zero value says nothing.
type PutOptions struct {
	ContentType string // for backends that hand blobs to clients themselves
	// SHA256 is the sum that the content must have. When it has another, Put
	// fails with Unprocessable and stores nothing.
	SHA256 []byte
	// Size is the number of bytes to expect when it is above zero. A reader
	// that gives another number makes Put fail with Unprocessable.
	Size int64
	// IfAbsent makes Put fail with Conflict when the key is taken.
	IfAbsent bool
}

// Store keeps blobs. Every method may be called from many goroutines. Errors
// are *fault.Error: Invalid for a key that CheckKey refuses, NotFound for a
// blob that is not there, Transient when it is worth trying again (a full disk,
// an endpoint that does not answer), Internal otherwise.
type Store interface {
	// Put reads r to its end and stores it under key, in place of what was
	// there. When it returns without error the blob is durable and visible;
	// else nothing changed. An error of r comes back as it is, wrapped.
	Put(ctx context.Context, key string, r io.Reader, opt PutOptions) (Info, error)
	// Open returns n bytes from offset on; n < 0 means to the end, and a range
	// that reaches beyond the end gives what there is. The Info is that of the
	// whole blob. The caller closes the reader, and ends ctx only after that.
	Open(ctx context.Context, key string, offset, n int64) (io.ReadCloser, Info, error)
	// Stat returns what is known without the content.
	Stat(ctx context.Context, key string) (Info, error)
	// List gives the blobs whose key begins with prefix, in the byte order of
	// their keys. What is stored or deleted meanwhile may or may not be seen. The
	// Size is -1 where a store would have to look into each blob for it.
	// After an error the sequence ends.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Delete removes a blob. One that is not there is no error.
	Delete(ctx context.Context, key string) error
}

// Signer is the extra of a Store whose blobs a client can fetch without us, by
// a URL that carries its own permission and ends after ttl.
type Signer interface {
	SignedURL(ctx context.Context, key string, ttl time.Duration) (string, error)
}

// Appender is the extra of a Store that lets a blob grow, for those who write
// small pieces and cannot wait for a blob of each.
type Appender interface {
	// Append begins a blob; a key that is taken is Conflict.
	Append(ctx context.Context, key string) (Growing, error)
}

// Growing is a blob that grows. It is used by one goroutine.
type Growing interface {
	// Append adds the pieces, which can be read from then on, and returns where
	// the first begins.
	Append(pieces [][]byte) (offset int64, err error)
	// Sync returns when all that was appended is durable. After an error of it or
	// of Append, and after a crash, the blob may have bytes that were not brought to
	// disk behind those that were; it cannot be appended to any more.
	Sync() error
	// Close ends the growth.
	Close() error
}
