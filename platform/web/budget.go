package web

import (
	"context"
	"sync"
)

// Budget bounds how many bytes of large bodies are worked on at the same time.
// A parsed text takes a multiple of its bytes, so that a few large bodies at
// once could take all the memory there is. Those who find it used up wait in
// the order of their arrival. A nil Budget bounds nothing.
type Budget struct {
	mu    sync.Mutex
	free  int64
	total int64
	queue []*waiter
}

type waiter struct {
	n     int64
	ready chan struct{}
}

// smallBody is what nobody has to ask for.
const smallBody = 256 << 10

// NewBudget returns a Budget of so many bytes.
func NewBudget(bytes int64) *Budget { return &Budget{free: bytes, total: bytes} }

// Enter waits until n bytes are free, or ctx ends. It returns what Leave has to
// be given: 0 for a small body, never more than the whole Budget.
func (b *Budget) Enter(ctx context.Context, n int64) (int64, error) {
	if b == nil || n < smallBody {
		return 0, nil
	}
	n = min(n, b.total)
	b.mu.Lock()
	if len(b.queue) == 0 && b.free >= n {
		b.free -= n
		b.mu.Unlock()
		return n, nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	b.queue = append(b.queue, w)
	b.mu.Unlock()
	select {
	case <-w.ready:
		return n, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, q := range b.queue {
		if q == w {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			b.admit() // w may have stood in front of a smaller one
			return 0, ctx.Err()
		}
	}
	b.leave(n) // it was let in at the same moment
	return 0, ctx.Err()
}

// Leave gives back what Enter returned.
func (b *Budget) Leave(n int64) {
	if b == nil || n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leave(n)
}

func (b *Budget) leave(n int64) {
	b.free += n
	b.admit()
}

// admit lets in from the front of the queue; the caller holds mu.
func (b *Budget) admit() {
	for len(b.queue) > 0 && b.queue[0].n <= b.free {
		b.free -= b.queue[0].n
		close(b.queue[0].ready)
		b.queue = b.queue[1:]
	}
}
