package dcm

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
)

// Implementation class and version that written files carry (PS3.10 section 7.1).
const (
	ImplementationClassUID = "2.25.287493870912348712340987123498712349"
	ImplementationVersion  = "HYGEIA"
)

// Pixels are new pixel data for a file that is written.
type Pixels struct {
	// Frames yields the frames in order. Encapsulated ones become one fragment each.
	Frames iter.Seq2[[]byte, error]
	// Length is the size of all frames together; it is needed unless they are
	// encapsulated.
	Length int64
	VR     VR
}

// WriteOptions say how a file is written.
type WriteOptions struct {
	// Source has the values that were left in the file. It is read at the offsets
	// of the elements, which for a deflated file are those of its inflated data set.
	Source io.ReaderAt
	// SourceBig says that numbers in Source are in big endian.
	SourceBig bool
	// Pixels, when set, replace the pixel data.
	Pixels *Pixels
}

// Write writes a Part 10 file in a transfer syntax. Sequences get undefined
// lengths. The meta information is that of f, with the UIDs that belong to the
// data set. Native pixel data can be written in every native syntax; the
// fragments of encapsulated ones are copied, so the syntax must be theirs.
func Write(w io.Writer, f *File, syntax string, opt WriteOptions) error {
	s, ok := SyntaxOf(syntax)
	if !ok {
		return fmt.Errorf("the transfer syntax %s is not known", syntax)
	}
	if err := WriteHeader(w, f, syntax); err != nil {
		return err
	}
	enc := form{implicit: s.Implicit, order: binary.LittleEndian}
	if s.BigEndian {
		enc.order = binary.BigEndian
	}
	out := &writer{w: w, opt: &opt, enc: enc, encapsulated: s.Encapsulated, wordSize: 2}
	if v, ok := f.Data.Int(TagBitsAllocated); ok && v > 16 && v <= 64 {
		out.wordSize = int(v+7) / 8
	}
	if !s.Deflated {
		return out.dataset(f.Data, true)
	}
	zw, err := flate.NewWriter(w, flate.DefaultCompression)
	if err != nil {
		return err
	}
	out.w = zw
	if err := out.dataset(f.Data, true); err != nil {
		return err
	}
	return zw.Close()
}

// WriteHeader writes what stands before the data set: the preamble and the meta
// information for a transfer syntax.
func WriteHeader(w io.Writer, f *File, syntax string) error {
	meta, err := metaBytes(f, syntax)
	if err != nil {
		return err
	}
	_, err = w.Write(append(append(make([]byte, 128, 160+len(meta)), "DICM"...), meta...))
	return err
}

// metaBytes encodes group 0002 with its length in front.
func metaBytes(f *File, syntax string) ([]byte, error) {
	m := &Dataset{}
	for _, e := range f.Meta.Elements {
		m.Put(e)
	}
	m.Put(Element{Tag: TagFileMetaVersion, VR: OB, Value: []byte{0, 1}})
	m.Put(NewText(TagMediaStorageSOPClassUID, UI, f.Data.String(TagSOPClassUID)))
	m.Put(NewText(TagMediaStorageSOPInstanceUID, UI, f.Data.String(TagSOPInstanceUID)))
	m.Put(NewText(TagTransferSyntaxUID, UI, syntax))
	m.Put(NewText(TagImplementationClassUID, UI, ImplementationClassUID))
	m.Put(NewText(TagImplementationVersionName, SH, ImplementationVersion))
	m.Remove(TagFileMetaLength)
	var body bytes.Buffer
	out := &writer{w: &body, opt: &WriteOptions{}, enc: form{order: binary.LittleEndian}}
	if err := out.dataset(m, false); err != nil {
		return nil, err
	}
	head := []byte{2, 0, 0, 0, 'U', 'L', 4, 0}
	head = binary.LittleEndian.AppendUint32(head, uint32(body.Len()))
	return append(head, body.Bytes()...), nil
}

type writer struct {
	w            io.Writer
	opt          *WriteOptions
	enc          form
	encapsulated bool
	wordSize     int // of native pixel data, for their byte order
	head         [12]byte
}

func (o *writer) dataset(d *Dataset, top bool) error {
	for i := range d.Elements {
		e := &d.Elements[i]
		if e.Tag&0xFFFF == 0 {
			continue // group lengths would be wrong now; they are retired (PS3.5 section 7.2)
		}
		if top && e.Tag == TagPixelData && o.opt.Pixels != nil {
			if err := o.pixels(o.opt.Pixels); err != nil {
				return err
			}
			continue
		}
		if top && o.opt.Pixels != nil && (e.Tag == TagExtendedOffsetTable || e.Tag == TagExtendedOffsetTableLengths) {
			continue // of the old fragments
		}
		if err := o.element(e); err != nil {
			return fmt.Errorf("%s: %w", e.Tag, err)
		}
	}
	return nil
}

// header writes tag, VR and length. A value that is too long for its VR is
// written as UN (PS3.5 section 6.2.2).
func (o *writer) header(t Tag, vr VR, length uint32) error {
	h := o.head[:8]
	o.enc.order.PutUint16(h, t.Group())
	o.enc.order.PutUint16(h[2:], uint16(t))
	switch {
	case o.enc.implicit || t.Group() == 0xFFFE:
		o.enc.order.PutUint32(h[4:], length)
	case vr.long() || length > 0xFFFF:
		if !vr.long() {
			vr = UN
		}
		h = o.head[:12]
		h[4], h[5], h[6], h[7] = byte(vr>>8), byte(vr), 0, 0
		o.enc.order.PutUint32(h[8:], length)
	default:
		h[4], h[5] = byte(vr>>8), byte(vr)
		o.enc.order.PutUint16(h[6:], uint16(length))
	}
	_, err := o.w.Write(h)
	return err
}

func (o *writer) element(e *Element) error {
	switch {
	case e.VR == SQ:
		return o.sequence(e)
	case len(e.Fragments) > 0 || e.Undefined:
		return o.fragments(e)
	case e.Bulk():
		return o.copyBulk(e)
	}
	pad := len(e.Value) & 1
	if err := o.header(e.Tag, e.VR, uint32(len(e.Value)+pad)); err != nil {
		return err
	}
	b := e.Value
	if w := e.VR.width(); w > 1 && o.enc.order == binary.BigEndian {
		b = swapped(b, w)
	}
	if _, err := o.w.Write(b); err != nil || pad == 0 {
		return err
	}
	c := byte(0)
	if e.VR.isString() && e.VR != UI {
		c = ' '
	}
	_, err := o.w.Write([]byte{c})
	return err
}

func (o *writer) sequence(e *Element) error {
	if err := o.header(e.Tag, SQ, undefined); err != nil {
		return err
	}
	for _, it := range e.Items {
		if err := o.header(tagItem, 0, undefined); err != nil {
			return err
		}
		if err := o.dataset(it, false); err != nil {
			return err
		}
		if err := o.header(tagItemEnd, 0, 0); err != nil {
			return err
		}
	}
	return o.header(tagSequenceEnd, 0, 0)
}

// copyBulk copies a value of known length from the source.
func (o *writer) copyBulk(e *Element) error {
	if o.opt.Source == nil {
		return fmt.Errorf("its value was left in the file")
	}
	pad := e.Length & 1
	if e.Length+pad >= undefined {
		return fmt.Errorf("%d bytes are too many for a value of known length", e.Length)
	}
	if err := o.header(e.Tag, e.VR, uint32(e.Length+pad)); err != nil {
		return err
	}
	width := e.VR.width()
	if e.Tag == TagPixelData && width > 1 {
		width = o.wordSize
	}
	if width == 1 || o.opt.SourceBig == (o.enc.order == binary.BigEndian) {
		width = 0
	}
	if err := o.copyRange(Range{e.Offset, e.Length}, width); err != nil || pad == 0 {
		return err
	}
	_, err := o.w.Write([]byte{0})
	return err
}

// copyRange copies a piece of the source, swapping units of width bytes.
func (o *writer) copyRange(r Range, width int) error {
	buf := make([]byte, min(r.Length, 256<<10)/8*8+8)
	for r.Length > 0 {
		part := buf[:min(r.Length, int64(len(buf)))]
		n, err := o.opt.Source.ReadAt(part, r.Offset)
		if n < len(part) {
			return fmt.Errorf("read the stored value: %w", err)
		}
		if width > 1 {
			Swap(part, width)
		}
		if _, err := o.w.Write(part); err != nil {
			return err
		}
		r.Offset, r.Length = r.Offset+int64(n), r.Length-int64(n)
	}
	return nil
}

func (o *writer) fragments(e *Element) error {
	if !o.encapsulated && e.Tag == TagPixelData {
		return fmt.Errorf("encapsulated pixel data cannot be written in this transfer syntax")
	}
	if o.opt.Source == nil && len(e.Fragments) > 0 {
		return fmt.Errorf("its value was left in the file")
	}
	if err := o.header(e.Tag, e.VR, undefined); err != nil {
		return err
	}
	table := make([]byte, 0, 4*len(e.Offsets))
	for _, v := range e.Offsets {
		table = o.enc.order.AppendUint32(table, v)
	}
	if err := o.fragment(table); err != nil {
		return err
	}
	for _, fr := range e.Fragments {
		if err := o.header(tagItem, 0, uint32(fr.Length)); err != nil {
			return err
		}
		if err := o.copyRange(Range{fr.Offset, fr.Length}, 0); err != nil {
			return err
		}
	}
	return o.header(tagSequenceEnd, 0, 0)
}

// fragment writes one item of an encapsulated value.
func (o *writer) fragment(b []byte) error {
	if err := o.header(tagItem, 0, uint32(len(b)+len(b)&1)); err != nil {
		return err
	}
	if _, err := o.w.Write(b); err != nil || len(b)&1 == 0 {
		return err
	}
	_, err := o.w.Write([]byte{0})
	return err
}

// pixels writes new pixel data.
func (o *writer) pixels(p *Pixels) error {
	if o.encapsulated {
		if err := o.header(TagPixelData, OB, undefined); err != nil {
			return err
		}
		if err := o.fragment(nil); err != nil { // an empty offset table
			return err
		}
		for b, err := range p.Frames {
			if err != nil {
				return err
			}
			if err := o.fragment(b); err != nil {
				return err
			}
		}
		return o.header(tagSequenceEnd, 0, 0)
	}
	pad := p.Length & 1
	if p.Length+pad >= undefined {
		return fmt.Errorf("%d bytes are too many for native pixel data", p.Length)
	}
	if err := o.header(TagPixelData, p.VR, uint32(p.Length+pad)); err != nil {
		return err
	}
	done := int64(0)
	for b, err := range p.Frames {
		if err != nil {
			return err
		}
		done += int64(len(b))
		if _, err := o.w.Write(b); err != nil {
			return err
		}
	}
	if done != p.Length {
		return fmt.Errorf("the frames have %d bytes, not %d", done, p.Length)
	}
	if pad == 0 {
		return nil
	}
	_, err := o.w.Write([]byte{0})
	return err
}
