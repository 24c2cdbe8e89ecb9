// Package patch changes FHIR resources by the two patch languages of R4 that
// speak JSON: JSON Patch (RFC 6902) and FHIRPath Patch
// (http://hl7.org/fhir/R4/fhirpatch.html, with the operation upsert that Azure
// Health Data Services adds).
//
// ParseJSON and ParseFHIRPath check the form of a patch once; Apply then does
// its operations on a resource, all or none, and appends the new text. What a
// patch does not touch keeps its text: the order of members, the digits of
// numbers, the escapes of strings. Values of the patch arrive as they were
// written, too.
//
// JSON Patch works on JSON values, FHIRPath Patch on elements. So the latter
// keeps the two members of a primitive element together (birthDate and
// _birthDate, and the items of given and _given), knows which elements are
// lists, gives a choice element the name of its type, and leaves no empty
// object behind.
//
// Whether the result is a valid resource is for spec/profile to say. What a
// patch may cost is bounded here: both patch and resource may be hostile.
//
// Files in reading order: patch.go (Patch, Apply, Error), tree.go (the text as a
// tree that can be changed), pointer.go (RFC 6901), json.go (RFC 6902), equal.go
// (the test operation), fhirpath.go (the operations of a Parameters resource),
// element.go (elements as pairs of JSON members), value.go (the value of an
// operation).
package patch
