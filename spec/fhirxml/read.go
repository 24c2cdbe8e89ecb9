package fhirxml

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// The namespaces of a resource in XML (R4 section 2.6.1).
const (
	nsFHIR  = "http://hl7.org/fhir"
	nsXHTML = "http://www.w3.org/1999/xhtml"
	nsXSI   = "http://www.w3.org/2001/XMLSchema-instance"
)

// AppendJSON reads one resource from XML and appends its JSON text. The error is
// a *resource.SyntaxError whose offset is that in src; dst is then returned as
// it was. Of opt the depth counts elements, the number of nodes elements and
// attributes.
func AppendJSON(dst, src []byte, opt resource.Options) ([]byte, error) {
	if opt.MaxDepth <= 0 {
		opt.MaxDepth = 100
	}
	if opt.MaxNodes <= 0 {
		opt.MaxNodes = math.MaxInt
	}
	start := 0
	if bytes.HasPrefix(src, []byte("\ufeff")) {
		start = 3
	}
	if text := bytes.Trim(src[start:], xmlSpace); len(text) > 0 && text[0] != '<' {
		return dst, &resource.SyntaxError{Offset: start, Code: "structure", Msg: "the text is not XML"}
	}
	if len(src) > math.MaxInt32 {
		return dst, &resource.SyntaxError{Code: "too-costly", Msg: "the text is larger than 2 GiB"}
	}
	r := reader{scanner: scanner{src: src, pos: start, start: start}, buf: dst, depth: opt.MaxDepth, nodes: opt.MaxNodes}
	if err := r.document(); err != nil {
		err.Path = r.path()
		return dst, err
	}
	return r.buf, nil
}

// reader is the state of one AppendJSON. The JSON text of the elements below the
// open one is appended to buf as they end; when the open one ends, its own text
// is put together behind them and moved down over them.
type reader struct {
	scanner
	buf    []byte
	items  []item // elements that ended, below those that are open
	frames []frame
	depth  int // levels that are left
	nodes  int // elements and attributes that are left
}

// item is an element, or an attribute that is a member in JSON, whose text lies
// in buf: the value, and the object of _name. A hostile text has millions of
// them, so they are small.
type item struct {
	ref      *r4.TypeRef // nil when it was written
	el       *r4.Element
	val, ext span
}

// span is a part of buf; it is empty when there is nothing.
type span struct{ from, to uint32 }

func (s span) empty() bool { return s.from == s.to }

// mark returns the end of buf.
func (r *reader) mark() uint32 { return uint32(len(r.buf)) }

// frame is an open element, for locations.
type frame struct {
	name string
	ref  *r4.TypeRef // nil at the root
	base int         // where the items of its parent begin
	many bool
}

// wrong returns an error at the current token.
func (r *reader) wrong(code, msg string) *resource.SyntaxError {
	return &resource.SyntaxError{Offset: r.at, Code: code, Msg: msg}
}

// path returns the location of the innermost open element.
func (r *reader) path() string {
	var b strings.Builder
	for i, f := range r.frames {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(f.name)
		if f.many {
			end := len(r.items)
			if i+1 < len(r.frames) {
				end = r.frames[i+1].base
			}
			n := 0
			for _, it := range r.items[f.base:end] {
				if it.ref == f.ref {
					n++
				}
			}
			b.WriteString("[" + strconv.Itoa(n) + "]")
		}
	}
	return b.String()
}

// tag reads the next start or end tag; between them there must be no text. It is
// false at an end tag, and at the end of the text.
func (r *reader) tag() (start bool, err *resource.SyntaxError) {
	t, err := r.next()
	switch {
	case err != nil:
		return false, err
	case t == tokenText:
		return false, r.wrong("structure", "text between elements: a value stands in the attribute value")
	case t == tokenStart:
		if r.nodes -= 1 + len(r.attrs); r.nodes < 0 {
			return false, r.wrong("too-costly", "the text has too many values")
		}
		return true, nil
	}
	return false, nil
}

// document reads the resource and nothing else.
func (r *reader) document() *resource.SyntaxError {
	if err := r.begin(); err != nil {
		return err
	}
	start, err := r.tag()
	if err == nil && !start {
		err = r.wrong("structure", "the text is empty")
	}
	if err == nil {
		err = r.resource()
	}
	if err != nil {
		return err
	}
	if start, err = r.tag(); err == nil && start {
		err = r.wrong("structure", "something follows the resource")
	}
	return err
}

// resource reads a resource, whose start tag was read, and appends its JSON text.
func (r *reader) resource() *resource.SyntaxError {
	name := string(r.name.local)
	if r.name.space != nsFHIR {
		return r.wrong("structure", "the element "+clip(name)+" is not in the namespace "+nsFHIR)
	}
	if !r4.IsResource(name) {
		return r.wrong("structure", clip(name)+" is not a resource type of FHIR R4")
	}
	if len(r.frames) == 0 {
		r.frames = append(r.frames, frame{name: name})
	}
	for i := range r.attrs {
		if r.attrs[i].space != nsXSI {
			return r.wrong("structure", "a resource cannot have the attribute "+clip(string(r.attrs[i].local)))
		}
	}
	return r.fields(r4.Lookup(name), name)
}

// fields reads all elements up to the end tag of the open one and appends them as
// the JSON object of type t. The attributes of the open one are read first, but
// for those of a resource, which has none.
func (r *reader) fields(t *r4.Type, resourceType string) *resource.SyntaxError {
	if r.depth--; r.depth < 0 {
		return r.wrong("too-costly", "the elements are nested too deeply")
	}
	base, from := len(r.items), len(r.buf)
	if resourceType == "" {
		if err := r.attributes(t); err != nil {
			return err
		}
	}
	for {
		start, err := r.tag()
		if err != nil {
			return err
		}
		if !start {
			break // the scanner has matched it with our start
		}
		if err := r.child(t, base); err != nil {
			return err
		}
	}
	r.depth++
	at := len(r.buf)
	r.buf = appendObject(r.buf, r.items[base:], resourceType)
	if len(r.buf) > math.MaxInt32 {
		return r.wrong("too-costly", "the text is larger than 2 GiB")
	}
	r.buf = r.buf[:from+copy(r.buf[from:], r.buf[at:])]
	r.items = r.items[:base]
	return nil
}

// attributes reads the elements that are attributes in XML: id, and url of an Extension.
func (r *reader) attributes(t *r4.Type) *resource.SyntaxError {
	for i := range r.attrs {
		a := &r.attrs[i]
		if a.space == "" && a.local == nil {
			continue // taken already
		}
		el, ref, ok := t.Element(a.local)
		if a.space != "" || !ok || !isAttribute(t, el) {
			return r.wrong("structure", t.Name+" has no attribute "+clip(string(a.local)))
		}
		it := item{el: el, ref: ref}
		it.val.from = r.mark()
		r.text(a.raw)
		it.val.to = r.mark()
		r.items = append(r.items, it)
	}
	return nil
}

// isAttribute reports whether XML writes an element as an attribute (R4 section
// 2.6.1): the id of everything but a resource, and the url of an extension.
func isAttribute(t *r4.Type, el *r4.Element) bool {
	return el.Name == "id" && t.Kind != r4.Resource || el.Name == "url" && t.Name == "Extension"
}

// child reads one element of an object of type t whose items begin at base.
func (r *reader) child(t *r4.Type, base int) *resource.SyntaxError {
	el, ref, ok := t.Element(r.name.local)
	switch {
	case !ok:
		return r.wrong("structure", t.Name+" has no element "+clip(string(r.name.local)))
	case isAttribute(t, el):
		return r.wrong("structure", el.Name+" of "+t.Name+" is an attribute, not an element")
	}
	r.frames = append(r.frames, frame{name: ref.JSONName, ref: ref, base: base, many: el.Many()})
	space := nsFHIR
	if ref.Name == "xhtml" {
		space = nsXHTML
	}
	if r.name.space != space {
		return r.wrong("structure", "the element "+ref.JSONName+" is not in the namespace "+space)
	}
	it := item{el: el, ref: ref}
	var err *resource.SyntaxError
	switch {
	case ref.Name == "xhtml":
		it.val, err = r.xhtml()
	case ref.Type.Kind == r4.Primitive:
		it.val, it.ext, err = r.primitive(ref.Type)
	case ref.Type.Kind == r4.Resource:
		it.val, err = r.nested()
	default:
		it.val.from = r.mark()
		err = r.fields(ref.Type, "")
		it.val.to = r.mark()
	}
	if err != nil {
		return err
	}
	r.frames = r.frames[:len(r.frames)-1]
	r.items = append(r.items, it)
	return nil
}

// nested reads an element that holds one resource: contained, Bundle.entry.resource.
func (r *reader) nested() (s span, err *resource.SyntaxError) {
	if len(r.attrs) > 0 {
		return s, r.wrong("structure", "an element with a resource has no attribute "+clip(string(r.attrs[0].local)))
	}
	start, err := r.tag()
	if err == nil && !start {
		err = r.wrong("structure", "a resource is missing")
	}
	if err != nil {
		return s, err
	}
	s.from = r.mark()
	if err := r.resource(); err != nil {
		return s, err
	}
	s.to = r.mark()
	if start, err = r.tag(); err == nil && start {
		err = r.wrong("structure", "there must be only one resource in an element")
	}
	return s, err
}

// appendObject appends the JSON object that has items, whose text lies in buf,
// and uses the items up.
func appendObject(buf []byte, items []item, resourceType string) []byte {
	buf = append(buf, '{')
	from := len(buf)
	if resourceType != "" {
		buf = append(buf, `"resourceType":`...)
		buf = resource.AppendString(buf, resourceType)
	}
	for i := range items {
		ref := items[i].ref
		if ref == nil {
			continue // a repetition
		}
		rest, n, vals, exts := items[i:], 0, false, false
		for j := range rest {
			if rest[j].ref == ref {
				n++
				vals = vals || !rest[j].val.empty()
				exts = exts || !rest[j].ext.empty()
			}
		}
		// More than one are an array even if the definition has only one: the
		// check of the resource reports that.
		many := n > 1 || items[i].el.Many()
		if vals {
			buf = appendMember(buf, from, "", many, rest, ref, func(it *item) span { return it.val })
		}
		if exts {
			buf = appendMember(buf, from, "_", many, rest, ref, func(it *item) span { return it.ext })
		}
		for j := range rest {
			if rest[j].ref == ref {
				rest[j].ref = nil
			}
		}
	}
	return append(buf, '}')
}

// appendMember appends a member with the text of all items of one name and type.
func appendMember(buf []byte, from int, prefix string, many bool, items []item, ref *r4.TypeRef, text func(*item) span) []byte {
	if len(buf) > from {
		buf = append(buf, ',')
	}
	buf = append(append(append(append(buf, '"'), prefix...), ref.JSONName...), '"', ':')
	if many {
		buf = append(buf, '[')
	}
	first := true
	for i := range items {
		if items[i].ref != ref {
			continue
		}
		if !first {
			buf = append(buf, ',')
		}
		first = false
		if s := text(&items[i]); s.empty() {
			buf = append(buf, "null"...)
		} else {
			buf = append(buf, buf[s.from:s.to]...)
		}
	}
	if many {
		buf = append(buf, ']')
	}
	return buf
}

// clip keeps a name short in a message.
func clip(s string) string {
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:61], "") + "..."
	}
	return strconv.Quote(s)
}
