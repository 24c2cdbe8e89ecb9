// Package bench measures a running FHIR server from outside; it is what
// `hygeia bench` calls. It knows nothing about Hygeia but HTTP and FHIR, so it can
// drive other servers too.
//
// A Run takes Synthea transaction bundles, multiplies them to the wanted number
// of patients, and goes through phases: load, create, update, read, search,
// mixed. Every answer is checked; a measurement with wrong answers reports them
// beside its speed. A bare net/http handler in a process of its own is measured
// with the same client, so that a figure can be read as a ratio.
//
// Reading order: bench.go (Options, Run), data.go (bundles and their copies),
// load.go, write.go, read.go, search.go and mixed.go (the phases), measure.go
// (workers and percentiles), conn.go (the client), bare.go (the handler to
// compare with), proc.go (CPU and memory), report.go (table and JSON).
//
// The _test.go files hold Go benchmarks of the parts: parse, validate, extract,
// write, read, search.
package bench
