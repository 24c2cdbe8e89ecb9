// Package resource holds a FHIR resource as a tree over its own JSON text.
//
// Parse scans the text once, checks that it is strict JSON (RFC 8259, valid
// UTF-8, no duplicate names) and records one small node per value in a flat
// slice. Nothing is copied or converted: a number keeps its text (0.10 stays
// 0.10, R4 section 2.24.0.1), members keep their order, and the raw bytes of any
// subtree can be taken as they are. A Doc is meant to be reused; a Node is a
// cheap handle that lives as long as the Doc is not parsed again.
//
// Reading order: doc.go (this page), parse.go (the scanner), names.go (duplicate
// names), node.go (the handle), text.go (strings, white space, edits), stored.go
// (the form that the store keeps, and how it is rendered).
package resource
