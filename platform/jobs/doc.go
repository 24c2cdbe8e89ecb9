// Package jobs runs work that takes longer than a request: exports, imports,
// reindexing. A job is a row of one table; any node may run it, and a node that
// dies loses nothing but the time since the last checkpoint.
//
// # States
//
//	queued ---- claim ----> running ---- completed
//	  ^                     |  |  |----- failed
//	  |-- retry, release ---|  |  |----- cancelled
//	  |                        |
//	  |-- children finished -- waiting
//
// A worker claims a queued job, or a running one whose lease ran out, by
// raising its fence. Everything that a worker writes afterwards holds only while
// the fence is still its own, so a worker that was given up cannot write over
// its successor. While it works, a heartbeat renews the lease and brings the
// wish to cancel.
//
// A job may spawn children and wait for them; it then runs again and sees
// their results. A child that fails stops its siblings. Cancelling a job
// cancels its children.
//
// A job that was submitted as Unique is the same job as one with an equal
// kind, scope, requester and definition that is not finished yet.
//
// What handlers promise: a run continues from the checkpoint, and doing again
// what was done after it does no harm. Then a job finishes once, whatever dies.
//
// Files in reading order: job.go (Job, Spec), store.go (the table), claim.go
// (what workers write), sweep.go (retention), runner.go (the loop of a node),
// task.go (what a handler sees).
//
// The SQL is what SQLite and PostgreSQL share. A claim is a compare and set on
// the fence, so it needs no row locks.
package jobs
