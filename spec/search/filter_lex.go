package search

import (
	"fmt"
	"strings"
)

// filterToken is a word of a _filter: "(", ")", a name or value, or a string.
type filterToken struct {
	text   string
	quoted bool
}

// lexFilter cuts a _filter into words. A string has the escapes of JSON that
// texts need: \" and \\, \n, \t.
func lexFilter(s string) ([]filterToken, error) {
	var out []filterToken
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '(' || c == ')':
			out = append(out, filterToken{text: string(c)})
			i++
		case c == '"':
			text, n, ok := filterString(s[i:])
			if !ok {
				return nil, fmt.Errorf("the string that begins at %q has no end", clipText(s[i:]))
			}
			out = append(out, filterToken{text, true})
			i += n
		default:
			n, ok := filterWord(s[i:])
			if !ok {
				return nil, fmt.Errorf("a bracket of %q is not closed", clipText(s[i:]))
			}
			out = append(out, filterToken{text: s[i : i+n]})
			i += n
		}
	}
	return out, nil
}

// filterWord returns how long the word at the beginning of s is. What stands in
// brackets belongs to it, whatever it is.
func filterWord(s string) (n int, ok bool) {
	depth := 0
	for n < len(s) {
		c := s[n]
		switch {
		case c == '[':
			depth++
		case c == ']' && depth > 0:
			depth--
		case depth > 0 && c == '"':
			_, skip, ok := filterString(s[n:])
			if !ok {
				return 0, false
			}
			n += skip - 1
		case depth == 0 && strings.IndexByte(" \t\r\n()\"", c) >= 0:
			return n, true
		}
		n++
	}
	return n, depth == 0
}

// filterString reads a quoted string and returns how long it is with its quotes.
func filterString(s string) (text string, n int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i + 1, true
		case '\\':
			if i++; i == len(s) {
				return "", 0, false
			}
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", 0, false
}

func clipText(s string) string {
	if len(s) > 30 {
		s = strings.ToValidUTF8(s[:30], "")
	}
	return s
}
