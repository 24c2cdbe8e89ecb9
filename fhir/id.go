package fhir

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/r4"
)

// ValidID reports whether s is an id as of R4 section 2.24.0.1: 1 to 64 of A-Z, a-z, 0-9, - and dot.
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// newUUID returns a function that makes UUIDs of version 7 (RFC 9562 section
// 5.7): time first, so that ids made together lie together in an index.
func newUUID(now func() time.Time) func() string {
	return func() string {
		var b [16]byte
		_, _ = rand.Read(b[6:]) // never fails: crypto/rand ends the program instead
		ms := now().UnixMilli()
		for i := range 6 {
			b[i] = byte(ms >> (40 - 8*i))
		}
		b[6] = b[6]&0x0f | 0x70
		b[8] = b[8]&0x3f | 0x80
		var s [36]byte
		hex.Encode(s[:8], b[:4])
		hex.Encode(s[9:13], b[4:6])
		hex.Encode(s[14:18], b[6:8])
		hex.Encode(s[19:23], b[8:10])
		hex.Encode(s[24:], b[10:])
		s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
		return string(s[:])
	}
}

// knownType refuses a name that is not a concrete resource type. It is a
// missing address, not a malformed one: names are case-sensitive.
func knownType(typ string) error {
	if !r4.IsResource(typ) {
		return fault.At(fault.NotFound, "not-supported", "", "resource type %q does not exist in FHIR R4", typ)
	}
	return nil
}

// keyOf returns the key that an interaction addresses. An id that cannot exist is not found.
func keyOf(in *Interaction) (Key, error) {
	if err := knownType(in.Type); err != nil {
		return Key{}, err
	}
	if !ValidID(in.ID) {
		return Key{}, fault.At(fault.NotFound, "not-found", "", "%q is not a valid id: 1 to 64 of A-Z, a-z, 0-9, - and . are allowed", clip(in.ID))
	}
	return Key{in.Type, in.ID}, nil
}

// clip keeps a client's text short in a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
