package dicom

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sort"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm/codec"
)

// spool keeps a part with bulk data until the instances that refer to it can be
// written: in memory, or, if it is large, in a blob that goes away afterwards and
// that a crash leaves like any other that nobody refers to.
type spool struct {
	typ    string // media type
	syntax string // its parameter transfer-syntax
	size   int64

	// stream is what the pixels of a picture are that was converted.
	stream *codec.Stream

	data   []byte
	object int64
	pack   *pack // nil: it is in memory
}

// spool reads a part.
func (c *composing) spool(ctx context.Context, p *Part) (*spool, error) {
	sp := &spool{typ: p.Type, syntax: p.Params["transfer-syntax"], data: make([]byte, 0, 4<<10)}
	whole, err := readUpTo(p.Body, &sp.data, max(min(c.s.cfg.SmallFile, maxHeld-c.held), 0))
	if err != nil {
		return nil, err
	}
	if whole {
		sp.size = int64(len(sp.data))
		c.held += sp.size
		return sp, nil
	}
	if sp.object, err = c.s.object(); err != nil {
		return nil, err
	}
	sp.pack = c.s.pack.begin(sp.object, 1)
	c.s.pack.seal(sp.pack)
	limited := &limitReader{r: io.MultiReader(bytes.NewReader(sp.data), p.Body), left: c.s.cfg.MaxFile}
	sp.data = nil
	_, err = c.s.blobs.Put(ctx, objectKey(sp.object), limited, blob.PutOptions{})
	switch {
	case errors.Is(limited.err, errTooLarge):
		err = fault.New(fault.TooLarge, "A part is larger than the %d bytes that are allowed.", c.s.cfg.MaxFile)
	case limited.err != nil:
		err = limited.err
	}
	if err != nil {
		c.dropSpool(sp)
		return nil, err
	}
	sp.size = c.s.cfg.MaxFile - limited.left
	return sp, nil
}

func (c *composing) dropSpool(sp *spool) {
	if sp.pack == nil {
		c.held -= sp.size
		return
	}
	c.s.handles.drop(sp.object)
	c.s.pack.finish(sp.pack, false)
}

func (c *composing) drop(e *entity) {
	if e.whole != nil {
		c.dropSpool(e.whole)
	}
	for _, sp := range e.frames {
		c.dropSpool(sp)
	}
	e.whole, e.frames = nil, nil
}

func (c *composing) dropAll() {
	for _, e := range c.bulk {
		c.drop(e)
	}
}

// open returns n bytes from pos on.
func (sp *spool) open(ctx context.Context, s *Service, pos, n int64) (io.ReadCloser, error) {
	if sp.pack == nil {
		return io.NopCloser(bytes.NewReader(sp.data[pos : pos+n])), nil
	}
	return s.handles.open(ctx, sp.object, pos, n)
}

// spoolReader shows pieces of spools one after another, as the source that the
// values of a file are copied from.
type spoolReader struct {
	ctx  context.Context
	s    *Service
	list []stretch
	end  int64

	r   io.ReadCloser // at pos, inside one stretch
	pos int64
}

// stretch is a piece of a spool at a place of the source. What lies between its
// end and the next stretch reads as zeros.
type stretch struct {
	at, from, size int64
	sp             *spool
}

// add appends a piece and returns where it begins.
func (r *spoolReader) add(sp *spool, from, size int64) int64 {
	at := r.end
	r.list = append(r.list, stretch{at, from, size, sp})
	r.end += size
	return at
}

// even pads what was added to an even length (PS3.5 section 7.1.1).
func (r *spoolReader) even() { r.end += r.end & 1 }

// ReadAt implements io.ReaderAt, for one caller at a time.
func (r *spoolReader) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off >= r.end {
			return n, io.EOF
		}
		got, err := r.some(p[n:], off)
		if err != nil {
			return n, err
		}
		n, off = n+got, off+int64(got)
	}
	return n, nil
}

// some reads at most to the end of a stretch.
func (r *spoolReader) some(p []byte, off int64) (int, error) {
	i := sort.Search(len(r.list), func(i int) bool { return r.list[i].at > off }) - 1
	st := r.list[i]
	inside := off - st.at
	if inside >= st.size { // padding
		p[0] = 0
		return 1, nil
	}
	if r.r == nil || r.pos != off {
		r.close()
		rc, err := st.sp.open(r.ctx, r.s, st.from+inside, st.size-inside)
		if err != nil {
			return 0, err
		}
		r.r, r.pos = rc, off
	}
	n, err := io.ReadFull(r.r, p[:min(int64(len(p)), st.size-inside)])
	r.pos += int64(n)
	if r.pos == st.at+st.size {
		r.close()
	}
	if err != nil {
		return n, &fault.Error{Kind: fault.Internal, Op: "dicom: spool", Msg: "a part cannot be read again", Err: err}
	}
	return n, nil
}

func (r *spoolReader) close() {
	if r.r != nil {
		_ = r.r.Close() // it was only read
		r.r = nil
	}
}

// reader is the source as a stream of one piece, for its headers.
func (r *spoolReader) reader(at, size int64) io.Reader { return io.NewSectionReader(r, at, size) }
