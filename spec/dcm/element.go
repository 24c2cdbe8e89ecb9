package dcm

import (
	"fmt"
	"slices"
)

// Element is one attribute of a data set.
type Element struct {
	Tag Tag
	VR  VR
	// Value is the encoded value, numbers in little endian whatever the file has.
	// It is nil when the value is empty, or was left in the file.
	Value []byte
	// Items are the items of a sequence.
	Items []*Dataset
	// Fragments are those of an encapsulated value. The first one, the basic
	// offset table, is not among them.
	Fragments []Fragment
	// Offsets is the basic offset table (PS3.5 section A.4).
	Offsets []uint32
	// Offset is where the value begins: in the file, or in the inflated data set
	// when the transfer syntax is deflated. Length is its size as it was read.
	Offset, Length int64
	// Undefined says that the length was not given in the file.
	Undefined bool
}

// Fragment is one piece of an encapsulated value.
type Fragment struct {
	Offset, Length int64
	Head           [4]byte // its first bytes, which tell whether a frame begins
}

// Bulk reports whether the value was left in the file.
func (e *Element) Bulk() bool {
	return len(e.Fragments) > 0 || e.Value == nil && e.Items == nil && e.Length > 0 && e.VR != SQ
}

// Empty reports whether the element has no value.
func (e *Element) Empty() bool { return len(e.Value) == 0 && len(e.Items) == 0 && !e.Bulk() }

// Dataset is a list of elements, sorted by tag and each there once.
type Dataset struct {
	Elements []Element
	charset  *Charset // nil: the default repertoire
}

// Get returns the element with a tag, or nil.
func (d *Dataset) Get(t Tag) *Element {
	if i, ok := d.find(t); ok {
		return &d.Elements[i]
	}
	return nil
}

func (d *Dataset) find(t Tag) (int, bool) {
	lo, hi := 0, len(d.Elements)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if d.Elements[mid].Tag < t {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(d.Elements) && d.Elements[lo].Tag == t
}

// Put inserts or replaces an element. A change of Specific Character Set changes
// how the text that is there already is understood, so it comes first.
func (d *Dataset) Put(e Element) {
	if e.Tag == TagSpecificCharacterSet {
		d.charset = CharsetOf(splitText(string(e.Value)))
	}
	i, ok := d.find(e.Tag)
	if ok {
		d.Elements[i] = e
		return
	}
	d.Elements = slices.Insert(d.Elements, i, e)
}

// Remove takes an element out.
func (d *Dataset) Remove(t Tag) {
	if i, ok := d.find(t); ok {
		d.Elements = slices.Delete(d.Elements, i, i+1)
	}
}

// Creator returns the owner of a private tag, as the data set declares it.
func (d *Dataset) Creator(t Tag) string {
	c := t.CreatorTag()
	if c == 0 {
		return ""
	}
	return d.String(c)
}

// sortUnique puts the elements in order; of several with one tag the last stays.
func (d *Dataset) sortUnique() (repeated bool) {
	slices.SortStableFunc(d.Elements, func(a, b Element) int {
		switch {
		case a.Tag < b.Tag:
			return -1
		case a.Tag > b.Tag:
			return 1
		}
		return 0
	})
	out := d.Elements[:0]
	for i := range d.Elements {
		if n := len(out); n > 0 && out[n-1].Tag == d.Elements[i].Tag {
			out[n-1] = d.Elements[i]
			repeated = true
			continue
		}
		out = append(out, d.Elements[i])
	}
	clear(d.Elements[len(out):])
	d.Elements = out
	return repeated
}

// File is what was read from a Part 10 file.
type File struct {
	Meta   *Dataset // group 0002; empty when the file has none
	Data   *Dataset
	Syntax Syntax // what the data set was read as
	// Preamble says that the file has the 128 bytes and the prefix DICM.
	Preamble bool
	// DataOffset is where the data set begins in the file.
	DataOffset int64
	// Size is how many bytes were read: of a stream, all of it.
	Size int64
	// Truncated says that the file ends inside its pixel data.
	Truncated bool
	// Notes say what is wrong with the file and was tolerated.
	Notes []string
}

// Error says where and why reading gave up.
type Error struct {
	Offset int64 // in the file, or in the inflated data set
	Tag    Tag   // the element that was read; 0 when it is not known
	Msg    string
	Err    error // of the reader, if it is to blame
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Msg
	if e.Tag != 0 {
		s = e.Tag.Name() + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s at byte %d", s, e.Offset)
}

// Unwrap returns the error of the reader.
func (e *Error) Unwrap() error { return e.Err }
