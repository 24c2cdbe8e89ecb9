// Package medtech takes messages of devices and keeps Observations up to date
// with them: the MedTech service.
//
// A message is acknowledged when it is on disk in the raw log. From there a
// pipeline takes the messages in small batches as they come: normalize (device
// mapping), group and transform (FHIR mapping), resolve patient and device,
// persist. The pipeline remembers by one offset how far it came.
//
// Invariants:
//
//   - What was acknowledged is in the raw log and stays there until it was
//     processed and its retention is over.
//   - The offset moves over a message only when all of its Observations are
//     stored or a dead letter says why not. A message that fails never holds up
//     the ones behind it.
//   - The id of an Observation follows from what is observed, and the same data
//     changes nothing, so that a message which is processed twice, after a crash
//     or by a replay, has its effect once.
//   - Messages of one device take effect in the order in which they came.
//   - Among several nodes on one store one has the pipeline at a time (Store.Lead);
//     one that did not notice that its turn is over can neither move the offset
//     nor replace what its successor wrote.
//   - Writes go through Destination, the room's own word for a FHIR service.
//
// Reading order: service.go (the service and its parts), config.go, store.go
// (the port), inbox.go, split.go and ingest.go (messages in), mappings.go (the
// two documents), pipeline.go (the loop), normalize.go, persist.go and
// resolve.go (its stages), poison.go (a batch that meets a defect),
// destination.go (what it needs of a FHIR service), deadletter.go, replay.go,
// metrics.go and health.go. The mappings themselves and their debugger are in
// medtech/mapping, the edge in medtechhttp, the store in medtechsql.
package medtech
