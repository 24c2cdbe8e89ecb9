package fhirsql

import (
	"context"
	"log/slog"
	"sync"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// background is work that a store does on its own, one at a time, until it is closed.
type background struct {
	mu      sync.Mutex
	running bool
	closed  bool
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// start begins the work unless it is under way, and reports whether it did. An error is logged.
func (b *background) start(log *slog.Logger, name string, work func(context.Context) error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running || b.closed {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.running, b.cancel = true, cancel
	b.done.Go(func() {
		err := fault.Guard(name, func() error { return work(ctx) })
		b.mu.Lock()
		b.running = false
		b.mu.Unlock()
		cancel()
		if err != nil && ctx.Err() == nil && log != nil {
			log.LogAttrs(ctx, slog.LevelError, name, slog.Any("error", err))
		}
	})
	return true
}

// stop ends the work and waits for it.
func (b *background) stop() {
	b.mu.Lock()
	b.closed = true
	if b.cancel != nil {
		b.cancel()
	}
	b.mu.Unlock()
	b.done.Wait()
}
