package fhirxml

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// WriteError says why a resource has no XML form.
type WriteError struct {
	Path string // location in the resource
	Msg  string
}

// Error implements error.
func (e *WriteError) Error() string {
	if e.Path == "" {
		return e.Msg
	}
	return e.Path + ": " + e.Msg
}

// Append appends the resource n as an XML document; pretty puts each element on a
// line of its own. The error is a *WriteError, for what is no resource of R4 or
// has a character that XML cannot hold; dst is then returned as it was.
func Append(dst []byte, n resource.Node, pretty bool) ([]byte, error) {
	w := writer{buf: append(dst, `<?xml version="1.0" encoding="UTF-8"?>`...), pretty: pretty}
	w.resource(n, true)
	if w.err != nil {
		return dst, w.err
	}
	if pretty {
		w.buf = append(w.buf, '\n')
	}
	return w.buf, nil
}

// writer is the state of one Append.
type writer struct {
	buf    []byte
	fields []field // of the open objects
	depth  int
	pretty bool
	err    error // the first one
}

// field is an element of an object: a JSON member, and the one with its
// underscore.
type field struct {
	el       *r4.Element
	ref      *r4.TypeRef
	val, ext resource.Node
}

func (w *writer) fail(n resource.Node, format string, args ...any) {
	if w.err == nil {
		w.err = &WriteError{Path: n.Path(), Msg: fmt.Sprintf(format, args...)}
	}
}

// line begins a new line in pretty output.
func (w *writer) line() {
	if !w.pretty {
		return
	}
	w.buf = append(w.buf, '\n')
	for range w.depth {
		w.buf = append(w.buf, ' ', ' ')
	}
}

// resource writes a resource; the root declares the namespace for all.
func (w *writer) resource(n resource.Node, root bool) {
	name := n.Get("resourceType")
	t := r4.LookupBytes(name.Bytes())
	if n.Kind() != resource.Object || t == nil || t.Kind != r4.Resource || t.Abstract {
		w.fail(n, "only a resource of FHIR R4 has an XML form")
		return
	}
	w.line()
	w.buf = append(append(w.buf, '<'), t.Name...)
	if root {
		w.buf = append(w.buf, ` xmlns="`+nsFHIR+`"`...)
	}
	base := w.collect(n, t)
	w.body(t.Name, base)
}

// collect gathers the fields of an object, in the order of XML: that of the
// definition. It returns where they begin in w.fields.
func (w *writer) collect(n resource.Node, t *r4.Type) int {
	base := len(w.fields)
	for c := range n.Children() {
		key := c.Key()
		under := len(key) > 0 && key[0] == '_'
		if under {
			key = key[1:]
		}
		el, ref, ok := t.Element(key)
		if !ok {
			if t.Kind == r4.Resource && string(key) == "resourceType" {
				continue
			}
			w.fail(c, "%s has no such element", t.Name)
			return base
		}
		w.field(base, el, ref, c, under)
	}
	slices.SortStableFunc(w.fields[base:], func(a, b field) int { return a.el.Index - b.el.Index })
	return base
}

// field adds a member to the field that it belongs to.
func (w *writer) field(base int, el *r4.Element, ref *r4.TypeRef, c resource.Node, under bool) {
	at := -1
	for i := base; i < len(w.fields); i++ {
		if w.fields[i].ref == ref {
			at = i
		}
	}
	if at < 0 {
		at = len(w.fields)
		w.fields = append(w.fields, field{el: el, ref: ref})
	}
	if under {
		w.fields[at].ext = c
	} else {
		w.fields[at].val = c
	}
}

// body writes the fields from base and the end of the element name, whose start
// tag is still open.
func (w *writer) body(name string, base int) {
	if base == len(w.fields) {
		w.buf = append(w.buf, '/', '>')
		return
	}
	w.buf = append(w.buf, '>')
	w.depth++
	for i := base; i < len(w.fields) && w.err == nil; i++ {
		f := w.fields[i]
		w.elements(&f)
	}
	w.depth--
	w.fields = w.fields[:base]
	w.line()
	w.end(name)
}

func (w *writer) end(name string) {
	w.buf = append(append(append(w.buf, '<', '/'), name...), '>')
}

// elements writes all repetitions of a field.
func (w *writer) elements(f *field) {
	if f.val.Kind() != resource.Array && f.ext.Kind() != resource.Array {
		w.element(f.ref, f.val, f.ext)
		return
	}
	if f.val.Valid() && f.val.Kind() != resource.Array || f.ext.Valid() && f.ext.Kind() != resource.Array {
		w.fail(f.val, "a list and its extensions must both be arrays")
		return
	}
	val, ext := f.val.First(), f.ext.First()
	for (val.Valid() || ext.Valid()) && w.err == nil {
		w.element(f.ref, val, ext)
		val, ext = val.Next(), ext.Next()
	}
}

// element writes one element.
func (w *writer) element(ref *r4.TypeRef, val, ext resource.Node) {
	name := ref.JSONName
	switch {
	case ref.Name == "xhtml":
		w.line()
		w.narrative(val)
	case ref.Type.Kind == r4.Primitive:
		w.primitive(name, val, ext)
	case val.Kind() != resource.Object:
		w.fail(val, "expected an object")
	case ref.Type.Kind == r4.Resource:
		w.line()
		w.buf = append(append(append(w.buf, '<'), name...), '>')
		w.depth++
		w.resource(val, false)
		w.depth--
		w.line()
		w.end(name)
	default:
		w.line()
		w.buf = append(append(w.buf, '<'), name...)
		w.object(name, val, ref.Type)
	}
}

// object writes the attributes and elements of an object, and the end of the
// element name.
func (w *writer) object(name string, n resource.Node, t *r4.Type) {
	base := w.collect(n, t)
	if w.err != nil {
		return
	}
	rest := base
	for i := base; i < len(w.fields); i++ {
		f := w.fields[i]
		if isAttribute(t, f.el) {
			w.attribute(f.ref.JSONName, f.val)
			continue
		}
		w.fields[rest] = f
		rest++
	}
	w.fields = w.fields[:rest]
	w.body(name, base)
}

// primitive writes an element of a primitive type: its value as an attribute,
// its id and extensions from the object beside it.
func (w *writer) primitive(name string, val, ext resource.Node) {
	if val.Kind() == resource.Null {
		val = resource.Node{}
	}
	if ext.Kind() == resource.Null {
		ext = resource.Node{}
	}
	if !val.Valid() && !ext.Valid() {
		return
	}
	w.line()
	w.buf = append(append(w.buf, '<'), name...)
	if val.Valid() {
		w.attribute("value", val)
	}
	if !ext.Valid() {
		w.buf = append(w.buf, '/', '>')
		return
	}
	if ext.Kind() != resource.Object {
		w.fail(ext, "expected an object")
		return
	}
	w.object(name, ext, r4.Lookup("Element"))
}

// attribute writes a primitive value as an attribute: numbers and booleans as
// they are written in JSON.
func (w *writer) attribute(name string, val resource.Node) {
	switch val.Kind() {
	case resource.String, resource.Number, resource.Bool:
	default:
		w.fail(val, "expected a primitive value")
		return
	}
	w.buf = append(append(append(w.buf, ' '), name...), '=', '"')
	var ok bool
	if w.buf, ok = appendEscaped(w.buf, val.Bytes()); !ok {
		w.fail(val, "the value has a character that XML cannot hold")
	}
	w.buf = append(w.buf, '"')
}

// narrative writes the div of a narrative: its text as it is, with the namespace
// if it does not say it, and without the named entities of HTML, which XML does
// not know.
func (w *writer) narrative(val resource.Node) {
	text := bytes.TrimSpace(val.Bytes())
	if val.Kind() != resource.String || !bytes.HasPrefix(text, []byte("<div")) {
		w.fail(val, "a narrative must be one <div> element")
		return
	}
	if !declares(text) {
		w.buf = append(w.buf, `<div xmlns="`+nsXHTML+`"`...)
		text = text[len("<div"):]
	}
	var ok bool
	if w.buf, ok = appendMarkup(w.buf, text); !ok {
		w.fail(val, "the narrative has an entity or a character that XML cannot hold")
	}
}
