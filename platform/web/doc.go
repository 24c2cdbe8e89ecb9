// Package web is what every HTTP request passes before a room sees it.
//
// Chain puts one handler around another that does, in this order: request id,
// forwarded headers of trusted proxies, security headers, CORS, limits of
// requests per second and in flight, the time limit, the body limit, gzip of
// the answer, recovery of panics, the access log.
//
// Reading order: chain.go (Options and the handler), access.go (the access
// log), request.go (what later handlers can ask about a request: From,
// BaseURL), writer.go (status, size and gzip of the answer), forwarded.go,
// cors.go, limit.go, gate.go (the same for one service), budget.go (memory of
// large bodies), problem.go (answers of the chain itself, RFC 9457).
//
// Invariants: the log never holds a path, a query or a body, because all three
// may identify a patient; it holds the route, that is the path with names
// instead of values. A client's header never becomes part of a URL unless a
// trusted proxy sent it.
package web
