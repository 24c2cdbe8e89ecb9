package events

import (
	"context"
	"time"
)

// State is how a subscription stands.
type State string

// The provisioning states of Event Grid. Disabled is a subscription that
// expired, or whose destination said that it is gone (CloudEvents webhook,
// status 410).
const (
	AwaitingManualAction State = "AwaitingManualAction"
	Succeeded            State = "Succeeded"
	Failed               State = "Failed"
	Disabled             State = "Disabled"
)

// Record is a subscription as the store keeps it.
type Record struct {
	Subscription
	State  State
	Reason string // why it is not Succeeded
	Code   string // of the handshake, while AwaitingManualAction
	// Origin is to whom a CloudEvents webhook has granted deliveries, and Rate how
	// many of them a minute; 0 is any number.
	Origin  string
	Rate    int
	Created time.Time
	Changed time.Time
	// From is where in the log it begins, Position what it is done with.
	From, Position int64
}

// Try is an event that a subscription will try again.
type Try struct {
	Seq      int64
	Attempts int
	Due      time.Time
	Since    time.Time // when its time to live began
	Last     time.Time // of the last attempt
	Outcome  Outcome
}

// Letter is a dead letter: an event that was given up.
type Letter struct {
	Seq    int64 // of the event
	Reason string
	Try    Try
	Time   time.Time
	Blob   string // where its text is
}

// Progress is what a dispatcher has done since it last told the store.
type Progress struct {
	Position int64
	Put      []Try    // to be tried again
	Done     []int64  // delivered or given up; they may or may not be among the tries
	Dead     []Letter // those that were given up and kept
}

// Store keeps the log and the subscriptions of one workspace. Its methods may be
// called from many goroutines; errors are *fault.Error.
type Store interface {
	// Position returns how far a source was collected; ok is false for one that never was.
	Position(ctx context.Context, source string) (pos int64, ok bool, err error)
	// Append adds changes of a source to the log and sets its position, in one
	// transaction, if its position is still from; else it is Conflict and nothing
	// happens: another node was faster. The changes have positions in the log that
	// follow each other, from first on.
	Append(ctx context.Context, source string, from, to int64, changes []Change) (first int64, err error)
	// Read returns up to limit events after a position, in order.
	Read(ctx context.Context, after int64, limit int) ([]Event, error)
	// Get returns the events at positions; those that are gone are left out.
	Get(ctx context.Context, seqs []int64) ([]Event, error)
	// Bounds returns the first and the last position of the log, 0 and 0 when it never had any.
	Bounds(ctx context.Context) (first, last int64, err error)
	// Prune removes up to limit events that are older and that no subscription
	// needs, and says how many.
	Prune(ctx context.Context, before time.Time, limit int) (int, error)

	// Active says whether events are collected; Activate begins it.
	Active(ctx context.Context) (bool, error)
	Activate(ctx context.Context) error

	Subscriptions(ctx context.Context) ([]Record, error)
	// PutSubscription stores a record in place of old, which is nil for a new one.
	// Conflict: somebody else has changed it since it was read.
	PutSubscription(ctx context.Context, r, old *Record) error
	// DeleteSubscription removes a subscription with its tries and dead letters.
	DeleteSubscription(ctx context.Context, name string) error
	// Tries returns up to limit events after a position of the log that a
	// subscription will try again, in order.
	Tries(ctx context.Context, name string, after int64, limit int) ([]Try, error)
	// Counts returns how many tries and dead letters a subscription has.
	Counts(ctx context.Context, name string) (tries, letters int, err error)
	// Save stores progress in one transaction. A subscription that is gone is no error.
	Save(ctx context.Context, name string, p *Progress) error
	// Letters returns dead letters after a position of the log, in order.
	Letters(ctx context.Context, name string, after int64, limit int) ([]Letter, error)
	// Redrive turns dead letters into tries that are due now: those at the
	// positions, or all. It says how many.
	Redrive(ctx context.Context, name string, seqs []int64, now time.Time) (int, error)

	// Lead runs work on one of all the nodes that have the store open, until ctx
	// ends: when this node's turn begins, with a context that ends with it. During
	// work, Append, Save and Prune fail and do nothing when the turn is over.
	Lead(ctx context.Context, work func(context.Context))
	Close() error
}
