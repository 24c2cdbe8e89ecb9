// Package fhir is the room of the FHIR service: what may happen to a resource.
//
// It knows the rules of the R4 RESTful API (http://hl7.org/fhir/R4/http.html)
// and nothing about HTTP or SQL. An edge (package fhirhttp) turns requests and
// Bundle entries into Interactions and renders Responses; a Store (package
// fhirsql, or fhirtest.Memory for tests) keeps versions and answers queries.
// Between them stands the Service: it decides what is valid, which version
// comes next, which resource a condition means and where a reference points.
//
// # Files in reading order
//
//	interaction.go   what is asked and answered: Verb, Interaction, Response
//	store.go         the port to the storage: Store, Change, Op, Guard, Record
//	config.go        what an operator may set
//	service.go       Deps, New and Do, the table from Verb to method
//	access.go        what a token with SMART scopes may see and write
//	authorize.go allow.go
//	                 which action of a role each interaction needs, and each operation on the whole service
//	prepare.go       one resource made ready to be stored: checks, stored form, index entries
//	narrative.go     active content in narratives
//	create.go read.go vread.go update.go patch.go delete.go unlink.go purge.go
//	history.go search.go
//	                 one file per interaction
//	terms.go         the value sets and code systems that searches ask
//	params.go reindex.go
//	                 search parameters of the service
//	import.go importorder.go place.go
//	                 versions as they were made elsewhere, for $import
//	scan.go          everything as it was at one position, for $export
//	conditional.go   criteria in place of an id, kept exact by guards
//	references.go links.go
//	                 finding and rewriting references, also those in narratives
//	transaction.go   a Bundle as one change: the steps in order
//	txentry.go       one entry of a transaction
//	batch.go         a Bundle as many changes
//	turns.go         the order of patches of one resource
//	etag.go id.go    entity tags and instants; ids
//
// # Invariants
//
// Everything heavy happens before Store.Apply: validation, reference
// rewriting, the stored form and the index entries are made on the caller's
// goroutine, so that the single writer of a store only writes.
//
// One Interaction leads to at most one Change, and so does a whole
// transaction. What a condition found is repeated inside the transaction of
// the store by a Guard or an If-Match; when it no longer holds the Service
// starts again, so that a conditional interaction is exact and never locks.
//
// A parameter inside a condition that is not understood is an error. It must
// never widen a condition to more resources than the client meant.
//
// Every error that leaves the Service is a *fault.Error.
package fhir
