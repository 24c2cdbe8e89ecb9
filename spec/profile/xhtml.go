package profile

import "bytes"

// checkXHTML checks the text of a narrative
// (http://hl7.org/fhir/R4/narrative.html): one div element, in which every tag
// is closed in order, attributes are quoted and entities are complete. It is no
// HTML validator: names and nesting rules of elements are not looked at.
func checkXHTML(b []byte) string {
	b = bytes.TrimSpace(b)
	if !bytes.HasPrefix(b, []byte("<div")) || len(b) < 6 || isNameByte(b[4]) {
		return "must be one <div> element"
	}
	var room [32][]byte
	open := room[:0] // names of the elements that are open
	for i := 0; i < len(b); {
		if len(open) == 0 && i > 0 {
			return "must have nothing after its <div>"
		}
		switch b[i] {
		case '<':
			n, name, kind := markup(b[i:])
			switch kind {
			case tagOpen:
				open = append(open, name)
			case tagClose:
				if !bytes.Equal(open[len(open)-1], name) {
					return "has a closing tag that does not belong to the open element"
				}
				open = open[:len(open)-1]
			case tagBad:
				return "is not well-formed XML"
			}
			i += n
		case '&':
			n := entity(b[i:])
			if n == 0 {
				return "has an '&' that begins no entity"
			}
			i += n
		default:
			next := bytes.IndexAny(b[i:], "<&")
			if next < 0 {
				return "has an element that is not closed"
			}
			i += next
		}
	}
	if len(open) > 0 {
		return "has an element that is not closed"
	}
	return ""
}

type tagKind uint8

const (
	tagBad   tagKind = iota
	tagOpen          // <p>
	tagClose         // </p>
	tagOther         // <br/>, a comment, CDATA or a processing instruction
)

// markup reads what begins with '<'. It returns its length, for tags the name.
func markup(b []byte) (n int, name []byte, kind tagKind) {
	for _, pair := range [...][2]string{{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}} {
		if bytes.HasPrefix(b, []byte(pair[0])) {
			end := bytes.Index(b[len(pair[0]):], []byte(pair[1]))
			if end < 0 {
				return 0, nil, tagBad
			}
			return len(pair[0]) + end + len(pair[1]), nil, tagOther
		}
	}
	i, kind := 1, tagOpen
	if len(b) > 1 && b[1] == '/' {
		i, kind = 2, tagClose
	}
	start := i
	for i < len(b) && isNameByte(b[i]) {
		i++
	}
	name = b[start:i]
	if len(name) == 0 || name[0]-'0' <= 9 || name[0] == '-' || name[0] == '.' {
		return 0, nil, tagBad
	}
	if kind == tagOpen {
		i = attributes(b, i)
	} else {
		i = skipSpace(b, i)
	}
	switch {
	case i < 0 || i >= len(b):
	case b[i] == '>':
		return i + 1, name, kind
	case kind == tagOpen && b[i] == '/' && i+1 < len(b) && b[i+1] == '>':
		return i + 2, name, tagOther
	}
	return 0, nil, tagBad
}

// attributes skips name="value" pairs and returns the position behind them, or -1.
func attributes(b []byte, i int) int {
	for {
		from := i
		i = skipSpace(b, i)
		if i >= len(b) || b[i] == '>' || b[i] == '/' {
			return i
		}
		start := i
		for i < len(b) && isNameByte(b[i]) {
			i++
		}
		if i == start || from == start {
			return -1
		}
		i = skipSpace(b, i)
		if i >= len(b) || b[i] != '=' {
			return -1
		}
		i = skipSpace(b, i+1)
		if i >= len(b) || b[i] != '"' && b[i] != '\'' {
			return -1
		}
		end := bytes.IndexByte(b[i+1:], b[i])
		if end < 0 || bytes.IndexByte(b[i+1:i+1+end], '<') >= 0 {
			return -1
		}
		i += end + 2
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i]-'\t' < 5) {
		i++
	}
	return i
}

func isNameByte(c byte) bool {
	return c-'0' <= 9 || (c|0x20)-'a' < 26 || c == '-' || c == '_' || c == ':' || c == '.' || c >= 0x80
}

// entity returns the length of the entity that b begins with, or 0.
func entity(b []byte) int {
	end := bytes.IndexByte(b[:min(len(b), 16)], ';')
	if end < 2 {
		return 0
	}
	for i, c := range b[1:end] {
		if c-'0' > 9 && (c|0x20)-'a' >= 26 && (i > 0 || c != '#') {
			return 0
		}
	}
	if b[1] == '#' && end == 2 {
		return 0
	}
	return end + 1
}
