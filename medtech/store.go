package medtech

import (
	"context"
	"time"
)

// Raw is a message as it came.
type Raw struct {
	Offset  int64     // its place in the raw log; given by the store
	Arrived time.Time // millisecond precision
	Source  string    // http, or the name of a source
	// SourceID names the message within its source, so that one that is
	// delivered again is kept once; "" when the source has no such name.
	SourceID string
	Device   string // the sender as the transport knows it; may be empty
	Body     []byte
}

// Store keeps what a MedTech service must not lose. Every method may be called
// from many goroutines. Errors are *fault.Error; after one nothing was changed.
type Store interface {
	// Append adds messages to the raw log and sets their Offset, which grows in
	// the order of the call. A message whose Source and SourceID are there
	// already gets the Offset of the first one. When it returns the messages are
	// on disk. It is Throttled when too much waits.
	Append(ctx context.Context, list []Raw) error
	// Read returns messages with an Offset greater than after, in order: at most
	// limit, and no more once they have 4 MiB together.
	Read(ctx context.Context, after int64, limit int) ([]Raw, error)
	// Position tells how far the log and the pipeline are.
	Position(ctx context.Context) (Position, error)
	// OffsetAt returns the offset of the last message that arrived before at.
	OffsetAt(ctx context.Context, at time.Time) (int64, error)
	// Finish keeps the dead letters of a batch and moves the pipeline to done,
	// both or neither. With a replay it moves the replay and not the pipeline.
	Finish(ctx context.Context, f Finished) error
	// Trim removes processed messages that arrived before at, and dead letters of
	// before that were redriven or discarded; it returns how many messages.
	Trim(ctx context.Context, at time.Time) (int64, error)

	// Mapping returns the newest document of a kind; NotFound when there is none.
	Mapping(ctx context.Context, kind MappingKind) (Mapping, error)
	// Versions returns the newest versions of the documents; 0 when there is none.
	Versions(ctx context.Context) (device, fhir int64, err error)
	// PutMapping adds a version of a document and returns it.
	PutMapping(ctx context.Context, kind MappingKind, text []byte, at time.Time) (Mapping, error)

	// DeadLetters returns a page, newest first.
	DeadLetters(ctx context.Context, q DeadLetterQuery) (DeadLetterPage, error)
	// DeadLetter returns one with its body; NotFound when there is none.
	DeadLetter(ctx context.Context, id int64) (DeadLetter, error)
	// EditDeadLetter replaces the body of one that is open; NotFound, or Conflict
	// when it is not open.
	EditDeadLetter(ctx context.Context, id int64, body []byte) error
	// Redrive puts the messages of open dead letters at the end of the raw log,
	// and closes them as redriven. It returns how many there were.
	Redrive(ctx context.Context, q DeadLetterQuery, at time.Time) (int, error)
	// Discard closes open dead letters without doing anything with them.
	Discard(ctx context.Context, q DeadLetterQuery) (int, error)

	// PutReplay keeps a replay, by its ID; 0 gives it one. One that is cancelled
	// stays so.
	PutReplay(ctx context.Context, r Replay) (Replay, error)
	// Replays returns all replays, newest first.
	Replays(ctx context.Context) ([]Replay, error)

	// Lead runs work on one of all the nodes that have the store open, until ctx
	// ends: when this node's turn begins, with a context that ends with it. Finish
	// and Trim fail and do nothing on a node whose turn at Pipeline is over.
	Lead(ctx context.Context, name string, work func(context.Context))
	// Listen calls f at its beginning and when another node has changed
	// something, until ctx ends.
	Listen(ctx context.Context, f func())
	// Shared says that other nodes may have the store open.
	Shared() bool

	// Check returns nil when the store can answer.
	Check(ctx context.Context) error
	Close() error
}

// What one node does at a time.
const (
	Pipeline = "pipeline"
	Sources  = "sources"
)

// Position tells how far the raw log and the pipeline are.
type Position struct {
	First   int64     // oldest message that is kept; 0 when there is none
	Last    int64     // newest message
	Done    int64     // all up to this one are processed
	Pending time.Time // arrival of the oldest message that is not; zero when there is none
	Open    int64     // open dead letters
}

// Finished is the end of a batch.
type Finished struct {
	Done   int64 // the pipeline, or the replay, is done with all up to here
	Dead   []DeadLetter
	Replay *Replay // set when the batch belongs to a replay
}
