// Package search is the FHIR search language (R4 section 3.1.1) as pure code.
//
// It has three parts that meet in the Param, the definition of one search
// parameter on one resource type:
//
//   - Extract turns a resource into Values, the index entries of all its
//     parameters, in one walk over the tree;
//   - Parse turns the parameters of a URL into a Query, a tree of clauses whose
//     values are already normalised in the same way as the index entries;
//   - Match evaluates a Query against Values, and for chains against those of the
//     other resources, by brute force. It is the model
//     that every store is tested against.
//
// The Registry holds the Params. For each resource type it compiles, when the
// type is first asked for, the FHIRPath of all parameters into one trie of
// element names (trie.go); the few expressions that are not simple paths go
// through the interpreter.
//
// Reading order: param.go, values.go; registry.go, compile.go, parts.go,
// derive.go (parameters behind :of-type and :identifier), trie.go, leaf.go,
// custom.go and limits.go (parameters of the service), owners.go; extract.go, element.go,
// inside.go (contained resources), dedupe.go; query.go, parse.go,
// parse_clause.go, modifier.go, parse_value.go, parse_chain.go,
// parse_control.go, parse_include.go, parse_list.go, compartment.go,
// contained.go; filter_lex.go, filter.go, filter_path.go (_filter); match.go,
// index.go (Match among many), near.go, words.go; access.go (what somebody may see). The literals are in
// date.go, number.go, unit.go, escape.go and fold.go, what is said about a
// search in error.go and warning.go.
package search
