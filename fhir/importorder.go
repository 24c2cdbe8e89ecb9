package fhir

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// arrange puts the versions of one resource that stand in the batch into an
// order in which each finds its place, as Azure Health Data Services does:
// those with a number first, as they come, but those below 1, which belong before
// a later one, after the others; then those that are older than what
// there is, the newest first, because each takes the number below its later
// neighbour; then the others by their times. A version without a time is made now.
// What there is has to include the batches before, so settle is called first.
func (b *Batch) arrange(ctx context.Context, settle func() error) error {
	if b.mode.Initial || !b.unnumbered {
		return nil // the first one counts, or all know their places
	}
	of := map[Key][]int{}
	for i := range b.ops {
		of[b.ops[i].Key] = append(of[b.ops[i].Key], i)
	}
	maps.DeleteFunc(of, func(_ Key, at []int) bool {
		return len(at) == 1 || !slices.ContainsFunc(at, func(i int) bool { return b.ops[i].Number <= 0 })
	})
	if len(of) == 0 {
		return nil
	}
	if err := settle(); err != nil {
		return err
	}
	for k, at := range of {
		newest, err := b.newest(ctx, k, at)
		if err != nil {
			return err
		}
		b.order(at, newest)
	}
	return nil
}

// newest returns the time of the newest version of k that is stored, or of
// those in the batch that have a number.
func (b *Batch) newest(ctx context.Context, k Key, at []int) (t time.Time, err error) {
	rec, err := b.s.store.Read(ctx, k)
	switch {
	case err == nil:
		t = rec.Seq.Time()
	case !fault.Is(err, fault.NotFound):
		return t, err
	}
	for _, i := range at {
		if op := &b.ops[i]; op.Number != 0 && op.Time.After(t) {
			t = op.Time
		}
	}
	return t, nil
}

// order sorts the ops at some places among these places.
func (b *Batch) order(at []int, newest time.Time) {
	const (
		numbered = iota
		below    // 1
		older
		now
	)
	class := func(op *ImportOp) int {
		switch {
		case op.Number > 0:
			return numbered
		case op.Number < 0:
			return below
		case !op.Time.IsZero() && op.Time.Before(newest):
			return older
		}
		return now
	}
	sorted := slices.Clone(at)
	slices.SortStableFunc(sorted, func(i, j int) int {
		x, y := &b.ops[i], &b.ops[j]
		c := class(x)
		switch d := cmp.Compare(c, class(y)); {
		case d != 0 || c <= below:
			return d
		case c == older:
			return y.Time.Compare(x.Time)
		case x.Time.IsZero() != y.Time.IsZero():
			if x.Time.IsZero() {
				return 1
			}
			return -1
		}
		return x.Time.Compare(y.Time)
	})
	ops, results := make([]ImportOp, len(at)), make([]int, len(at))
	for n, i := range sorted {
		ops[n], results[n] = b.ops[i], b.at[i]
	}
	for n, i := range at {
		b.ops[i], b.at[i] = ops[n], results[n]
	}
}
