package fhirpath

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// SyntaxError says where and why an expression is not FHIRPath.
type SyntaxError struct {
	Expr   string // the whole expression
	Offset int    // in bytes
	Msg    string
}

// Error implements error; it shows the position as line and column, counted from 1.
func (e *SyntaxError) Error() string {
	before := e.Expr[:min(e.Offset, len(e.Expr))]
	line := 1 + strings.Count(before, "\n")
	col := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return fmt.Sprintf("fhirpath: line %d, column %d: %s", line, col, e.Msg)
}

type tokenKind uint8

const (
	tokEOF      tokenKind = iota
	tokWord               // identifier or keyword
	tokQuoted             // `delimited identifier`
	tokString             // 'string'
	tokNumber             // 12 or 1.5
	tokDate               // @2015-02-04
	tokDateTime           // @2015-02-04T14:30Z
	tokTime               // @T14:30
	tokVar                // $this, $index, $total
	tokExternal           // %name
	tokOp                 // operator or punctuation
)

// token is one lexical element. Text is its value: without quotes, escapes
// resolved, without @, @T, $ and %.
type token struct {
	kind tokenKind
	text string
	pos  int
}

func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "the end of the expression"
	case tokString:
		return "string " + strconv.Quote(t.text)
	default:
		return strconv.Quote(t.text)
	}
}

type lexer struct {
	src string
	pos int
}

func (l *lexer) fail(pos int, format string, args ...any) error {
	return &SyntaxError{Expr: l.src, Offset: pos, Msg: fmt.Sprintf(format, args...)}
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// space skips white space and comments (N1 sections 8.1 and 8.2).
func (l *lexer) space() error {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			l.pos++
		case strings.HasPrefix(l.src[l.pos:], "//"):
			i := strings.IndexAny(l.src[l.pos:], "\r\n")
			if i < 0 {
				i = len(l.src) - l.pos
			}
			l.pos += i
		case strings.HasPrefix(l.src[l.pos:], "/*"):
			i := strings.Index(l.src[l.pos+2:], "*/")
			if i < 0 {
				return l.fail(l.pos, "the comment does not end")
			}
			l.pos += i + 4
		default:
			return nil
		}
	}
	return nil
}

// next returns the next token.
func (l *lexer) next() (token, error) {
	if err := l.space(); err != nil {
		return token{}, err
	}
	start := l.pos
	if start == len(l.src) {
		return token{kind: tokEOF, pos: start}, nil
	}
	switch c := l.src[start]; {
	case isLetter(c):
		return token{tokWord, l.word(), start}, nil
	case isDigit(c):
		return l.number()
	case c == '\'' || c == '`':
		text, err := l.quoted(c)
		kind := tokString
		if c == '`' {
			kind = tokQuoted
		}
		return token{kind, text, start}, err
	case c == '@':
		return l.temporal()
	case c == '$':
		l.pos++
		name := l.word()
		if name != "this" && name != "index" && name != "total" {
			return token{}, l.fail(start, "unknown variable $%s", name)
		}
		return token{tokVar, name, start}, nil
	case c == '%':
		return l.external()
	default:
		return l.operator()
	}
}

func (l *lexer) word() string {
	start := l.pos
	for l.pos < len(l.src) && (isLetter(l.src[l.pos]) || isDigit(l.src[l.pos])) {
		l.pos++
	}
	return l.src[start:l.pos]
}

func (l *lexer) digits() int {
	start := l.pos
	for l.pos < len(l.src) && isDigit(l.src[l.pos]) {
		l.pos++
	}
	return l.pos - start
}

func (l *lexer) number() (token, error) {
	start := l.pos
	l.digits()
	if l.pos+1 < len(l.src) && l.src[l.pos] == '.' && isDigit(l.src[l.pos+1]) {
		l.pos++
		l.digits()
	}
	if l.pos-start > maxDigits {
		return token{}, l.fail(start, "the number has more than %d digits", maxDigits)
	}
	return token{tokNumber, l.src[start:l.pos], start}, nil
}

func (l *lexer) external() (token, error) {
	start := l.pos
	l.pos++
	if l.pos == len(l.src) {
		return token{}, l.fail(start, "a name must follow %%")
	}
	c := l.src[l.pos]
	if c == '\'' || c == '`' {
		text, err := l.quoted(c)
		return token{tokExternal, text, start}, err
	}
	if !isLetter(c) {
		return token{}, l.fail(start, "a name must follow %%")
	}
	return token{tokExternal, l.word(), start}, nil
}

func (l *lexer) operator() (token, error) {
	start := l.pos
	if start+2 <= len(l.src) {
		switch two := l.src[start : start+2]; two {
		case "<=", ">=", "!=", "!~":
			l.pos += 2
			return token{tokOp, two, start}, nil
		}
	}
	if strings.IndexByte("+-*/&|<>=~.,()[]{}", l.src[start]) >= 0 {
		l.pos++
		return token{tokOp, l.src[start:l.pos], start}, nil
	}
	r, _ := utf8.DecodeRuneInString(l.src[start:])
	return token{}, l.fail(start, "unexpected character %q", r)
}

// quoted reads a string or a delimited identifier and resolves its escapes
// (N1 section 4.1.2). A backslash before any other character stands for
// that character.
func (l *lexer) quoted(quote byte) (string, error) {
	start := l.pos
	l.pos++
	rest := l.src[l.pos:]
	if i := strings.IndexByte(rest, quote); i >= 0 && strings.IndexByte(rest[:i], '\\') < 0 {
		l.pos += i + 1
		return rest[:i], nil
	}
	var b strings.Builder
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		l.pos++
		switch c {
		case quote:
			return b.String(), nil
		case '\\':
			if err := l.escape(&b); err != nil {
				return "", err
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", l.fail(start, "the quoted text does not end")
}

func (l *lexer) escape(b *strings.Builder) error {
	if l.pos == len(l.src) {
		return nil // the caller reports the missing quote
	}
	c := l.src[l.pos]
	l.pos++
	switch c {
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'f':
		b.WriteByte('\f')
	case 'u':
		r, err := l.unicode()
		if err != nil {
			return err
		}
		if utf16.IsSurrogate(r) && strings.HasPrefix(l.src[l.pos:], `\u`) {
			l.pos += 2
			low, err := l.unicode()
			if err != nil {
				return err
			}
			r = utf16.DecodeRune(r, low)
		}
		b.WriteRune(r)
	default:
		b.WriteByte(c)
	}
	return nil
}

func (l *lexer) unicode() (rune, error) {
	if l.pos+4 > len(l.src) {
		return 0, l.fail(l.pos, `four hexadecimal digits must follow \u`)
	}
	n, err := strconv.ParseUint(l.src[l.pos:l.pos+4], 16, 32)
	if err != nil {
		return 0, l.fail(l.pos, `four hexadecimal digits must follow \u`)
	}
	l.pos += 4
	return rune(n), nil
}

// temporal reads a date, date-time or time literal (N1 sections 4.1.5 to 4.1.7).
// Whether the digits are a real date is decided by the parser.
func (l *lexer) temporal() (token, error) {
	start := l.pos
	l.pos++
	if l.pos < len(l.src) && l.src[l.pos] == 'T' {
		l.pos++
		text := l.pos
		l.clock()
		return token{tokTime, l.src[text:l.pos], start}, nil
	}
	text := l.pos
	l.digits()
	for range 2 {
		if l.pos+1 < len(l.src) && l.src[l.pos] == '-' && isDigit(l.src[l.pos+1]) {
			l.pos++
			l.digits()
		}
	}
	if l.pos == len(l.src) || l.src[l.pos] != 'T' {
		return token{tokDate, l.src[text:l.pos], start}, nil
	}
	l.pos++
	if l.clock() {
		l.zone()
	}
	return token{tokDateTime, l.src[text:l.pos], start}, nil
}

// clock reads hh[:mm[:ss[.fff]]] and reports whether there was anything.
func (l *lexer) clock() bool {
	if l.digits() == 0 {
		return false
	}
	for _, sep := range "::." {
		if l.pos+1 >= len(l.src) || l.src[l.pos] != byte(sep) || !isDigit(l.src[l.pos+1]) {
			break
		}
		l.pos++
		l.digits()
	}
	return true
}

func (l *lexer) zone() {
	if l.pos == len(l.src) {
		return
	}
	if l.src[l.pos] == 'Z' {
		l.pos++
		return
	}
	s := l.src[l.pos:]
	if len(s) >= 6 && (s[0] == '+' || s[0] == '-') && isDigit(s[1]) && isDigit(s[2]) && s[3] == ':' && isDigit(s[4]) && isDigit(s[5]) {
		l.pos += 6
	}
}
