package patch

import (
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// operand is the value of an operation: one part of a Parameters resource. It
// is a value of a data type, a resource, or, for types that are defined in
// their context only (Patient.contact), a list of parts, one per element.
type operand struct {
	val, ext resource.Node
	typ      *r4.Type // of value[x]; nil for parts
	parts    resource.Node
}

// parseOperand reads the value of a Parameters.parameter.part.
func parseOperand(n resource.Node) (operand, *Error) {
	var o operand
	t := r4.Lookup("Parameters.parameter")
	for c := range n.Children() {
		key, under := trimUnder(c.Key())
		el, ref, ok := t.Element(key)
		switch {
		case !ok:
			return o, problem("structure", "a part has no element %q", clip(string(c.Key())))
		case el.Name == "value":
			if o.typ != nil && o.typ != ref.Type {
				return o, problem("structure", "a part has only one value")
			}
			o.typ = ref.Type
			if under {
				o.ext = c
			} else {
				o.val = c
			}
		case el.Name == "resource":
			o.val, o.typ = c, ref.Type
		case el.Name == "part":
			o.parts = c
		case el.Name == "modifierExtension":
			return o, problem("not-supported", "a modifierExtension on a part is not understood")
		}
	}
	switch {
	case o.typ == nil && o.parts.Len() == 0:
		return o, problem("required", "a value is missing")
	case o.typ != nil && o.parts.Valid():
		return o, problem("structure", "a part has a value or parts, not both")
	}
	return o, nil
}

// text returns the operand as a string.
func (o *operand) text() (string, bool) {
	if o.val.Kind() != resource.String {
		return "", false
	}
	return o.val.Text(), true
}

// build makes the operand a value of the element el, in the type that it has there.
func (o *operand) build(el *r4.Element) (*r4.TypeRef, pair, *Error) {
	ref, err := o.refIn(el)
	if err != nil {
		return nil, pair{}, err
	}
	if o.typ == nil {
		obj, err := buildObject(ref.Type, o.parts)
		return ref, pair{val: obj}, err
	}
	var p pair
	if o.val.Valid() {
		p.val = newValue(o.val)
	}
	if o.ext.Valid() {
		if ref.Type.Kind != r4.Primitive {
			return nil, p, problem("structure", "%s is a %s and cannot have the sibling _%s", el.Path, ref.Name, ref.JSONName)
		}
		p.ext = newValue(o.ext)
	}
	return ref, p, nil
}

// refIn finds the type of el that the operand may have.
func (o *operand) refIn(el *r4.Element) (*r4.TypeRef, *Error) {
	if len(el.Types) == 0 {
		return nil, problem("invalid", "%s has no type", el.Path)
	}
	if o.typ == nil {
		if len(el.Types) > 1 {
			return nil, problem("invalid", "%s may have several types: a value[x] must say which, not parts", el.Path)
		}
		ref := &el.Types[0]
		if ref.Type.Kind == r4.Primitive || ref.Type.Kind == r4.Resource {
			return nil, problem("invalid", "%s is a %s and has no parts", el.Path, ref.Name)
		}
		return ref, nil
	}
	for i := range el.Types {
		if el.Types[i].Type == o.typ {
			return &el.Types[i], nil
		}
	}
	// Which of the types of text a client gives to a code matters little: what
	// it may contain is checked with the result.
	if ref := &el.Types[0]; len(el.Types) == 1 && likeType(o.typ, ref.Type) {
		return ref, nil
	}
	return nil, problem("invalid", "%s cannot be a %s: it is a %s", el.Path, o.typ.Name, typeNames(el))
}

// likeType reports whether a value of type a can stand where b is defined: both
// are primitives written alike, or one is derived from the other (Age, Quantity).
func likeType(a, b *r4.Type) bool {
	if a.Kind == r4.Primitive && b.Kind == r4.Primitive {
		return a.Form() == b.Form()
	}
	return a.Kind == r4.Complex && b.Kind == r4.Complex && (a.Base == b.Name || b.Base == a.Name)
}

// typeNames lists the types of an element for a message.
func typeNames(el *r4.Element) string {
	const most = 6
	var names []string
	for i := range el.Types {
		if i == most {
			names = append(names, "...")
			break
		}
		names = append(names, el.Types[i].Name)
	}
	return strings.Join(names, " or ")
}

// buildObject makes an object of type t from parts whose names are its elements.
func buildObject(t *r4.Type, parts resource.Node) (*value, *Error) {
	obj := newObject()
	for part := range parts.Children() {
		name := part.Get("name").Text()
		el := elementNamed(t, name)
		if el == nil {
			return nil, noElement(t, name)
		}
		o, err := parseOperand(part)
		if err != nil {
			err = inPart(err, name)
			return nil, err
		}
		ref, p, err := o.build(el)
		if err != nil {
			return nil, err
		}
		was := present(obj, el)
		if was != nil && (!el.Many() || was != ref) {
			return nil, problem("structure", "%s may appear once only", el.Path)
		}
		list, err := pairsOf(obj, el, ref)
		if err != nil {
			return nil, err
		}
		writePairs(obj, el, was, ref, append(list, p))
	}
	return obj, nil
}

func inPart(err *Error, name string) *Error {
	e := *err
	e.Msg = "part " + clip(name) + ": " + e.Msg
	return &e
}
