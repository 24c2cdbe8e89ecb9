package fhirxml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
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
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	if text := bytes.TrimSpace(src); len(text) > 0 && text[0] != '<' {
		return dst, &resource.SyntaxError{Code: "structure", Msg: "the text is not XML"}
	}
	r := reader{src: src, dec: xml.NewDecoder(bytes.NewReader(src)), buf: dst, depth: opt.MaxDepth, nodes: opt.MaxNodes}
	if r.nodes <= 0 {
		r.nodes = int(^uint(0) >> 1)
	}
	r.dec.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errCharset }
	if err := r.document(); err != nil {
		return dst, err
	}
	return r.buf, nil
}

var errCharset = errors.New("an XML body must be UTF-8")

// reader is the state of one AppendJSON. The JSON text of the elements below the
// open one is appended to buf as they end; when the open one ends, its own text
// is put together behind them and moved down over them.
type reader struct {
	src    []byte
	dec    *xml.Decoder
	at     int64 // offset of the current token
	buf    []byte
	items  []item // elements that ended, below those that are open
	frames []frame
	depth  int // levels that are left
	nodes  int // elements and attributes that are left
}

// item is an element, or an attribute that is a member in JSON, whose text lies in buf.
type item struct {
	name     string
	el       *r4.Element
	val, ext span // ext: the object of _name
}

// span is a part of buf; it is empty when there is nothing.
type span struct{ from, to int }

func (s span) empty() bool { return s.from == s.to }

// frame is an open element, for locations.
type frame struct {
	name string // of a resource the type, at the root only
	base int    // where the items of its parent begin
	many bool
}

// fail returns an error at the current token.
func (r *reader) fail(code, msg string) error {
	return &resource.SyntaxError{Offset: int(r.at), Path: r.path(), Code: code, Msg: msg}
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
				if it.name == f.name {
					n++
				}
			}
			b.WriteString("[" + strconv.Itoa(n) + "]")
		}
	}
	return b.String()
}

// next returns the next start or end of an element. What is between elements must
// be white space or a comment. It returns nil at the end of the text.
func (r *reader) next() (xml.Token, error) {
	for {
		r.at = r.dec.InputOffset()
		t, err := r.dec.Token()
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return nil, r.syntax(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if r.nodes -= 1 + len(t.Attr); r.nodes < 0 {
				return nil, r.fail("too-costly", "the text has too many values")
			}
			return t, nil
		case xml.EndElement:
			return t, nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return nil, r.fail("structure", "text between elements: a value stands in the attribute value")
			}
		case xml.Directive:
			return nil, r.fail("structure", "a document type declaration is not allowed")
		}
	}
}

// syntax gives an error of the XML parser our words and its place.
func (r *reader) syntax(err error) error {
	r.at = r.dec.InputOffset()
	if errors.Is(err, errCharset) {
		return r.fail("value", errCharset.Error())
	}
	if se, ok := errors.AsType[*xml.SyntaxError](err); ok {
		return r.fail("structure", "not well-formed XML: "+se.Msg)
	}
	return r.fail("structure", "not well-formed XML")
}

// document reads the resource and nothing else.
func (r *reader) document() error {
	t, err := r.next()
	if err != nil {
		return err
	}
	start, ok := t.(xml.StartElement)
	if !ok {
		return r.fail("structure", "the text is empty")
	}
	if err := r.resource(start); err != nil {
		return err
	}
	if t, err = r.next(); err == nil && t != nil {
		err = r.fail("structure", "something follows the resource")
	}
	return err
}

// resource reads a resource, whose start was read, and appends its JSON text.
func (r *reader) resource(start xml.StartElement) error {
	name := start.Name.Local
	if start.Name.Space != nsFHIR {
		return r.fail("structure", "the element "+clip(name)+" is not in the namespace "+nsFHIR)
	}
	if !r4.IsResource(name) {
		return r.fail("structure", clip(name)+" is not a resource type of FHIR R4")
	}
	if len(r.frames) == 0 {
		r.frames = append(r.frames, frame{name: name})
	}
	for _, a := range start.Attr {
		if !isDeclaration(a.Name) && a.Name.Space != nsXSI {
			return r.fail("structure", "a resource cannot have the attribute "+clip(a.Name.Local))
		}
	}
	return r.fields(r4.Lookup(name), xml.StartElement{}, name)
}

// isDeclaration reports whether an attribute declares a namespace.
func isDeclaration(n xml.Name) bool {
	return n.Space == "xmlns" || n.Space == "" && n.Local == "xmlns"
}

// fields reads the attributes of start and all elements up to its end, and
// appends them as the JSON object of type t.
func (r *reader) fields(t *r4.Type, start xml.StartElement, resourceType string) error {
	if r.depth--; r.depth < 0 {
		return r.fail("too-costly", "the elements are nested too deeply")
	}
	base, from := len(r.items), len(r.buf)
	if err := r.attributes(t, start); err != nil {
		return err
	}
	for {
		tok, err := r.next()
		if err != nil {
			return err
		}
		child, ok := tok.(xml.StartElement)
		if !ok {
			break // the decoder has matched it with our start
		}
		if err := r.child(t, child, base); err != nil {
			return err
		}
	}
	r.depth++
	at := len(r.buf)
	r.buf = appendObject(r.buf, r.items[base:], resourceType)
	r.buf = r.buf[:from+copy(r.buf[from:], r.buf[at:])]
	r.items = r.items[:base]
	return nil
}

// attributes reads the elements that are attributes in XML: id, and url of an Extension.
func (r *reader) attributes(t *r4.Type, start xml.StartElement) error {
	for i, a := range start.Attr {
		if isDeclaration(a.Name) {
			continue
		}
		el, ref, ok := t.Element([]byte(a.Name.Local))
		if a.Name.Space != "" || !ok || !isAttribute(t, el) {
			return r.fail("structure", t.Name+" has no attribute "+clip(a.Name.Local))
		}
		if repeated(start.Attr[:i], a.Name) {
			return r.fail("structure", "the attribute "+a.Name.Local+" is there twice")
		}
		it := item{name: ref.JSONName, el: el}
		it.val.from = len(r.buf)
		r.buf = resource.AppendString(r.buf, a.Value)
		it.val.to = len(r.buf)
		r.items = append(r.items, it)
	}
	return nil
}

func repeated(before []xml.Attr, name xml.Name) bool {
	for _, b := range before {
		if b.Name == name {
			return true
		}
	}
	return false
}

// isAttribute reports whether XML writes an element as an attribute (R4 section
// 2.6.1): the id of everything but a resource, and the url of an extension.
func isAttribute(t *r4.Type, el *r4.Element) bool {
	return el.Name == "id" && t.Kind != r4.Resource || el.Name == "url" && t.Name == "Extension"
}

// child reads one element of an object of type t whose items begin at base.
func (r *reader) child(t *r4.Type, start xml.StartElement, base int) error {
	name := start.Name.Local
	el, ref, ok := t.Element([]byte(name))
	switch {
	case !ok:
		return r.fail("structure", t.Name+" has no element "+clip(name))
	case isAttribute(t, el):
		return r.fail("structure", name+" of "+t.Name+" is an attribute, not an element")
	}
	r.frames = append(r.frames, frame{name: name, base: base, many: el.Many()})
	space := nsFHIR
	if ref.Name == "xhtml" {
		space = nsXHTML
	}
	if start.Name.Space != space {
		return r.fail("structure", "the element "+name+" is not in the namespace "+space)
	}
	it := item{name: ref.JSONName, el: el}
	var err error
	switch {
	case ref.Name == "xhtml":
		it.val, err = r.xhtml()
	case ref.Type.Kind == r4.Primitive:
		it.val, it.ext, err = r.primitive(ref.Type, start)
	case ref.Type.Kind == r4.Resource:
		it.val, err = r.nested(start)
	default:
		it.val.from = len(r.buf)
		err = r.fields(ref.Type, start, "")
		it.val.to = len(r.buf)
	}
	if err != nil {
		return err
	}
	r.frames = r.frames[:len(r.frames)-1]
	r.items = append(r.items, it)
	return nil
}

// nested reads an element that holds one resource: contained, Bundle.entry.resource.
func (r *reader) nested(start xml.StartElement) (s span, err error) {
	for _, a := range start.Attr {
		if !isDeclaration(a.Name) {
			return s, r.fail("structure", "an element with a resource has no attribute "+clip(a.Name.Local))
		}
	}
	tok, err := r.next()
	if err != nil {
		return s, err
	}
	inner, ok := tok.(xml.StartElement)
	if !ok {
		return s, r.fail("structure", "a resource is missing")
	}
	s.from = len(r.buf)
	if err := r.resource(inner); err != nil {
		return s, err
	}
	s.to = len(r.buf)
	if tok, err = r.next(); err != nil {
		return s, err
	}
	if _, more := tok.(xml.StartElement); more {
		return s, r.fail("structure", "there must be only one resource in an element")
	}
	return s, nil
}

// appendObject appends the JSON object that has items, whose text lies in buf.
// The names of the items are used up.
func appendObject(buf []byte, items []item, resourceType string) []byte {
	buf = append(buf, '{')
	from := len(buf)
	if resourceType != "" {
		buf = append(buf, `"resourceType":`...)
		buf = resource.AppendString(buf, resourceType)
	}
	for i := range items {
		name := items[i].name
		if name == "" {
			continue // a repetition
		}
		rest, n, vals, exts := items[i:], 0, false, false
		for j := range rest {
			if rest[j].name == name {
				n++
				vals = vals || !rest[j].val.empty()
				exts = exts || !rest[j].ext.empty()
			}
		}
		// More than one are an array even if the definition has only one: the
		// check of the resource reports that.
		many := n > 1 || items[i].el.Many()
		if vals {
			buf = appendMember(buf, from, "", name, many, rest, func(it *item) span { return it.val })
		}
		if exts {
			buf = appendMember(buf, from, "_", name, many, rest, func(it *item) span { return it.ext })
		}
		for j := range rest {
			if rest[j].name == name {
				rest[j].name = ""
			}
		}
	}
	return append(buf, '}')
}

// appendMember appends a member with the text of all items of a name.
func appendMember(buf []byte, from int, prefix, name string, many bool, items []item, text func(*item) span) []byte {
	if len(buf) > from {
		buf = append(buf, ',')
	}
	buf = append(append(append(append(buf, '"'), prefix...), name...), '"', ':')
	if many {
		buf = append(buf, '[')
	}
	first := true
	for i := range items {
		if items[i].name != name {
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
