package fhirsql

import (
	"crypto/sha256"
	"encoding/hex"
	"unicode/utf8"
)

// maxKey is how many bytes of a value stand in an index. PostgreSQL refuses
// keys of more than a third of a page, and a key may have two values.
const maxKey = 1000

// short is the form in which codes, URLs and names of systems are indexed and
// searched: the value itself, or, if it is longer than an index takes, its
// beginning with a hash of the whole. Equal values have equal forms.
func short(v string) string {
	if len(v) <= maxKey {
		return v
	}
	h := sha256.Sum256([]byte(v))
	return prefix(v, maxKey-2*len(h)-1) + cut + hex.EncodeToString(h[:])
}

// cut stands behind the beginning of a value that was too long. FHIR does not
// allow it inside a string.
const cut = "\x01"

// prefix returns the first n bytes of v, or a few less, in whole characters.
func prefix(v string, n int) string {
	if len(v) <= n {
		return v
	}
	for n > 0 && !utf8.RuneStart(v[n]) {
		n--
	}
	return v[:n]
}
