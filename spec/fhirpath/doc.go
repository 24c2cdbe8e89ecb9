// Package fhirpath compiles and evaluates FHIRPath, the path language of FHIR
// (FHIRPath N1, http://hl7.org/fhirpath/N1, with the FHIR R4 additions of
// http://hl7.org/fhir/R4/fhirpath.html).
//
// An expression goes through three stages:
//
//   - lex.go and parse.go turn the text into a small tree (ast.go), with the
//     precedence of the N1 grammar and with the position of every part;
//   - compile.go turns the tree into closures, one per operator or function, so
//     that evaluation never looks at the text or the tree again. A function is
//     found in the tables of the fn_*.go files, and its number of arguments is
//     checked here, so an unknown function is an error of Compile;
//   - Eval (eval.go) runs the closures over the nodes of a resource. The FHIR type of each
//     node is known from the R4 tables (nav.go), which is what lets "value" find
//     valueQuantity and "is" decide about a choice.
//
// The operators are in op.go, equal.go, arith.go and types.go; what a function
// gets in fn.go. A Value (value.go) is a node or a System value: system.go,
// decimal.go, temporal.go, quantity.go with unit.go, boundary.go.
//
// Paths (paths.go) is a second reader of the tree: it says whether an expression
// is only a union of simple element paths, as nearly all search parameters are,
// so that an indexer can walk them all at once without the interpreter. Last
// (last.go) is a third one, for FHIRPath Patch.
//
// Input may be hostile. The parser bounds length, nesting and size of an
// expression; the evaluator bounds the steps of one evaluation and the size of
// every string and number it makes; regular expressions run on RE2. Decimals
// are exact (decimal.go) and keep their scale.
package fhirpath
