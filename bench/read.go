package bench

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// read gets resources by id, beside a bare handler that answers as many bytes.
func (r *run) read(ctx context.Context) error {
	if len(r.data.ids) == 0 {
		return fmt.Errorf("no ids are known")
	}
	size, err := r.meanSize(ctx)
	if err != nil {
		return err
	}
	b, err := startBare(ctx, size)
	if err != nil {
		return err
	}
	defer b.stop()
	for _, conc := range r.opt.Conc {
		base, err := r.measure(ctx, "read", "bare net/http handler", conc, r.opt.Duration, b.target, func(ctx context.Context, w *worker) error {
			a, err := w.timed(ctx, "GET", "/"+r.data.ids[w.rnd.IntN(len(r.data.ids))], nil)
			if err == nil && (a.status != 200 || len(a.body) != size) {
				w.complain("the bare handler answers %d", a.status)
			}
			return err
		})
		if err != nil {
			return err
		}
		m, err := r.measure(ctx, "read", "GET by id", conc, r.opt.Duration, r.target, func(ctx context.Context, w *worker) error {
			return w.readOne(ctx, r.data.ids[w.rnd.IntN(len(r.data.ids))])
		})
		if err != nil {
			return err
		}
		m.Ratio = m.PerSecond / base.PerSecond
	}
	return nil
}

// readOne gets "Type/id" and checks that it is what comes back.
func (w *worker) readOne(ctx context.Context, key string) error {
	a, err := w.timed(ctx, "GET", "/"+key, nil)
	if err != nil {
		return err
	}
	_, id, _ := strings.Cut(key, "/")
	if a.status != 200 || !bytes.Contains(a.body, []byte(id)) {
		w.complain("read of %s: status %d: %s", key, a.status, clip(a.body))
	}
	return nil
}

// meanSize reads a few resources and returns the mean length of the answers.
func (r *run) meanSize(ctx context.Context) (int, error) {
	c := r.target.conn()
	defer c.close()
	n, sum := min(len(r.data.ids), 200), 0
	for i := range n {
		a, err := c.do(ctx, "GET", "/"+r.data.ids[i*len(r.data.ids)/n], nil)
		if err != nil {
			return 0, err
		}
		sum += len(a.body)
	}
	return sum / n, nil
}
