package jsonpath

import (
	"fmt"
	"regexp"
	"strconv"
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

// maxLength bounds an expression, and with it the depth of filters in filters.
const maxLength = 8192

// maxScans bounds the steps that look at everything below: each of them may look
// at the whole document for each match of the one before.
const maxScans = 4

// maxNesting bounds filters inside of filters.
const maxNesting = 32

// Parse reads an expression. The error is a *SyntaxError.
func Parse(text string) (*Path, error) {
	if len(text) > maxLength {
		return nil, &SyntaxError{maxLength, "the expression is too long"}
	}
	if strings.Count(text, "..") > maxScans {
		return nil, &SyntaxError{strings.LastIndex(text, ".."), "too many .. in one expression"}
	}
	if !utf8.ValidString(text) {
		return nil, &SyntaxError{0, "the expression is not UTF-8"}
	}
	p := &parser{s: text}
	p.space()
	if p.i == len(p.s) {
		return nil, &SyntaxError{p.i, "the expression is empty"}
	}
	if p.s[p.i] == '$' {
		// "$x" is the member "$x"; a lone "$" is the whole document.
		if p.i+1 == len(p.s) {
			return &Path{text: text}, nil
		}
		if c := p.s[p.i+1]; c == '.' || c == '[' {
			p.i++
		}
	}
	steps, err := p.path(false)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.i < len(p.s) {
		return nil, p.unexpected("after the end of the path")
	}
	return &Path{text: text, steps: steps}, nil
}

type parser struct {
	s     string
	i     int
	depth int
}

func (p *parser) fail(format string, args ...any) error {
	return &SyntaxError{p.i, fmt.Sprintf(format, args...)}
}

func (p *parser) unexpected(where string) error {
	if p.i >= len(p.s) {
		return p.fail("the expression ends %s", where)
	}
	r, _ := utf8.DecodeRuneInString(p.s[p.i:])
	return p.fail("unexpected %q %s", r, where)
}

func (p *parser) space() {
	for p.i < len(p.s) && p.s[p.i] == ' ' {
		p.i++
	}
}

// path reads steps. Inside a filter it ends before an operator or a bracket.
func (p *parser) path(query bool) (steps []step, err error) {
	start, deep, afterIndexer, afterDot := p.i, false, false, false
	name := func(text string) {
		f := field{}
		if text != "*" {
			f.names = []string{text}
		}
		if deep {
			steps = append(steps, scan(f))
		} else {
			steps = append(steps, f)
		}
		deep = false
	}
loop:
	for p.i < len(p.s) {
		switch c := p.s[p.i]; c {
		case '[', '(':
			if p.i > start {
				name(p.s[start:p.i])
			}
			s, err := p.indexer(c, deep)
			if err != nil {
				return nil, err
			}
			steps = append(steps, s)
			deep, start, afterIndexer, afterDot = false, p.i, true, false
		case ']', ')', ' ':
			break loop
		case '.':
			if p.i > start {
				name(p.s[start:p.i])
			}
			if strings.HasPrefix(p.s[p.i:], "..") {
				deep = true
				p.i++
			}
			p.i++
			start, afterIndexer, afterDot = p.i, false, true
		default:
			if query && strings.IndexByte("=<>!|&", c) >= 0 {
				break loop
			}
			if afterIndexer {
				return nil, p.unexpected("after an indexer; a dot belongs between")
			}
			p.i++
		}
	}
	switch {
	case p.i > start:
		name(strings.TrimRight(p.s[start:p.i], " "))
	case afterDot && (query || p.i == len(p.s)):
		return nil, p.fail("the path ends with a dot")
	}
	return steps, nil
}

// indexer reads what stands in [ ] or ( ).
func (p *parser) indexer(open byte, deep bool) (step, error) {
	closer := byte(']')
	if open == '(' {
		closer = ')'
	}
	p.i++
	p.space()
	switch {
	case p.i >= len(p.s):
		return nil, p.fail("the path ends with an open indexer")
	case p.s[p.i] == '\'' || p.s[p.i] == '"':
		return p.quotedNames(closer, deep)
	case p.s[p.i] == '?':
		return p.filter(closer, deep)
	}
	return p.numbers(closer)
}

// quotedNames reads 'a' or 'a','b'.
func (p *parser) quotedNames(closer byte, deep bool) (step, error) {
	var f field
	for {
		p.space()
		name, err := p.quoted()
		if err != nil {
			return nil, err
		}
		f.names = append(f.names, name)
		p.space()
		switch {
		case p.i >= len(p.s):
			return nil, p.fail("the path ends with an open indexer")
		case p.s[p.i] == closer:
			p.i++
			if deep {
				return scan(f), nil
			}
			return f, nil
		case p.s[p.i] != ',':
			return nil, p.unexpected("in an indexer")
		}
		p.i++
	}
}

// quoted reads a string in single or double quotes.
func (p *parser) quoted() (string, error) {
	if p.i >= len(p.s) || p.s[p.i] != '\'' && p.s[p.i] != '"' {
		return "", p.unexpected("where a quoted text belongs")
	}
	quote := p.s[p.i]
	p.i++
	var b strings.Builder
	for p.i < len(p.s) {
		c := p.s[p.i]
		p.i++
		switch {
		case c == quote:
			return b.String(), nil
		case c == '\\' && p.i < len(p.s):
			e := p.s[p.i]
			at := strings.IndexByte(`bfnrt\'"/`, e)
			if at < 0 {
				return "", p.fail("unknown escape \\%c", e)
			}
			b.WriteByte("\b\f\n\r\t\\'\"/"[at])
			p.i++
		default:
			b.WriteByte(c)
		}
	}
	return "", p.fail("the path ends with an open text")
}

// numbers reads *, 0, 0,2 or a slice.
func (p *parser) numbers(closer byte) (step, error) {
	end := strings.IndexByte(p.s[p.i:], closer)
	if end < 0 {
		return nil, p.fail("the path ends with an open indexer")
	}
	text := strings.TrimSpace(p.s[p.i : p.i+end])
	switch {
	case text == "*":
		p.i += end + 1
		return items{}, nil
	case strings.Contains(text, ":"):
		s, err := p.slice(text)
		p.i += end + 1
		return s, err
	}
	var it items
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return nil, p.fail("%q is no array index", part)
		}
		it.at = append(it.at, n)
	}
	p.i += end + 1
	return it, nil
}

func (p *parser) slice(text string) (step, error) {
	parts := strings.Split(text, ":")
	if len(parts) > 3 {
		return nil, p.fail("a slice has at most two colons")
	}
	var s slice
	for i, to := range []**int{&s.start, &s.end, &s.step}[:len(parts)] {
		part := strings.TrimSpace(parts[i])
		if part == "" {
			continue
		}
		n, err := strconv.ParseInt(part, 10, 32)
		if err != nil {
			return nil, p.fail("%q is no number of a slice", part)
		}
		v := int(n)
		*to = &v
	}
	if s.step != nil && *s.step == 0 {
		return nil, p.fail("the step of a slice cannot be zero")
	}
	return s, nil
}

// filter reads ?( condition ).
func (p *parser) filter(closer byte, deep bool) (step, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.fail("too many filters inside of filters")
	}
	defer func() { p.depth-- }()
	p.i++
	p.space()
	if p.i >= len(p.s) || p.s[p.i] != '(' {
		return nil, p.unexpected("where the ( of a filter belongs")
	}
	p.i++
	cond, err := p.condition()
	if err != nil {
		return nil, err
	}
	p.i++ // the )
	p.space()
	if p.i >= len(p.s) || p.s[p.i] != closer {
		return nil, p.unexpected("after a filter")
	}
	p.i++
	return where{cond, deep}, nil
}

// condition reads comparisons joined by && and || up to the closing bracket.
// What follows an operator that differs from the one before belongs to it:
// a && b || c is a && (b || c).
func (p *parser) condition() (condition, error) {
	var root condition
	var add func(condition) // adds to the innermost list
	var inner byte          // its operator
	for {
		c, err := p.comparison()
		if err != nil {
			return nil, err
		}
		op := p.s[p.i]
		if op == ')' {
			if add == nil {
				return c, nil
			}
			add(c)
			return root, nil
		}
		if p.i+1 >= len(p.s) || p.s[p.i+1] != op {
			return nil, p.unexpected("in a filter")
		}
		p.i += 2
		if op != inner {
			var list condition
			var append_ func(condition)
			if op == '&' {
				a := &all{}
				list, append_ = a, func(c condition) { a.list = append(a.list, c) }
			} else {
				o := &some{}
				list, append_ = o, func(c condition) { o.list = append(o.list, c) }
			}
			if add == nil {
				root = list
			} else {
				add(list)
			}
			add, inner = append_, op
		}
		add(c)
	}
}

// comparison reads one operand, or two with an operator. It ends before ), & or |.
func (p *parser) comparison() (condition, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	if c := p.s[p.i]; c == ')' || c == '|' || c == '&' {
		return compare{left: left}, nil
	}
	op, err := p.operator()
	if err != nil {
		return nil, err
	}
	right, err := p.operand()
	if err != nil {
		return nil, err
	}
	if c := p.s[p.i]; c != ')' && c != '|' && c != '&' {
		return nil, p.unexpected("after a comparison")
	}
	if op == matches && right.re == nil {
		return nil, p.fail("=~ needs a /regular expression/")
	}
	return compare{left, right, op}, nil
}

var operators = []struct {
	text string
	op   operator
}{
	{"===", strictEqual}, {"==", equal}, {"=~", matches},
	{"!==", strictNotEqual}, {"!=", notEqual}, {"<>", notEqual},
	{"<=", lessEqual}, {"<", less}, {">=", greaterEqual}, {">", greater},
}

func (p *parser) operator() (operator, error) {
	for _, o := range operators {
		if strings.HasPrefix(p.s[p.i:], o.text) {
			p.i += len(o.text)
			return o.op, nil
		}
	}
	return 0, p.unexpected("where an operator belongs")
}

// operand reads one side of a comparison and the blanks after it; something
// always follows.
func (p *parser) operand() (operand, error) {
	p.space()
	if p.i >= len(p.s) {
		return operand{}, p.fail("the path ends with an open filter")
	}
	var o operand
	var err error
	switch c := p.s[p.i]; c {
	case '@', '$':
		p.i++
		o.isPath, o.root = true, c == '$'
		o.path, err = p.path(true)
	case '/':
		o.re, err = p.regexp()
	default:
		o.literal, err = p.literal()
	}
	if err != nil {
		return operand{}, err
	}
	p.space()
	if p.i >= len(p.s) {
		return operand{}, p.fail("the path ends with an open filter")
	}
	return o, nil
}

func (p *parser) literal() (jsonvalue.Value, error) {
	if c := p.s[p.i]; c == '\'' || c == '"' {
		s, err := p.quoted()
		return jsonvalue.String(s), err
	}
	end := p.i
	for end < len(p.s) && strings.IndexByte(" )|&=<>!", p.s[end]) < 0 {
		end++
	}
	word := p.s[p.i:end]
	var v jsonvalue.Value
	switch word {
	case "true", "false":
		v = jsonvalue.Bool(word == "true")
	case "null":
		v = jsonvalue.Null()
	default:
		if !isNumber(word) {
			return v, p.unexpected("in a filter; texts stand in quotes, paths begin with @ or $")
		}
		v = jsonvalue.Number(word)
	}
	p.i = end
	return v, nil
}

var numberText = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func isNumber(s string) bool { return numberText.MatchString(s) }

// regexp reads /pattern/options.
func (p *parser) regexp() (*regexp.Regexp, error) {
	start := p.i + 1
	end := start
	for end < len(p.s) && p.s[end] != '/' {
		if p.s[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(p.s) {
		return nil, p.fail("the path ends with an open regular expression")
	}
	pattern := p.s[start:end]
	flags := ""
	for end++; end < len(p.s) && (p.s[end]|0x20) >= 'a' && (p.s[end]|0x20) <= 'z'; end++ {
		switch c := p.s[end]; c {
		case 'i', 'm', 's':
			flags += string(c)
		case 'g', 'x': // x names no groups; g, of other languages, is passed over by Newtonsoft.Json
		default:
			p.i = end
			return nil, p.fail("the option %c of a regular expression is not i, m, s, x or g", c)
		}
	}
	if flags != "" {
		pattern = "(?" + flags + ")" + pattern
	}
	re, err := regexp.Compile(strings.ReplaceAll(pattern, `\/`, `/`))
	if err != nil {
		return nil, p.fail("the regular expression cannot be used: %v", err)
	}
	p.i = end
	return re, nil
}
