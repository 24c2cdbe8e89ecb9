// Package dicomhttp is the edge of DICOM services: DICOMweb (PS3.18) with the
// routes, media types and answers of Azure Health Data Services.
//
// Routes, below /v1 and /v2, each also below /partitions/{name} when the service has
// partitions:
//
//	GET    /studies                        search, also /series and /instances,
//	                                       /studies/{s}/series, /studies/{s}/instances
//	                                       and /studies/{s}/series/{e}/instances
//	POST   /studies, /studies/{s}          store; PUT replaces what is there
//	GET    /studies/{s}                    retrieve, also .../series/{e} and .../instances/{i}
//	GET    .../metadata                    at all three levels
//	GET    .../instances/{i}/frames/{list}
//	GET    .../instances/{i}/bulkdata/{path}
//	GET    .../rendered                    at all levels, and .../frames/{n}/rendered
//	GET    .../thumbnail                   at all levels
//	POST   /studies/$bulkUpdate            (v2)
//	GET    /wado                           WADO-URI
//	DELETE /studies/{s}                    also .../series/{e} and .../instances/{i}
//	GET    /changefeed, /changefeed/latest (not below partitions)
//	GET    /extendedquerytags              also POST; /{tag} GET, PATCH, DELETE; /{tag}/errors
//	GET    /operations/{id}
//	POST   /workitems                      create; GET searches
//	GET    /workitems/{w}                  retrieve; POST updates
//	PUT    /workitems/{w}/state            change the state
//	POST   /workitems/{w}/cancelrequest
//	POST   /export, /import
//	GET    /operations/{id}/errors         of an export or import
//	GET    /partitions                     when the service has partitions
//	OPTIONS /                              what there is, as WADL
//
// and, without a version, GET /health/check.
//
// Files in reading order: handler.go (options, errors), route.go, accept.go,
// multipart.go (the scanner of requests), stow.go, wado.go with frames.go,
// metadata.go with xml.go, and bulkdata.go, qido.go, rendered.go, wadouri.go, update.go, delete.go, changefeed.go,
// tags.go, operations.go, workitem.go, export.go, capabilities.go.
//
// The body of an error is a line of plain text. Accept headers are read
// liberally: parameters may be quoted or not, and one acceptable type among
// others is enough.
package dicomhttp
