package fhirsql

import (
	"context"
	"hash/maphash"
	"sync/atomic"

	"github.com/hygeia-health/hygeia/platform/db"
)

// seen is a Bloom filter of all names in the table key, and the set of the rids
// that have versions. An import of new resources asks for many names that are
// not there, and for the versions of many that were only referred to; both say
// so without a look into the tables. They are made by the first import or large
// bundle, beside other work, and only for a database that nobody else writes.
type seen struct {
	seed   maphash.Seed
	state  int // of the writer: see below
	filter *bloom
	built  atomic.Pointer[bloom] // by the reader of the table
	fresh  []uint64              // hashes of names that were given meanwhile
	stored []int64               // rids that got a version meanwhile
	making background
}

const (
	seenOff    = iota // not asked for
	seenWanted        // to be made when the open transaction has ended
	seenMaking
	seenReady
	seenNever // not possible: the tables decide
)

// seenMax is the number of names from which on there is no filter: 64 MiB.
const seenMax = 50_000_000

// manyOps is the size of a change that is taken for one of new resources.
const manyOps = 50

// expectNew asks for the filter where one is possible. Writer only.
func (s *Store) expectNew() {
	if !s.shared {
		s.seen.want()
	}
}

// want asks for the filter. Writer only.
func (n *seen) want() {
	if n.state == seenOff {
		n.state = seenWanted
	}
}

// settle runs in the writer after each transaction: what was given in it is in
// the table, or was taken back.
func (n *seen) settle(d *db.DB) {
	switch n.state {
	case seenWanted:
		n.seed = maphash.MakeSeed()
		if n.making.start(nil, "filter of names", func(ctx context.Context) error { n.make(ctx, d); return nil }) {
			n.state = seenMaking
		}
	case seenMaking:
		b := n.built.Swap(nil)
		if b == nil {
			return
		}
		for _, h := range n.fresh {
			b.add(h)
		}
		for _, rid := range n.stored {
			b.stored.add(rid)
		}
		n.fresh, n.stored = nil, nil
		if n.filter, n.state = b, seenReady; b.bits == nil {
			n.state = seenNever
		}
	case seenReady:
		if n.filter.n > n.filter.room {
			n.filter, n.state = nil, seenWanted
		}
	}
}

// make reads the table. A filter without bits means that there is none.
func (n *seen) make(ctx context.Context, d *db.DB) {
	b := &bloom{}
	defer func() { n.built.Store(b) }()
	err := d.ReadTx(ctx, func(c *db.Conn) error {
		var count int64
		if err := c.Query("SELECT count(*) FROM key", func(st *db.Stmt) error { count = st.ColInt(0); return nil }); err != nil || count > seenMax {
			return err
		}
		made := newBloom(min(2*count+500_000, seenMax+seenMax/10))
		var id []byte
		err := c.Query("SELECT t, id FROM key", func(st *db.Stmt) error {
			id = st.ColBlob(1, id[:0])
			made.add(n.hash(st.ColInt(0), id))
			return nil
		})
		if err != nil {
			return err
		}
		for _, text := range []string{"SELECT rid FROM res", "SELECT rid FROM hist"} {
			if err := c.Query(text, func(st *db.Stmt) error { made.stored.add(st.ColInt(0)); return nil }); err != nil {
				return err
			}
		}
		b = made
		return nil
	})
	if err != nil {
		b = &bloom{} // the store is being closed, or cannot be read: the table decides
	}
}

func (n *seen) hash(t int64, id []byte) uint64 {
	return maphash.Bytes(n.seed, id) ^ uint64(t)*0x9e3779b97f4a7c15
}

// give notes a name that gets its rid. Writer only.
func (n *seen) give(t int64, id []byte) {
	switch n.state {
	case seenMaking:
		n.fresh = append(n.fresh, n.hash(t, id))
	case seenReady:
		n.filter.add(n.hash(t, id))
	}
}

// store notes a resource that gets a version. Writer only.
func (n *seen) store(rid int64) {
	switch n.state {
	case seenMaking:
		n.stored = append(n.stored, rid)
	case seenReady:
		n.filter.stored.add(rid)
	}
}

// bare reports whether a resource has no version for sure. Writer only.
func (n *seen) bare(rid int64) bool { return n.state == seenReady && !n.filter.stored.has(rid) }

// absent reports whether a name is not in the table for sure. Writer only.
func (n *seen) absent(t int64, id []byte) bool {
	return n.state == seenReady && !n.filter.has(n.hash(t, id))
}

// bloom is a set that may believe to have what it has not: about one in a
// hundred when there are as many as there is room for.
type bloom struct {
	bits []uint64
	n    int64
	room int64

	stored ridSet
}

// ridSet is a set of rids, one bit for each: they are small.
type ridSet []uint64

func (s *ridSet) add(rid int64) {
	if at := int(rid / 64); at >= len(*s) {
		*s = append(*s, make([]uint64, at+1-len(*s))...)
	}
	(*s)[rid/64] |= 1 << (rid % 64)
}

func (s ridSet) has(rid int64) bool {
	at := int(rid / 64)
	return at < len(s) && s[at]&(1<<(rid%64)) != 0
}

// bloomHashes bits are set for each member.
const bloomHashes = 5

// newBloom makes a filter for room members, ten bits for each.
func newBloom(room int64) *bloom {
	return &bloom{bits: make([]uint64, room*10/64+1), room: room}
}

func (b *bloom) add(h uint64) {
	if b.bits == nil {
		return
	}
	b.n++
	x, step := uint32(h>>32), uint32(h)|1
	for range bloomHashes {
		at := b.at(x)
		b.bits[at/64] |= 1 << (at % 64)
		x += step
	}
}

func (b *bloom) has(h uint64) bool {
	x, step := uint32(h>>32), uint32(h)|1
	for range bloomHashes {
		at := b.at(x)
		if b.bits[at/64]&(1<<(at%64)) == 0 {
			return false
		}
		x += step
	}
	return true
}

// at maps 32 bits of a hash to a bit; there are fewer than 2^32.
func (b *bloom) at(x uint32) uint64 { return uint64(x) * uint64(len(b.bits)*64) >> 32 }
