package r4

import (
	"encoding/binary"
	"math/bits"
)

// memberTable finds the element of a JSON member name. Every walk over a
// resource asks it once per member, so it is a hash table for just this: the
// names are known beforehand, most lookups succeed, and length, first and last
// bytes tell the names of one type apart.
type memberTable struct {
	slots []member // open addressing; a power of two, at least a quarter empty
}

type member struct {
	name    string
	element *Element
	ref     *TypeRef
}

// newMemberTable makes the table for n names.
func newMemberTable(elements []*Element, n int) memberTable {
	size := 1
	for size < n+n/3+1 {
		size *= 2
	}
	t := memberTable{slots: make([]member, size)}
	for _, e := range elements {
		for k := range e.Types {
			ref := &e.Types[k]
			i := hashName([]byte(ref.JSONName)) & uint64(size-1)
			for t.slots[i].element != nil {
				i = (i + 1) & uint64(size-1)
			}
			t.slots[i] = member{ref.JSONName, e, ref}
		}
	}
	return t
}

// find returns the element with a JSON name and its type, or nil.
func (t *memberTable) find(name []byte) (*Element, *TypeRef) {
	last := len(t.slots) - 1
	for i := int(hashName(name)) & last; uint(i) < uint(len(t.slots)); i = (i + 1) & last {
		if s := &t.slots[i]; s.name == string(name) || s.element == nil {
			return s.element, s.ref
		}
	}
	return nil, nil
}

// hashName mixes the length and up to eight bytes at each end.
func hashName(b []byte) uint64 {
	var x uint64
	switch n := len(b); {
	case n >= 8:
		x = binary.LittleEndian.Uint64(b) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(b[n-8:]), 29)
	case n >= 4:
		x = uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<32
	default:
		for _, c := range b {
			x = x<<8 | uint64(c)
		}
	}
	x = (x ^ uint64(len(b))<<56) * 0x9E3779B97F4A7C15
	return x >> 40
}
