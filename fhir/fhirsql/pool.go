package fhirsql

import "sync"

// bufPool keeps buffers between requests; a large one is given back to the collector.
type bufPool struct{ p sync.Pool }

var zPool bufPool

func (b *bufPool) get() *[]byte {
	if v, ok := b.p.Get().(*[]byte); ok {
		return v
	}
	return new([]byte)
}

func (b *bufPool) put(v *[]byte) {
	if cap(*v) <= 1<<20 {
		b.p.Put(v)
	}
}
