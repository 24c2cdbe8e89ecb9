// Package events is the room of events: what changed in the services of a
// workspace, told to those who want to know, in the terms of Azure Event Grid.
//
// Services keep a change sequence that is written in the same transaction as
// the change itself. A Service of this package copies it into the log of the
// workspace, where each event gets the number that the pull cursor counts by;
// dispatchers read the log, one for each subscription, and deliver. Nothing is
// collected before somebody asks for events, and what was changed up to the
// retention before that is collected then.
//
// Delivery is at least once and, unless a subscription asks for the order of
// each resource, unordered; an event keeps its id over all attempts, so that a
// receiver can tell. What a dispatcher has in its hands is on disk as a
// position in the log and a list of events that are to be tried again.
//
// Reading order: event.go (what an event is), envelope.go (its two forms),
// subscription.go, filter.go, store.go (the port), service.go (the face),
// collect.go (sources to log), tail.go (its newest events, in memory),
// dispatch.go (log to destination), lane.go (the order of a resource), retry.go
// (what an answer means), webhook.go, broker.go and handshake.go (the
// destinations), outbound.go (where they may be), deadletter.go.
//
// Invariants: no event before its change is committed, none lost after; no call
// to an address that the operator has not allowed; memory is bounded by the
// window of each subscription; one slow destination delays no other.
package events
