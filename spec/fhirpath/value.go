package fhirpath

import (
	"strconv"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// kind is what a Value holds.
type kind uint8

const (
	kindNone kind = iota
	kindNode      // part of a resource
	kindBoolean
	kindInteger
	kindDecimal
	kindString
	kindDate
	kindDateTime
	kindTime
	kindQuantity
	kindType // the answer of type()
)

var systemNames = [...]string{
	kindBoolean: "Boolean", kindInteger: "Integer", kindDecimal: "Decimal", kindString: "String",
	kindDate: "Date", kindDateTime: "DateTime", kindTime: "Time", kindQuantity: "Quantity",
	kindType: "SimpleTypeInfo",
}

// Value is one item of a collection: a part of a resource with its FHIR type,
// or a computed value of one of the System types. The zero Value is none.
type Value struct {
	kind kind
	typ  *r4.Type      // of a node; nil when it is not known
	node resource.Node // the value; absent when a primitive has only extensions
	ext  resource.Node // of a primitive: the object of the member _name
	i    int64         // boolean and integer
	s    string        // string; also both names of a type: space "." name
	p    any           // *decimal, *temporal, *quantity
}

// Bool returns a System.Boolean.
func Bool(b bool) Value {
	v := Value{kind: kindBoolean}
	if b {
		v.i = 1
	}
	return v
}

// String returns a System.String.
func String(s string) Value { return Value{kind: kindString, s: s} }

// Integer returns a System.Integer.
func Integer(i int64) Value { return Value{kind: kindInteger, i: i} }

func decimalValue(d *decimal) Value { return Value{kind: kindDecimal, p: d} }

// parseInteger reads digits with an optional sign.
func parseInteger(s string) (Value, bool) {
	i, err := strconv.ParseInt(s, 10, 64)
	return Integer(i), err == nil
}

// IsNode reports whether v is a part of the resource rather than computed.
func (v Value) IsNode() bool { return v.kind == kindNode }

// Node returns the part of the resource; it is absent for a computed value, and
// for a primitive element that has extensions but no value.
func (v Value) Node() resource.Node { return v.node }

// Type returns the name of the type: "HumanName" or "Observation.component"
// for a node ("" if it is not known), "Boolean" for a System value.
func (v Value) Type() string {
	switch {
	case v.kind == kindNone:
		return ""
	case v.kind != kindNode:
		return systemNames[v.kind]
	case v.typ != nil:
		return v.typ.Name
	}
	return ""
}

// FHIRType returns the FHIR type of a node, nil for any other value.
func (v Value) FHIRType() *r4.Type { return v.typ }

// Bool returns the value of a boolean, of either kind; ok is false for any other value.
func (v Value) Bool() (b, ok bool) {
	s := v.system()
	return s.i != 0, s.kind == kindBoolean
}

// String returns the text of the value, as toString() does; for an object it is
// its JSON text.
func (v Value) String() string {
	if s, ok := v.text(); ok {
		return s
	}
	return string(v.node.AppendCompact(nil))
}

// text is toString() (N1 section 5.5); false for what has no text.
func (v Value) text() (string, bool) {
	s := v.system()
	switch s.kind {
	case kindBoolean:
		return strconv.FormatBool(s.i != 0), true
	case kindInteger:
		return strconv.FormatInt(s.i, 10), true
	case kindString, kindType:
		return s.s, true
	case kindDecimal:
		return s.p.(*decimal).String(), true
	case kindDate, kindDateTime, kindTime:
		return s.p.(*temporal).format(s.kind), true
	case kindQuantity:
		return s.p.(*quantity).String(), true
	}
	return "", false
}

// Extras returns, for a primitive element, the object of the member _name that
// holds its id and extensions; it is absent when there is none.
func (v Value) Extras() resource.Node { return v.ext }
