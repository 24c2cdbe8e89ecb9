package fhir

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// NarrativeSafe is the value of Config.Narrative that refuses a narrative that
// could do something in a browser. The empty value stores it as it comes, which
// is what the standard asks of a server that only keeps it.
const NarrativeSafe = "safe"

// checkNarratives refuses every Narrative.div of n, contained resources
// included, that has active content: R4 section 2.4.0, rules txt-1 and txt-3,
// as far as they are about safety.
func checkNarratives(n resource.Node) error {
	for c := n.First(); c.Valid(); c = c.Next() {
		switch c.Kind() {
		case resource.Object, resource.Array:
			if err := checkNarratives(c); err != nil {
				return err
			}
		case resource.String:
			if !c.KeyIs("div") || !n.KeyIs("text") {
				continue
			}
			if what := activeContent(c.Text()); what != "" {
				return fault.At(fault.Invalid, "invalid", c.Path(), "the narrative is refused: %s", what)
			}
		}
	}
	return nil
}

// active are the elements that a narrative must not have.
var active = map[string]bool{
	"script": true, "iframe": true, "frame": true, "frameset": true, "object": true, "embed": true, "applet": true,
	"form": true, "input": true, "button": true, "textarea": true, "select": true,
	"base": true, "link": true, "meta": true, "style": true, "svg": true, "math": true,
}

// activeContent says what in an XHTML text could do something, "" for nothing.
// What cannot be read as XML is no narrative, and nobody knows what a browser
// makes of it.
func activeContent(div string) string {
	d := xml.NewDecoder(strings.NewReader(div))
	d.Entity = xml.HTMLEntity
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return ""
		}
		if err != nil {
			return "it is not well-formed XHTML"
		}
		el, ok := tok.(xml.StartElement)
		if !ok {
			if _, directive := tok.(xml.Directive); directive {
				return "it has a document type declaration"
			}
			continue
		}
		if name := strings.ToLower(el.Name.Local); active[name] {
			return "it has the element " + name
		}
		for _, a := range el.Attr {
			name := strings.ToLower(a.Name.Local)
			if strings.HasPrefix(name, "on") {
				return "it has an event handler"
			}
			if scheme := schemeOf(a.Value); (name == "href" || name == "src" || name == "background") && !harmless[scheme] {
				return "it has a link with the scheme " + clip(scheme)
			}
		}
	}
}

// harmless are the schemes of links that a narrative may have; "" is a relative one.
var harmless = map[string]bool{"": true, "http": true, "https": true, "mailto": true, "tel": true, "urn": true, "cid": true}

// schemeOf returns the scheme of a link as a browser sees it: without the
// control characters and blanks that browsers leave out.
func schemeOf(link string) string {
	link = strings.Map(func(r rune) rune {
		if r <= ' ' {
			return -1
		}
		return r
	}, link)
	scheme, rest, ok := strings.Cut(link, ":")
	if !ok || strings.ContainsAny(scheme, "/?#") {
		return ""
	}
	scheme = strings.ToLower(scheme)
	if scheme == "data" && strings.HasPrefix(strings.ToLower(rest), "image/") && !strings.HasPrefix(strings.ToLower(rest), "image/svg") {
		return "" // pictures inside the text are common
	}
	return scheme
}
