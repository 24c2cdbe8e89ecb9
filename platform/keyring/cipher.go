package keyring

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
)

// Cipher seals and opens values for one purpose. It may be used from many goroutines.
type Cipher struct {
	keys    map[string]*subkey
	current *subkey
}

type subkey struct {
	id     string
	secret []byte
	xaes   *xaes
}

// Cipher returns the cipher of a purpose, such as "blobs".
func (r *Ring) Cipher(purpose string) (*Cipher, error) {
	c := &Cipher{keys: map[string]*subkey{}}
	for i := range r.keys {
		k := &subkey{id: r.keys[i].id}
		var err error
		if k.secret, err = r.keys[i].derive(purpose); err != nil {
			return nil, err
		}
		if k.xaes, err = newXAES(k.secret); err != nil {
			return nil, err
		}
		c.keys[k.id] = k
		if i == 0 {
			c.current = k
		}
	}
	return c, nil
}

// Current is the id of the key that seals.
func (c *Cipher) Current() string { return c.current.id }

// version is the first byte of an envelope.
const version = 1

// Seal appends the envelope of plain to dst. It opens only with the same place.
// The memory of plain and dst must not overlap.
func (c *Cipher) Seal(dst, plain, place []byte) ([]byte, error) {
	k := c.current
	at := len(dst)
	dst = append(append(dst, version, byte(len(k.id))), k.id...)
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:]) // never fails
	ad := authenticated(dst[at:], place)
	return k.xaes.seal(append(dst, nonce[:]...), nonce[:], plain, ad)
}

// Open appends what Seal sealed to dst. The error is *UnknownKey or ErrDamaged.
func (c *Cipher) Open(dst, envelope, place []byte) ([]byte, error) {
	id, head, ok := c.head(envelope)
	if !ok {
		return nil, ErrDamaged
	}
	k := c.keys[id]
	if k == nil {
		return nil, &UnknownKey{id}
	}
	rest := envelope[head:]
	out, err := k.xaes.open(dst, rest[:nonceSize], rest[nonceSize:], authenticated(envelope[:head], place))
	if err != nil {
		return nil, ErrDamaged
	}
	return out, nil
}

// head returns the id in an envelope and where the nonce begins.
func (c *Cipher) head(envelope []byte) (id string, n int, ok bool) {
	if len(envelope) < 2 || envelope[0] != version {
		return "", 0, false
	}
	n = 2 + int(envelope[1])
	if len(envelope) < n+nonceSize+tagSize {
		return "", 0, false
	}
	return string(envelope[2:n]), n, true
}

// authenticated is what is authenticated beside the value. The head of an
// envelope tells its own length, so that the two cannot be divided otherwise.
func authenticated(head, place []byte) []byte {
	return append(head[:len(head):len(head)], place...)
}

// Stream derives a key for AES-256-GCM that nobody else has, for something that
// is sealed in pieces: salt is random and stands in the clear, id names the key
// of the ring ("" is the current one). It returns the id that was used.
func (c *Cipher) Stream(id string, salt []byte, place string) (used string, secret []byte, err error) {
	k := c.current
	if id != "" {
		if k = c.keys[id]; k == nil {
			return id, nil, &UnknownKey{id}
		}
	}
	secret, err = hkdf.Key(sha256.New, k.secret, salt, place, Size)
	return k.id, secret, err
}
