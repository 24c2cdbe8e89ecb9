package fhir

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Importer is the extra of a Store that takes versions as they were made
// somewhere else, with their number and their time.
type Importer interface {
	// Import stores each version where it belongs, in order, in one
	// transaction, and what calls of Import got in the order of the calls. The
	// function that it returns waits for the end. A version that is refused
	// (Conflict, Invalid) says so in its result and changes nothing; the others
	// are not affected. An error means that nothing was stored.
	Import(ctx context.Context, ops []ImportOp) func() ([]Imported, error)
}

// ImportOp is one version to import. Op is prepared as for Apply, with Kind
// OpPut or OpDelete and nothing else set but Key, Method, Stored, Values and NoHistory.
type ImportOp struct {
	Op
	Number   int64     // meta.versionId; 0: the store chooses
	Time     time.Time // meta.lastUpdated; zero: now
	Initial  bool      // only what does not exist yet; Number and Time are not looked at
	Negative bool      // numbers may be below 1, of versions that are not the current one
}

// Imported is the result of one ImportOp.
type Imported struct {
	Applied
	Err error
}

// Placed is a version that a resource has already.
type Placed struct {
	Version int64
	Seq     Seq
	Deleted bool
}

// Placement says where an imported version belongs.
type Placement struct {
	Unchanged bool // it is there already, or there is nothing to do
	Version   int64
	Newest    bool // it becomes the current version
	// After and Before are the neighbours: its Seq stands between them.
	After, Before Seq
}

// Place decides where op belongs among the versions of its resource, which are
// in ascending order of both number and Seq, and of which only the newest is
// looked at unless NeedsAll said otherwise. same reports whether versions[i]
// has the content of op. The rules are those of Azure Health Data Services:
// the same version again is no change; the same number or the same time with
// another content is a Conflict; numbers and times must have the same order; a
// version without a number takes one that is free between its neighbours. Other
// than there, numbers below 1 have the order of their times too, and are never current.
func Place(versions []Placed, op *ImportOp, now time.Time, same func(i int) (bool, error)) (Placement, error) {
	p := Placement{Newest: true, Version: max(op.Number, 1), After: FirstSeq, Before: LastSeq}
	if op.Initial {
		p.Version = 1
	}
	last := len(versions) - 1
	deletes := op.Kind == OpDelete
	if !op.Initial && op.Time.UnixMilli() > now.UnixMilli() {
		return p, fault.At(fault.Invalid, "business-rule", "meta.lastUpdated", "meta.lastUpdated lies in the future")
	}
	if op.Number < 0 && !op.Initial {
		if !op.Negative {
			return p, conflict("version %d is below 1, which only allowNegativeVersions lets in", op.Number)
		}
		if last < 0 {
			return p, conflict("version %d is below 1, so there has to be a later one already", op.Number)
		}
	}
	if last < 0 {
		p.Unchanged = deletes && op.Time.IsZero() && op.Number == 0
		return p, nil
	}
	cur := versions[last]
	p.Version, p.After = cur.Version+1, cur.Seq
	switch {
	case op.Initial:
		return p, placeInitial(&p, cur, deletes, func() (bool, error) { return same(last) })
	case op.Time.IsZero():
		return p, placeNow(&p, versions, op, same)
	}
	return p, placeAt(&p, versions, op, same)
}

// NeedsAll reports whether Place has to see every version of a resource whose
// current one is cur, and not that one alone.
func (op *ImportOp) NeedsAll(cur Placed) bool {
	switch {
	case op.Initial:
		return false
	case op.Number != 0 && op.Number <= cur.Version:
		return true
	}
	return !op.Time.IsZero() && op.Time.UnixMilli() <= cur.Seq.Time().UnixMilli()
}

// placeInitial lets a resource begin once.
func placeInitial(p *Placement, cur Placed, deletes bool, same func() (bool, error)) (err error) {
	switch {
	case deletes:
		p.Unchanged = cur.Deleted
	case !cur.Deleted:
		if p.Unchanged, err = same(); err == nil && !p.Unchanged {
			return conflict("the resource exists already, with another content")
		}
	}
	return err
}

// placeNow places a version without a time: it is made now.
func placeNow(p *Placement, versions []Placed, op *ImportOp, same func(i int) (bool, error)) error {
	last := len(versions) - 1
	cur, deletes := versions[last], op.Kind == OpDelete
	if op.Number == 0 {
		if cur.Deleted || deletes {
			p.Unchanged = cur.Deleted && deletes
			return nil
		}
		var err error
		p.Unchanged, err = same(last)
		return err
	}
	if op.Number > cur.Version {
		p.Version = op.Number
		return nil
	}
	for i, v := range versions {
		if v.Version == op.Number {
			return repeated(p, versions, i, op, same)
		}
	}
	return conflict("version %d is older than the current version %d, but has no meta.lastUpdated", op.Number, cur.Version)
}

// repeated accepts a version that is there already, with the same content.
func repeated(p *Placement, versions []Placed, i int, op *ImportOp, same func(i int) (bool, error)) error {
	v := versions[i]
	ok := v.Deleted == (op.Kind == OpDelete)
	if ok && !v.Deleted {
		var err error
		if ok, err = same(i); err != nil {
			return err
		}
	}
	if !ok {
		return conflict("version %d exists already, with another content", v.Version)
	}
	p.Unchanged, p.Version = true, v.Version
	return nil
}

// placeAt places a version with a time.
func placeAt(p *Placement, versions []Placed, op *ImportOp, same func(i int) (bool, error)) error {
	at := op.Time.UnixMilli()
	if op.Number == 0 {
		return placeFree(p, versions, at, op, same)
	}
	next := len(versions)
	for i, v := range versions {
		if v.Version == op.Number {
			if v.Seq.Time().UnixMilli() != at {
				return conflict("version %d exists already, with another meta.lastUpdated", v.Version)
			}
			return repeated(p, versions, i, op, same)
		}
		if v.Version > op.Number {
			next = i
			break
		}
	}
	p.between(versions, next)
	p.Version = op.Number
	if next > 0 && versions[next-1].Seq.Time().UnixMilli() > at {
		return conflict("version %d is newer than version %d, but its meta.lastUpdated is older", op.Number, versions[next-1].Version)
	}
	if next < len(versions) && versions[next].Seq.Time().UnixMilli() < at {
		return conflict("version %d is older than version %d, but its meta.lastUpdated is newer", op.Number, versions[next].Version)
	}
	return nil
}

// between sets the neighbours of a version that comes before versions[next].
func (p *Placement) between(versions []Placed, next int) {
	p.Newest = next == len(versions)
	p.After, p.Before = FirstSeq, LastSeq
	if next > 0 {
		p.After = versions[next-1].Seq
	}
	if !p.Newest {
		p.Before = versions[next].Seq
	}
}

// placeFree gives a version with a time, but without a number, the number that
// is free where it belongs.
func placeFree(p *Placement, versions []Placed, at int64, op *ImportOp, same func(i int) (bool, error)) error {
	next := len(versions)
	for i, v := range versions {
		ms := v.Seq.Time().UnixMilli()
		if ms == at {
			if repeated(p, versions, i, op, same) == nil {
				return nil
			}
			return conflict("another content has the same meta.lastUpdated, as version %d", v.Version)
		}
		if ms > at {
			next = i
			break
		}
	}
	p.between(versions, next)
	switch {
	case p.Newest:
		p.Version = versions[next-1].Version + 1
	case next > 0 && versions[next-1].Version+1 == versions[next].Version:
		return conflict("there is no version number free between %d and %d", versions[next-1].Version, versions[next].Version)
	case next > 0 || versions[next].Version > 1:
		p.Version = versions[next].Version - 1
		if p.Version == 0 {
			p.Version = -1
		}
		if next > 0 && p.Version <= versions[next-1].Version {
			return conflict("there is no version number free between %d and %d", versions[next-1].Version, versions[next].Version)
		}
	case !op.Negative:
		return conflict("there is no version number free before %d; allowNegativeVersions would give it a negative one", versions[next].Version)
	default:
		p.Version = min(versions[next].Version-1, -1)
	}
	return nil
}

func conflict(format string, args ...any) error {
	return fault.At(fault.Conflict, "conflict", "", format, args...)
}

// Within returns the places of the change sequence that an imported version may
// take: those of its millisecond, from the middle on, so that a version of the
// same millisecond still fits before it.
func Within(t time.Time) (first, middle, end Seq) {
	first = SeqAt(t)
	return first, first | 1<<19, first + 1<<20
}
