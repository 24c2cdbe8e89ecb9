package r4

import (
	"slices"
	"strings"
	"sync"
)

// Kind says what a Type is.
type Kind uint8

// The kinds of types (http://hl7.org/fhir/R4/datatypes.html).
const (
	Primitive Kind = iota // boolean, string, dateTime, ...
	Complex               // HumanName, Quantity, Extension, ...
	Backbone              // an element with elements of its own: Patient.contact
	Resource              // Patient, Bundle, ...
)

// Type is one type of FHIR R4.
type Type struct {
	Name     string // "Patient", "Patient.contact", "HumanName", "boolean"
	Kind     Kind
	Base     string // "DomainResource", "BackboneElement", "Element"; "" for Element and Resource
	Abstract bool
	URL      string     // canonical URL of the StructureDefinition; "" for backbone elements
	Regex    string     // primitive types: the format of the value, "" when any
	Index    int        // position among all types, below TypeCount
	Elements []*Element // in the order of the definition, inherited ones included
	byJSON   memberTable
}

// Element is one element of a Type.
type Element struct {
	Name      string // "value", without "[x]"
	Path      string // "Observation.value[x]"
	Types     []TypeRef
	Min       int
	Max       int // -1 means *
	MaxLength int // 0 means that the definition sets none
	Index     int // position in the Elements of its Type
	Choice    bool
	Summary   bool // part of _summary=true
	Modifier  bool
	Binding   *Binding // nil when there is none
}

// Many reports whether the element may repeat, which makes it an array in JSON.
func (e *Element) Many() bool { return e.Max != 1 }

// TypeRef is one type that an Element may have.
type TypeRef struct {
	Name     string // the name of Type
	Type     *Type
	JSONName string // the JSON member: "name", or "valueQuantity" for choices
	Profile  string // canonical URL of a profile on the type (SimpleQuantity), mostly ""
	// TargetProfiles are the resource types that a Reference or canonical may
	// point to, by name and sorted; "Resource" means any.
	TargetProfiles []string
}

// Binding connects an element to a value set.
type Binding struct {
	Strength string // required, extensible, preferred, example
	ValueSet string // canonical URL without a version; "" when only described in words
}

// Element finds the element that a JSON member stands for, and the type that
// its name chooses: "valueQuantity" is Observation.value[x] as a Quantity. The
// caller removes the underscore of "_birthDate" first. The returned pointers
// are shared. It does not allocate.
func (t *Type) Element(jsonName []byte) (*Element, *TypeRef, bool) {
	e, ref := t.byJSON.find(jsonName)
	return e, ref, e != nil
}

// Lookup returns the type with a name such as "Patient", "Patient.contact",
// "HumanName" or "string", or nil.
func Lookup(name string) *Type { return load().types[name] }

// LookupBytes is Lookup for a name in a byte slice. It does not allocate.
func LookupBytes(name []byte) *Type { return load().types[string(name)] }

// TypeCount is the number of types: every Type.Index is below it.
func TypeCount() int { return len(load().types) }

// ResourceTypes returns the names of the concrete resource types, sorted.
func ResourceTypes() []string { return load().resources }

// IsResource reports whether name is a concrete resource type.
func IsResource(name string) bool {
	t := Lookup(name)
	return t != nil && t.Kind == Resource && !t.Abstract
}

// HasElement reports whether a resource type has an element of its own: by its
// name, with or without [x] if it is a choice, or by its name in JSON. "" stands for
// any type.
func HasElement(resourceType, name string) bool {
	if resourceType == "" {
		return slices.ContainsFunc(ResourceTypes(), func(t string) bool { return HasElement(t, name) })
	}
	t := Lookup(resourceType)
	if t == nil || t.Kind != Resource {
		return false
	}
	if _, _, ok := t.Element([]byte(name)); ok {
		return true
	}
	name, of := strings.CutSuffix(name, "[x]")
	return slices.ContainsFunc(t.Elements, func(e *Element) bool { return e.Name == name && (e.Choice || !of) })
}

// load returns the definitions and reads them on the first call.
var load = sync.OnceValue(decodeEmbedded)

// Form is how JSON writes the values of a primitive type
// (http://hl7.org/fhir/R4/json.html#primitive).
type Form uint8

// The forms.
const (
	FormString Form = iota
	FormNumber
	FormBoolean
)

// Form returns the JSON form of a primitive type.
func (t *Type) Form() Form {
	switch t.Name {
	case "boolean":
		return FormBoolean
	case "integer", "decimal", "positiveInt", "unsignedInt":
		return FormNumber
	}
	return FormString
}
