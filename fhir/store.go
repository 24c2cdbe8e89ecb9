package fhir

import (
	"context"
	"errors"
	"time"

	"github.com/hygeia-health/hygeia/spec/search"
)

// Key names a resource.
type Key struct {
	Type string
	ID   string
}

// String returns "Type/id".
func (k Key) String() string { return k.Type + "/" + k.ID }

// Seq is a position in the change sequence of one store. It is ordered by time:
// the upper bits are milliseconds since 2020-01-01, the lower 20 a counter. The
// meta.lastUpdated of a version is the time of its Seq.
type Seq int64

const seqEpoch = 1577836800000 // 2020-01-01T00:00:00Z in Unix milliseconds

// SeqAt returns the first Seq of a millisecond; times before 1880 or far in the
// future give the ends of the range. Before 2020 a Seq is negative, which only
// imported versions are.
func SeqAt(t time.Time) Seq { return SeqAtMilli(t.UnixMilli()) }

// SeqAtMilli is SeqAt of a Unix millisecond.
func SeqAtMilli(ms int64) Seq {
	const most = 1<<42 - 1
	return Seq(min(max(ms-seqEpoch, -most), most) << 20)
}

// Time returns the instant of s, in UTC with millisecond precision.
func (s Seq) Time() time.Time { return time.UnixMilli(int64(s>>20) + seqEpoch).UTC() }

// Record is one version of a resource as the store keeps it.
type Record struct {
	Key
	Version int64
	Seq     Seq
	Method  string // POST, PUT, PATCH or DELETE: what made this version
	Stored  []byte // the stored form of spec/resource, not to be changed; nil when Deleted
	Deleted bool
}

// Store keeps the resources of one FHIR service. Every method may be called
// from many goroutines. Errors are *fault.Error; a kind that is not named at a
// method is Internal or Transient, and then nothing was changed.
type Store interface {
	// Read returns the current version. A deleted resource comes back with
	// Deleted set and no error; one that never was is NotFound.
	Read(ctx context.Context, k Key) (Record, error)
	// ReadVersion returns one version, current or not. NotFound if there is none.
	ReadVersion(ctx context.Context, k Key, version int64) (Record, error)
	// Search returns one page of current resources that match q, in the order
	// of q.Sort (then of the store). It is Invalid for a bad cursor and
	// TooCostly for a query that the store refuses.
	Search(ctx context.Context, q *search.Query) (*Page, error)
	// History returns one page of versions.
	History(ctx context.Context, q HistoryQuery) (*Page, error)
	// Apply does all operations of c, in order, in one transaction, or none.
	// When it returns without error the change is on disk. It fails with
	// Precondition when an If-Match does not hold, with ErrStale when a guard
	// does not; the error names the operation by OpError.
	Apply(ctx context.Context, c *Change) ([]Applied, error)
	// Check returns nil when the store can answer.
	Check(ctx context.Context) error
	Close() error
}

// Page is one page of records.
type Page struct {
	Records []Record
	Next    string // cursor of the next page, "" on the last one
	Total   int64  // -1 when it was not asked for
	// Included are the resources that the includes of a search add to its
	// matches, each once and none of the matches. Beyond Query.IncludeCount
	// NextIncluded is the cursor of the others, for Query.IncludeAfter.
	Included     []Record
	NextIncluded string
	Explain      []string // with Query.Explain: how the page was found, without values
}

// HistoryQuery selects versions: of one resource (Type and ID), of a type, or
// of all (both empty). Since is inclusive, Before exclusive; zero means open.
type HistoryQuery struct {
	Type, ID      string
	Since, Before time.Time
	Ascending     bool
	Count         int // page size; 0 = only the total
	Total         bool
	After         string
}

// OpKind is what an operation does.
type OpKind uint8

// The operations of a Change.
const (
	OpPut          OpKind = iota + 1 // create or replace
	OpDelete                         // soft delete; nothing happens when there is no live resource
	OpHardDelete                     // remove all versions
	OpPurgeHistory                   // remove all versions but the current one
)

// Op is one operation, fully prepared: parsed, validated, extracted.
type Op struct {
	Kind   OpKind
	Key    Key
	Method string // for the history: POST, PUT, PATCH, DELETE
	Stored []byte // OpPut: the stored form
	// Values are, for OpPut, the index entries: exactly what Extract finds in
	// Stored, so that a store may find them again when the version is replaced.
	Values  *search.Values
	IfMatch int64 // > 0: the current version must be this one, else Precondition
	// MustExist refuses (NotFound, or Gone) when there is no live resource.
	MustExist bool
	// MustNotExist refuses (Conflict) when the id is already taken by a live resource.
	MustNotExist bool
	// NoHistory drops the version that this one replaces.
	NoHistory bool

	// pinned is set when the service, not the client, chose IfMatch: then a
	// mismatch means to start again. It says nothing to a store.
	pinned bool
}

// Outcome says what an operation found and did.
type Outcome uint8

// The outcomes.
const (
	Created   Outcome = iota + 1 // there was no live resource before
	Updated                      // a new version of a live resource
	Unchanged                    // the content is the same: no new version
	Deleted
	Absent // a delete or a purge found nothing
)

// Applied is the result of one Op. Version and Seq are those of the current
// version after the operation (for Absent: of the deletion, or 0).
type Applied struct {
	Outcome Outcome
	Version int64
	Seq     Seq
}

// Guard makes a Change depend on the answer of a search: when it runs, the
// matches of Query must still be exactly IDs (compared up to the first two), or the whole
// change fails with ErrStale and the caller starts again. This is how
// conditional interactions stay exact while all heavy work is done outside
// the transaction.
type Guard struct {
	Query *search.Query
	IDs   []Key
}

// Change is a list of operations that happen together. A store keeps nothing
// of it after Apply has returned, however that ended: the memory is used again.
type Change struct {
	Ops    []Op
	Guards []Guard
	Bulk   bool // may wait behind interactive changes
}

// ErrStale reports a guard that no longer holds.
var ErrStale = errors.New("the matches of a condition changed")

// OpError says which operation of a Change failed.
type OpError struct {
	Index int
	Err   error
}

// Error implements error.
func (e *OpError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }
