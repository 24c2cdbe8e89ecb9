package dcm

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Range is a piece of a file, or of the inflated data set of a deflated one.
type Range struct{ Offset, Length int64 }

// FrameTable says where the frames of an instance are.
type FrameTable struct {
	// Size and Start describe native frames, which follow each other: frame i
	// begins at Start + i*Size. Bits is the size in bits when frames do not end at
	// bytes (one bit a pixel); 0 otherwise.
	Start, Size, Bits int64
	// Ranges are the fragments of each encapsulated frame.
	Ranges [][]Range
	Count  int
}

// Frame returns the pieces of frame i, counted from 0. For frames that do not
// end at bytes they are the bytes that hold it.
func (t *FrameTable) Frame(i int) []Range {
	switch {
	case t.Ranges != nil:
		return t.Ranges[i]
	case t.Bits > 0:
		first := int64(i) * t.Bits / 8
		return []Range{{t.Start + first, (int64(i+1)*t.Bits+7)/8 - first}}
	}
	return []Range{{t.Start + int64(i)*t.Size, t.Size}}
}

// Frames finds the frames of the pixel data: by size when they are native, else
// by the extended or the basic offset table, or by looking at the fragments.
// The error is ErrNoPixels, or says why the frames cannot be told apart.
func (f *File) Frames() (*FrameTable, error) {
	im, err := ImageOf(f.Data)
	if err != nil {
		return nil, err
	}
	e := f.Data.Get(im.Element)
	if e.Fragments == nil && !e.Undefined {
		return nativeFrames(im, e)
	}
	if f.Syntax.Video && len(e.Fragments) > 0 {
		// One stream has all the frames; it is served as one (PS3.5 section 8.2.5).
		return &FrameTable{Ranges: [][]Range{ranges(e.Fragments)}, Count: 1}, nil
	}
	r := f.groupFragments(im, e)
	if r == nil {
		return nil, fmt.Errorf("%d fragments cannot be told apart into %d frames", len(e.Fragments), im.Frames)
	}
	return &FrameTable{Ranges: r, Count: len(r)}, nil
}

func nativeFrames(im *Image, e *Element) (*FrameTable, error) {
	bits := im.FrameBits()
	t := &FrameTable{Start: e.Offset, Size: bits / 8, Count: im.Frames}
	if bits%8 != 0 {
		t.Bits = bits
	}
	need := (bits*int64(im.Frames) + 7) / 8
	if e.Length < need {
		// Some write 4:2:2 data in full, or declare frames that are not there:
		// what is there can be read.
		whole := int(e.Length * 8 / bits)
		if whole == 0 {
			return nil, fmt.Errorf("%s has %d bytes, a frame needs %d", e.Tag.Name(), e.Length, (bits+7)/8)
		}
		t.Count = whole
	}
	return t, nil
}

func ranges(list []Fragment) []Range {
	out := make([]Range, len(list))
	for i, fr := range list {
		out[i] = Range{fr.Offset, fr.Length}
	}
	return out
}

// groupFragments tells which fragments belong to which frame; nil when nothing does.
func (f *File) groupFragments(im *Image, e *Element) [][]Range {
	n := len(e.Fragments)
	switch {
	case n == 0:
		return nil
	case im.Frames == 1:
		return [][]Range{ranges(e.Fragments)}
	case n == im.Frames:
		return groups(e, func(i int) bool { return true })
	}
	if r := f.byExtendedTable(im, e); r != nil {
		return r
	}
	base := e.Fragments[0].Offset - 8
	if len(e.Offsets) == im.Frames {
		at := map[int64]bool{}
		for _, o := range e.Offsets {
			at[base+int64(o)] = true
		}
		if r := groups(e, func(i int) bool { return at[e.Fragments[i].Offset-8] }); len(r) == im.Frames {
			return r
		}
	}
	if r := groups(e, func(i int) bool { return beginsStream(e.Fragments[i].Head) }); len(r) == im.Frames {
		return r
	}
	return nil
}

// byExtendedTable uses (7FE0,0001), which holds one offset of 64 bits per frame.
func (f *File) byExtendedTable(im *Image, e *Element) [][]Range {
	x := f.Data.Get(TagExtendedOffsetTable)
	if x == nil || len(x.Value) != 8*im.Frames {
		return nil
	}
	base := e.Fragments[0].Offset - 8
	at := map[int64]bool{}
	for i := range im.Frames {
		at[base+int64(binary.LittleEndian.Uint64(x.Value[8*i:]))] = true
	}
	r := groups(e, func(i int) bool { return at[e.Fragments[i].Offset-8] })
	if len(r) != im.Frames {
		return nil
	}
	return r
}

// groups begins a new frame at each fragment for which begins is true.
func groups(e *Element, begins func(int) bool) [][]Range {
	var out [][]Range
	for i, fr := range e.Fragments {
		if begins(i) || len(out) == 0 {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], Range{fr.Offset, fr.Length})
	}
	return out
}

// beginsStream reports whether a fragment begins a JPEG, JPEG-LS, JPEG 2000 or
// JPEG XL stream.
func beginsStream(head [4]byte) bool {
	for _, m := range []string{"\xFF\xD8\xFF", "\xFF\x4F\xFF\x51", "\x00\x00\x00\x0C", "\xFF\x0A"} {
		if bytes.HasPrefix(head[:], []byte(m)) {
			return true
		}
	}
	return false
}
