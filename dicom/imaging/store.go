package imaging

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
)

// Study is what the index knows about a study.
type Study struct {
	Attrs     dicom.Attributes // of the study and its patient
	Series    []Series
	Instances int64
}

// Series is a series of a Study.
type Series struct {
	UID       string
	Attrs     dicom.Attributes
	Count     int64
	Instances []Instance // nil when the study has more of them than were asked for
}

// Instance is an instance of a Series.
type Instance struct{ UID, Class, Number string }

// Note says that a study has changed and is to be worked off.
type Note struct {
	Partition dicom.Partition
	Name      string // of the partition
	Study     string // Study Instance UID
	Sequence  int64  // of the change that it is from
	First     time.Time
	Tries     int // how often it was worked off in vain
}

// Done says what became of a note: it is worked off, or, with Again, to be
// worked off at that time.
type Done struct {
	Note
	Again   time.Time
	Passing bool // it was not for the study that it could not be worked off: no try
}

// Backlog is what there is to do.
type Backlog struct {
	Pending int       // notes that were not tried yet
	Oldest  time.Time // of the changes that they are from
	Waiting int       // notes that were tried in vain
}

// Store keeps the position and the notes, beside the index of the service.
// Errors are *fault.Error.
type Store interface {
	// Lead runs work on one of all the nodes that have the store open, until ctx
	// ends. During work, the methods that write fail and do nothing when the turn
	// is over.
	Lead(ctx context.Context, work func(context.Context))
	// Shared reports whether other nodes may write to the store.
	Shared() bool
	// Begin sets the position to the beginning unless it is of the same settings.
	Begin(ctx context.Context, settings string) error
	// Collect takes notes of up to limit changes and moves the position, in one
	// transaction. A note is due settle after now, but not later than patience
	// after the first change that it stands for. It reports whether there are more.
	Collect(ctx context.Context, now time.Time, settle, patience time.Duration, limit int) (more bool, err error)
	// Due returns up to limit notes whose time has come, the oldest first.
	Due(ctx context.Context, now time.Time, limit int) ([]Note, error)
	// Done removes notes that were worked off and puts off others, unless their
	// study has changed since.
	Done(ctx context.Context, list []Done) error
	// NextDue is when the next note is due, zero when there are none.
	NextDue(ctx context.Context) (time.Time, error)
	// Backlog counts the notes.
	Backlog(ctx context.Context) (Backlog, error)
	// Study returns a study with its series, and its instances if they are not more
	// than limit. It is NotFound when the study is not there.
	Study(ctx context.Context, part dicom.Partition, uid string, limit int) (*Study, error)
}

// Destination is the FHIR service that gets the resources. Errors are
// *fault.Error: Transient, Throttled and Timeout mean that it cannot answer now,
// whatever it is asked.
type Destination interface {
	// Find returns up to two current resources of a type that have an identifier;
	// an empty system is that of an identifier without one.
	Find(ctx context.Context, typ, system, value string) ([]Resource, error)
	// Read returns the current version of a resource, the zero Resource when it is
	// not there.
	Read(ctx context.Context, typ, id string) (Resource, error)
	// Write does all or nothing. Conflict, Precondition, NotFound and Gone mean
	// that a resource is another one meanwhile.
	Write(ctx context.Context, list []Write) error
}

// Resource is a resource as it is stored.
type Resource struct {
	ID      string
	Version int64
	Text    []byte
}

// Write is a resource to be stored in place of a version, or if that is 0 in
// place of none; without a text it is deleted.
type Write struct {
	Type, ID string
	Text     []byte
	Version  int64
}
