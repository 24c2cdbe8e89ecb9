// Package r4 is the definitions of FHIR R4 (4.0.1): resource types, data types,
// search parameters, compartments and the codes of required
// bindings, as generated from the official package hl7.fhir.r4.core.
//
// Everything comes from one compressed file in the binary, which is read when
// the first question is asked and then shared by all. What the functions
// return belongs to the package and must not be changed.
//
// A Type is what a StructureDefinition calls a type: a resource ("Patient"), a
// data type ("HumanName", "boolean") or a backbone element, which has the path
// of its element as its name ("Patient.contact"). A content reference
// (Observation.component.referenceRange) leads to the Type that it names.
//
// Reading order: type.go, member.go (an element by its JSON name), search.go,
// decode.go. The generator is tools/genr4.
package r4

//go:generate sh -c "cd ../../tools && go run ./genr4 $R4_PACKAGE ../spec/r4/r4.bin.zst"
