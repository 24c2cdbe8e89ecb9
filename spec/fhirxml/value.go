package fhirxml

import (
	"bytes"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// primitive reads an element of a primitive type: the attribute value, and the
// object with its id and extensions.
func (r *reader) primitive(t *r4.Type) (val, ext span, err *resource.SyntaxError) {
	for i := range r.attrs {
		a := &r.attrs[i]
		if a.space != "" || string(a.local) != "value" {
			continue
		}
		val.from = r.mark()
		if err := r.value(t, a.raw); err != nil {
			return val, ext, err
		}
		val.to = r.mark()
		a.local = nil // taken
	}
	ext.from = r.mark()
	if err := r.fields(r4.Lookup("Element"), ""); err != nil {
		return val, ext, err
	}
	if string(r.buf[ext.from:]) == "{}" {
		r.buf = r.buf[:ext.from]
		if val.empty() {
			return val, ext, r.wrong("structure", "an element needs a value or an extension")
		}
	}
	ext.to = r.mark()
	return val, ext, nil
}

// value appends a primitive value as JSON writes it.
func (r *reader) value(t *r4.Type, raw []byte) *resource.SyntaxError {
	form := t.Form()
	if form == r4.FormString {
		r.text(raw)
		return nil
	}
	from := len(r.buf)
	r.buf = appendValue(r.buf, raw)
	switch s := string(r.buf[from:]); {
	case form == r4.FormBoolean && s != "true" && s != "false":
		return r.wrong("value", clip(s)+" is no boolean: it must be true or false")
	case form == r4.FormNumber && !isNumber(s):
		return r.wrong("value", clip(s)+" is no "+t.Name)
	}
	return nil
}

// text appends the value of an attribute as a JSON string.
func (r *reader) text(raw []byte) {
	for _, c := range raw {
		if c < ' ' || c == '&' || c == '"' || c == '\\' {
			r.buf = resource.AppendString(r.buf, string(appendValue(nil, raw)))
			return
		}
	}
	r.buf = append(append(append(r.buf, '"'), raw...), '"')
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

// maxNarrativeDepth is as deep as browsers nest elements.
const maxNarrativeDepth = 512

// xhtml reads the div of a narrative, whose start tag was read, and appends its
// text as a JSON string. The text is taken as it stands, with the line ends of XML.
func (r *reader) xhtml() (s span, err *resource.SyntaxError) {
	from, level := r.at, len(r.open)
	for len(r.open) >= level {
		t, err := r.next()
		if err != nil {
			return s, err
		}
		if len(r.open)-level > maxNarrativeDepth {
			return s, r.wrong("too-costly", "the elements of the narrative are nested too deeply")
		}
		if t == tokenStart && r.name.space != nsXHTML {
			return s, r.wrong("structure", "the element "+clip(string(r.name.local))+" of a narrative is not in the namespace "+nsXHTML)
		}
	}
	raw := bytes.ReplaceAll(r.src[from:r.pos], []byte("\r\n"), []byte("\n"))
	// In JSON the text stands alone, so that it must say itself what it is.
	if !bytes.HasPrefix(raw, []byte("<div")) || !declares(raw) {
		r.at = from
		return s, r.wrong("structure", `a narrative must begin with <div xmlns="`+nsXHTML+`">, without a prefix`)
	}
	s.from = r.mark()
	r.buf = resource.AppendString(r.buf, string(bytes.ReplaceAll(raw, []byte{'\r'}, []byte{'\n'})))
	s.to = r.mark()
	return s, nil
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
