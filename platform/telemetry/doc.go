// Package telemetry is what the platform says about itself: Prometheus metrics
// and the log.
//
// Metrics (metrics.go; events.go, imaging.go and medtech.go for what only those
// rooms have) has one method per event; nobody else sees Prometheus. NewLogger
// (log.go) makes the slog.Logger that everything writes to; Buffered
// (buffer.go) stands before it for the lines of the access log.
//
// Labels have few values by construction: the workspace/service that exists, an
// operation and a resource type of the standard, the class of the status. A
// caller passes "" for what it does not know, never text of a client.
package telemetry
