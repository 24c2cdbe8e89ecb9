// Package arch holds the test that keeps the code as docs/architecture.md draws
// it: who may import whom, which third party stays behind which package, a
// comment for every package, the size of files, no registration by side effect,
// no third-party types in exported names, and the ledger of linked modules
// docs/deps.txt.
//
// A rule that stands in the way is changed here and in docs/architecture.md,
// with a record in docs/adr that says why.
//
// Reading order: rules.go (the tables), arch_test.go (the checks).
package arch
