package dcm

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// XMLToJSON turns a data set of the Native DICOM Model (PS3.19 section A.1) into
// the same data set of the DICOM JSON model. What is wrong with values is left for
// the reader of that to say; the message of an error names the place and repeats
// no value.
func XMLToJSON(text []byte) ([]byte, error) {
	x := &xmlReader{dec: xml.NewDecoder(bytes.NewReader(text)), gaps: len(text)}
	for {
		t, err := x.token()
		if err != nil {
			return nil, err
		}
		if s, ok := t.(xml.StartElement); ok {
			if s.Name.Local != "NativeDicomModel" {
				return nil, fmt.Errorf("the root element is %.40q, not NativeDicomModel", s.Name.Local)
			}
			break
		}
	}
	out, err := x.dataset(nil, "", 0)
	if err != nil {
		return nil, err
	}
	for {
		switch t, err := x.dec.Token(); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, xmlError(err)
		default:
			if _, ok := t.(xml.StartElement); ok {
				return nil, errors.New("there is an element after NativeDicomModel")
			}
		}
	}
}

type xmlReader struct {
	dec *xml.Decoder
	// gaps is how many values may still be left out: a number is short, the empty
	// values before it are not.
	gaps int
}

// xmlError leaves out what the decoder repeats of the text.
func xmlError(err error) error {
	if e, ok := errors.AsType[*xml.SyntaxError](err); ok {
		return fmt.Errorf("not well-formed XML at line %d", e.Line)
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the XML ends too early")
	}
	return errors.New("the XML cannot be read: it must be in UTF-8")
}

func (x *xmlReader) token() (xml.Token, error) {
	t, err := x.dec.Token()
	if err != nil {
		return nil, xmlError(err)
	}
	return t, nil
}

// children calls f for each element inside the one that was begun, which f reads to its end.
func (x *xmlReader) children(at string, f func(xml.StartElement) error) error {
	for {
		t, err := x.token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if err := f(t); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return fmt.Errorf("%sthere is text where elements are expected", prefix(at))
			}
		}
	}
}

// text reads the text of an element to its end.
func (x *xmlReader) text(at string) (string, error) {
	var b strings.Builder
	for {
		t, err := x.token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.EndElement:
			return b.String(), nil
		case xml.StartElement:
			return "", fmt.Errorf("%sthe element %.40q is not expected", prefix(at), t.Name.Local)
		}
	}
}

func attr(s xml.StartElement, name string) string {
	for _, a := range s.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// xmlAttribute is an attribute with its value as the members of a JSON object.
type xmlAttribute struct {
	tag     Tag
	creator string
	object  []byte
}

// dataset appends a data set whose element was begun.
func (x *xmlReader) dataset(dst []byte, at string, depth int) ([]byte, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("%s: sequences are nested more than %d deep", at, maxJSONDepth)
	}
	var list []xmlAttribute
	err := x.children(at, func(s xml.StartElement) error {
		if s.Name.Local != "DicomAttribute" {
			return fmt.Errorf("%sthe element %.40q is not expected", prefix(at), s.Name.Local)
		}
		t, ok := ParseTag(attr(s, "tag"))
		if !ok {
			return fmt.Errorf("%sthe tag of a DicomAttribute is not GGGGEEEE", prefix(at))
		}
		here := t.Hex()
		if at != "" {
			here = at + "." + here
		}
		object, err := x.attribute(s, here, depth)
		list = append(list, xmlAttribute{t, attr(s, "privateCreator"), object})
		return err
	})
	if err != nil {
		return nil, err
	}
	if list, err = reserve(list, at); err != nil {
		return nil, err
	}
	dst = append(dst, '{')
	for i, a := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), a.tag.Hex()...), '"', ':')
		dst = append(dst, a.object...)
	}
	return append(dst, '}'), nil
}

// reserve gives private attributes, whose tags leave out which block they are in,
// that of their creator (PS3.19 section A.1.5; PS3.5 section 7.8.1).
func reserve(list []xmlAttribute, at string) ([]xmlAttribute, error) {
	blocks := map[string]Tag{} // group and creator
	taken := map[Tag]bool{}
	name := func(t Tag, creator string) string { return strconv.Itoa(int(t.Group())) + " " + creator }
	for _, a := range list {
		if a.tag.Creator() {
			taken[a.tag] = true
			blocks[name(a.tag, creatorOf(a.object))] = a.tag
		}
	}
	for i := range list {
		a := &list[i]
		if !a.tag.Private() || a.tag.Creator() || a.tag&0xFF00 != 0 || a.creator == "" {
			continue
		}
		block, ok := blocks[name(a.tag, a.creator)]
		if !ok {
			block = a.tag&0xFFFF0000 | 0x10
			for taken[block] {
				if block++; block&0xFFFF > 0xFF {
					return nil, fmt.Errorf("%sgroup %04X has more private creators than there can be", prefix(at), a.tag.Group())
				}
			}
			taken[block], blocks[name(a.tag, a.creator)] = true, block
			object := append([]byte(`{"vr":"LO","Value":[`), appendString(nil, a.creator)...)
			list = append(list, xmlAttribute{tag: block, object: append(object, "]}"...)})
			a = &list[i]
		}
		a.tag |= block & 0xFF << 8
	}
	return list, nil
}

// creatorOf reads the value of a private creator that was just written.
func creatorOf(object []byte) string {
	d, err := ParseJSON(slices.Concat([]byte(`{"00090010":`), object, []byte{'}'}))
	if err != nil {
		return ""
	}
	return d.String(0x00090010)
}

// attribute reads a DicomAttribute as a JSON object.
func (x *xmlReader) attribute(s xml.StartElement, at string, depth int) ([]byte, error) {
	vr := attr(s, "vr")
	if len(vr) != 2 {
		return nil, fmt.Errorf("%s: the vr is missing or not known", at)
	}
	var values [][]byte
	var other []byte
	err := x.children(at, func(c xml.StartElement) error {
		switch c.Name.Local {
		case "Value", "PersonName", "Item":
			v, err := x.value(c, vr, at, len(values), depth)
			if err != nil {
				return err
			}
			return x.place(&values, c, v, at)
		case "InlineBinary":
			text, err := x.text(at)
			other = append(other, `,"InlineBinary":`...)
			other = appendString(other, strings.Join(strings.Fields(text), ""))
			return err
		case "BulkData":
			uri := attr(c, "uri")
			if uri == "" {
				uri = attr(c, "uuid")
			}
			other = append(other, `,"BulkDataURI":`...)
			other = appendString(other, uri)
			return x.dec.Skip()
		}
		return fmt.Errorf("%s: the element %.40q is not expected", at, c.Name.Local)
	})
	if err != nil {
		return nil, err
	}
	out := appendString([]byte(`{"vr":`), vr)
	if len(values) > 0 {
		out = append(out, `,"Value":[`...)
		out = append(out, bytes.Join(values, []byte{','})...)
		out = append(out, ']')
	}
	return append(append(out, other...), '}'), nil
}

// place puts a value where its number says; those that are left out are empty.
func (x *xmlReader) place(values *[][]byte, s xml.StartElement, v []byte, at string) error {
	n := len(*values) + 1
	if text := attr(s, "number"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n <= len(*values) || n-1-len(*values) > x.gaps {
			return fmt.Errorf("%s: the numbers of its values do not count from 1 upwards", at)
		}
	}
	x.gaps -= n - 1 - len(*values)
	for len(*values) < n-1 {
		if s.Name.Local == "Item" {
			return fmt.Errorf("%s: an item is missing", at)
		}
		*values = append(*values, []byte("null"))
	}
	*values = append(*values, v)
	return nil
}

// value reads one value of an attribute.
func (x *xmlReader) value(s xml.StartElement, vr, at string, n, depth int) ([]byte, error) {
	if (vr == "SQ") != (s.Name.Local == "Item") || (vr == "PN") != (s.Name.Local == "PersonName") {
		return nil, fmt.Errorf("%s: the element %s does not go with VR %.2q", at, s.Name.Local, vr)
	}
	switch s.Name.Local {
	case "Item":
		return x.dataset(nil, fmt.Sprintf("%s[%d]", at, n), depth+1)
	case "PersonName":
		return x.personName(at)
	}
	text, err := x.text(at)
	if err != nil {
		return nil, err
	}
	if text == "" {
		return []byte("null"), nil
	}
	return appendString(nil, text), nil
}

var (
	nameGroups = []string{"Alphabetic", "Ideographic", "Phonetic"}
	nameParts  = []string{"FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"}
)

func (x *xmlReader) personName(at string) ([]byte, error) {
	out := []byte{'{'}
	err := x.children(at, func(g xml.StartElement) error {
		if !slices.Contains(nameGroups, g.Name.Local) {
			return fmt.Errorf("%s: the element %.40q is not expected", at, g.Name.Local)
		}
		parts := make([]string, len(nameParts))
		err := x.children(at, func(p xml.StartElement) error {
			i := slices.Index(nameParts, p.Name.Local)
			if i < 0 {
				return fmt.Errorf("%s: the element %.40q is not expected", at, p.Name.Local)
			}
			var err error
			parts[i], err = x.text(at)
			return err
		})
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), g.Name.Local...), '"', ':')
		out = appendString(out, strings.TrimRight(strings.Join(parts, "^"), "^"))
		return err
	})
	return append(out, '}'), err
}
