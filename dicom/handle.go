package dicom

import (
	"container/list"
	"context"
	"io"
	"sync"

	"github.com/hygeia-health/hygeia/platform/blob"
)

// handles keeps blobs open that were read lately: many files share one, and to
// open it costs more than to read a small file. Only blobs that can be read at
// any place stay open, which are those of a folder.
type handles struct {
	blobs blob.Store

	mu       sync.Mutex
	off      bool // the blobs of this store cannot be read at any place
	byObject map[int64]*handle
	order    list.List // of *handle, the last one used in front
}

// handle is an open blob.
type handle struct {
	object int64
	at     io.ReaderAt
	file   io.Closer
	size   int64
	users  int  // readers that are not closed
	closed bool // nobody finds it any more
	el     *list.Element
}

// maxHandles is how many blobs stay open.
const maxHandles = 128

func newHandles(b blob.Store) *handles { return &handles{blobs: b, byObject: map[int64]*handle{}} }

// open returns n bytes of a blob from pos on.
func (h *handles) open(ctx context.Context, object, pos, n int64) (io.ReadCloser, error) {
	h.mu.Lock()
	if h.off {
		h.mu.Unlock()
		r, _, err := h.blobs.Open(ctx, objectKey(object), pos, n)
		return r, err
	}
	if e := h.byObject[object]; e != nil && e.size >= pos+n {
		e.users++
		h.order.MoveToFront(e.el)
		h.mu.Unlock()
		return h.reader(e, pos, n), nil
	}
	h.mu.Unlock()
	// It serves others too, so it does not end with this request.
	r, info, err := h.blobs.Open(context.WithoutCancel(ctx), objectKey(object), 0, -1)
	if err != nil {
		return nil, err
	}
	at, ok := r.(io.ReaderAt)
	if !ok {
		_ = r.Close()
		h.mu.Lock()
		h.off = true
		h.mu.Unlock()
		r, _, err := h.blobs.Open(ctx, objectKey(object), pos, n)
		return r, err
	}
	e := &handle{object: object, at: at, file: r, size: info.Size, users: 1}
	h.keep(e)
	return h.reader(e, pos, n), nil
}

// keep lets others find a blob that was opened.
func (h *handles) keep(e *handle) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.byObject[e.object]; old != nil {
		h.forget(old)
	}
	e.el = h.order.PushFront(e)
	h.byObject[e.object] = e
	for h.order.Len() > maxHandles {
		h.forget(h.order.Back().Value.(*handle))
	}
}

// forget closes a blob when its last reader does; mu is held.
func (h *handles) forget(e *handle) {
	if e.closed {
		return
	}
	e.closed = true
	h.order.Remove(e.el)
	delete(h.byObject, e.object)
	if e.users == 0 {
		_ = e.file.Close() // it was only read
	}
}

// drop forgets a blob that is removed.
func (h *handles) drop(object int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.byObject[object]; e != nil {
		h.forget(e)
	}
}

// close forgets all.
func (h *handles) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.byObject {
		h.forget(e)
	}
}

func (h *handles) reader(e *handle, pos, n int64) io.ReadCloser {
	return &piece{SectionReader: io.NewSectionReader(e.at, pos, max(min(n, e.size-pos), 0)), h: h, e: e}
}

// piece is a part of an open blob.
type piece struct {
	*io.SectionReader
	h *handles
	e *handle
}

// Close implements io.Closer.
func (p *piece) Close() error {
	if p.e == nil {
		return nil
	}
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	if p.e.users--; p.e.users == 0 && p.e.closed {
		_ = p.e.file.Close() // it was only read
	}
	p.e = nil
	return nil
}
