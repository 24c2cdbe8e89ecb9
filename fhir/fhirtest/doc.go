// Package fhirtest holds the model of a fhir.Store and the suite that every
// store must pass.
//
// Memory is the model: maps and plain loops, so small that one can see that it
// is right. It is what tests of the service stand on, and what Run compares
// other stores with.
//
// Run is the contract of fhir.Store in executable form. An adapter calls it
// from its own tests:
//
//	func TestStore(t *testing.T) {
//		fhirtest.Run(t, func(t *testing.T) fhir.Store { ... })
//	}
//
// Files in reading order: memory.go (the model) with memory_import.go and
// include.go, order.go (sorting and cursors), clone.go, run.go (the list of
// parts), kit.go (what the parts share), versions.go, change.go, history.go,
// scan.go, import.go, search.go, chain.go, machine.go (the parts).
package fhirtest
