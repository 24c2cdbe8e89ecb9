package dicom

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// objectKey is the name of a blob.
func objectKey(n int64) string { return fmt.Sprintf("%06x/%09x.dcm", n>>10, n) }

// packer writes small files: those that wait at one moment go into one blob,
// so that they share its fsync. While a blob is written the next one fills.
type packer struct {
	blobs   blob.Store
	number  func() (int64, error)
	in      chan *packing
	workers sync.WaitGroup

	mu   sync.Mutex
	open map[int64]*pack // blobs with files that are not in the index yet
}

// pack is one blob and the files in it whose fate is not known yet.
type pack struct {
	object  int64
	pending int
	kept    bool // at least one file is in the index
}

// packing is the files of one request on their way into a blob.
type packing struct {
	files [][]byte
	size  int64

	pack *pack
	pos  int64 // of the first file; the others follow
	err  error
	done chan struct{}
}

// maxPack is the size at which a blob is full.
const maxPack = 8 << 20

// packWriters is the number of blobs that are written at a time.
const packWriters = 2

func newPacker(blobs blob.Store, number func() (int64, error)) *packer {
	p := &packer{blobs: blobs, number: number, in: make(chan *packing, 256), open: map[int64]*pack{}}
	for range packWriters {
		p.workers.Go(p.run)
	}
	return p
}

func (p *packer) close() {
	close(p.in)
	p.workers.Wait()
}

// write stores files and returns when they are durable. The caller says with
// finish what became of each group.
func (p *packer) write(ctx context.Context, files [][]byte) (*packing, error) {
	w := &packing{files: files, done: make(chan struct{})}
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
	for first := range p.in {
		group := p.gather(first)
		err := p.put(group)
		for _, w := range group {
			w.err = err
			close(w.done)
		}
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

// put writes one blob.
func (p *packer) put(group []*packing) error {
	n, err := p.number()
	if err != nil {
		return err
	}
	var readers []io.Reader
	pos := int64(0)
	for _, w := range group {
		w.pos = pos
		for _, f := range w.files {
			readers = append(readers, bytes.NewReader(f))
		}
		pos += w.size
	}
	p.mu.Lock()
	k := &pack{object: n, pending: len(group)}
	p.open[n] = k
	p.mu.Unlock()
	for _, w := range group {
		w.pack = k
	}
	// The blob belongs to several requests, so it does not end with one of them.
	if _, err := p.blobs.Put(context.Background(), objectKey(n), io.MultiReader(readers...), blob.PutOptions{ContentType: "application/dicom"}); err != nil {
		p.mu.Lock()
		delete(p.open, n)
		p.mu.Unlock()
		return err
	}
	return nil
}

// begin registers a blob that has one file of its own.
func (p *packer) begin(object int64) *pack {
	k := &pack{object: object, pending: 1}
	p.mu.Lock()
	p.open[object] = k
	p.mu.Unlock()
	return k
}

// finish says that the files of a group are in the index (kept) or never will
// be. A blob that nothing refers to in the end is removed.
func (p *packer) finish(k *pack, kept bool) {
	p.mu.Lock()
	k.pending--
	k.kept = k.kept || kept
	last := k.pending == 0
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
