// Package bulk moves whole stores: $export of the Bulk Data Access standard with
// the parameters of Azure Health Data Services, and $import of the latter.
//
// # Export
//
// A request becomes a job (platform/jobs). The job fixes a position of the
// change sequence and cuts every type into ranges; each range is a child job
// that scans the store as it was at that position and streams the stored
// bodies, unparsed, into NDJSON files of the blob store. When all children
// are finished the job makes the manifest of what they wrote. A child keeps a
// checkpoint per file, so after a crash only the file in the works is written again.
//
// # Import
//
// The files are cut into ranges of bytes, each a child job that owns the lines
// that begin in its range. A child parses and validates batches of up to 50
// lines while the store writes the ones before; the store puts several into one
// transaction, which makes room when interactive writes wait. A child keeps a
// checkpoint every 10,000 lines; lines that are imported again after a crash are
// no change, because they carry their number and time, or have the content of
// the current version.
//
// Files in reading order: service.go (Service, its jobs), request.go (the
// parameters), export.go (plan and manifest), part.go (one range), filter.go
// (Patient and Group level, _typeFilter, _elements), group.go (members),
// file.go (files that roll), importreq.go (the parameters of an import),
// import.go (its parts and its result), lines.go (reading it line by line, and lines
// that are large), source.go (where it reads), reindex.go
// ($reindex as a job), status.go and progress.go (what a client may ask about a
// job).
//
// Invariants: the answer is what the store held at one position, whatever is
// written meanwhile; memory does not grow with the store or a file; what a cancelled or
// expired export wrote is removed.
package bulk
