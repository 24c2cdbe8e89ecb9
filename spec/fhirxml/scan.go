package fhirxml

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// token is what the scanner found.
type token uint8

const (
	tokenEOF   token = iota
	tokenStart       // of an element: name and attrs hold it
	tokenEnd         // of the innermost open element
	tokenText        // anything but white space between tags
)

// scanner reads XML 1.0 with namespaces, tag by tag, and checks that it is
// well-formed. There is no document type declaration, so there are no entities
// but the five of the standard, and nothing outside of the text is ever read.
type scanner struct {
	src     []byte
	pos     int
	start   int // where the text begins, behind a byte order mark
	at      int // where the current token begins
	open    []openTag
	ns      []binding
	closing bool // the tag that was read is empty: its end comes next

	name  xmlName // of the last start tag
	attrs []attr  // of the last start tag, namespaces declarations left out
}

// xmlName is a name whose prefix is resolved.
type xmlName struct {
	space string
	local []byte
}

// attr is an attribute with its value as written, between the quotes.
type attr struct {
	xmlName
	prefix, raw []byte
}

// openTag is an element that is open.
type openTag struct {
	raw []byte // the name with its prefix
	ns  int    // how many bindings its parent had
}

// binding is a namespace in scope.
type binding struct{ prefix, uri string }

const (
	maxAttrs = 64
	xmlSpace = " \t\r\n"
)

func (s *scanner) fail(at int, msg string) *resource.SyntaxError {
	s.at = at
	return &resource.SyntaxError{Offset: at, Code: "structure", Msg: "not well-formed XML: " + msg}
}

// begin checks the characters of the text, once for all tokens.
func (s *scanner) begin() *resource.SyntaxError {
	for i := 0; i < len(s.src); {
		c := s.src[i]
		if c < utf8.RuneSelf {
			if c < ' ' && !isChar(rune(c)) {
				return s.fail(i, "a control character")
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(s.src[i:])
		if r == utf8.RuneError && size == 1 {
			return s.fail(i, "the text is not UTF-8")
		}
		if !isChar(r) {
			return s.fail(i, "a character that XML does not allow")
		}
		i += size
	}
	return nil
}

// next reads the next token. Comments, processing instructions and white space
// are passed over.
func (s *scanner) next() (token, *resource.SyntaxError) {
	if s.closing {
		s.closing = false
		s.pop()
		return tokenEnd, nil
	}
	for {
		s.at = s.pos
		rest := s.src[s.pos:]
		var err *resource.SyntaxError
		switch {
		case len(rest) == 0:
			if len(s.open) > 0 {
				return tokenEOF, s.fail(s.pos, "the text ends before </"+string(s.open[len(s.open)-1].raw)+">")
			}
			return tokenEOF, nil
		case rest[0] != '<':
			solid, err := s.content(rest)
			if err != nil || solid {
				return tokenText, err
			}
			continue
		case len(rest) == 1:
			return tokenEOF, s.fail(s.pos, "the text ends inside a tag")
		case rest[1] == '/':
			return tokenEnd, s.endTag()
		case rest[1] == '?':
			err = s.instruction(rest)
		case bytes.HasPrefix(rest, []byte("<!--")):
			err = s.comment(rest)
		case bytes.HasPrefix(rest, []byte("<![CDATA[")) && len(s.open) > 0:
			end := bytes.Index(rest, []byte("]]>"))
			if end < 0 {
				return tokenText, s.fail(s.pos, "the text ends inside a CDATA section")
			}
			s.pos += end + 3
			return tokenText, nil
		case rest[1] == '!':
			err = s.fail(s.pos, "")
			err.Msg = "a document type declaration is not allowed"
		default:
			return tokenStart, s.startTag()
		}
		if err != nil {
			return tokenEOF, err
		}
	}
}

// content reads up to the next tag. It is solid if it is not only white space.
func (s *scanner) content(rest []byte) (solid bool, err *resource.SyntaxError) {
	if i := bytes.IndexByte(rest, '<'); i >= 0 {
		rest = rest[:i]
	}
	s.pos += len(rest)
	if len(bytes.Trim(rest, xmlSpace)) == 0 {
		return false, nil
	}
	if i := bytes.Index(rest, []byte("]]>")); i >= 0 {
		return true, s.fail(s.at+i, "]]> in a text")
	}
	return true, s.references(s.at, rest)
}

// references checks all that begins with an ampersand in b, which begins at off.
func (s *scanner) references(off int, b []byte) *resource.SyntaxError {
	for i := bytes.IndexByte(b, '&'); i >= 0; {
		_, n := reference(b[i:])
		if n == 0 {
			return s.fail(off+i, "& that begins no reference to a character")
		}
		i += n
		next := bytes.IndexByte(b[i:], '&')
		if next < 0 {
			return nil
		}
		i += next
	}
	return nil
}

// reference reads the character reference, or one of the five entities of XML,
// that b begins with. n is its length, 0 if it is none.
func reference(b []byte) (r rune, n int) {
	end := bytes.IndexByte(b[:min(len(b), 16)], ';')
	if end < 2 {
		return 0, 0
	}
	switch name := string(b[1:end]); {
	case name == "amp":
		r = '&'
	case name == "lt":
		r = '<'
	case name == "gt":
		r = '>'
	case name == "quot":
		r = '"'
	case name == "apos":
		r = '\''
	case name[0] == '#':
		digits, base := name[1:], 10
		if strings.HasPrefix(digits, "x") {
			digits, base = digits[1:], 16
		}
		v, err := strconv.ParseUint(digits, base, 31)
		if err != nil || !utf8.ValidRune(rune(v)) || !isChar(rune(v)) {
			return 0, 0
		}
		r = rune(v)
	default:
		return 0, 0
	}
	return r, end + 1
}

// comment passes over a comment, which must not contain two hyphens.
func (s *scanner) comment(rest []byte) *resource.SyntaxError {
	end := bytes.Index(rest[4:], []byte("--"))
	if end < 0 {
		return s.fail(s.pos, "the text ends inside a comment")
	}
	if end += 4; end+2 >= len(rest) || rest[end+2] != '>' {
		return s.fail(s.pos+end, "-- inside a comment")
	}
	s.pos += end + 3
	return nil
}

// instruction passes over a processing instruction, or reads the declaration at
// the begin of the text.
func (s *scanner) instruction(rest []byte) *resource.SyntaxError {
	end := bytes.Index(rest, []byte("?>"))
	n := nameLen(rest[2:])
	if end < 0 || n == 0 || end < 2+n {
		return s.fail(s.pos, "a processing instruction that is not complete")
	}
	target, content := rest[2:2+n], rest[2+n:end]
	switch {
	case len(content) > 0 && strings.IndexByte(xmlSpace, content[0]) < 0:
		return s.fail(s.pos, "a processing instruction without a name")
	case string(target) == "xml" && s.pos == s.start:
		if err := s.declaration(content); err != nil {
			return err
		}
	case strings.EqualFold(string(target), "xml"):
		return s.fail(s.pos, "an XML declaration that is not at the begin")
	}
	s.pos += end + 2
	return nil
}

// declaration checks <?xml version="1.0" encoding="UTF-8"?>.
func (s *scanner) declaration(b []byte) *resource.SyntaxError {
	for i := 0; ; i++ {
		b = bytes.TrimLeft(b, xmlSpace)
		if len(b) == 0 && i > 0 {
			return nil
		}
		name, rest, ok := bytes.Cut(b, []byte{'='})
		rest = bytes.TrimLeft(rest, xmlSpace)
		if !ok || len(rest) < 2 || rest[0] != '"' && rest[0] != '\'' {
			return s.fail(s.at, "the XML declaration")
		}
		end := bytes.IndexByte(rest[1:], rest[0])
		if end < 0 {
			return s.fail(s.at, "the XML declaration")
		}
		val := string(rest[1 : 1+end])
		switch key := string(bytes.TrimRight(name, xmlSpace)); {
		case i == 0 && key == "version" && val == "1.0":
		case i == 1 && key == "encoding":
			if !strings.EqualFold(val, "utf-8") && !strings.EqualFold(val, "us-ascii") {
				return &resource.SyntaxError{Offset: s.at, Code: "value", Msg: "an XML body must be UTF-8"}
			}
		case i > 0 && key == "standalone" && (val == "yes" || val == "no"):
		default:
			return s.fail(s.at, "the XML declaration")
		}
		b = rest[end+2:]
	}
}

// endTag reads </name>.
func (s *scanner) endTag() *resource.SyntaxError {
	rest := s.src[s.pos+2:]
	n := nameLen(rest)
	tail := bytes.TrimLeft(rest[n:], xmlSpace)
	if n == 0 || len(tail) == 0 || tail[0] != '>' {
		return s.fail(s.pos, "an end tag that is not complete")
	}
	if len(s.open) == 0 {
		return s.fail(s.pos, "</"+string(rest[:n])+"> closes nothing")
	}
	if want := s.open[len(s.open)-1].raw; !bytes.Equal(want, rest[:n]) {
		return s.fail(s.pos, "</"+string(want)+"> is expected here, not </"+string(rest[:n])+">")
	}
	s.pos = len(s.src) - len(tail) + 1
	s.pop()
	return nil
}

func (s *scanner) pop() {
	last := len(s.open) - 1
	s.ns = s.ns[:s.open[last].ns]
	s.open = s.open[:last]
}

// startTag reads <name attribute="value" ...> or <name/>.
func (s *scanner) startTag() *resource.SyntaxError {
	n := nameLen(s.src[s.pos+1:])
	if n == 0 {
		return s.fail(s.pos, "< that begins no tag")
	}
	raw := s.src[s.pos+1 : s.pos+1+n]
	s.open = append(s.open, openTag{raw: raw, ns: len(s.ns)})
	s.pos += 1 + n
	s.attrs = s.attrs[:0]
	for {
		spaced := s.skipSpace()
		if s.pos >= len(s.src) {
			return s.fail(s.at, "the text ends inside a tag")
		}
		switch c := s.src[s.pos]; {
		case c == '>':
			s.pos++
			return s.resolve(raw)
		case c == '/' && s.pos+1 < len(s.src) && s.src[s.pos+1] == '>':
			s.pos += 2
			s.closing = true
			return s.resolve(raw)
		case !spaced:
			return s.fail(s.pos, "an attribute must follow white space")
		}
		if err := s.attribute(); err != nil {
			return err
		}
	}
}

func (s *scanner) skipSpace() bool {
	from := s.pos
	for s.pos < len(s.src) && strings.IndexByte(xmlSpace, s.src[s.pos]) >= 0 {
		s.pos++
	}
	return s.pos > from
}

// attribute reads name="value". Declarations of namespaces go to s.ns.
func (s *scanner) attribute() *resource.SyntaxError {
	from := s.pos
	n := nameLen(s.src[from:])
	if n == 0 {
		return s.fail(from, "a tag that is not complete")
	}
	name := s.src[from : from+n]
	s.pos += n
	s.skipSpace()
	if s.pos >= len(s.src) || s.src[s.pos] != '=' {
		return s.fail(from, "an attribute without a value")
	}
	s.pos++
	s.skipSpace()
	if s.pos >= len(s.src) || s.src[s.pos] != '"' && s.src[s.pos] != '\'' {
		return s.fail(from, "the value of an attribute must be quoted")
	}
	off := s.pos + 1
	end := bytes.IndexByte(s.src[off:], s.src[s.pos])
	if end < 0 {
		return s.fail(from, "the value of an attribute does not end")
	}
	val := s.src[off : off+end]
	s.pos = off + end + 1
	if i := bytes.IndexByte(val, '<'); i >= 0 {
		return s.fail(off+i, "< in the value of an attribute")
	}
	if err := s.references(off, val); err != nil {
		return err
	}
	prefix, local, ok := splitName(name)
	switch {
	case !ok:
		return s.fail(from, "a name with more than one colon")
	case string(name) == "xmlns":
		return s.declare(from, "", val)
	case string(prefix) == "xmlns":
		return s.declare(from, string(local), val)
	case len(s.attrs) == maxAttrs:
		return s.fail(from, "too many attributes")
	}
	s.attrs = append(s.attrs, attr{xmlName: xmlName{local: local}, prefix: prefix, raw: val})
	return nil
}

// declare puts a namespace into scope for the innermost open element.
func (s *scanner) declare(at int, prefix string, val []byte) *resource.SyntaxError {
	uri := string(appendValue(nil, val))
	for _, b := range s.ns[s.open[len(s.open)-1].ns:] {
		if b.prefix == prefix {
			return s.fail(at, "a namespace that is declared twice")
		}
	}
	switch {
	case prefix == "xml" || prefix == "xmlns" || prefix != "" && uri == "":
		return s.fail(at, "a namespace prefix that cannot be declared so")
	case len(s.ns) == maxAttrs:
		return s.fail(at, "too many namespaces")
	}
	s.ns = append(s.ns, binding{prefix, uri})
	return nil
}

// resolve finds the namespaces of the element and its attributes.
func (s *scanner) resolve(raw []byte) *resource.SyntaxError {
	prefix, local, ok := splitName(raw)
	if !ok {
		return s.fail(s.at, "a name with more than one colon")
	}
	s.name.local = local
	if s.name.space, ok = s.lookup(prefix); !ok {
		return s.fail(s.at, "the namespace prefix "+string(prefix)+" is not declared")
	}
	for i := range s.attrs {
		a := &s.attrs[i]
		if len(a.prefix) > 0 {
			if a.space, ok = s.lookup(a.prefix); !ok {
				return s.fail(s.at, "the namespace prefix "+string(a.prefix)+" is not declared")
			}
		}
		for j := range i {
			if b := &s.attrs[j]; b.space == a.space && bytes.Equal(b.local, a.local) {
				return s.fail(s.at, "the attribute "+string(a.local)+" is there twice")
			}
		}
	}
	return nil
}

// lookup returns the namespace of a prefix; the default one needs no declaration.
func (s *scanner) lookup(prefix []byte) (string, bool) {
	for i := len(s.ns) - 1; i >= 0; i-- {
		if s.ns[i].prefix == string(prefix) {
			return s.ns[i].uri, true
		}
	}
	if string(prefix) == "xml" {
		return "http://www.w3.org/XML/1998/namespace", true
	}
	return "", len(prefix) == 0
}

// splitName cuts a qualified name.
func splitName(name []byte) (prefix, local []byte, ok bool) {
	i := bytes.IndexByte(name, ':')
	if i < 0 {
		return nil, name, true
	}
	prefix, local = name[:i], name[i+1:]
	return prefix, local, i > 0 && bytes.IndexByte(local, ':') < 0 && nameLen(local) == len(local) && len(local) > 0
}

// nameLen returns the length of the name that b begins with (XML 1.0 section 2.3).
func nameLen(b []byte) int {
	n := 0
	for n < len(b) {
		c := b[n]
		if c < utf8.RuneSelf {
			letter := c|0x20-'a' < 26 || c == '_' || c == ':'
			if !letter && (n == 0 || c-'0' > 9 && c != '-' && c != '.') {
				break
			}
			n++
			continue
		}
		r, size := utf8.DecodeRune(b[n:])
		if !isNameRune(r, n == 0) {
			break
		}
		n += size
	}
	return n
}

// isNameRune decides about the characters beyond ASCII.
func isNameRune(r rune, first bool) bool {
	if !first && (r == 0xB7 || r >= 0x300 && r <= 0x36F || r == 0x203F || r == 0x2040) {
		return true
	}
	for _, in := range [...][2]rune{
		{0xC0, 0xD6}, {0xD8, 0xF6}, {0xF8, 0x2FF}, {0x370, 0x37D}, {0x37F, 0x1FFF}, {0x200C, 0x200D}, {0x2070, 0x218F},
		{0x2C00, 0x2FEF}, {0x3001, 0xD7FF}, {0xF900, 0xFDCF}, {0xFDF0, 0xFFFD}, {0x10000, 0xEFFFF},
	} {
		if r >= in[0] && r <= in[1] {
			return true
		}
	}
	return false
}

// appendValue appends what the raw value of an attribute stands for. White space
// that is not written by number becomes a blank (XML 1.0 section 3.3.3).
func appendValue(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case '&':
			r, n := reference(raw[i:])
			dst = utf8.AppendRune(dst, r)
			i += n - 1
		case '\r':
			if i+1 < len(raw) && raw[i+1] == '\n' {
				continue // the line end is the \n
			}
			dst = append(dst, ' ')
		case '\n', '\t':
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
