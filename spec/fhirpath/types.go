package fhirpath

import (
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// known reports whether a type specifier names a type.
func (t typeName) known() bool {
	if t.space != "FHIR" && slices.Contains(systemNames[:], t.name) || t.name == "Any" && t.space != "FHIR" {
		return true
	}
	return (t.space == "" || t.space == "FHIR") && r4.Lookup(t.name) != nil
}

// is reports whether v has the type or a type derived from it. A name without a
// namespace stands for the FHIR type or the System type, whichever v has.
func (v Value) is(t typeName) bool {
	switch {
	case v.kind == kindNone:
		return false
	case v.kind != kindNode || v.typ == nil:
		s := v.system()
		return t.space != "FHIR" && (s.kind != kindNode && systemNames[s.kind] == t.name || t.name == "Any")
	case t.space == "System":
		return false
	}
	return derives(v.typ, t.name)
}

// derives reports whether t is the named type or descends from it.
func derives(t *r4.Type, name string) bool {
	for range 10 { // longer than any chain of R4
		if t == nil {
			return false
		}
		if t.Name == name {
			return true
		}
		t = r4.Lookup(t.Base)
	}
	return false
}

// as reports whether v passes as(t) and ofType(t). It is laxer than is in one
// point: R4 has a search parameter with value.as(DateTime), so the System
// name of a primitive type finds the FHIR type too.
func (v Value) as(t typeName) bool {
	if v.is(t) {
		return true
	}
	return t.space == "" && v.kind == kindNode && v.typ != nil && v.typ.Kind == r4.Primitive && v.typ.Name == fhirName(t.name)
}

// typeOf answers type(): the namespace and the name (N1 section 10.2).
func (v Value) typeOf() (Value, bool) {
	space, name := "System", ""
	s := v
	if v.kind == kindNode {
		if v.typ != nil {
			space, name = "FHIR", v.typ.Name
		} else if s = v.system(); s.kind == kindNode {
			return Value{}, false
		}
	}
	if name == "" {
		name = systemNames[s.kind]
	}
	return Value{kind: kindType, s: space + "." + name}, true
}

// typeInfo gives the members of a SimpleTypeInfo or ClassInfo.
func (v Value) typeInfo(name string, dst []Value) []Value {
	space, short, _ := strings.Cut(v.s, ".")
	switch name {
	case "namespace":
		return append(dst, String(space))
	case "name":
		return append(dst, String(short))
	}
	return dst
}
