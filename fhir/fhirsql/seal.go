package fhirsql

import (
	"context"
	"fmt"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/keyring"
)

// place is what the envelope of a body is bound to: the resource, so that no
// body can be put into the place of another.
func place(k fhir.Key) []byte {
	return append(append(append(make([]byte, 0, 80), k.Type...), '/'), k.ID...)
}

// pack appends the form of a stored text that stands in the tables: compressed
// and, with keys, encrypted.
func (s *Store) pack(dst []byte, k fhir.Key, text []byte) ([]byte, error) {
	if s.cipher == nil {
		return appendBody(dst, text), nil
	}
	z := zPool.get()
	defer zPool.put(z)
	*z = appendBody((*z)[:0], text)
	dst, err := s.cipher.Seal(append(dst, codecSealed), *z, place(k))
	return dst, fault.Wrap("fhirsql: encrypt", err)
}

// unpack returns the stored text of pack, in dst's memory when it fits.
func (s *Store) unpack(dst []byte, k fhir.Key, z []byte) ([]byte, error) {
	if len(z) == 0 || z[0] != codecSealed {
		return decodeBody(dst, z)
	}
	if s.cipher == nil {
		return nil, errNoKeys
	}
	p := zPool.get()
	defer zPool.put(p)
	plain, err := s.cipher.Open((*p)[:0], z[1:], place(k))
	if err != nil {
		return nil, err
	}
	*p = plain
	return decodeBody(dst, plain)
}

var errNoKeys = fault.New(fault.Internal, "the resource is encrypted, and there are no keys")

// proofText is sealed with each key that was ever used, to tell whether the
// key is still the right one.
const proofText = "this key opens the bodies of this store"

// prove refuses a store whose keys are not there, and notes the current one.
func (s *Store) prove(ctx context.Context) error {
	current := false
	err := s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT id, proof FROM sealkey ORDER BY id", func(st *db.Stmt) error {
			id, proof := st.ColText(0), st.ColBlob(1, nil)
			if s.cipher == nil {
				return fmt.Errorf("the resources are encrypted with the key %q, and there are no keys: encryption.keys has to name it", id)
			}
			if text, err := s.cipher.Open(nil, proof, []byte(id)); err != nil || string(text) != proofText {
				return fmt.Errorf("the resources are encrypted with the key %q, which encryption.keys does not have or has with another content", id)
			}
			current = current || id == s.cipher.Current()
			return nil
		})
	})
	if err != nil || s.cipher == nil || current {
		return err
	}
	id := s.cipher.Current()
	proof, err := s.cipher.Seal(nil, []byte(proofText), []byte(id))
	if err != nil {
		return err
	}
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		return c.Exec("INSERT INTO sealkey (id, proof) VALUES ($1, $2) ON CONFLICT DO NOTHING", id, proof)
	}})
}

// newCipher returns the cipher of bodies; nil without keys.
func newCipher(ring *keyring.Ring) (*keyring.Cipher, error) {
	if ring == nil {
		return nil, nil
	}
	return ring.Cipher("fhir bodies")
}
