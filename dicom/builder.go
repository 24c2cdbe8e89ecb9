package dicom

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/dcm/codec"
)

// builder puts bulk data into the data set of a draft.
type builder struct {
	c      *composing
	d      *draft
	src    *spoolReader
	syntax string
	bad    *finding // why it cannot be done
	room   bool     // for want of room
	err    error    // of the request
}

func (b *builder) reason() uint16 {
	if b.room {
		return reasonOutOfResources
	}
	return reasonValidation
}

func (b *builder) fail(t dcm.Tag, format string, args ...any) {
	if b.bad == nil {
		b.bad = &finding{t, fmt.Sprintf(format, args...)}
	}
}

const (
	tagEncapsulatedDocument     dcm.Tag = 0x00420011
	tagEncapsulatedDocumentType dcm.Tag = 0x00420012
	typeOctets                          = "application/octet-stream"
	// maxValue is the longest value or fragment whose length can be written.
	maxValue = 1<<32 - 4
)

// elements resolves the references of a data set and of its items. Attributes that are
// missing are added afterwards, so that the list does not change meanwhile.
func (b *builder) elements(d *dcm.Dataset) {
	var more []dcm.Element
	for i := range d.Elements {
		e := &d.Elements[i]
		for _, it := range e.Items {
			b.elements(it)
		}
		if e.Value != nil || e.Length != 1 || e.VR == dcm.SQ {
			continue
		}
		ref := &b.d.refs[e.Offset]
		ent := b.c.bulk[ref.uri]
		if ref.pixels {
			more = append(more, b.pixels(e, ent)...)
			continue
		}
		sp := ent.whole
		e.Offset, e.Length = b.src.add(sp, 0, sp.size), sp.size
		b.src.even()
		switch document := e.Tag == tagEncapsulatedDocument; {
		case sp.size > maxValue:
			b.room = true
			b.fail(e.Tag, "The value is longer than an attribute can be.")
		case document && sp.typ != typeOctets && d.String(tagEncapsulatedDocumentType) == "":
			more = append(more, dcm.NewText(tagEncapsulatedDocumentType, dcm.LO, sp.typ))
		case !document && sp.compressed():
			b.fail(e.Tag, "Only the pixel data of the image can be compressed.")
		}
	}
	for _, e := range more {
		d.Put(e)
	}
}

// compressed reports whether a part is an encoded image.
func (sp *spool) compressed() bool {
	if s, ok := dcm.SyntaxOf(sp.syntax); ok {
		return s.Encapsulated
	}
	return strings.HasPrefix(sp.typ, "image/") || strings.HasPrefix(sp.typ, "video/")
}

// pixels puts the pixel data into their element, which is in the list of the data
// set. It returns the attributes of the image that the stream tells and the metadata left out.
func (b *builder) pixels(e *dcm.Element, ent *entity) []dcm.Element {
	if !b.converted(e, ent) {
		return nil
	}
	list := []*spool{ent.whole}
	if ent.whole == nil {
		list = list[:0]
		for n := 1; ent.frames[n] != nil; n++ {
			list = append(list, ent.frames[n])
		}
		if len(list) != len(ent.frames) || len(list) != b.d.frames {
			b.fail(e.Tag, "The parts are not those of the %d frames of the image.", b.d.frames)
			return nil
		}
	}
	for _, sp := range list {
		if sp.typ != list[0].typ || sp.syntax != list[0].syntax || (sp.stream == nil) != (list[0].stream == nil) || sp.stream != nil && *sp.stream != *list[0].stream {
			b.fail(e.Tag, "The frames are not all of one kind.")
			return nil
		}
	}
	if !list[0].compressed() {
		return b.native(e, list)
	}
	if e.Tag != dcm.TagPixelData {
		b.fail(e.Tag, "Floating point pixel data cannot be compressed.")
		return nil
	}
	return b.encapsulated(e, list)
}

// converted decodes the pictures among the parts. It is false when that fails.
func (b *builder) converted(e *dcm.Element, ent *entity) bool {
	one := func(sp *spool) *spool {
		if sp == nil || sp.typ != typePNG || sp.syntax != "" || b.bad != nil || b.err != nil {
			return sp
		}
		out, err := b.c.convert(b.src.ctx, sp)
		if _, ok := errors.AsType[unreadable](err); ok {
			b.fail(e.Tag, "The pixel data cannot be read: %v.", err)
			return sp
		}
		if err != nil {
			b.err = err
			return sp
		}
		return out
	}
	ent.whole = one(ent.whole)
	for n := range ent.frames {
		ent.frames[n] = one(ent.frames[n])
	}
	return b.bad == nil && b.err == nil
}

// native puts uncompressed pixel data in place, in little endian as the media
// type has them (PS3.18 section 8.7.3.3.1). It returns what the metadata left out.
func (b *builder) native(e *dcm.Element, list []*spool) (more []dcm.Element) {
	if s := list[0].syntax; s != "" && s != dcm.ExplicitLittle && s != dcm.ImplicitLittle {
		b.fail(e.Tag, "Uncompressed pixel data are taken in Little Endian only.")
		return nil
	}
	if t := list[0].typ; t != typeOctets {
		b.fail(e.Tag, "The media type %.60q is not one of pixel data.", t)
		return nil
	}
	want := int64(0)
	if s := list[0].stream; s != nil {
		more = b.told(e, s)
		want = int64(s.Rows) * int64(s.Columns) * int64(s.Samples) * int64((s.Bits+7)/8) * int64(b.d.frames)
	} else if im, err := dcm.ImageOf(b.d.data); err != nil {
		b.fail(e.Tag, "%v.", err)
		return nil
	} else {
		want = (im.FrameBits()*int64(im.Frames) + 7) / 8
	}
	at, size := b.src.end, int64(0)
	for _, sp := range list {
		b.src.add(sp, 0, sp.size)
		size += sp.size
	}
	if size != want && size != want+want&1 {
		b.fail(e.Tag, "The pixel data have %d bytes, the image needs %d.", size, want)
		return nil
	}
	if size > maxValue {
		b.room = true
		b.fail(e.Tag, "The value is longer than an attribute can be; send it compressed.")
	}
	b.src.even()
	e.Offset, e.Length = at, size
	return more
}

// syntaxes are the transfer syntaxes of media types whose streams do not tell
// theirs (PS3.18 table 8.7.3-5).
var syntaxes = map[string]string{
	"image/dicom-rle": dcm.RLELossless, "image/x-dicom-rle": dcm.RLELossless,
	"video/mpeg": "1.2.840.10008.1.2.4.100", "video/mpeg2": "1.2.840.10008.1.2.4.100", "video/mp4": "1.2.840.10008.1.2.4.102",
	"image/jpx": "1.2.840.10008.1.2.4.92", "image/jxl": "1.2.840.10008.1.2.4.112",
}

// described are the media types whose streams tell about their image.
var described = []string{"image/jpeg", "image/jls", "image/x-jls", "image/jp2", "image/j2c", "image/jph", "image/jphc"}

// encapsulated makes fragments of compressed pixel data, one for each frame.
func (b *builder) encapsulated(e *dcm.Element, list []*spool) []dcm.Element {
	first := list[0]
	named, ok := dcm.SyntaxOf(first.syntax)
	if first.syntax != "" && (!ok || !named.Encapsulated) {
		b.fail(e.Tag, "The transfer syntax of the pixel data is not one of compressed images.")
		return nil
	}
	e.VR, e.Undefined, e.Length = dcm.OB, true, 0
	for _, sp := range list {
		alone := &spoolReader{ctx: b.src.ctx, s: b.c.s}
		alone.add(sp, 0, sp.size)
		from, size, err := codec.Codestream(alone, sp.size)
		alone.close()
		if err != nil {
			b.fail(e.Tag, "The pixel data cannot be read: %v.", err)
			return nil
		}
		at := b.src.add(sp, from, size)
		b.src.even()
		e.Fragments = append(e.Fragments, dcm.Fragment{Offset: at, Length: b.src.end - at})
	}
	if !b.oneEach(e, named.Video || strings.HasPrefix(first.typ, "video/")) {
		return nil
	}
	var stream *codec.Stream
	if slices.Contains(described, first.typ) || slices.Contains(described, named.MediaType) {
		var err error
		stream, err = codec.Describe(b.src.reader(e.Fragments[0].Offset, e.Fragments[0].Length))
		if err != nil {
			b.fail(e.Tag, "The pixel data cannot be read: %v.", err)
			return nil
		}
	}
	switch {
	case first.syntax != "":
		b.syntax = first.syntax
	case stream != nil:
		b.syntax = stream.Syntax
	default:
		b.syntax = syntaxes[first.typ]
	}
	if b.syntax == "" {
		b.fail(e.Tag, "The media type %.60q has no transfer syntax.", first.typ)
		return nil
	}
	if stream == nil {
		return nil
	}
	return b.told(e, stream)
}

// oneEach checks that every frame is a fragment. A video is cut where it is too long for one.
func (b *builder) oneEach(e *dcm.Element, video bool) bool {
	if video {
		var cut []dcm.Fragment
		for _, f := range e.Fragments {
			for ; f.Length > maxValue; f.Offset, f.Length = f.Offset+maxValue, f.Length-maxValue {
				cut = append(cut, dcm.Fragment{Offset: f.Offset, Length: maxValue})
			}
			cut = append(cut, f)
		}
		e.Fragments = cut
		return true
	}
	if len(e.Fragments) != b.d.frames {
		b.fail(e.Tag, "Each of the %d frames is to be a part, with /frames/ and its number at the end of the Content-Location.", b.d.frames)
		return false
	}
	for _, f := range e.Fragments {
		if f.Length > maxValue {
			b.room = true
			b.fail(e.Tag, "A frame is longer than a fragment can be.")
			return false
		}
	}
	return true
}

// told compares what the stream and the metadata say about the image, and returns
// what the metadata left out (PS3.18 section 10.5.2).
func (b *builder) told(e *dcm.Element, s *codec.Stream) (more []dcm.Element) {
	if got, _ := dcm.SyntaxOf(s.Syntax); got.MediaType != mediaOf(b.syntax) {
		b.fail(e.Tag, "The pixel data are %s, not of the transfer syntax of the part.", got.Name)
		return nil
	}
	d := b.d.data
	allocated := 8
	if s.Bits > 8 {
		allocated = 16
	}
	// What was converted is what it is; a codec may have more bits than a sample uses.
	exact := s.Syntax == dcm.ExplicitLittle
	signed := 0
	if s.Signed {
		signed = 1
	}
	for _, x := range []struct {
		tag   dcm.Tag
		value int
		must  bool // what the metadata say has to be the same
	}{
		{dcm.TagSamplesPerPixel, s.Samples, true}, {dcm.TagRows, s.Rows, true}, {dcm.TagColumns, s.Columns, true},
		{dcm.TagBitsAllocated, allocated, exact}, {dcm.TagBitsStored, s.Bits, exact}, {dcm.TagHighBit, s.Bits - 1, exact},
		{dcm.TagPixelRepresentation, signed, exact},
	} {
		have, ok := d.Int(x.tag)
		switch {
		case !ok:
			if x.value < 0 || x.value > 0xFFFF {
				b.fail(x.tag, "The pixel data have a value that the attribute cannot.")
			}
			more = append(more, dcm.Element{Tag: x.tag, VR: dcm.US, Value: binary.LittleEndian.AppendUint16(nil, uint16(x.value)), Length: 2})
		case x.must && have != int64(x.value):
			b.fail(x.tag, "The value is not that of the pixel data.")
		}
	}
	if p := d.String(dcm.TagPhotometricInterpretation); exact && p != "" && p != s.Photometric && (s.Samples > 1 || p != "MONOCHROME1") {
		b.fail(dcm.TagPhotometricInterpretation, "The value is not that of the pixel data.")
	} else if p == "" {
		more = append(more, dcm.NewText(dcm.TagPhotometricInterpretation, dcm.CS, s.Photometric))
	}
	if v, ok := d.Int(dcm.TagPlanarConfiguration); exact && v > 0 {
		b.fail(dcm.TagPlanarConfiguration, "The value is not that of the pixel data.")
	} else if !ok && s.Samples > 1 {
		more = append(more, dcm.Element{Tag: dcm.TagPlanarConfiguration, VR: dcm.US, Value: []byte{0, 0}, Length: 2})
	}
	if s.Lossy && d.String(tagLossy) == "" {
		more = append(more, dcm.NewText(tagLossy, dcm.CS, "01"))
	}
	return more
}

// tagLossy is Lossy Image Compression.
const tagLossy dcm.Tag = 0x00282110

func mediaOf(syntax string) string { s, _ := dcm.SyntaxOf(syntax); return s.MediaType }

var _ io.ReaderAt = (*spoolReader)(nil)
