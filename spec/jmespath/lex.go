package jmespath

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hygeia-health/hygeia/spec/jsonvalue"
)

// SyntaxError says why and where an expression is none.
type SyntaxError struct {
	Offset int // in bytes
	Msg    string
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at position %d", e.Msg, e.Offset+1) }

type kind uint8

const (
	tEOF kind = iota
	tName
	tQuotedName
	tLiteral
	tNumber
	tDot
	tStar
	tFlatten // []
	tFilter  // [?
	tOpen    // [
	tClose   // ]
	tBrace
	tBraceClose
	tParen
	tParenClose
	tComma
	tColon
	tAt
	tRef // &
	tPipe
	tOr
	tAnd
	tNot
	tEQ
	tNE
	tLT
	tLE
	tGT
	tGE
)

type token struct {
	kind  kind
	pos   int
	text  string          // of a name or number
	value jsonvalue.Value // of a literal
}

// symbols are tried in order, so that longer ones come first.
var symbols = []struct {
	text string
	kind kind
}{
	{"[]", tFlatten}, {"[?", tFilter}, {"||", tOr}, {"&&", tAnd}, {"==", tEQ}, {"!=", tNE}, {"<=", tLE}, {">=", tGE},
	{"[", tOpen}, {"]", tClose}, {"{", tBrace}, {"}", tBraceClose}, {"(", tParen}, {")", tParenClose}, {",", tComma},
	{":", tColon}, {"@", tAt}, {"&", tRef}, {"|", tPipe}, {"!", tNot}, {"<", tLT}, {">", tGT}, {".", tDot}, {"*", tStar},
}

func lex(s string) ([]token, error) {
	if !utf8.ValidString(s) {
		return nil, &SyntaxError{0, "the expression is not UTF-8"}
	}
	var out []token
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case isNameStart(c):
			end := i + 1
			for end < len(s) && (isNameStart(s[end]) || isDigit(s[end])) {
				end++
			}
			out = append(out, token{kind: tName, pos: i, text: s[i:end]})
			i = end
			continue
		case isDigit(c) || c == '-':
			end := i + 1
			for end < len(s) && isDigit(s[end]) {
				end++
			}
			if s[i:end] == "-" {
				return nil, &SyntaxError{i, "a digit belongs after -"}
			}
			out = append(out, token{kind: tNumber, pos: i, text: s[i:end]})
			i = end
			continue
		case c == '"' || c == '\'' || c == '`':
			t, end, err := lexQuoted(s, i)
			if err != nil {
				return nil, err
			}
			out = append(out, t)
			i = end
			continue
		}
		t, ok := lexSymbol(s[i:])
		if !ok {
			r, _ := utf8.DecodeRuneInString(s[i:])
			return nil, &SyntaxError{i, fmt.Sprintf("unexpected %q", r)}
		}
		out = append(out, token{kind: t.kind, pos: i})
		i += len(t.text)
	}
	return append(out, token{kind: tEOF, pos: len(s)}), nil
}

func lexSymbol(s string) (t struct {
	text string
	kind kind
}, ok bool) {
	for _, sym := range symbols {
		if strings.HasPrefix(s, sym.text) {
			return sym, true
		}
	}
	return t, false
}

// lexQuoted reads "name", 'raw text' or `JSON`.
func lexQuoted(s string, start int) (token, int, error) {
	quote := s[start]
	end := start + 1
	for end < len(s) && s[end] != quote {
		if s[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(s) {
		return token{}, 0, &SyntaxError{start, fmt.Sprintf("the %c is not closed", quote)}
	}
	inner := s[start+1 : end]
	t := token{pos: start}
	switch quote {
	case '"':
		t.kind = tQuotedName
		if err := json.Unmarshal([]byte(s[start:end+1]), &t.text); err != nil {
			return token{}, 0, &SyntaxError{start, "the quoted name is no JSON string"}
		}
	case '\'':
		t.kind = tLiteral
		t.value = jsonvalue.String(strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(inner))
	default:
		t.kind = tLiteral
		inner = strings.TrimSpace(strings.ReplaceAll(inner, "\\`", "`"))
		v, err := jsonvalue.Parse([]byte(inner))
		if err != nil {
			// Unquoted text was allowed by early versions and is in use.
			if v, err = jsonvalue.Parse([]byte(`"` + inner + `"`)); err != nil {
				return token{}, 0, &SyntaxError{start, "the text between backticks is no JSON"}
			}
		}
		t.value = v
	}
	return t, end + 1, nil
}

func isNameStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
