// Package fhirxml is the XML form of resources (http://hl7.org/fhir/R4/xml.html):
// AppendJSON turns XML into the JSON text that package resource parses, Append
// turns a parsed resource into XML.
//
// There is one model, the tree over JSON text; XML is only another way to write
// it. Both directions follow the tables of package r4: what is an attribute,
// which elements are lists, how a primitive is written in JSON, in which order
// elements stand in XML. Between the forms nothing that FHIR means is lost:
// decimals keep their digits, the narrative keeps its text, a primitive keeps
// its id and extensions.
//
// What has no meaning in FHIR is not kept: comments, processing instructions,
// white space between elements, namespace prefixes, the order of the members of a
// JSON object and of different elements in XML. The reader is lenient about that
// order; about all else it is strict: an element or attribute that the
// definitions do not have, text where none can be, a document type declaration
// and an encoding other than UTF-8 are errors with their place.
//
// The reader does not validate. A missing element or a value of a wrong format is
// for package profile, which checks the same tree whatever form it came in.
//
// Files in reading order: scan.go (XML itself: tags, namespaces, references),
// read.go, value.go (primitives and the narrative), write.go, escape.go.
package fhirxml
