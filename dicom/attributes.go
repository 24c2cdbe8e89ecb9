package dicom

import (
	"bytes"
	"encoding/binary"
	"iter"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Attributes is a list of DICOM JSON attributes in the order of their tags, each
// as its tag (4 bytes), the length of its JSON object (a varint) and that
// object. It is how metadata are stored: an answer needs no parsing, and a
// search picks single attributes.
//
// Where a BulkDataURI needs the address of the instance, the text has the byte
// bulkMark, which no JSON text holds otherwise.
type Attributes []byte

const bulkMark = 0x01

// attributesOf returns the attributes of a data set, with bulk values left out.
func attributesOf(d *dcm.Dataset) Attributes {
	return attributesWith(d, dcm.JSONOptions{Bulk: string(rune(bulkMark))})
}

// attributesWith says how bulk values are written.
func attributesWith(d *dcm.Dataset, opt dcm.JSONOptions) Attributes {
	out := make(Attributes, 0, 64*len(d.Elements))
	var text []byte
	for i := range d.Elements {
		e := &d.Elements[i]
		if e.Tag&0xFFFF == 0 || e.Tag.Group() == 2 || e.Tag == dcm.TagDataSetTrailingPadding {
			continue
		}
		text = d.AppendElementJSON(text[:0], e, opt)
		out = out.add(e.Tag, text[len(`"00100010":`):])
	}
	return out
}

// of returns the attributes that a set has.
func (a Attributes) of(set map[dcm.Tag]bool) Attributes {
	out := make(Attributes, 0, min(len(a), 2048))
	for t, object := range a.All() {
		if set[t] {
			out = out.add(t, object)
		}
	}
	return out
}

// add appends an attribute; the caller keeps the order.
func (a Attributes) add(t dcm.Tag, object []byte) Attributes {
	a = binary.BigEndian.AppendUint32(a, uint32(t))
	a = binary.AppendUvarint(a, uint64(len(object)))
	return append(a, object...)
}

// first splits off the first attribute; a list that is damaged has none.
func (a Attributes) first() (t dcm.Tag, object []byte, rest Attributes) {
	if len(a) <= 4 {
		return 0, nil, nil
	}
	n, w := binary.Uvarint(a[4:])
	if w <= 0 || n > uint64(len(a)-4-w) {
		return 0, nil, nil
	}
	end := 4 + w + int(n)
	return dcm.Tag(binary.BigEndian.Uint32(a)), a[4+w : end], a[end:]
}

// All yields the attributes.
func (a Attributes) All() iter.Seq2[dcm.Tag, []byte] {
	return func(yield func(dcm.Tag, []byte) bool) {
		for len(a) > 0 {
			t, object, rest := a.first()
			if object == nil || !yield(t, object) {
				return
			}
			a = rest
		}
	}
}

// Get returns the JSON object of one attribute, or nil.
func (a Attributes) Get(t dcm.Tag) []byte {
	for u, object := range a.All() {
		if u == t {
			return object
		}
		if u > t {
			break
		}
	}
	return nil
}

// Over returns the attributes of a and those of old that a does not have, or has
// without a value.
func (a Attributes) Over(old Attributes) Attributes {
	if len(old) == 0 || bytes.Equal(a, old) {
		return a
	}
	out := make(Attributes, 0, len(a)+len(old))
	for t, object := range a.All() {
		u, before, rest := old.first()
		for ; before != nil && u < t; u, before, rest = old.first() {
			out, old = out.add(u, before), rest
		}
		if before != nil && u == t {
			if old = rest; len(object) == len(`{"vr":"LO"}`) {
				object = before
			}
		}
		out = out.add(t, object)
	}
	return append(out, old...)
}

// AppendJSON appends the data set as a JSON object. bulk is what BulkDataURI
// begins with, text of a JSON string.
func (a Attributes) AppendJSON(dst []byte, bulk string) []byte {
	dst = append(dst, '{')
	first := true
	for t, object := range a.All() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendAttribute(dst, t, object, bulk)
	}
	return append(dst, '}')
}

func appendAttribute(dst []byte, t dcm.Tag, object []byte, bulk string) []byte {
	const hex = "0123456789ABCDEF"
	dst = append(dst, '"')
	for i := range 8 {
		dst = append(dst, hex[t>>(28-4*i)&15])
	}
	dst = append(dst, '"', ':')
	for {
		i := bytes.IndexByte(object, bulkMark)
		if i < 0 {
			return append(dst, object...)
		}
		dst = append(dst, object[:i]...)
		dst = append(dst, bulk...)
		object = object[i+1:]
	}
}
