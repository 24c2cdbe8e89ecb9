package fhirpath

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// stringFunctions are those of N1 section 5.6, with those that the current
// build of FHIRPath adds (encode, trim, split, join, ...).
var stringFunctions = map[string]function{
	"indexOf":        {1, 1, stringTest(func(s, t string) Value { return runeIndex(s, strings.Index(s, t)) })},
	"lastIndexOf":    {1, 1, stringTest(func(s, t string) Value { return runeIndex(s, strings.LastIndex(s, t)) })},
	"startsWith":     {1, 1, stringTest(func(s, t string) Value { return Bool(strings.HasPrefix(s, t)) })},
	"endsWith":       {1, 1, stringTest(func(s, t string) Value { return Bool(strings.HasSuffix(s, t)) })},
	"contains":       {1, 1, stringTest(func(s, t string) Value { return Bool(strings.Contains(s, t)) })},
	"upper":          stringMap(strings.ToUpper),
	"lower":          stringMap(strings.ToLower),
	"trim":           stringMap(strings.TrimSpace),
	"substring":      {1, 2, substring},
	"replace":        {2, 2, replace},
	"matches":        {1, 2, matches("", "")},
	"matchesFull":    {1, 2, matches(`\A(?:`, `)\z`)},
	"replaceMatches": {2, 2, replaceMatches},
	"length":         {0, 0, length},
	"toChars":        {0, 0, toChars},
	"split":          {1, 1, split},
	"join":           {0, 1, join},
	"encode":         {1, 1, coding(encode)},
	"decode":         {1, 1, coding(decode)},
	"escape":         {1, 1, coding(escape)},
	"unescape":       {1, 1, coding(unescape)},
}

// runeIndex converts a byte position to one in characters; -1 stays.
func runeIndex(s string, i int) Value {
	if i > 0 {
		i = utf8.RuneCountInString(s[:i])
	}
	return Integer(int64(i))
}

type runner = func(c *invocation, dst []Value) ([]Value, error)

// stringTest makes a function of the input and one string.
func stringTest(test func(s, t string) Value) runner {
	return func(c *invocation, dst []Value) ([]Value, error) {
		s, ok, err := c.text()
		if err != nil {
			return nil, err
		}
		t, ok2, err := c.str(0)
		if err != nil || !ok || !ok2 {
			return dst, err
		}
		return append(dst, test(s, t)), c.ev.step(len(s) / 64)
	}
}

func stringMap(f func(string) string) function {
	return function{0, 0, func(c *invocation, dst []Value) ([]Value, error) {
		s, ok, err := c.text()
		if err != nil || !ok {
			return dst, err
		}
		return c.ev.appendText(dst, f(s))
	}}
}

func substring(c *invocation, dst []Value) ([]Value, error) {
	s, ok, err := c.text()
	if err != nil {
		return nil, err
	}
	start, ok2, err := c.integer(0)
	if err != nil || !ok || !ok2 {
		return dst, err
	}
	r := []rune(s)
	if start < 0 || start >= int64(len(r)) {
		return dst, nil
	}
	r = r[start:]
	if len(c.args) == 2 {
		n, given, err := c.integer(1)
		if err != nil {
			return nil, err
		}
		if given {
			r = r[:min(max(n, 0), int64(len(r)))]
		}
	}
	return c.ev.appendText(dst, string(r))
}

func replace(c *invocation, dst []Value) ([]Value, error) {
	s, ok, err := c.text()
	if err != nil {
		return nil, err
	}
	old, ok2, err := c.str(0)
	if err != nil {
		return nil, err
	}
	with, ok3, err := c.str(1)
	if err != nil || !ok || !ok2 || !ok3 {
		return dst, err
	}
	if len(s)+(strings.Count(s, old)*len(with)) > maxText {
		return nil, ErrTooCostly
	}
	return c.ev.appendText(dst, strings.ReplaceAll(s, old, with))
}

// maxPattern bounds a regular expression; its compiled form may be much larger.
const maxPattern = 1000

// pattern compiles a regular expression. RE2 has no look-around and no back
// references; an expression with them is an error.
func (c *invocation) pattern(before, after string) (*regexp.Regexp, bool, error) {
	p, ok, err := c.str(0)
	if err != nil || !ok {
		return nil, ok, err
	}
	if len(p) > maxPattern {
		return nil, false, ErrTooCostly
	}
	if err := c.ev.step(100 + 10*len(p)); err != nil {
		return nil, false, err
	}
	flags, err := c.flags()
	if err != nil {
		return nil, false, err
	}
	re, err := regexp.Compile(flags + before + p + after)
	if err != nil {
		return nil, false, fmt.Errorf("the regular expression cannot be used: %w", err)
	}
	return re, true, nil
}

// flags reads the second argument of matches() and matchesFull(): i ignores
// case, m lets ^ and $ match at lines. A dot always matches a line end.
func (c *invocation) flags() (string, error) {
	if len(c.args) < 2 || c.noFlags {
		return "(?s)", nil
	}
	given, _, err := c.str(1)
	if strings.Trim(given, "im") != "" {
		err = fmt.Errorf("the flags %q are not known", given)
	}
	return "(?s" + given + ")", err
}

// matches makes matches() and matchesFull(); both take the input as one line.
func matches(before, after string) runner {
	return func(c *invocation, dst []Value) ([]Value, error) {
		s, ok, err := c.text()
		if err != nil {
			return nil, err
		}
		re, ok2, err := c.pattern(before, after)
		if err != nil || !ok || !ok2 {
			return dst, err
		}
		return append(dst, Bool(re.MatchString(s))), c.ev.step(len(s))
	}
}

func replaceMatches(c *invocation, dst []Value) ([]Value, error) {
	s, ok, err := c.text()
	if err != nil {
		return nil, err
	}
	with, ok2, err := c.str(1)
	if err != nil {
		return nil, err
	}
	p, given, err := c.str(0)
	if err != nil || !ok || !ok2 || !given {
		return dst, err
	}
	if p == "" {
		return append(dst, String(s)), nil
	}
	c.noFlags = true
	re, _, err := c.pattern("", "")
	if err != nil {
		return nil, err
	}
	if err := c.ev.step(len(s)); err != nil {
		return nil, err
	}
	// A reference to a group may repeat the whole match: bound the result first.
	groups := strings.Count(with, "$") + 1
	if (len(s)+1)*(len(with)+1) > maxText && groups*len(s)+len(re.FindAllStringIndex(s, -1))*len(with) > maxText {
		return nil, ErrTooCostly
	}
	return c.ev.appendText(dst, re.ReplaceAllString(s, with))
}

func length(c *invocation, dst []Value) ([]Value, error) {
	s, ok, err := c.text()
	if err != nil || !ok {
		return dst, err
	}
	return append(dst, Integer(int64(utf8.RuneCountInString(s)))), nil
}

func toChars(c *invocation, dst []Value) ([]Value, error) {
	s, ok, err := c.text()
	if err != nil || !ok {
		return dst, err
	}
	for _, r := range s {
		dst = append(dst, String(string(r)))
	}
	return dst, c.ev.step(len(s))
}

func split(c *invocation, dst []Value) ([]Value, error) {
	s, ok, err := c.text()
	if err != nil {
		return nil, err
	}
	sep, ok2, err := c.str(0)
	if err != nil || !ok || !ok2 {
		return dst, err
	}
	if err := c.ev.step(len(s)); err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(s, sep) {
		dst = append(dst, String(part))
	}
	return dst, nil
}

func join(c *invocation, dst []Value) ([]Value, error) {
	sep := ""
	if len(c.args) == 1 {
		var err error
		if sep, _, err = c.str(0); err != nil {
			return nil, err
		}
	}
	if len(c.in) == 0 {
		return dst, nil
	}
	var b strings.Builder
	first := 0
	for i, v := range c.in {
		if v = v.system(); v.kind == kindNode && !v.node.Valid() {
			if first == i {
				first++ // no separator before the first text
			}
			continue
		}
		if v.kind != kindString {
			return nil, fmt.Errorf("join() takes strings, not %s", v.describe())
		}
		if i > first {
			b.WriteString(sep)
		}
		b.WriteString(v.s)
		if b.Len() > maxText {
			return nil, ErrTooCostly
		}
	}
	return c.ev.appendText(dst, b.String())
}

var errCoding = errors.New("the encoding is not known")

// coding makes encode(), escape() and their opposites: a result that does not
// exist (text that is not in the encoding) is empty.
func coding(f func(s, format string) (string, bool, error)) runner {
	return func(c *invocation, dst []Value) ([]Value, error) {
		s, ok, err := c.text()
		if err != nil {
			return nil, err
		}
		format, ok2, err := c.str(0)
		if err != nil || !ok || !ok2 {
			return dst, err
		}
		out, ok, err := f(s, format)
		if err != nil || !ok {
			return dst, err
		}
		return c.ev.appendText(dst, out)
	}
}

func encode(s, format string) (string, bool, error) {
	switch format {
	case "hex":
		return hex.EncodeToString([]byte(s)), true, nil
	case "base64":
		return base64.StdEncoding.EncodeToString([]byte(s)), true, nil
	case "urlbase64":
		return base64.URLEncoding.EncodeToString([]byte(s)), true, nil
	}
	return "", false, errCoding
}

func decode(s, format string) (string, bool, error) {
	var b []byte
	var err error
	switch format {
	case "hex":
		b, err = hex.DecodeString(s)
	case "base64":
		b, err = base64.StdEncoding.DecodeString(s)
	case "urlbase64":
		b, err = base64.URLEncoding.DecodeString(s)
	default:
		return "", false, errCoding
	}
	return string(b), err == nil && utf8.Valid(b), nil
}

func escape(s, format string) (string, bool, error) {
	switch format {
	case "html":
		return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s), true, nil
	case "json":
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\f", `\f`, "\b", `\b`).Replace(s), true, nil
	}
	return "", false, errCoding
}

func unescape(s, format string) (string, bool, error) {
	switch format {
	case "html":
		return html.UnescapeString(s), true, nil
	case "json":
		out, err := strconv.Unquote(`"` + strings.ReplaceAll(unescapeQuotes(s), `\/`, `/`) + `"`)
		return out, err == nil, nil
	}
	return "", false, errCoding
}

// unescapeQuotes makes a lone quote legal for strconv.Unquote.
func unescapeQuotes(s string) string {
	return strings.NewReplacer(`\\`, `\\`, `\"`, `\"`, `"`, `\"`, "\n", `\n`).Replace(s)
}
