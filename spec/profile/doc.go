// Package profile checks resources against the base definitions of FHIR R4.
//
// Check is the structural validation that every write goes through: unknown
// elements, wrong JSON types, cardinality, choice types, the formats of
// primitive values, codes of required bindings and the few invariants that
// depend on one element only (ele-1, ext-1, dom-2). It walks the tree once,
// guided by the tables of spec/r4, and allocates nothing when all is well.
//
// Not checked here: other invariants, the targets of references, and profiles
// other than the base definitions.
//
// Reading order: check.go (the walk), table.go (what is prepared per type),
// primitive.go, date.go and xhtml.go (the formats).
package profile
