// Package medtechhttp is the HTTP edge of a MedTech service. Below the base
// /{workspace}/{service}:
//
//	POST   /messages                   one JSON object, an array or NDJSON; also gzip
//	GET    /devicemapping              PUT replaces it at once
//	GET    /fhirmapping                PUT replaces it at once
//	POST   /$test                      the debugger: tries mappings on messages
//	GET    /deadletters                ?state= &errorType= &before= &limit=
//	GET    /deadletters/{id}           with its payload; PUT edits it, DELETE discards it
//	POST   /deadletters/$redrive       {"ids": [...]}, {"errorType": "..."} or {"all": true}
//	POST   /deadletters/{id}/$redrive
//	GET    /replays                    POST begins one, or with dryRun tells what it would change
//	DELETE /replays/{id}               cancels it
//	GET    /status                     offsets, lag, health of the stages
//
// Errors are application/problem+json.
//
// Reading order: handler.go (routes), body.go, messages.go, mappings.go,
// trial.go, letters.go, replays.go.
package medtechhttp
