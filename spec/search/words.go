package search

import (
	"errors"
	"html"
	"strings"
	"unicode"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// parseWords reads a value of _text or _content: words that must all be there,
// or "several words" in quotes that must stand together.
func parseWords(s string) (Value, error) {
	v := Value{Text: s}
	for i, part := range strings.Split(s, `"`) {
		if i%2 == 1 {
			if p := plainWords(part); p != "" {
				v.Words = append(v.Words, p)
			}
			continue
		}
		v.Words = append(v.Words, strings.Fields(plainWords(part))...)
	}
	if len(v.Words) == 0 {
		return v, errors.New("it has no words")
	}
	return v, nil
}

// plainWords folds a text and leaves only its words, with one blank between them.
func plainWords(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range Fold(s) {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Words returns the text of a resource as plain words: of its narrative, or of
// all its strings.
func Words(n resource.Node, all bool) string {
	var b strings.Builder
	if !all {
		narrative(&b, n.Get("text").Get("div").Text())
		return plainWords(b.String())
	}
	var walk func(resource.Node)
	walk = func(n resource.Node) {
		switch n.Kind() {
		case resource.Object, resource.Array:
			for c := n.First(); c.Valid(); c = c.Next() {
				if n.Kind() == resource.Object && c.KeyIs("div") {
					narrative(&b, c.Text())
					continue
				}
				walk(c)
			}
		case resource.String, resource.Number:
			b.Write(n.Bytes())
			b.WriteByte(' ')
		}
	}
	walk(n)
	return plainWords(b.String())
}

// narrative takes the text out of XHTML.
func narrative(b *strings.Builder, div string) {
	for div != "" {
		text, rest, _ := strings.Cut(div, "<")
		b.WriteString(html.UnescapeString(text))
		b.WriteByte(' ')
		_, div, _ = strings.Cut(rest, ">")
	}
}

// hasWords reports whether all words are in the text of a resource.
func hasWords(n resource.Node, all bool, words []string) bool {
	text := " " + Words(n, all) + " "
	for _, w := range words {
		if !strings.Contains(text, " "+w+" ") {
			return false
		}
	}
	return true
}
