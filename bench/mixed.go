package bench

import (
	"context"
	"fmt"
	"sync/atomic"
)

// mixed does what clients do together: 40 % read, 40 % search, 15 % create, 5 %
// update. It runs with the largest number of connections.
func (r *run) mixed(ctx context.Context) error {
	if len(r.own) == 0 {
		if err := r.someOwn(ctx); err != nil {
			return fmt.Errorf("updates need Observations: %w", err)
		}
	}
	conc := 1
	for _, c := range r.opt.Conc {
		conc = max(conc, c)
	}
	narrow := queries[:7] // those that name a patient
	var n atomic.Int64
	_, err := r.measure(ctx, "mixed", "40 read, 40 search, 15 create, 5 update", conc, 2*r.opt.Duration, r.target, func(ctx context.Context, w *worker) error {
		switch d := w.rnd.IntN(100); {
		case d < 40:
			return w.readOne(ctx, r.data.ids[w.rnd.IntN(len(r.data.ids))])
		case d < 80:
			return w.searchOne(ctx, r, narrow[w.rnd.IntN(len(narrow))])
		case d < 95:
			_, err := w.createOne(ctx, r.data.pick(w), n.Add(1))
			return err
		}
		k := n.Add(1)
		return w.updateOne(ctx, r.own[int(k)%len(r.own)], r.data.pick(w), k)
	})
	return err
}
