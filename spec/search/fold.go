package search

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Fold returns the form in which strings are compared unless :exact is asked
// for (R4 section 3.1.1.4.8): lower case, without accents, with every run of
// white space turned into one blank and none at the ends. Fold(Fold(s)) = Fold(s).
func Fold(s string) string {
	if isFolded(s) {
		return s
	}
	if isASCII(s) {
		return foldASCII(s)
	}
	return foldUnicode(s)
}

// isFolded reports whether s is ASCII and needs no change, the case that costs
// no memory.
func isFolded(s string) bool {
	blank := true // as if a blank stood before s, so that a leading one is seen
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == ' ':
			if blank {
				return false
			}
			blank = true
			continue
		case c < ' ' || c >= utf8.RuneSelf || 'A' <= c && c <= 'Z':
			return false
		}
		blank = false
	}
	return len(s) == 0 || !blank
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func foldASCII(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	blank := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == ' ' || '\t' <= c && c <= '\r':
			blank = b.Len() > 0
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		}
		b.WriteByte(c)
	}
	return b.String()
}

// letters maps the letters that Unicode does not decompose, but that people
// type without their stroke or ligature.
var letters = map[rune]string{
	'ß': "ss", 'æ': "ae", 'œ': "oe", 'ø': "o", 'đ': "d", 'ð': "d", 'ħ': "h",
	'ı': "i", 'ł': "l", 'ŋ': "n", 'þ': "th", 'ŧ': "t", 'ς': "σ",
}

func foldUnicode(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	blank := false
	// The compatibility form also folds widths and ligatures (ﬁ, Ａ).
	for _, r := range norm.NFKD.String(s) {
		if unicode.Is(unicode.Mn, r) {
			continue
		}
		if unicode.IsSpace(r) {
			blank = b.Len() > 0
			continue
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		}
		r = unicode.ToLower(r)
		if t, ok := letters[r]; ok {
			b.WriteString(t)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
