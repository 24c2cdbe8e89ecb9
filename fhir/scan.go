package fhir

import (
	"context"
	"math"
)

// The ends of the change sequence: before everything, behind everything.
const (
	FirstSeq Seq = math.MinInt64
	LastSeq  Seq = math.MaxInt64
)

// Scanner is the extra of a Store that can be read from end to end as it was at
// one position of the change sequence, while it goes on changing.
//
// What is true of a position stays true, with two exceptions: versions that are
// removed for good (hard delete, purge, a type without history) are not seen any
// more, and versions that an import puts into the past may be seen.
type Scanner interface {
	// Mark returns a position that every acknowledged change stands before, and
	// every later one behind.
	Mark(ctx context.Context) (Seq, error)
	// Ranges cuts the live resources of a type into ranges of about size
	// resources, to be scanned with ScanCurrent side by side. They cover every
	// position. nil when there is nothing of the type, live or not.
	Ranges(ctx context.Context, typ string, size int) ([]ScanRange, error)
	// Scan calls f with versions of one type until f returns false or a while
	// is over, and returns the position to go on from: After of the next call.
	// more is false at the end. The record is valid until f returns. The order
	// is that of the store.
	Scan(ctx context.Context, q ScanQuery, f func(*Record) bool) (next int64, more bool, err error)
}

// ScanRange is a range of a store's own positions: After < position <= Last.
type ScanRange struct {
	After int64 `json:"after"`
	Last  int64 `json:"last"`
	Count int64 `json:"count"` // about how many resources
}

// EveryPosition is the range of a scan that is not cut.
func EveryPosition() ScanRange { return ScanRange{After: math.MinInt64, Last: math.MaxInt64} }

// ScanWhat selects versions relative to the position of a scan.
type ScanWhat uint8

// What can be scanned. Every version up to the position is in exactly one of them.
const (
	ScanCurrent ScanWhat = iota // the version that was current, of resources that were live
	ScanOld                     // versions that had been replaced, deletions among them
	ScanDeleted                 // deletions that were current
)

// ScanQuery is one scan.
type ScanQuery struct {
	Type  string
	What  ScanWhat
	At    Seq // the position
	Since Seq // only versions from here on
	ScanRange
}
