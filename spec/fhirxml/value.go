package fhirxml

import (
	"bytes"
	"encoding/xml"
	"io"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// primitive reads an element of a primitive type: the attribute value, and the
// object with its id and extensions.
func (r *reader) primitive(t *r4.Type, start xml.StartElement) (val, ext span, err error) {
	rest := xml.StartElement{Name: start.Name, Attr: start.Attr[:0]}
	seen := false
	for _, a := range start.Attr {
		if a.Name.Space != "" || a.Name.Local != "value" {
			rest.Attr = append(rest.Attr, a)
			continue
		}
		if seen {
			return val, ext, r.fail("structure", "the attribute value is there twice")
		}
		seen = true
		val.from = len(r.buf)
		if err := r.value(t, a.Value); err != nil {
			return val, ext, err
		}
		val.to = len(r.buf)
	}
	ext.from = len(r.buf)
	if err := r.fields(r4.Lookup("Element"), rest, ""); err != nil {
		return val, ext, err
	}
	if string(r.buf[ext.from:]) == "{}" {
		r.buf = r.buf[:ext.from]
		if !seen {
			return val, ext, r.fail("structure", "an element needs a value or an extension")
		}
	}
	ext.to = len(r.buf)
	return val, ext, nil
}

// value appends a primitive value as JSON writes it.
func (r *reader) value(t *r4.Type, s string) error {
	switch t.Form() {
	case r4.FormBoolean:
		if s != "true" && s != "false" {
			return r.fail("value", clip(s)+" is no boolean: it must be true or false")
		}
		r.buf = append(r.buf, s...)
	case r4.FormNumber:
		if !isNumber(s) {
			return r.fail("value", clip(s)+" is no "+t.Name)
		}
		r.buf = append(r.buf, s...)
	default:
		r.buf = resource.AppendString(r.buf, s)
	}
	return nil
}

// declares reports whether the start tag that b begins with has the attribute
// xmlns. The markup is well-formed.
func declares(b []byte) bool {
	i := bytes.IndexAny(b, " \t\r\n>") // behind the name of the element
	for i >= 0 && i < len(b) && b[i] != '>' {
		name, rest, ok := bytes.Cut(b[i:], []byte{'='})
		if !ok || bytes.IndexByte(name, '>') >= 0 {
			return false
		}
		if string(bytes.TrimSpace(name)) == "xmlns" {
			return true
		}
		quote := bytes.IndexAny(rest, `"'`)
		if quote < 0 {
			return false
		}
		end := bytes.IndexByte(rest[quote+1:], rest[quote])
		if end < 0 {
			return false
		}
		b, i = rest[quote+1+end+1:], 0
	}
	return false
}

// isNumber reports whether s is a number of JSON, which is what the regular
// expression of decimal allows.
func isNumber(s string) bool {
	digits := func() bool {
		n := 0
		for n < len(s) && s[n]-'0' <= 9 {
			n++
		}
		s = s[n:]
		return n > 0
	}
	if s != "" && s[0] == '-' {
		s = s[1:]
	}
	if s != "" && s[0] == '0' {
		s = s[1:]
	} else if !digits() {
		return false
	}
	if s != "" && s[0] == '.' {
		if s = s[1:]; !digits() {
			return false
		}
	}
	if s != "" && s[0]|0x20 == 'e' {
		if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}

// xhtml reads the div of a narrative, whose start was read, and appends its text
// as a JSON string. The text is taken as it stands, with the line ends of XML.
func (r *reader) xhtml() (s span, err error) {
	from := r.at
	for depth := 1; depth > 0; {
		r.at = r.dec.InputOffset()
		t, err := r.dec.Token()
		if err == io.EOF {
			return s, r.fail("structure", "the text ends inside a narrative")
		}
		if err != nil {
			return s, r.syntax(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if t.Name.Space != nsXHTML {
				return s, r.fail("structure", "the element "+clip(t.Name.Local)+" of a narrative is not in the namespace "+nsXHTML)
			}
			depth++
		case xml.EndElement:
			depth--
		case xml.Directive:
			return s, r.fail("structure", "a document type declaration is not allowed")
		}
	}
	raw := bytes.ReplaceAll(r.src[from:r.dec.InputOffset()], []byte("\r\n"), []byte("\n"))
	// In JSON the text stands alone, so that it must say itself what it is.
	if !bytes.HasPrefix(raw, []byte("<div")) || !declares(raw) {
		return s, r.fail("structure", `a narrative must begin with <div xmlns="`+nsXHTML+`">, without a prefix`)
	}
	s.from = len(r.buf)
	r.buf = resource.AppendString(r.buf, string(bytes.ReplaceAll(raw, []byte{'\r'}, []byte{'\n'})))
	s.to = len(r.buf)
	return s, nil
}
