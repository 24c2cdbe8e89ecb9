package fhirsql

import (
	_ "embed"
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"

	"github.com/hygeia-health/hygeia/fhir"
)

// Bodies are compressed with s2 and a dictionary of typical FHIR text. The
// first byte of a body names the codec, so that dictionaries can be added; one
// that was shipped never changes.
const (
	codecRaw   = 0
	codecDict1 = 1
	// codecSealed is followed by the envelope of one of the others (see seal.go).
	codecSealed = 2
)

//go:embed dict/1.bin
var dict1Text []byte

var dict1 = sync.OnceValue(func() *s2.Dict { return s2.MakeDict(dict1Text, nil) })

// appendBody appends the compressed form of src to dst.
func appendBody(dst, src []byte) []byte {
	at := len(dst)
	need := s2.MaxEncodedLen(len(src))
	if need < 0 || len(src) < 32 {
		return append(append(dst, codecRaw), src...)
	}
	if cap(dst)-at < need+1 {
		dst = append(make([]byte, 0, at+need+1), dst...)
	}
	z := dict1().Encode(dst[at+1:cap(dst)], src)
	if len(z) >= len(src) {
		return append(append(dst, codecRaw), src...)
	}
	dst = dst[:at+1+len(z)]
	dst[at] = codecDict1
	copy(dst[at+1:], z) // a no-op when Encode used the room it was given
	return dst
}

// packedSize is how much room the compressed bodies of ops are likely to take. A
// large one gets what it may need at most, or its room would be made twice.
func packedSize(ops []fhir.Op) (n int) {
	for i := range ops {
		text := len(ops[i].Stored)
		if text < largeBody {
			n += text/2 + 64
		} else {
			n += max(s2.MaxEncodedLen(text), text) + 256 // and an envelope
		}
	}
	return n
}

const largeBody = 1 << 20

// decodeBody returns the stored form of a compressed body, in dst's memory when it fits.
func decodeBody(dst, z []byte) ([]byte, error) {
	if len(z) == 0 {
		return nil, fmt.Errorf("empty body")
	}
	switch z[0] {
	case codecRaw:
		return append(dst[:0], z[1:]...), nil
	case codecDict1:
		n, err := s2.DecodedLen(z[1:])
		if err != nil {
			return nil, err
		}
		if cap(dst) < n {
			dst = make([]byte, n)
		}
		return dict1().Decode(dst[:n], z[1:])
	}
	return nil, fmt.Errorf("unknown body codec %d: written by a newer version", z[0])
}
