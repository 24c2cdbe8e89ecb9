package fhir

import (
	"bytes"
	"strings"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// narrative rewrites the links in Narrative.div that are fullUrls (R4 section
// 3.1.0.11.2). No search parameter reads a narrative, so the index does not
// need the new text.
func (w *walk) narrative(c resource.Node) {
	raw := c.Raw()
	if len(w.r.targets) == 0 || !bytes.Contains(raw, []byte("href")) && !bytes.Contains(raw, []byte("src")) {
		return
	}
	if div, ok := w.r.links(c.Text()); ok {
		start, end := c.Offsets()
		w.edits = append(w.edits, resource.Edit{Start: start, End: end, With: resource.AppendString(nil, div)})
	}
}

// links returns an XHTML text with the href of each a and the src of each img
// that names an entry replaced by the place of the entry. Everything else keeps
// its bytes, and ok is false when nothing was replaced.
func (r *references) links(div string) (_ string, ok bool) {
	var out strings.Builder
	done := 0
	for i := 0; ; {
		open := strings.IndexByte(div[i:], '<')
		if open < 0 {
			break
		}
		i += open + 1
		attr := ""
		switch div[i : i+nameLen(div[i:])] {
		case "a":
			attr = "href"
		case "img":
			attr = "src"
		default:
			continue
		}
		start, end := attribute(div[i:], attr)
		if start < 0 {
			continue
		}
		if place, named := r.place(div[i+start : i+end]); named {
			out.WriteString(div[done : i+start])
			out.WriteString(place)
			done, ok = i+end, true
		}
		i += end
	}
	out.WriteString(div[done:])
	return out.String(), ok
}

// place returns what replaces the text of a link, which may have a fragment.
func (r *references) place(link string) (string, bool) {
	link = strings.ReplaceAll(link, "&amp;", "&")
	t, ok := r.targets[link]
	fragment := ""
	if i := strings.IndexByte(link, '#'); !ok && i > 0 {
		t, ok = r.targets[link[:i]]
		fragment = link[i:]
	}
	if !ok || t.canonical {
		return "", false
	}
	return t.String() + strings.ReplaceAll(fragment, "&", "&amp;"), true
}

// notName reports whether r ends the name of an XML element or attribute.
func notName(r rune) bool {
	return r <= ' ' || r == '>' || r == '/' || r == '=' || r == '<'
}

// nameLen returns the length of the name that s begins with.
func nameLen(s string) int {
	if i := strings.IndexFunc(s, notName); i >= 0 {
		return i
	}
	return len(s)
}

// attribute returns where the value of the attribute name stands in a tag whose
// text after "<" is given, or start < 0. It reads no further than to the next
// "<", which no tag has inside: so all tags of a text are read once.
func attribute(tag, name string) (start, end int) {
	i := nameLen(tag)
	for i < len(tag) && tag[i] != '>' && tag[i] != '<' {
		if notName(rune(tag[i])) {
			i++
			continue
		}
		n := i + nameLen(tag[i:])
		found := tag[i:n] == name
		i = n + len(tag[n:]) - len(strings.TrimLeft(tag[n:], " \t\r\n="))
		if i == len(tag) || tag[i] != '"' && tag[i] != '\'' {
			continue
		}
		size := strings.IndexAny(tag[i+1:], tag[i:i+1]+"<")
		if size < 0 || tag[i+1+size] == '<' {
			break
		}
		if found {
			return i + 1, i + 1 + size
		}
		i += size + 2
	}
	return -1, -1
}
