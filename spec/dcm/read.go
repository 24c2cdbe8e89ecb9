package dcm

import (
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits bound what reading may take. The zero value is ready to use.
type Limits struct {
	Value  int64 // longer binary values are left in the file; default 64 KiB
	Text   int64 // longer text is left in the file too; default 1 MiB
	Memory int64 // what elements and their values may take together; default 64 MiB
	// Inflated is the largest data set of a deflated file; the default is one of
	// the longest native pixel data (PS3.5 section 7.1.1) and as much as Memory.
	Inflated int64
	Depth    int // nesting of sequences; default 64
	Until    Tag // stop before this element of the data set; 0 reads all
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
	def(&l.Inflated, 1<<32+l.Memory)
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
		p.src = &source{r: &inflated{flate.NewReader(&deflated{outer}), p.lim.Inflated}}
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

// inflated is an inflated data set that ends with an error where it is too large:
// a thousandth of it is enough to send.
type inflated struct {
	r    io.Reader
	left int64
}

var errInflated = errors.New("the data set is too large when it is inflated")

func (f *inflated) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if f.left -= int64(n); f.left < 0 {
		return 0, errInflated
	}
	return n, err
}

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
		p.sort(d)
	}
	return ended, nil
}

// sort brings the elements into the order that the standard asks for.
func (p *parser) sort(d *Dataset) {
	p.note("the elements are not in the order of their tags")
	if d.sortUnique() {
		p.note("an element is there more than once; the last one counts")
	}
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
