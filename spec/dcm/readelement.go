package dcm

import (
	"encoding/binary"
	"slices"
)

func tagOf(h []byte, order byteOrder) Tag {
	return Tag(order.Uint16(h))<<16 | Tag(order.Uint16(h[2:]))
}

// header takes the header of an element (PS3.5 section 7.1).
func (p *parser) header(e *Element, enc form) (length uint32, err error) {
	h := p.src.peek(12)
	if len(h) < 8 {
		return 0, p.fail(0, "the file ends inside the header of an element")
	}
	e.Tag = tagOf(h, enc.order)
	vr := VR(h[4])<<8 | VR(h[5])
	if enc.implicit || !letters(h[4:6]) {
		if !enc.implicit && !(vr == 0 && e.Tag == tagItem) {
			p.note("%s has no VR", e.Tag.Name())
		}
		e.VR = p.implicitVR(e.Tag)
		length = enc.order.Uint32(h[4:])
		p.src.drop(8)
		return length, nil
	}
	e.VR = vr
	long := vr.long()
	if !vr.Known() {
		// Later VRs have the long form (PS3.5 section 6.2); what is written by
		// mistake mostly has the short one.
		long = h[6] == 0 && h[7] == 0
		p.note("%s has the unknown VR %q", e.Tag.Name(), vr.String())
		e.VR = UN
	}
	if !long {
		length = uint32(enc.order.Uint16(h[6:]))
		p.src.drop(8)
		return length, nil
	}
	if len(h) < 12 {
		return 0, p.fail(e.Tag, "the file ends inside the header of the element")
	}
	length = enc.order.Uint32(h[8:])
	p.src.drop(12)
	return length, nil
}

func letters(b []byte) bool {
	return b[0] >= 'A' && b[0] <= 'Z' && b[1] >= 'A' && b[1] <= 'Z'
}

// implicitVR is the VR of an element that does not say it (PS3.5 section A.1).
func (p *parser) implicitVR(t Tag) VR {
	e, ok := Lookup(t)
	if !ok {
		return UN
	}
	switch e.VRs {
	case "OB/OW", "US/OW", "US/SS/OW":
		return OW
	case "US/SS":
		if p.signed && !alwaysUnsigned(t) {
			return SS
		}
		return US
	}
	return e.VR
}

// alwaysUnsigned are the attributes of VR "US or SS" for which signed pixels do
// not make a difference: the first and third number of a LUT descriptor decide, and they are counts.
func alwaysUnsigned(t Tag) bool {
	switch t {
	case 0x00281101, 0x00281102, 0x00281103, 0x00283002:
		return true
	}
	return false
}

// element reads one element: header and value.
func (p *parser) element(e *Element, d *Dataset, enc form, end int64, depth int) error {
	at := p.src.offset()
	length, err := p.header(e, enc)
	if err != nil {
		return err
	}
	if p.used += elementSize; p.used > p.lim.Memory {
		return p.fail(e.Tag, "the data set takes more than %d bytes of memory", p.lim.Memory)
	}
	e.Offset = p.src.offset()
	if length == undefined {
		e.Undefined = true
		return p.undefinedLength(e, d, enc, depth)
	}
	e.Length = int64(length)
	if end >= 0 && e.Offset+e.Length > end {
		return p.failAt(at, e.Tag, "its %d bytes run past the end of the item", length)
	}
	if e.VR == UN && !enc.implicit {
		p.known(e)
	}
	if e.VR == SQ {
		if e.Value != nil {
			return nil
		}
		sub := enc
		if p.isUN(e) {
			sub = form{implicit: true, order: binary.LittleEndian}
		}
		return p.sequence(e, d, sub, e.Offset+e.Length, depth)
	}
	return p.value(e, enc)
}

// known gives an element that was written as UN the VR that the dictionary has
// for it (PS3.5 section 6.2.2).
func (p *parser) known(e *Element) {
	if vr := p.implicitVR(e.Tag); vr != UN {
		e.VR = vr
		if vr == SQ {
			e.Undefined = true // remembers that the items are implicit
		}
	}
}

// isUN reports whether known made a sequence of the element.
func (p *parser) isUN(e *Element) bool {
	was := e.Undefined
	e.Undefined = false
	return was
}

// undefinedLength reads a value that ends with a delimiter: a sequence, or
// encapsulated data.
func (p *parser) undefinedLength(e *Element, d *Dataset, enc form, depth int) error {
	switch {
	case e.Tag == TagPixelData, e.VR == OB, e.VR == OW:
		if e.VR == UN {
			e.VR = OB
		}
		return p.fragments(e, enc)
	case e.VR == UN:
		// PS3.5 section 6.2.2: a sequence in implicit little endian.
		e.VR = SQ
		enc = form{implicit: true, order: binary.LittleEndian}
	case e.VR != SQ:
		return p.failAt(e.Offset, e.Tag, "a value of VR %s cannot have an undefined length", e.VR)
	}
	return p.sequence(e, d, enc, -1, depth)
}

// sequence reads the items of a sequence up to offset end or its delimiter.
func (p *parser) sequence(e *Element, d *Dataset, enc form, end int64, depth int) error {
	if depth >= p.lim.Depth {
		return p.fail(e.Tag, "sequences are nested more than %d deep", p.lim.Depth)
	}
	e.Items = []*Dataset{}
	for {
		at := p.src.offset()
		if end >= 0 && at >= end {
			return nil
		}
		h := p.src.peek(8)
		if len(h) < 8 {
			if end < 0 && len(h) == 0 && p.src.failed() == nil {
				p.note("%s does not end", e.Tag.Name())
				return nil
			}
			return p.fail(e.Tag, "the file ends inside the sequence")
		}
		t, length := tagOf(h, enc.order), enc.order.Uint32(h[4:])
		if t == tagSequenceEnd {
			p.src.drop(8)
			if end >= 0 {
				p.note("%s has a length and a delimiter too", e.Tag.Name())
				continue
			}
			return nil
		}
		if t == tagItemEnd && (len(e.Items) > 0 || end >= 0) {
			p.src.drop(8)
			p.note("%s: an item ends twice", e.Tag.Name())
			continue
		}
		if t != tagItem {
			return p.fail(e.Tag, "%s where an item of the sequence should begin", t)
		}
		p.src.drop(8)
		if err := p.item(e, d, enc, length, end, depth); err != nil {
			return err
		}
	}
}

func (p *parser) item(e *Element, d *Dataset, enc form, length uint32, end int64, depth int) error {
	sub := &Dataset{charset: d.charset}
	if p.used += elementSize; p.used > p.lim.Memory {
		return p.fail(e.Tag, "the data set takes more than %d bytes of memory", p.lim.Memory)
	}
	e.Items = append(e.Items, sub)
	stop := int64(-1)
	if length != undefined {
		stop = p.src.offset() + int64(length)
		if end >= 0 && stop > end {
			return p.fail(e.Tag, "an item of %d bytes runs past the end of the sequence", length)
		}
	}
	ended, err := p.dataset(sub, enc, stop, true, depth+1)
	if err != nil {
		return err
	}
	if !ended {
		if stop >= 0 {
			return p.fail(e.Tag, "the file ends inside an item")
		}
		p.note("an item of %s does not end", e.Tag.Name())
	}
	return nil
}

// value reads or passes over a value of known length.
func (p *parser) value(e *Element, enc form) error {
	if e.Length == 0 {
		return nil
	}
	if e.Length&1 == 1 {
		p.note("%s has the odd length %d", e.Tag.Name(), e.Length)
	}
	keep := e.Length <= p.lim.Text
	switch {
	case e.Tag == TagPixelData, e.Tag == TagFloatPixelData, e.Tag == TagDoubleFloatPixelData:
		keep = false
	case e.VR.Bulk():
		keep = e.Length <= p.lim.Value
	}
	if !keep {
		if got := p.src.skip(e.Length); got < e.Length {
			if e.Tag != TagPixelData {
				return p.fail(e.Tag, "the file ends after %d of the %d bytes of its value", got, e.Length)
			}
			p.note("the file ends after %d of the %d bytes of its pixel data", got, e.Length)
			p.f.Truncated, e.Length = true, got
		}
		return nil
	}
	if p.src.r != nil {
		p.used += e.Length
	}
	if p.used > p.lim.Memory {
		return p.fail(e.Tag, "the data set takes more than %d bytes of memory", p.lim.Memory)
	}
	b, ok := p.src.take(e.Length)
	if !ok {
		return p.fail(e.Tag, "the file ends after %d of the %d bytes of its value", len(b), e.Length)
	}
	if w := e.VR.width(); w > 1 && enc.order == binary.BigEndian {
		b = swapped(b, w)
	}
	e.Value = b
	return nil
}

// swapped returns a copy of b with the bytes of each unit of w reversed.
func swapped(b []byte, w int) []byte {
	out := slices.Clone(b)
	Swap(out, w)
	return out
}

// Swap reverses the bytes of each unit of w bytes in place; a rest stays.
func Swap(b []byte, w int) {
	for i := 0; i+w <= len(b); i += w {
		slices.Reverse(b[i : i+w])
	}
}

// fragments reads an encapsulated value (PS3.5 section A.4): the offset table
// and the place of every fragment.
func (p *parser) fragments(e *Element, enc form) error {
	first := true
	for {
		h := p.src.peek(8)
		if len(h) < 8 {
			if p.src.failed() != nil {
				return p.fail(e.Tag, "cannot read")
			}
			p.note("the file ends inside its encapsulated data")
			p.f.Truncated = true
			p.src.drop(len(h))
			return nil
		}
		t, length := tagOf(h, enc.order), enc.order.Uint32(h[4:])
		if t == tagSequenceEnd {
			p.src.drop(8)
			e.Length = p.src.offset() - e.Offset
			return nil
		}
		if t != tagItem || length == undefined {
			return p.fail(e.Tag, "%s where a fragment should begin", t)
		}
		p.src.drop(8)
		if first {
			if err := p.offsetTable(e, int64(length), enc); err != nil {
				return err
			}
			first = false
			continue
		}
		if p.used += 32; p.used > p.lim.Memory {
			return p.fail(e.Tag, "there are too many fragments")
		}
		fr := Fragment{Offset: p.src.offset(), Length: int64(length)}
		copy(fr.Head[:], p.src.peek(int(min(length, 4))))
		if got := p.src.skip(fr.Length); got < fr.Length {
			p.note("the file ends after %d of the %d bytes of a fragment", got, length)
			p.f.Truncated, fr.Length = true, got
		}
		e.Fragments = append(e.Fragments, fr)
		e.Length = p.src.offset() - e.Offset
	}
}

func (p *parser) offsetTable(e *Element, length int64, enc form) error {
	if p.used += length; p.used > p.lim.Memory {
		return p.fail(e.Tag, "the offset table is too long")
	}
	b, ok := p.src.take(length)
	if !ok {
		return p.fail(e.Tag, "the file ends inside the offset table")
	}
	for ; len(b) >= 4; b = b[4:] {
		e.Offsets = append(e.Offsets, enc.order.Uint32(b))
	}
	return nil
}
