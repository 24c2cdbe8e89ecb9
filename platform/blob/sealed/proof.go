package sealed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// proofs is the folder with one small blob per key that was ever used, which
// tells whether the key is still the right one. No workspace has such a name.
const proofs = "_keys/"

const proofText = "this key opens the blobs of this store\n"

func reserved(key string) bool { return strings.HasPrefix(key, proofs) }

// Prove finds out whether all keys are there that blobs of the store were sealed
// with, and notes the current one. A server without keys asks Needs.
func (s *Store) Prove(ctx context.Context) error {
	known := false
	for i, err := range s.s.List(ctx, proofs) {
		if err != nil {
			return err
		}
		if err := s.prove(ctx, i.Key); err != nil {
			return err
		}
		known = known || i.Key == proofs+s.c.Current()
	}
	if known {
		return nil
	}
	_, err := s.Put(ctx, proofs+s.c.Current(), strings.NewReader(proofText), blob.PutOptions{})
	return err
}

func (s *Store) prove(ctx context.Context, key string) error {
	id := strings.TrimPrefix(key, proofs)
	r, _, err := s.Open(ctx, key, 0, -1)
	if err == nil {
		var text []byte
		text, err = io.ReadAll(r)
		_ = r.Close()
		if err == nil && string(text) != proofText {
			err = errors.New("its proof is another one")
		}
	}
	if err != nil && !fault.Is(err, fault.Transient) && !fault.Is(err, fault.Timeout) {
		return fmt.Errorf("blobs are encrypted with the key %q, which encryption.keys does not have or has with another content", id)
	}
	return err
}

// Needs returns the ids of the keys that blobs of a store were sealed with.
func Needs(ctx context.Context, s blob.Store) (ids []string, err error) {
	for i, err := range s.List(ctx, proofs) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, strings.TrimPrefix(i.Key, proofs))
	}
	return ids, nil
}
