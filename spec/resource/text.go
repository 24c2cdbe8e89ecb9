package resource

import (
	"sort"
	"unicode/utf8"
)

// unescape appends the text that the inside of a checked JSON string stands for.
func unescape(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c != '\\' || i+1 >= len(b) {
			dst = append(dst, c)
			continue
		}
		i++
		switch b[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(b, i+1)
			i += 4
			if r >= 0xD800 && r < 0xDC00 {
				r = (r-0xD800)<<10 + hex4(b, i+3) - 0xDC00 + 0x10000
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
		default: // quote, backslash, slash
			dst = append(dst, b[i])
		}
	}
	return dst
}

// AppendString appends s as a JSON string. Only what RFC 8259 section 7 demands
// is escaped; a byte that is not UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			dst = append(append(dst, s[from:i]...), "\uFFFD"...)
			i++
			from = i
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}

// Edit replaces Src[Start:End] by With. An Edit takes the place of a whole
// value, or of a part of the inside of one string.
type Edit struct {
	Start, End int
	With       []byte
}

// AppendCompact appends the text of n without insignificant white space. Strings
// and numbers stay as they are written.
func (n Node) AppendCompact(dst []byte) []byte {
	if n.d == nil {
		return dst
	}
	if n.node().flags&flagSpace == 0 {
		return append(dst, n.Raw()...)
	}
	dst, _ = compact(dst, n.Raw(), false)
	return dst
}

// AppendEdited is AppendCompact with edits. They are sorted and do not overlap;
// those that do not lie inside n are left out.
func (n Node) AppendEdited(dst []byte, edits []Edit) []byte {
	if n.d == nil {
		return dst
	}
	start, end := n.Offsets()
	if len(edits) > 0 {
		edits = edits[sort.Search(len(edits), func(i int) bool { return edits[i].Start >= start }):]
	}
	if len(edits) == 0 || edits[0].End > end {
		return n.AppendCompact(dst)
	}
	src, spaced := n.d.Src, n.node().flags&flagSpace != 0
	quoted := false
	for _, e := range edits {
		if e.End > end {
			break
		}
		if !spaced {
			dst = append(dst, src[start:e.Start]...)
		} else {
			dst, quoted = compact(dst, src[start:e.Start], quoted)
		}
		dst = append(dst, e.With...)
		start = e.End
	}
	if !spaced {
		return append(dst, src[start:end]...)
	}
	dst, _ = compact(dst, src[start:end], quoted)
	return dst
}

// compact appends b without white space outside of strings. quoted says whether
// b begins, and the result whether it ends, inside a string.
func compact(dst, b []byte, quoted bool) ([]byte, bool) {
	from, i := 0, 0
	for i < len(b) {
		c := b[i]
		switch {
		case quoted:
			if c == '\\' {
				i++
			} else if c == '"' {
				quoted = false
			}
			i++
		case c == '"':
			quoted = true
			i++
		case isSpace(c):
			dst = append(dst, b[from:i]...)
			for i < len(b) && isSpace(b[i]) {
				i++
			}
			from = i
		default:
			i++
		}
	}
	return append(dst, b[from:]...), quoted
}

// AppendIndent appends the JSON text src with one member or item per line, two
// blanks for each level. src must be valid JSON.
func AppendIndent(dst, src []byte) []byte {
	depth := 0
	for i := 0; i < len(src); i++ {
		switch c := src[i]; c {
		case ' ', '\n', '\r', '\t':
		case '"':
			end := i + 1
			for end < len(src) && src[end] != '"' {
				if src[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(src))
			dst = append(dst, src[i:end]...)
			i = end - 1
		case '{', '[':
			dst = append(dst, c)
			j := i + 1
			for j < len(src) && isSpace(src[j]) {
				j++
			}
			if j < len(src) && (src[j] == '}' || src[j] == ']') {
				dst = append(dst, src[j])
				i = j
				continue
			}
			depth++
			dst = newLine(dst, depth)
		case '}', ']':
			depth--
			dst = append(newLine(dst, depth), c)
		case ',':
			dst = newLine(append(dst, c), depth)
		case ':':
			dst = append(dst, ':', ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func newLine(dst []byte, depth int) []byte {
	dst = append(dst, '\n')
	for range depth {
		dst = append(dst, ' ', ' ')
	}
	return dst
}
