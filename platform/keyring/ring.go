package keyring

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Size is the length of a key in bytes.
const Size = 32

// MaxID is the length of the longest id of a key.
const MaxID = 20

// Ring holds keys. It may be used from many goroutines.
type Ring struct{ keys []key }

type key struct {
	id     string
	secret [Size]byte
}

// Parse reads the text of a ring. Errors name the line and never its content.
func Parse(text string) (*Ring, error) {
	r := &Ring{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		id, secret, _ := strings.Cut(line, " ")
		if err := r.add(id, strings.TrimSpace(secret)); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(r.keys) == 0 {
		return nil, errors.New("there is no key; write a line with an id and 32 bytes in base64")
	}
	return r, nil
}

func (r *Ring) add(id, secret string) error {
	if !validID(id) {
		return fmt.Errorf("the id of a key has 1 to %d of A-Z, a-z, 0-9, - and .", MaxID)
	}
	if r.find(id) != nil {
		return fmt.Errorf("the id %s is there twice", id)
	}
	b, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(b) != Size {
		return fmt.Errorf("key %s must be %d bytes in base64", id, Size)
	}
	k := key{id: id}
	copy(k.secret[:], b)
	r.keys = append(r.keys, k)
	return nil
}

func validID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '.' {
			return false
		}
	}
	return id != "" && len(id) <= MaxID && id[0] != '.'
}

// Generate returns the line of a new key.
func Generate(id string) (string, error) {
	if !validID(id) {
		return "", fmt.Errorf("the id of a key has 1 to %d of A-Z, a-z, 0-9, - and .", MaxID)
	}
	var b [Size]byte
	_, _ = rand.Read(b[:]) // never fails
	return id + " " + base64.StdEncoding.EncodeToString(b[:]), nil
}

func (r *Ring) find(id string) *key {
	for i := range r.keys {
		if r.keys[i].id == id {
			return &r.keys[i]
		}
	}
	return nil
}

// derive returns the key for a purpose.
func (k *key) derive(purpose string) ([]byte, error) {
	return hkdf.Expand(sha256.New, k.secret[:], "hygeia "+purpose, Size)
}

// UnknownKey is the error of what was sealed with a key that the ring does not have.
type UnknownKey struct{ ID string }

// Error implements error.
func (e *UnknownKey) Error() string {
	return fmt.Sprintf("it is encrypted with the key %q, which is not among the keys", e.ID)
}

// ErrDamaged is the error of what was changed, or sealed with another key of the
// same id, or for another place.
var ErrDamaged = errors.New("it is damaged, was moved, or the key of this id is another one")
