package dicom

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// objectKey is the name of a blob.
func objectKey(n int64) string { return fmt.Sprintf("%06x/%09x.dcm", n>>10, n) }

// packer writes small files: those that wait at one moment share an fsync and a
// transaction of the index. They go to the end of a blob that grows, where the
// blob store has such, or else into a blob of their own. While some are written the next ones gather.
type packer struct {
	blobs   blob.Store
	number  func() (int64, error)
	index   func(puts []*Put, durable func() error) // Store.Put
	in      chan *packing
	workers sync.WaitGroup

	latest atomic.Int64 // the newest number of a blob
	coming atomic.Int64 // requests that are read now and may bring small files

	mu   sync.Mutex
	open map[int64]*pack // blobs that grow, or have files that are not in the index yet
}

// pack is one blob and the files in it whose fate is not known yet.
type pack struct {
	object  int64
	pending int
	sealed  bool // nothing is added any more
	kept    bool // at least one file is in the index
	given   bool // up: nothing may be added any more
}

// packing is the files of one request on their way into a blob.
type packing struct {
	files [][]byte
	size  int64
	put   *Put // goes into the index when the files are on disk; nil if they are none of its records

	pack *pack
	pos  int64 // of the first file; the others follow
	err  error // the files are not on disk
	done chan struct{}
}

// maxPack is the size at which a blob is full. It is not large, because what is
// left of a blob is copied when most of its files are deleted (compact.go).
const maxPack = 8 << 20

// maxAge is how many numbers are given before a blob is full anyway: the store
// answers for those of late, not for those of long ago.
const maxAge = 500

// wholeWriters is the number of blobs that are written at a time where they
// cannot grow. Where they can there is one, for two that are brought to disk at the
// same moment only wait for each other in the journal of the file system.
const wholeWriters = 2

func newPacker(blobs blob.Store, number func() (int64, error), index func([]*Put, func() error)) *packer {
	p := &packer{blobs: blobs, number: number, index: index, in: make(chan *packing, 256), open: map[int64]*pack{}}
	writers := wholeWriters
	if _, ok := blobs.(blob.Appender); ok {
		writers = 1
	}
	for range writers {
		p.workers.Go(p.run)
	}
	return p
}

func (p *packer) close() {
	close(p.in)
	p.workers.Wait()
}

// write stores files and returns when they are durable, and put, which may be
// nil, is decided: the files are those of its records. The caller says with
// finish what became of them.
func (p *packer) write(ctx context.Context, files [][]byte, put *Put) (*packing, error) {
	w := &packing{files: files, put: put, done: make(chan struct{})}
	for _, f := range files {
		w.size += int64(len(f))
	}
	select {
	case p.in <- w:
	case <-ctx.Done():
		return nil, &fault.Error{Kind: fault.Timeout, Op: "dicom: pack", Msg: "the request took too long or was given up", Err: ctx.Err()}
	}
	<-w.done // the files are in use until then, so ctx cannot end this
	return w, w.err
}

func (p *packer) run() {
	g := &grower{p: p}
	defer g.seal()
	for first := range p.in {
		group := g.await(p.gather(first))
		g.settle(group, g.put(group))
	}
}

// gather adds what waits, up to the size of a blob.
func (p *packer) gather(first *packing) []*packing {
	group, size := []*packing{first}, first.size
	for size < maxPack {
		select {
		case w, ok := <-p.in:
			if !ok {
				return group
			}
			group = append(group, w)
			size += w.size
		default:
			return group
		}
	}
	return group
}

// grower is one worker of a packer with the blob that it fills.
type grower struct {
	p    *packer
	blob blob.Growing
	pack *pack
	size int64

	company int // how many requests there were at a time of late
	skip    int // groups that do not wait
	vain    int // waits in a row that nobody came for
}

// put writes the files of a group. It returns when they are on disk; the index
// has them when the channel is closed.
func (g *grower) put(group []*packing) (decided chan struct{}) {
	if _, ok := g.p.blobs.(blob.Appender); !ok {
		err := g.whole(group)
		return g.p.decide(group, err, func() error { return err })
	}
	if err := g.place(group); err != nil {
		return g.p.decide(group, err, nil)
	}
	// The transaction of the index is made while the disk is at work; only its commit waits.
	var err error
	synced := make(chan struct{})
	decided = g.p.decide(group, nil, func() error {
		<-synced
		return err
	})
	if err = g.blob.Sync(); err != nil {
		g.seal() // it cannot be appended to any more
	}
	close(synced)
	return decided
}

// place appends the files of a group to the blob of the worker and tells where they are.
func (g *grower) place(group []*packing) error {
	if g.size >= maxPack || g.pack != nil && (g.p.abandoned(g.pack) || g.p.latest.Load()-g.pack.object > maxAge) {
		g.seal()
	}
	if g.blob == nil {
		n, err := g.p.number()
		if err != nil {
			return err
		}
		if g.blob, err = g.p.blobs.(blob.Appender).Append(context.Background(), objectKey(n)); err != nil {
			return err
		}
		g.pack, g.size = g.p.begin(n, 0), 0
	}
	files, size := filesOf(group)
	at, err := g.blob.Append(files)
	if err != nil {
		g.seal()
		return err
	}
	g.size = at + size
	g.p.join(g.pack, group, at)
	return nil
}

// filesOf returns the files of a group one after another, and how long they are.
func filesOf(group []*packing) (files [][]byte, size int64) {
	for _, w := range group {
		files = append(files, w.files...)
		size += w.size
	}
	return files, size
}

// whole writes a blob for one group.
func (g *grower) whole(group []*packing) error {
	n, err := g.p.number()
	if err != nil {
		return err
	}
	files, _ := filesOf(group)
	readers := make([]io.Reader, len(files))
	for i, f := range files {
		readers[i] = bytes.NewReader(f)
	}
	k := g.p.begin(n, 0)
	g.p.join(k, group, 0)
	// The blob belongs to several requests, so it does not end with one of them.
	_, err = g.p.blobs.Put(context.Background(), objectKey(n), io.MultiReader(readers...), blob.PutOptions{ContentType: "application/dicom"})
	g.p.seal(k)
	return err
}

// decide puts what a group brings into the index, unless err says that its files
// could not be written, and tells its members how it ended.
func (p *packer) decide(group []*packing, err error, durable func() error) (decided chan struct{}) {
	decided = make(chan struct{})
	var puts []*Put
	for _, w := range group {
		if w.put != nil {
			puts = append(puts, w.put)
		}
	}
	p.workers.Go(func() {
		defer close(decided)
		if err == nil && len(puts) > 0 {
			p.index(puts, durable)
		}
		if err == nil {
			err = durable()
		}
		for _, w := range group {
			if w.err = err; err != nil && w.pack != nil {
				p.finish(w.pack, false)
			}
			close(w.done)
		}
	})
	return decided
}

// seal ends the blob of a worker.
func (g *grower) seal() {
	if g.blob == nil {
		return
	}
	_ = g.blob.Close() // what was acknowledged is on disk
	g.p.seal(g.pack)
	g.blob, g.pack, g.size = nil, nil, 0
}

// join adds the files of a group, which begin at a place of a blob, to those
// whose fate is open.
func (p *packer) join(k *pack, group []*packing, pos int64) {
	p.mu.Lock()
	k.pending += len(group)
	p.mu.Unlock()
	for _, w := range group {
		w.pack, w.pos = k, pos
		if w.put != nil {
			at := pos
			for _, r := range w.put.Records {
				r.Location.Object, r.Location.Pos = k.object, at
				at += r.Location.Size
			}
		}
		pos += w.size
	}
}

// begin registers a blob.
func (p *packer) begin(object int64, pending int) *pack {
	k := &pack{object: object, pending: pending}
	p.mu.Lock()
	p.open[object] = k
	p.mu.Unlock()
	return k
}

// seal says that nothing is added to a blob any more.
func (p *packer) seal(k *pack) {
	p.mu.Lock()
	k.sealed = true
	p.end(k)
}

// abandon says that a blob is no longer ours to fill.
func (p *packer) abandon(k *pack) {
	p.mu.Lock()
	k.given = true
	p.mu.Unlock()
}

func (p *packer) abandoned(k *pack) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return k.given
}

// finish says that the files of a group are in the index (kept) or never will be.
func (p *packer) finish(k *pack, kept bool) {
	p.mu.Lock()
	k.pending--
	k.kept = k.kept || kept
	p.end(k)
}

// end forgets a blob whose files are all decided, and removes it when none is in
// the index. It is called with mu and releases it.
func (p *packer) end(k *pack) {
	last := k.sealed && k.pending == 0
	if last {
		delete(p.open, k.object)
	}
	p.mu.Unlock()
	if last && !k.kept {
		// What stays after an error is found by its number at the next start.
		_ = p.blobs.Delete(context.Background(), objectKey(k.object))
	}
}

// inUse reports whether files of a blob are on their way into the index.
func (p *packer) inUse(object int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[object] != nil
}

// budget bounds the bytes that all requests hold in memory together.
type budget struct {
	mu      sync.Mutex
	free    int64
	total   int64
	waiting []*claim
}

type claim struct {
	n  int64
	ok chan struct{}
}

func newBudget(n int64) *budget { return &budget{free: n, total: n} }

// take waits until n bytes are free, in turn. More than all is cut to all. The
// function gives them back.
func (b *budget) take(ctx context.Context, n int64) (func(), error) {
	n = min(n, b.total)
	b.mu.Lock()
	if len(b.waiting) == 0 && b.free >= n {
		b.free -= n
		b.mu.Unlock()
		return func() { b.give(n) }, nil
	}
	c := &claim{n: n, ok: make(chan struct{})}
	b.waiting = append(b.waiting, c)
	b.mu.Unlock()
	select {
	case <-c.ok:
		return func() { b.give(n) }, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, w := range b.waiting {
		if w == c {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			b.admit()
			return nil, &fault.Error{Kind: fault.Timeout, Op: "dicom: budget", Msg: "the request took too long or was given up", Err: ctx.Err()}
		}
	}
	b.free += n // it was granted at the same moment
	b.admit()
	return nil, &fault.Error{Kind: fault.Timeout, Op: "dicom: budget", Msg: "the request took too long or was given up", Err: ctx.Err()}
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	b.free += n
	b.admit()
	b.mu.Unlock()
}

// admit grants what fits to those who wait, in their order; mu is held.
func (b *budget) admit() {
	for len(b.waiting) > 0 && b.free >= b.waiting[0].n {
		c := b.waiting[0]
		b.waiting = b.waiting[1:]
		b.free -= c.n
		close(c.ok)
	}
}
