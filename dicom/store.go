package dicom

import (
	"context"
	"errors"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Store is the index of a service: everything but the files. Errors are
// *fault.Error: NotFound where something named is not there, Conflict where a
// rule of the index is broken, Transient or Timeout when it is worth trying again.
// What a method returned as done is durable.
type Store interface {
	// Put stores what requests bring in one transaction, and tells each how it
	// ended. durable, which may be nil, waits until the files
	// are on disk and is called before the commit: what it fails with takes all back.
	Put(puts []*Put, durable func() error)
	// Instance returns one instance, or NotFound.
	Instance(ctx context.Context, part Partition, u UIDs) (*Instance, error)
	// Known tells of each instance whether it is there.
	Known(ctx context.Context, part Partition, list []UIDs) ([]bool, error)
	// Frames returns an instance with its encoded frame table, nil when it has none.
	Frames(ctx context.Context, part Partition, u UIDs) (*Instance, []byte, error)
	// List returns the instances below u in the order in which they were stored,
	// at most limit of them, after the version that the last call ended with.
	List(ctx context.Context, part Partition, u UIDs, after Version, limit int) ([]*Instance, error)
	// Metadata calls f with the metadata of every instance below u, in the order
	// of List; with original, those from before a bulk update. The slice is valid
	// until f returns.
	Metadata(ctx context.Context, part Partition, u UIDs, original bool, f func(*Instance, Attributes) error) error
	// Revision returns the newest version and the number of instances below u,
	// or NotFound when there are none.
	Revision(ctx context.Context, part Partition, u UIDs) (Version, int64, error)
	// Delete removes what is below u from the index, with a change row for each
	// instance, and returns how many there were: NotFound if none.
	Delete(ctx context.Context, part Partition, u UIDs) (int, error)
	// Object reserves a number for a blob. Numbers that were reserved shortly
	// before a crash and never used are given to Unused, at the next start or, on
	// a database that other processes use, when the dead one was silent for a while.
	Object() (int64, error)
	// Unused returns numbers of blobs that nothing refers to and that are not
	// busy here, so that the blobs can be deleted; nobody can put anything into them
	// any more. It is called every few minutes, as a sign of life. Forget drops
	// numbers whose blobs are gone.
	Unused(ctx context.Context, busy func(object int64) bool) ([]int64, error)
	Forget(ctx context.Context, objects []int64) error
	// Place returns the number that names the place of the blobs, and whether other
	// processes may use the index. Where there is no number, n becomes it unless it is 0.
	Place(ctx context.Context, n int64) (place int64, shared bool, err error)
	// Partition finds a partition by name; with create it is made when missing.
	// Otherwise that is NotFound.
	Partition(ctx context.Context, name string, create bool) (Partition, error)
	Partitions(ctx context.Context) ([]PartitionInfo, error)
}

// Put is what one request stores: for each record the rows of its study, series
// and instance, metadata, frame table, the use of the blob, and a change row. What
// is wrong with one Put does not touch others.
type Put struct {
	Ctx     context.Context // one that has ended by the time of the transaction stores nothing
	Part    Partition
	Records []*Record // get their Version, and Stored
	// Replace says that an instance which is there already is replaced; else its
	// record is skipped and Stored stays false.
	Replace bool
	Tags    int64 // the version of the list of extended query tags that the values are of

	// Err is how it ended: ErrCondemned when a blob was given up meanwhile, ErrTagsChanged
	// when the list of extended query tags is not of that version.
	Err error
}

// ErrTagsChanged says that the list of extended query tags is another one meanwhile.
var ErrTagsChanged = errors.New("dicom: the extended query tags have changed")

// ErrCondemned says that a blob was given up before the files in it were in the
// index: another process removed all that it had. It takes other blobs.
var ErrCondemned error = &fault.Error{Kind: fault.Transient, Op: "dicom: put", Msg: "the files could not be stored now; try again"}

// Partition is the number of a partition; the default one is 1.
type Partition int64

// PartitionInfo describes a partition.
type PartitionInfo struct {
	Key     Partition
	Name    string
	Created time.Time
}

// Searcher is the part of the store that answers searches.
type Searcher interface {
	// Search calls f for each match in the order of the query until it has had
	// Limit of them, and reports whether there are more.
	Search(ctx context.Context, q *Query, f func(*Match) error) (more bool, err error)
}

// Feed is the part of the store that answers the change feed.
type Feed interface {
	// Changes returns entries in the order of their sequence.
	Changes(ctx context.Context, q ChangeQuery) ([]Change, error)
	// Latest returns the newest entry, or nil when there is none.
	Latest(ctx context.Context, metadata bool) (*Change, error)
}
