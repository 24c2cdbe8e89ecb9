package fhirhttp

import (
	"bytes"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// subsetted is the tag of a resource that is not whole (R4 section 3.1.1.5.8).
const subsetted = `{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}`

// appendSubset appends the resource n as v shows it. resourceType, id, meta and
// the mandatory elements are always there, except under _summary=data, which
// leaves out nothing but the text.
func appendSubset(dst []byte, n resource.Node, v *view) []byte {
	typ := r4.Lookup(n.Get("resourceType").Text())
	dst = append(dst, '{')
	first, tagged := true, false
	for c := n.First(); c.Valid(); c = c.Next() {
		name := bytes.TrimPrefix(c.Key(), []byte("_"))
		if string(name) == "meta" {
			dst = appendName(dst, c, &first)
			dst = appendTagged(dst, c)
			tagged = true
			continue
		}
		keep, deep, ref := keepElement(typ, name, v)
		if !keep {
			continue
		}
		dst = appendName(dst, c, &first)
		if deep && ref != nil && c.Key()[0] != '_' {
			dst = appendSummary(dst, c, ref.Type)
		} else {
			dst = c.AppendCompact(dst)
		}
	}
	if !tagged {
		if !first {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, `"meta":{"tag":[`...), subsetted...), "]}"...)
	}
	return append(dst, '}')
}

// keepElement decides about one member of the resource. deep asks to look at
// the elements below it too.
func keepElement(typ *r4.Type, name []byte, v *view) (keep, deep bool, ref *r4.TypeRef) {
	switch string(name) {
	case "resourceType", "id":
		return true, false, nil
	}
	if v.summary == "data" {
		return string(name) != "text", false, nil
	}
	if typ == nil {
		return false, false, nil
	}
	el, ref, ok := typ.Element(name)
	if !ok {
		return false, false, nil
	}
	switch {
	case v.elements != nil:
		return el.Min > 0 || named(el, name, v.elements), false, nil
	case v.summary == "text":
		return el.Min > 0 || string(name) == "text", false, nil
	}
	return el.Summary || el.Min > 0, true, ref
}

// named reports whether _elements asks for an element: by its name, with or
// without [x] for choices, or by the name in JSON.
func named(el *r4.Element, name []byte, list []string) bool {
	for _, want := range list {
		if want == el.Name || want == string(name) || el.Choice && strings.TrimSuffix(want, "[x]") == el.Name {
			return true
		}
	}
	return false
}

// appendSummary appends what _summary=true shows of a value: the elements that
// the definition marks, all the way down.
func appendSummary(dst []byte, n resource.Node, typ *r4.Type) []byte {
	switch {
	case n.Kind() == resource.Array:
		dst = append(dst, '[')
		for c := n.First(); c.Valid(); c = c.Next() {
			if dst[len(dst)-1] != '[' {
				dst = append(dst, ',')
			}
			dst = appendSummary(dst, c, typ)
		}
		return append(dst, ']')
	case n.Kind() != resource.Object || typ == nil || typ.Kind == r4.Resource:
		return n.AppendCompact(dst)
	}
	start := len(dst)
	dst = append(dst, '{')
	first := true
	for c := n.First(); c.Valid(); c = c.Next() {
		el, ref, ok := typ.Element(bytes.TrimPrefix(c.Key(), []byte("_")))
		if !ok || !el.Summary && el.Min == 0 {
			continue
		}
		dst = appendName(dst, c, &first)
		if ref == nil || c.Key()[0] == '_' {
			dst = c.AppendCompact(dst)
		} else {
			dst = appendSummary(dst, c, ref.Type)
		}
	}
	if first {
		// An element must not be empty: one that holds only an extension or
		// an id, which are no summary elements, stays as it is.
		return n.AppendCompact(dst[:start])
	}
	return append(dst, '}')
}

// appendName appends the separator and the name of a member.
func appendName(dst []byte, c resource.Node, first *bool) []byte {
	if !*first {
		dst = append(dst, ',')
	}
	*first = false
	dst = resource.AppendString(dst, string(c.Key()))
	return append(dst, ':')
}

// appendTagged appends meta with the tag SUBSETTED.
func appendTagged(dst []byte, meta resource.Node) []byte {
	dst = append(dst, '{')
	first, tagged := true, false
	for c := meta.First(); c.Valid(); c = c.Next() {
		dst = appendName(dst, c, &first)
		if !c.KeyIs("tag") || c.Kind() != resource.Array {
			dst = c.AppendCompact(dst)
			continue
		}
		tagged = true
		dst = append(dst, '[')
		for t := c.First(); t.Valid(); t = t.Next() {
			if t.Get("code").Is("SUBSETTED") {
				continue
			}
			dst = append(t.AppendCompact(dst), ',')
		}
		dst = append(append(dst, subsetted...), ']')
	}
	if !tagged {
		if !first {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, `"tag":[`...), subsetted...), ']')
	}
	return append(dst, '}')
}
