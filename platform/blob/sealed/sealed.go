package sealed

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"iter"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/keyring"
)

const (
	magic     = "\x89HYGEIA SEALED\r\n"
	headSize  = 64
	idField   = 23
	saltSize  = 24
	pieceSize = 64 << 10
	tagSize   = 16
	fullPiece = pieceSize + tagSize
)

// Store encrypts what goes into another store. It is neither a blob.Signer,
// because a client could not read what it fetched, nor a blob.Appender.
type Store struct {
	s blob.Store
	c *keyring.Cipher
}

var _ blob.Store = (*Store)(nil)

// New returns the store that seals the blobs of s with the keys of a ring.
func New(s blob.Store, ring *keyring.Ring) (*Store, error) {
	c, err := ring.Cipher("blobs")
	if err != nil {
		return nil, err
	}
	return &Store{s, c}, nil
}

// plainSize returns the size of the content of a sealed blob.
func plainSize(size int64) (int64, error) {
	body := size - headSize
	pieces := (body + fullPiece - 1) / fullPiece
	last := body - (pieces-1)*fullPiece
	if body < tagSize || last < tagSize || last == tagSize && pieces > 1 {
		return 0, damaged(errors.New("it has an impossible size"))
	}
	return body - pieces*tagSize, nil
}

// lastPiece returns the number of the last piece of a sealed blob.
func lastPiece(size int64) int64 { return max((size-headSize-1)/fullPiece, 0) }

// sealedSize returns the size of a sealed blob.
func sealedSize(size int64) int64 {
	return headSize + size + max((size+pieceSize-1)/pieceSize, 1)*tagSize
}

func damaged(err error) error {
	return &fault.Error{Kind: fault.Internal, Op: "blob: open sealed", Msg: "the stored content is damaged", Err: err}
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) (blob.Info, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	in := blob.Receive(r, opt)
	w, err := s.writer(key, salt, in)
	if err != nil {
		return blob.Info{}, err
	}
	below := blob.PutOptions{ContentType: "application/octet-stream", IfAbsent: opt.IfAbsent}
	if opt.Size > 0 {
		below.Size = sealedSize(opt.Size)
	}
	i, err := s.s.Put(ctx, key, w, below)
	i.Size, i.SHA256 = in.Size(), in.Sum()
	return i, err
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if offset < 0 {
		return s.s.Open(ctx, key, offset, n) // it says what is wrong
	}
	first := offset / pieceSize // the piece where the range begins
	end := int64(-1)            // of what is read below
	if n >= 0 && n < 1<<62-offset {
		end = headSize + max((offset+n+pieceSize-1)/pieceSize, 1)*fullPiece
	}
	if first == 0 { // head and pieces come with one request
		return s.openAt(ctx, key, offset, n, end)
	}
	h, info, r, err := s.head(ctx, key, headSize)
	if err != nil {
		return nil, blob.Info{}, err
	}
	if err := r.Close(); err != nil {
		return nil, blob.Info{}, err
	}
	if h == nil {
		return s.s.Open(ctx, key, offset, n)
	}
	first = min(first, lastPiece(info.Size)) // which proves that the blob ends there
	from := headSize + first*fullPiece
	if end >= 0 {
		end -= from
	}
	r, now, err := s.s.Open(ctx, key, min(from, info.Size), end)
	if err != nil {
		return nil, blob.Info{}, err
	}
	if now.Size != info.Size || !now.Modified.Equal(info.Modified) {
		_ = r.Close()
		return nil, blob.Info{}, &fault.Error{Kind: fault.Transient, Op: "blob: open sealed", Msg: "the content was replaced at this moment"}
	}
	return s.reader(key, h, info, r, first, offset, n)
}

// openAt opens a range that begins in the first piece.
func (s *Store) openAt(ctx context.Context, key string, offset, n, end int64) (io.ReadCloser, blob.Info, error) {
	h, info, r, err := s.head(ctx, key, end)
	if err != nil {
		return nil, blob.Info{}, err
	}
	if h != nil {
		return s.reader(key, h, info, r, 0, offset, n)
	}
	if err := r.Close(); err != nil {
		return nil, blob.Info{}, err
	}
	return s.s.Open(ctx, key, offset, n)
}

// head reads the head of a blob, of which it opens n bytes; nil when it is not
// sealed. The reader stands behind the head.
func (s *Store) head(ctx context.Context, key string, n int64) ([]byte, blob.Info, io.ReadCloser, error) {
	r, info, err := s.s.Open(ctx, key, 0, n)
	if err != nil {
		return nil, info, nil, err
	}
	h := make([]byte, headSize)
	switch _, err := io.ReadFull(r, h); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, info, r, nil
	case err != nil:
		_ = r.Close()
		return nil, info, nil, err
	case string(h[:len(magic)]) != magic:
		return nil, info, r, nil
	}
	return h, info, r, nil
}

// stream returns the key of a blob whose head is h.
func (s *Store) stream(key string, h []byte) ([]byte, error) {
	n := int(h[len(magic)])
	if n == 0 || n > idField {
		return nil, damaged(errors.New("its head is none"))
	}
	id := string(h[len(magic)+1 : len(magic)+1+n])
	_, secret, err := s.c.Stream(id, h[headSize-saltSize:], key)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Internal, Op: "blob: open sealed", Msg: "the content cannot be read: its key is missing", Err: err}
	}
	return secret, nil
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	h, info, r, err := s.head(ctx, key, headSize)
	if err != nil {
		return info, err
	}
	if err := r.Close(); err != nil {
		return info, err
	}
	return s.describe(h, info)
}

// describe turns what is known of a stored blob into what is known of its content.
func (s *Store) describe(h []byte, info blob.Info) (_ blob.Info, err error) {
	if h != nil {
		info.SHA256 = nil // that of the sealed form
		info.Size, err = plainSize(info.Size)
	}
	return info, err
}

// List implements blob.Store. It does not look into the blobs for their size.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for i, err := range s.s.List(ctx, prefix) {
			if err == nil && reserved(i.Key) {
				continue
			}
			i.Size, i.SHA256 = -1, nil
			if !yield(i, err) {
				return
			}
		}
	}
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, key string) error { return s.s.Delete(ctx, key) }
