package resource

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// names knows the member names of the object that is being read: a filter of
// 64 bits decides most cases, a scan over the siblings the rest, and a set
// takes over for large objects so that no input costs quadratic time.
type names struct {
	filter uint64
	count  int
	prev   int32
	set    map[string]struct{}
}

// unique reports whether the object up has no member of this name yet.
func (p *parser) unique(names *names, key, size int, flags uint8, up int32) bool {
	name := p.src[key : key+size]
	if flags != 0 {
		name = unescape(nil, name)
	}
	if names.count < mapMembers {
		bit := uint64(1) << (hashName(name) >> 58)
		if names.filter&bit == 0 {
			names.filter |= bit
			return true
		}
		if p.known(name, up) {
			return p.duplicate(key, up, name)
		}
		return true
	}
	if names.set == nil {
		names.set = p.acquire()
		for c := (Node{p.scan(), up}).First(); c.Valid(); c = c.Next() {
			names.set[view(c.Key())] = struct{}{}
		}
	}
	before := len(names.set)
	names.set[view(name)] = struct{}{}
	if len(names.set) == before {
		return p.duplicate(key, up, name)
	}
	return true
}

// known looks for a name among the members of up.
func (p *parser) known(name []byte, up int32) bool {
	if p.nodes[up].n == 0 {
		return false
	}
	for i := uint32(up) + 1; i != 0; i = p.nodes[i].next {
		c := &p.nodes[i]
		if c.flags&flagKeyEscaped != 0 {
			if string(unescape(nil, p.src[c.key:c.key+uint32(c.keyLen)])) == string(name) {
				return true
			}
			continue
		}
		if int(c.keyLen) == len(name) && string(p.src[c.key:c.key+uint32(c.keyLen)]) == string(name) {
			return true
		}
	}
	return false
}

// scan lends the nodes read so far to the Doc, so that Node can be used on them.
func (p *parser) scan() *Doc {
	p.d.nodes = p.nodes
	return p.d
}

func (p *parser) duplicate(key int, up int32, name []byte) bool {
	p.fail(key, up, "structure", "the member "+string(AppendString(nil, string(name)))+" appears twice")
	p.atKey = string(name)
	return false
}

func (p *parser) acquire() map[string]struct{} {
	if n := len(p.d.maps); n > 0 {
		m := p.d.maps[n-1]
		p.d.maps = p.d.maps[:n-1]
		return m
	}
	return make(map[string]struct{}, 2*mapMembers)
}

// release keeps a set for later; a huge one is left to the collector.
func (p *parser) release(m map[string]struct{}) {
	if len(m) <= keepMap {
		clear(m)
		p.d.maps = append(p.d.maps, m)
	}
}

// view is b as a string without a copy; the sets never outlive the source.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// hashName mixes the length and up to eight bytes at each end of a name.
func hashName(b []byte) uint64 {
	var x uint64
	switch {
	case len(b) >= 8:
		x = binary.LittleEndian.Uint64(b) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(b[len(b)-8:]), 29)
	case len(b) >= 4:
		x = uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[len(b)-4:]))<<32
	default:
		for _, c := range b {
			x = x<<8 | uint64(c)
		}
	}
	return (x ^ uint64(len(b))<<56) * 0x9E3779B97F4A7C15
}
