// Package blackbox tests the FHIR service from outside: it builds the binary,
// starts it on a free port and sends requests, as a client would. Nothing of the
// server is imported.
//
// The scenarios are the files of testdata. Each file gets a FHIR service of its
// own and runs beside the others; the checks of a file run in order.
//
//	service {"compat":"ahds"}          first line, optional: what the service is created with
//
//	== update: a stale If-Match is refused
//	PUT Patient/a                      a path below the base of the service, /path below the
//	If-Match: W/"1"                    server, or a whole URL; headers; an empty line; the body
//
//	{"resourceType":"Patient","id":"a"}
//	-> 412                             the status; several may be allowed
//	.issue[0].code = "conflict"        a place in the body and the JSON that stands there
//	.issue[0].diagnostics ~ version 1  ... or a regular expression for its text
//	.issue[1] absent
//	.issue count 1
//	Etag absent                        a header, with the same operators: = (plain text), ~, absent
//	body ~ conflict                    the whole body; body empty
//	set version .meta.versionId        keeps a value (or that of a header) as ${version}
//
// A place is a chain of .name, [0], [*] (all elements, as an array), and
// [name=value] (the first element with this member). In requests and
// expectations ${base} is the URL of the service, ${server} of the server.
// "poll GET ${job}" asks again while the job goes on, half a minute long.
// "12 * POST Patient" sends a request so often, with ${n} from 1.
// A body that is sent has the type application/fhir+json unless it says otherwise;
// the header "Content-Type: -" sends none.
//
// What every answer must have is not repeated in the files (see invariants): an
// X-Request-Id, no status of 500 or more, and with a status of 400 or more an
// OperationOutcome whose issues have severity, code and diagnostics.
package blackbox
