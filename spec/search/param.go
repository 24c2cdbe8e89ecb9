package search

import (
	"slices"
	"sync/atomic"
)

// Kind is the type of a search parameter.
type Kind uint8

// The parameter types of R4, http://hl7.org/fhir/search-param-type.
const (
	Number Kind = iota + 1
	Date
	String
	Token
	Reference
	Composite
	Quantity
	URI
	Special
)

var kindCodes = [...]string{
	Number: "number", Date: "date", String: "string", Token: "token", Reference: "reference",
	Composite: "composite", Quantity: "quantity", URI: "uri", Special: "special",
}

// Code returns the code of http://hl7.org/fhir/search-param-type.
func (k Kind) Code() string { return kindCodes[k] }

// kindOf finds a kind by its code; 0 when there is none.
func kindOf(code string) Kind {
	return Kind(max(slices.Index(kindCodes[:], code), 0))
}

// Param is one search parameter on one concrete resource type. Params are
// interned: the same pointer serves extraction, parsing and the planner, so
// that they can be compared and used as map keys.
type Param struct {
	Type       string // the resource type: "Observation"
	Code       string // the name in the URL: "value-quantity"
	URL        string // the canonical URL of the SearchParameter
	Kind       Kind
	Expression string   // FHIRPath, reduced to the parts that apply to Type
	Targets    []string // for references: the resource types that it may point to
	Components []Component
	// Single is true when no resource can have more than one value (every
	// element on the path has max 1, choice types included). A store may keep
	// such values in a column of the resource's own row.
	Single bool
	// Parts is set on a parameter whose values are exactly those of other
	// parameters of the same type put together (Observation.combo-code = code +
	// component-code; Observation.patient = subject with targets Patient).
	// Nothing is extracted for it: Parse keeps the parameter, and a store
	// searches its Parts instead. PartTarget, if not empty, keeps only
	// references to that resource type.
	Parts      []*Param
	PartTarget string
	// System is set on a token parameter over code elements: the code system
	// that their required binding implies. The entries have no System; Parse
	// takes "System|code" for "|code".
	System string
	// OfType and Identifier are parameters of their own behind modifiers: the
	// identifiers with their type, Code = "code|value" in the System of the
	// type (:of-type), and the Reference.identifier of a reference
	// (:identifier). nil where there is none. Of points back.
	OfType     *Param
	Identifier *Param
	Of         *Param
	// Link and Held are set on what is found in contained resources: the reference
	// that leads there, and the parameter of the contained resource. See Inside.
	Link, Held *Param
	// Bit numbers the parameters of a type that are extracted, from 0: a store
	// may note in a word which of them a resource has. -1 for all others.
	Bit int
	// Custom is set on a parameter that is not of R4, see Registry.SetCustom.
	Custom  bool
	key     string
	partial atomic.Bool
	limits  atomic.Pointer[Limits] // of a custom one
	insides insides
	// Unsupported says why the parameter has no index; "" when it has one.
	Unsupported string
}

// Component is one part of a composite parameter.
type Component struct {
	Param      *Param // the definition of the part (its Kind and Targets)
	Expression string // relative to the composite's own expression
}

// Key returns "Type.code", the name under which a store knows the parameter. That
// of a custom one tells the versions of its definition apart.
func (p *Param) Key() string {
	switch {
	case p.key != "":
		return p.key
	case p.Of != nil && p.Of.key != "":
		return p.Of.key + p.Code[len(p.Of.Code):]
	}
	return p.Type + "." + p.Code
}
