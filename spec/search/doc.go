// Package search is the FHIR search language (R4 section 3.1.1) as pure code.
//
// It has three parts that meet in the Param, the definition of one search
// parameter on one resource type:
//
//   - Extract turns a resource into Values, the index entries of all its
//     parameters, in one walk over the tree;
//   - Parse turns the parameters of a URL into a Query, a tree of clauses whose
//     values are already normalised in the same way as the index entries;
//   - Match evaluates a Query against Values by brute force. It is the model
//     that every store is tested against.
//
// Reading order: param.go, values.go, extract.go, query.go, parse.go, match.go.
package search
