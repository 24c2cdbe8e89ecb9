package fhir

import (
	"context"
	"hash/maphash"
)

// turns lets changes of one resource that are made from its current version come
// one after the other: those that read at the same time would all be refused but
// one, and start again together. It is a courtesy and no guarantee: what keeps a
// change exact is the version that it is bound to (Op.IfMatch), whoever else
// writes.
type turns struct {
	seed  maphash.Seed
	slots [64]chan struct{} // by the hash of the key; full while somebody has the turn
}

func newTurns() *turns {
	t := &turns{seed: maphash.MakeSeed()}
	for i := range t.slots {
		t.slots[i] = make(chan struct{}, 1)
	}
	return t
}

// take waits for the turn on k. The caller gives it back by calling done, and
// must not take another one before.
func (t *turns) take(ctx context.Context, k Key) (done func(), err error) {
	slot := t.slots[maphash.Comparable(t.seed, k)%uint64(len(t.slots))]
	select {
	case slot <- struct{}{}:
		return func() { <-slot }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
