package dicom

import (
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Level is a level of the information model.
type Level uint8

// The levels, from the outside in.
const (
	LevelStudy Level = iota
	LevelSeries
	LevelInstance
)

// String returns the name of the level as the API writes it.
func (l Level) String() string { return [...]string{"Study", "Series", "Instance"}[l] }

// UIDs name a study, a series of it (Series set) or an instance (SOP set too).
type UIDs struct{ Study, Series, SOP string }

// Level returns what the UIDs name.
func (u UIDs) Level() Level {
	switch {
	case u.SOP != "":
		return LevelInstance
	case u.Series != "":
		return LevelSeries
	}
	return LevelStudy
}

// String returns the UIDs with slashes between them.
func (u UIDs) String() string {
	return strings.TrimRight(u.Study+"/"+u.Series+"/"+u.SOP, "/")
}

// Version counts the changes of a service: every stored instance has one of its
// own, and a later one is greater.
type Version int64

// Location says where the bytes of a file are.
type Location struct {
	Object int64 // the number of the blob
	Pos    int64 // where in it the file begins
	Size   int64
}

// Instance is one stored instance.
type Instance struct {
	UIDs
	Class    string // SOP Class UID
	Syntax   string // Transfer Syntax UID
	Location Location
	Version  Version
	// Original is where the file is that a bulk update replaced; zero if none did.
	Original        Location
	OriginalVersion Version
}

// Record is an instance on its way into the index.
type Record struct {
	Instance
	Attrs  Attributes // its metadata
	Study  Attributes // the attributes of its study and its series
	Series Attributes
	Frames []byte     // encoded FrameTable; nil without pixel data
	Values Values     // what it is found by
	Shared bool       // the blob holds other instances too
	Stored bool       // set by Store.Put
	Tags   []TagValue // values of extended query tags
}

// Change is one entry of the change feed.
type Change struct {
	Sequence int64
	At       time.Time
	Action   Action
	UIDs
	Partition string
	Version   Version // of the instance after the change
	State     State
	Attrs     Attributes // the metadata, if asked for and still there
}

// Action is what a change did.
type Action uint8

// The actions of the change feed.
const (
	ActionCreate Action = iota + 1
	ActionDelete
	ActionUpdate
)

// String returns the name of the action in the API.
func (a Action) String() string { return [...]string{"", "create", "delete", "update"}[a] }

// State says what has become of the instance of a change.
type State uint8

// The states of an instance in the change feed.
const (
	StateCurrent State = iota
	StateReplaced
	StateDeleted
)

// String returns the name of the state in the API.
func (s State) String() string { return [...]string{"current", "replaced", "deleted"}[s] }

// DefaultPartition is the partition of data that name none.
const DefaultPartition = "Microsoft.Default"

// uidsOf reads the identifiers of a data set.
func uidsOf(d *dcm.Dataset) UIDs {
	return UIDs{
		Study: d.String(dcm.TagStudyInstanceUID), Series: d.String(dcm.TagSeriesInstanceUID), SOP: d.String(dcm.TagSOPInstanceUID),
	}
}
