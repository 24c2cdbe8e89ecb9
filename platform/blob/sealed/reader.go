package sealed

import (
	"crypto/cipher"
	"errors"
	"io"

	"github.com/hygeia-health/hygeia/platform/blob"
)

// reader opens the pieces of a range.
type reader struct {
	r      io.ReadCloser
	gcm    cipher.AEAD
	piece  int64 // the next one
	last   int64
	skip   int64 // bytes of the content before the range
	left   int64 // bytes of the range
	body   int64 // bytes of the sealed pieces, the whole blob
	prove  bool  // the range is behind the end: the last piece has to say so
	sealed []byte
	plain  []byte // open and not read yet
}

// reader returns the range of n bytes from offset on; r stands before a piece.
func (s *Store) reader(key string, h []byte, info blob.Info, r io.ReadCloser, first, offset, n int64) (io.ReadCloser, blob.Info, error) {
	d := &reader{r: r, piece: first, skip: offset - first*pieceSize, body: info.Size - headSize}
	d.last = lastPiece(info.Size)
	secret, err := s.stream(key, h)
	if err == nil {
		d.gcm, err = newGCM(secret)
	}
	if err == nil {
		info, err = s.describe(h, info)
	}
	if err != nil {
		_ = r.Close()
		return nil, blob.Info{}, err
	}
	d.left = max(info.Size-offset, 0)
	if n >= 0 {
		d.left = min(d.left, n)
	}
	d.prove = d.left == 0 && n != 0
	return d, info, nil
}

// Read implements io.Reader.
func (d *reader) Read(p []byte) (int, error) {
	if d.prove {
		if err := d.next(); err != nil {
			return 0, err
		}
		d.prove = false
	}
	if d.left == 0 {
		return 0, io.EOF
	}
	for len(d.plain) == 0 {
		if err := d.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.plain[:min(int64(len(d.plain)), d.left)])
	d.plain = d.plain[n:]
	d.left -= int64(n)
	return n, nil
}

// next opens a piece.
func (d *reader) next() error {
	size := min(fullPiece, d.body-d.piece*fullPiece)
	if size < tagSize {
		return damaged(errors.New("a piece is missing"))
	}
	if cap(d.sealed) < int(size) {
		d.sealed = make([]byte, size)
	}
	d.sealed = d.sealed[:size]
	if _, err := io.ReadFull(d.r, d.sealed); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = damaged(err)
		}
		return err
	}
	var err error
	if d.plain, err = d.gcm.Open(d.sealed[:0], nonce(d.piece, d.piece == d.last), d.sealed, nil); err != nil {
		return damaged(err)
	}
	d.piece++
	d.plain = d.plain[min(d.skip, int64(len(d.plain))):]
	d.skip = 0
	return nil
}

// Close implements io.Closer.
func (d *reader) Close() error { return d.r.Close() }
