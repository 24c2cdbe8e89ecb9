// Package fhirhttp is the HTTP edge of the FHIR service: it turns a request, or
// an entry of a Bundle, into a fhir.Interaction, asks the Service, and renders
// the answer. It holds no rules about resources.
//
// The routes, below the base path of the service ([R4 section 3.1.0]). HEAD
// works wherever GET does; OPTIONS answers 204 with Allow, or the
// CapabilityStatement at the base.
//
//	GET    /metadata                    capabilities (mode=full|normative)
//	GET    /$versions                   FHIR versions
//	POST   /                            batch or transaction
//	GET    /?_type=A,B&...              search, all types
//	GET    /_search   POST /_search     the same
//	GET    /_history                    history, all types
//	GET    /T?...                       search
//	GET    /T/_search POST /T/_search   search, parameters in a form
//	GET    /T/_history                  history of a type
//	POST   /T                           create (If-None-Exist: conditional)
//	PUT    /T?...                       conditional update
//	PATCH  /T?...                       conditional patch
//	DELETE /T?...                       conditional delete
//	GET    /T/id                        read (If-None-Match, If-Modified-Since)
//	PUT    /T/id                        update, or create with this id
//	PATCH  /T/id                        JSON Patch or FHIRPath Patch
//	DELETE /T/id                        delete (_hardDelete=true: all versions)
//	GET    /T/id/_history               history of a resource
//	GET    /T/id/_history/v             one version
//	GET    /T/$includes                 further included resources of a page of a search
//	POST   /$reindex                    make custom search parameters complete: a job
//	GET    /_operations/reindex/job     its progress; DELETE cancels it
//	GET    /T/id/$reindex               the index entries of a resource
//	GET    /SearchParameter/$status     which search parameters can be used
//	POST   /SearchParameter/$status/_search  the same, parameters in a form
//	PUT    /SearchParameter/$status     disables them, or enables them again
//	DELETE /T/id/$purge-history         drop all versions but the current one
//	GET    /T/id/U    GET  /T/id/*      search in the compartment of T/id
//	POST   /T/id/U/_search              the same, parameters in a form
//	GET    /Binary/id                   with an Accept that is no FHIR type: the data itself
//	POST   /Binary    PUT /Binary/id    with a Content-Type that is no FHIR type: stores the data
//	GET    /$export                     bulk export of everything (Prefer: respond-async)
//	GET    /Patient/$export             of all patients
//	GET    /Group/id/$export            of the members of a Group
//	GET    /_operations/export/job      its progress, then its manifest
//	DELETE /_operations/export/job      cancels it, or removes its files
//	GET    /_operations/export/job/file one of its files
//	POST   /$import                     bulk import of NDJSON files (Prefer: respond-async)
//	GET    /_operations/import/job      its progress, then its result
//	DELETE /_operations/import/job      cancels it
//	GET    /_operations/import/job/file the errors of one file
//	*      Options.Handlers             exact paths of others, such as .well-known/smart-configuration
//
// Files in reading order: handler.go (one request from begin to end), route.go
// (paths), query.go (parameters of the edge), negotiate.go (formats, Prefer),
// body.go, patch.go, respond.go (single resources), page.go (searchset and
// history), bundle.go and entry.go (batch and transaction), outcome.go (the one
// table from fault.Kind to status), subset.go (_summary, _elements), binary.go,
// provenance.go, bulk.go, reindex.go, paramstatus.go, capability.go with
// capability_include.go, audit.go.
//
// [R4 section 3.1.0]: http://hl7.org/fhir/R4/http.html
package fhirhttp
