package medtech

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Inbox takes the messages of a source one by one, keeps those that wait
// together in one write, and tells the source in the same order when they are on
// disk. A source that is faster than the disk waits in Put.
type Inbox struct {
	s    *Service
	in   chan letterIn
	gate gate
	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup
}

// letterIn is what came together, and who wants to know when it is kept.
type letterIn struct {
	list []Raw
	size int
	kept func()
}

// The limits of an Inbox.
const (
	inboxSize  = 8192     // puts that may wait
	inboxBatch = 2000     // messages in one write
	inboxBytes = 32 << 20 // that may wait
)

// NewInbox returns an Inbox. Close it before the service.
func (s *Service) NewInbox() *Inbox {
	ctx, stop := context.WithCancel(auth.WithPrincipal(context.Background(), auth.Internal("medtech")))
	b := &Inbox{s: s, in: make(chan letterIn, inboxSize), gate: gate{limit: inboxBytes}, ctx: ctx, stop: stop}
	b.done.Go(b.run)
	return b
}

// Put hands over messages that came together. An array of objects becomes one
// message each. kept, which may be nil, is called when all are on disk; it is not
// called when the Inbox is closed before. Put fails when ctx or the Inbox ends.
func (b *Inbox) Put(ctx context.Context, list []Raw, kept func()) error {
	var all []Raw
	size := 0
	for _, m := range list {
		all = append(all, b.split(m)...)
		size += len(m.Body)
	}
	if !b.gate.enter(ctx.Done(), b.ctx.Done(), size) {
		return fault.New(fault.Transient, "the service stops")
	}
	select {
	case b.in <- letterIn{all, size, kept}:
		return nil
	case <-ctx.Done():
		b.gate.leave(size)
		return ctx.Err()
	case <-b.ctx.Done():
		return fault.New(fault.Transient, "the service stops")
	}
}

// split is Split on the goroutine of a source, which is not to end with the
// process: a message that meets a defect stays whole, and the pipeline tells of it.
func (b *Inbox) split(m Raw) (out []Raw) {
	err := fault.Guard("medtech: split", func() error {
		out = Split(m)
		return nil
	})
	if err != nil {
		b.s.log.LogAttrs(b.ctx, slog.LevelError, "a message cannot be split", slog.String("source", m.Source), slog.Any("err", err))
		out = []Raw{m}
	}
	return out
}

// gate bounds the bytes that wait in an Inbox.
type gate struct {
	limit int
	mu    sync.Mutex
	used  int
	freed chan struct{} // closed when bytes leave; nil when nobody waits
}

// enter waits until n bytes have room, alone at the latest. It returns false
// when one of the channels is closed before.
func (g *gate) enter(done, stopped <-chan struct{}, n int) bool {
	for {
		g.mu.Lock()
		if g.used == 0 || g.used+n <= g.limit {
			g.used += n
			g.mu.Unlock()
			return true
		}
		if g.freed == nil {
			g.freed = make(chan struct{})
		}
		wait := g.freed
		g.mu.Unlock()
		select {
		case <-wait:
		case <-done:
			return false
		case <-stopped:
			return false
		}
	}
}

func (g *gate) leave(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= n
	if g.freed != nil {
		close(g.freed)
		g.freed = nil
	}
}

// Close ends the Inbox. What was not kept was not acknowledged, so that its
// source sends it again.
func (b *Inbox) Close() {
	b.stop()
	b.done.Wait()
}

func (b *Inbox) run() {
	var batch []Raw
	var whole []letterIn
	for {
		batch, whole = batch[:0], whole[:0]
		select {
		case x := <-b.in:
			batch, whole = append(batch, x.list...), append(whole, x)
		case <-b.ctx.Done():
			return
		}
	gather:
		for len(batch) < inboxBatch {
			select {
			case x := <-b.in:
				batch, whole = append(batch, x.list...), append(whole, x)
			default:
				break gather
			}
		}
		if !b.keep(batch) {
			return
		}
		for _, x := range whole {
			b.gate.leave(x.size)
			if x.kept != nil {
				x.kept()
			}
		}
		clear(batch)
		clear(whole)
	}
}

// keep writes a batch; it tries until it is on disk or the Inbox ends.
func (b *Inbox) keep(list []Raw) bool {
	wait := firstRetry
	for {
		err := b.s.keep(b.ctx, list)
		if err == nil {
			return true
		}
		if b.ctx.Err() != nil {
			return false
		}
		b.s.log.LogAttrs(b.ctx, slog.LevelWarn, "messages of a source wait", slog.Int("messages", len(list)), slog.Any("err", err))
		if !pause(b.ctx, wait) {
			return false
		}
		wait = min(2*wait, lastRetry)
	}
}

// keep appends messages to the log.
func (s *Service) keep(ctx context.Context, list []Raw) error {
	if backlog := s.last.Load() - s.done.Load(); backlog > s.cfg.MaxBacklog {
		return &fault.Error{Kind: fault.Throttled, Msg: "too many messages wait to be processed; try again", RetryAfter: 5 * time.Second}
	}
	size := 0
	at := s.now().Truncate(time.Millisecond)
	for i := range list {
		if list[i].Arrived.IsZero() {
			list[i].Arrived = at
		}
		size += len(list[i].Body)
	}
	begin := time.Now()
	if err := s.store.Append(ctx, list); err != nil {
		return err
	}
	for i := range list {
		raise(&s.last, list[i].Offset)
	}
	s.meter.Ingested(len(list), size, time.Since(begin))
	s.wakeUp()
	return nil
}
