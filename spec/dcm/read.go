package dcm

import (
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// Limits bound what reading may take. The zero value is ready to use.
type Limits struct {
	Value  int64 // longer binary values are left in the file; default 64 KiB
	Text   int64 // longer text is left in the file too; default 1 MiB
	Memory int64 // what elements and their values may take together; default 64 MiB
	Depth  int   // nesting of sequences; default 64
	Until  Tag   // stop before this element of the data set; 0 reads all
}

func (l *Limits) defaults() {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Value, 64<<10)
	def(&l.Text, 1<<20)
	def(&l.Memory, 64<<20)
	if l.Depth <= 0 {
		l.Depth = 64
	}
}

// Parse reads a file that is in memory. Values are parts of data, which must
// not change while the File is used. The error is an *Error; what was read before it
// is returned with it.
func Parse(data []byte, lim Limits) (*File, error) {
	return (&parser{src: &source{buf: data}, lim: lim}).file()
}

// Read reads a file from a stream, to its end. Values are copies. The error is
// an *Error; what was read before it is returned with it.
func Read(r io.Reader, lim Limits) (*File, error) {
	return (&parser{src: &source{r: r}, lim: lim}).file()
}

// form is how elements are written.
type form struct {
	implicit bool
	order    byteOrder
}

type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

type parser struct {
	src    *source
	lim    Limits
	f      *File
	used   int64 // of lim.Memory
	signed bool  // Pixel Representation is 1: US/SS means SS
	notes  int
}

const (
	undefined   = 0xFFFFFFFF
	elementSize = 160 // what an Element takes, roughly
	maxNotes    = 20
)

func (p *parser) fail(t Tag, format string, args ...any) *Error {
	return p.failAt(p.src.offset(), t, format, args...)
}

func (p *parser) failAt(at int64, t Tag, format string, args ...any) *Error {
	return &Error{Offset: at, Tag: t, Msg: fmt.Sprintf(format, args...), Err: p.src.failed()}
}

func (p *parser) note(format string, args ...any) {
	if p.notes++; p.notes <= maxNotes {
		p.f.Notes = append(p.f.Notes, fmt.Sprintf(format, args...))
	}
}

// file reads preamble, meta information and data set (PS3.10 section 7).
func (p *parser) file() (*File, error) {
	p.lim.defaults()
	p.f = &File{Meta: &Dataset{}, Data: &Dataset{}}
	head := p.src.peek(132)
	switch {
	case len(head) == 132 && string(head[128:]) == "DICM":
		p.f.Preamble = true
		p.src.drop(132)
	case len(head) >= 4 && string(head[:4]) == "DICM":
		p.note("the preamble is missing")
		p.src.drop(4)
	case len(head) < 8:
		return p.f, p.fail(0, "not a DICOM file: it has %d bytes", len(head))
	default:
		p.note("there is neither a preamble nor the prefix DICM")
	}
	if err := p.meta(); err != nil {
		return p.f, err
	}
	p.f.DataOffset = p.src.offset()
	enc, err := p.syntax()
	if err != nil {
		return p.f, err
	}
	outer := p.src
	if p.f.Syntax.Deflated {
		p.src = &source{r: flate.NewReader(&deflated{outer})}
	}
	_, err = p.dataset(p.f.Data, enc, -1, false, 0)
	if err == nil && p.src.failed() != nil {
		err = p.fail(0, "the data set cannot be inflated or read")
	}
	if err == nil && p.lim.Until == 0 && len(p.f.Data.Elements) == 0 {
		err = p.fail(0, "the data set is empty")
	}
	if p.lim.Until == 0 {
		outer.skip(1 << 62) // what a tolerated defect left, so that Size is right
	}
	p.f.Size = outer.offset()
	if err != nil {
		return p.f, err
	}
	return p.f, nil
}

// Inflate returns the data set of a deflated file: r begins at File.DataOffset.
func Inflate(r io.Reader) io.ReadCloser { return flate.NewReader(r) }

// deflated lets flate read what a source has not given yet.
type deflated struct{ s *source }

func (d *deflated) Read(b []byte) (int, error) {
	part := d.s.peek(1)
	if len(part) == 0 {
		if err := d.s.failed(); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	n := copy(b, d.s.buf[d.s.pos:])
	d.s.drop(n)
	return n, nil
}

// ReadByte makes flate read no further than it must.
func (d *deflated) ReadByte() (byte, error) {
	part := d.s.peek(1)
	if len(part) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	d.s.drop(1)
	return part[0], nil
}

// meta reads group 0002, which is always explicit little endian. Its length is
// not needed and often wrong: the group ends where another begins.
func (p *parser) meta() error {
	enc := form{order: binary.LittleEndian}
	for {
		h := p.src.peek(8)
		if len(h) < 8 || binary.LittleEndian.Uint16(h) != 2 {
			return nil
		}
		var e Element
		if err := p.element(&e, p.f.Meta, enc, -1, 0); err != nil {
			return err
		}
		if n := len(p.f.Meta.Elements); n > 0 && p.f.Meta.Elements[n-1].Tag >= e.Tag {
			p.note("%s is out of order", e.Tag.Name())
			p.f.Meta.Put(e)
			continue
		}
		p.f.Meta.Elements = append(p.f.Meta.Elements, e)
	}
}

// syntax decides how the data set is encoded: as the meta information says,
// unless the first element shows that it cannot be true.
func (p *parser) syntax() (form, error) {
	uid := p.f.Meta.String(TagTransferSyntaxUID)
	known := uid != ""
	if known {
		var ok bool
		if p.f.Syntax, ok = SyntaxOf(uid); !ok {
			p.note("the transfer syntax %q is not known", uid)
		}
	}
	if p.f.Syntax.Deflated {
		return form{order: binary.LittleEndian}, nil
	}
	h := p.src.peek(8)
	if len(h) < 8 {
		if known {
			return form{order: binary.LittleEndian}, nil
		}
		return form{}, p.fail(0, "there is no data set")
	}
	implicit, big := guess(h)
	if !known {
		if len(p.f.Meta.Elements) > 0 || p.f.Preamble {
			p.note("the transfer syntax is missing")
		} else if g := binary.LittleEndian.Uint16(h); g > 0x28 && g != 0x0800 && g != 0x0400 && g != 0x1000 {
			return form{}, p.fail(0, "not a DICOM file")
		}
		uid = ExplicitLittle
		if implicit {
			uid = ImplicitLittle
		} else if big {
			uid = ExplicitBig
		}
		p.f.Syntax, _ = SyntaxOf(uid)
	}
	s := &p.f.Syntax
	if implicit != s.Implicit && !s.Encapsulated && !(s.BigEndian && big) {
		p.note("the data set is not encoded as its transfer syntax says")
		s.Implicit = implicit
	} else if s.Encapsulated && implicit {
		p.note("the data set has no VRs although its transfer syntax is explicit")
		s.Implicit = true
	}
	if big && !s.BigEndian && !implicit {
		p.note("the data set is in big endian although its transfer syntax is not")
		s.BigEndian = true
	} else if s.BigEndian && !big && !implicit {
		p.note("the data set is in little endian although its transfer syntax is not")
		s.BigEndian = false
	}
	enc := form{implicit: s.Implicit, order: binary.LittleEndian}
	if s.BigEndian {
		enc.order = binary.BigEndian
	}
	return enc, nil
}

// guess looks at the header of the first element of a data set.
func guess(h []byte) (implicit, big bool) {
	implicit = !(VR(h[4])<<8 | VR(h[5])).Known()
	// Groups of data sets begin at 0008, so the first one tells the byte order.
	big = h[0] == 0 && h[1] != 0
	return implicit, big
}

// dataset reads elements up to offset end, or to the delimiter of the item when
// end is -1 and item is set, or to the end of the source. It reports whether the
// end was proper.
func (p *parser) dataset(d *Dataset, enc form, end int64, item bool, depth int) (ended bool, err error) {
	sorted, last := true, Tag(0)
	for {
		at := p.src.offset()
		if end >= 0 && at >= end {
			if at > end {
				return false, p.failAt(end, last, "its value is longer than the item that holds it")
			}
			ended = true
			break
		}
		h := p.src.peek(8)
		if len(h) < 8 {
			if err := p.src.failed(); err != nil && depth == 0 && !p.f.Syntax.Deflated {
				return false, p.fail(0, "cannot read")
			}
			if len(h) > 0 {
				p.note("%d bytes after the last element", len(h))
				p.src.drop(len(h))
			}
			ended = !item && end < 0
			break
		}
		t := tagOf(h, enc.order)
		if t == tagItemEnd || t == tagSequenceEnd || t == tagItem {
			p.src.drop(8)
			if item && end < 0 && t == tagItemEnd {
				ended = true
				break
			}
			p.note("%s where no item ends", t)
			continue
		}
		if depth == 0 && (p.lim.Until != 0 && t >= p.lim.Until) {
			return true, nil
		}
		if depth == 0 && t == 0 && allZero(p.src) {
			p.note("zeros after the last element")
			ended = true
			break
		}
		d.Elements = append(d.Elements, Element{})
		e := &d.Elements[len(d.Elements)-1]
		if err := p.element(e, d, enc, end, depth); err != nil {
			d.Elements = d.Elements[:len(d.Elements)-1]
			if !sorted {
				d.sortUnique()
			}
			return false, err
		}
		p.noteSpecial(d, e)
		if e.Tag <= last && len(d.Elements) > 1 {
			sorted = false
		}
		last = e.Tag
	}
	if !sorted {
		p.note("the elements are not in the order of their tags")
		if d.sortUnique() {
			p.note("an element is there more than once; the last one counts")
		}
	}
	return ended, nil
}

// noteSpecial keeps what the meaning of later elements depends on.
func (p *parser) noteSpecial(d *Dataset, e *Element) {
	switch e.Tag {
	case TagSpecificCharacterSet:
		terms := splitText(string(e.Value))
		d.charset = CharsetOf(terms)
		if d.charset.unknown != "" {
			p.note("the character set %q is not known", d.charset.unknown)
		}
	case TagPixelRepresentation:
		p.signed = len(e.Value) >= 1 && e.Value[0] == 1
	}
}

// allZero reports whether the rest of what can be seen is zero: padding that
// some writers leave after the data set.
func allZero(s *source) bool {
	for _, b := range s.peek(256) {
		if b != 0 {
			return false
		}
	}
	return true
}

func tagOf(h []byte, order byteOrder) Tag {
	return Tag(order.Uint16(h))<<16 | Tag(order.Uint16(h[2:]))
}

// header takes the header of an element (PS3.5 section 7.1).
func (p *parser) header(e *Element, enc form, depth int) (length uint32, err error) {
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
	length, err := p.header(e, enc, depth)
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
