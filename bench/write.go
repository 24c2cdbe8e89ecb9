package bench

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// benchSystem is the code system of the Observations that the phases create
// makes, so that they do not change the counts of the searches.
const benchSystem = "http://example.org/bench"

// appendObservation appends an Observation like those of Synthea. id "" leaves it out.
func appendObservation(dst []byte, id, patient string, n int64) []byte {
	dst = append(dst, `{"resourceType":"Observation",`...)
	if id != "" {
		dst = fmt.Appendf(dst, `"id":"%s",`, id)
	}
	when := time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * 37 * time.Minute)
	return fmt.Appendf(dst, `"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category",`+
		`"code":"vital-signs","display":"vital-signs"}]}],"code":{"coding":[{"system":"%s","code":"c%d","display":"Body Height"}],`+
		`"text":"Body Height"},"subject":{"reference":"Patient/%s"},"effectiveDateTime":"%s","issued":"%s",`+
		`"valueQuantity":{"value":%d.%02d,"unit":"cm","system":"http://unitsofmeasure.org","code":"cm"}}`,
		benchSystem, n%50, patient, when.Format("2006-01-02T15:04:05-07:00"), when.Format("2006-01-02T15:04:05.000-07:00"),
		100+n%100, n%100)
}

// create posts Observations of known patients.
func (r *run) create(ctx context.Context) error {
	var n atomic.Int64
	var mu sync.Mutex
	for _, conc := range r.opt.Conc {
		_, err := r.measure(ctx, "create", "POST Observation", conc, r.opt.Duration, r.target, func(ctx context.Context, w *worker) error {
			id, err := w.createOne(ctx, r.data.pick(w), n.Add(1))
			if err != nil || id == "" {
				return err
			}
			mu.Lock()
			r.own = append(r.own, id)
			mu.Unlock()
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// createOne posts one Observation and returns its id.
func (w *worker) createOne(ctx context.Context, p *person, n int64) (string, error) {
	a, err := w.timed(ctx, "POST", "/Observation", appendObservation(nil, "", p.id, n))
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(a.location, "/Observation/")
	id, _, _ := strings.Cut(rest, "/")
	if a.status != 201 || id == "" {
		w.complain("create: status %d, Location %q: %s", a.status, a.location, clip(a.body))
		return "", nil
	}
	w.resources++
	return id, nil
}

// update replaces Observations that create made, each time with another value.
func (r *run) update(ctx context.Context) error {
	if len(r.own) == 0 {
		if err := r.someOwn(ctx); err != nil {
			return err
		}
	}
	var n atomic.Int64
	for _, conc := range r.opt.Conc {
		_, err := r.measure(ctx, "update", "PUT Observation", conc, r.opt.Duration, r.target, func(ctx context.Context, w *worker) error {
			k := n.Add(1)
			return w.updateOne(ctx, r.own[int(k)%len(r.own)], r.data.pick(w), time.Now().UnixMicro()%1_000_000+k)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// updateOne replaces one Observation.
func (w *worker) updateOne(ctx context.Context, id string, p *person, n int64) error {
	a, err := w.timed(ctx, "PUT", "/Observation/"+id, appendObservation(nil, id, p.id, n))
	if err != nil {
		return err
	}
	if a.status != 200 || !bytes.Contains(a.body, []byte(id)) {
		w.complain("update of Observation/%s: status %d: %s", id, a.status, clip(a.body))
		return nil
	}
	w.resources++
	return nil
}

// someOwn creates a few Observations outside of any measurement.
func (r *run) someOwn(ctx context.Context) error {
	w := &worker{conn: r.target.conn()}
	defer w.close()
	for n := range int64(200) {
		id, err := w.createOne(ctx, r.data.persons[int(n)%len(r.data.persons)], n)
		if err != nil {
			return err
		}
		if id == "" {
			return fmt.Errorf("an Observation was refused: %s", w.first)
		}
		r.own = append(r.own, id)
	}
	return nil
}

// pick chooses a patient.
func (d *dataset) pick(w *worker) *person { return d.persons[w.rnd.IntN(len(d.persons))] }
