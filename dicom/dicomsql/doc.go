// Package dicomsql keeps the index of a DICOM service in a SQL database.
//
// One row per study, series and instance holds what searches lean on and, as
// ready-made JSON, what they answer; the metadata and the frame table of an
// instance lie in a table of their own, so that the narrow rows stay narrow.
// Counts and modalities of a study are kept up to date by every write, so that
// no search counts. Every change takes the next number of one sequence, which is
// also the version of the instance and its key.
//
// Files in reading order: migrations, store.go, together.go, put.go, read.go,
// recent.go, search.go with members.go, tally.go and sqlb.go, delete.go,
// update.go, feed.go, imaging.go (what dicom/imaging asks), tags.go,
// operations.go, workitem.go, object.go, compact.go.
//
// On PostgreSQL several processes may use the index: what the writer keeps in memory is
// read again in each transaction, and numbers of blobs belong to the process that
// reserved them (object.go).
//
// Invariants: rows of an instance, its metadata, the use of its blob and its
// change row are written in one transaction; a row of a study or series exists
// exactly as long as it has instances.
package dicomsql
