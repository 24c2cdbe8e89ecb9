package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
)

// newGCM returns the AES-256-GCM of a key.
func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// nonce is that of a piece.
func nonce(piece int64, last bool) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b[3:], uint64(piece))
	if last {
		b[11] = 1
	}
	return b
}

// writer gives the sealed form of what it reads. It is one piece behind its
// source, so that it knows which one is the last.
type writer struct {
	r     io.Reader
	gcm   cipher.AEAD
	out   []byte // ready to be read
	ready int    // where it goes on in out
	plain []byte // pieceSize+1: a whole piece, and whether there is more
	have  int    // in plain
	piece int64
	ended bool
}

func (s *Store) writer(key string, salt []byte, r io.Reader) (*writer, error) {
	id := s.c.Current()
	_, secret, err := s.c.Stream(id, salt, key)
	if err != nil {
		return nil, err
	}
	w := &writer{r: r, out: make([]byte, headSize, headSize+fullPiece), plain: make([]byte, pieceSize+1)}
	if w.gcm, err = newGCM(secret); err != nil {
		return nil, err
	}
	copy(w.out, magic)
	w.out[len(magic)] = byte(len(id))
	copy(w.out[len(magic)+1:], id)
	copy(w.out[headSize-saltSize:], salt)
	return w, nil
}

// Read implements io.Reader.
func (w *writer) Read(p []byte) (int, error) {
	if w.ready == len(w.out) {
		if w.ended {
			return 0, io.EOF
		}
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.out[w.ready:])
	w.ready += n
	return n, nil
}

// next seals a piece.
func (w *writer) next() error {
	n, err := io.ReadFull(w.r, w.plain[w.have:])
	w.have += n
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		w.ended, err = true, nil
	}
	if err != nil {
		return err
	}
	size := min(w.have, pieceSize)
	w.out = w.gcm.Seal(w.out[:0], nonce(w.piece, w.ended), w.plain[:size], nil)
	w.ready = 0
	w.piece++
	w.have = copy(w.plain, w.plain[size:w.have])
	return nil
}
