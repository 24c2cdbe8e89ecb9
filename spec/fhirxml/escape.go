package fhirxml

import (
	"bytes"
	"encoding/xml"
	"strconv"
	"unicode/utf8"
)

// appendEscaped appends a text as the value of an attribute. White space but for
// blanks is written by number, because a reader of XML makes blanks of it
// (XML 1.0 section 3.3.3). It is not ok when a character is none of XML.
func appendEscaped(dst, s []byte) ([]byte, bool) {
	ok, from := true, 0
	for i := 0; i < len(s); {
		c := s[i]
		esc, size := "", 1
		switch {
		case c == '&':
			esc = "&amp;"
		case c == '<':
			esc = "&lt;"
		case c == '>':
			esc = "&gt;"
		case c == '"':
			esc = "&quot;"
		case c == '\n':
			esc = "&#xA;"
		case c == '\t':
			esc = "&#x9;"
		case c == '\r':
			esc = "&#xD;"
		case !isChar(rune(c)):
			ok = false
		case c >= utf8.RuneSelf:
			var r rune
			r, size = utf8.DecodeRune(s[i:])
			ok = ok && isChar(r)
		}
		if esc != "" {
			dst = append(append(dst, s[from:i]...), esc...)
			from = i + 1
		}
		i += size
	}
	return append(dst, s[from:]...), ok
}

// isChar reports whether XML can hold a character (XML 1.0 section 2.2).
func isChar(r rune) bool {
	return r >= ' ' && r != 0xFFFE && r != 0xFFFF || r == '\n' || r == '\t' || r == '\r'
}

// predefined are the entities that XML knows without a declaration.
var predefined = map[string]bool{"amp": true, "lt": true, "gt": true, "quot": true, "apos": true}

// appendMarkup appends checked markup, with each named entity of HTML replaced by
// the number of its character.
func appendMarkup(dst, s []byte) ([]byte, bool) {
	if bytes.IndexFunc(s, func(r rune) bool { return !isChar(r) }) >= 0 {
		return dst, false
	}
	for len(s) > 0 {
		i := bytes.IndexAny(s, "&<")
		if i < 0 {
			break
		}
		dst, s = append(dst, s[:i]...), s[i:]
		if n := opaque(s); n > 0 {
			dst, s = append(dst, s[:n]...), s[n:]
			continue
		}
		if s[0] == '<' {
			dst, s = append(dst, '<'), s[1:]
			continue
		}
		end := bytes.IndexByte(s[:min(len(s), 16)], ';')
		if end < 0 {
			return dst, false
		}
		name := string(s[1:end])
		if r := []rune(xml.HTMLEntity[name]); len(r) == 1 && !predefined[name] {
			dst = append(dst, "&#"...)
			dst = append(strconv.AppendInt(dst, int64(r[0]), 10), ';')
		} else if predefined[name] || len(name) > 1 && name[0] == '#' {
			dst = append(dst, s[:end+1]...)
		} else {
			return dst, false
		}
		s = s[end+1:]
	}
	dst = append(dst, s...)
	return dst, true
}

// opaque returns the length of a comment or CDATA section that s begins with:
// what looks like an entity there is none.
func opaque(s []byte) int {
	for _, pair := range [...][2]string{{"<!--", "-->"}, {"<![CDATA[", "]]>"}} {
		if bytes.HasPrefix(s, []byte(pair[0])) {
			if end := bytes.Index(s, []byte(pair[1])); end > 0 {
				return end + len(pair[1])
			}
		}
	}
	return 0
}
