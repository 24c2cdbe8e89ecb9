package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Measurement is one line of the result.
type Measurement struct {
	Phase     string  `json:"phase"`
	Name      string  `json:"name"`
	Conc      int     `json:"connections"`
	Requests  int     `json:"requests"`
	Wrong     int     `json:"wrong"` // answers that were not what was expected
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"requests_per_second"`
	Resources float64 `json:"resources_per_second,omitempty"` // written
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	CPU       float64 `json:"server_cpu_ms,omitempty"` // per request; per resource in the phase load
	RSS       int64   `json:"server_rss_mib,omitempty"`
	Ratio     float64 `json:"ratio_to_bare,omitempty"`
	First     string  `json:"first_wrong_answer,omitempty"`
}

// worker is one connection at work.
type worker struct {
	*conn
	rnd       *rand.Rand
	requests  []time.Duration
	wrong     int
	first     string // the first wrong answer
	resources int
}

// errDone ends a worker: there is nothing left to do.
var errDone = errors.New("done")

// task does one request and checks its answer. It returns errDone when there
// is no more work, and another error when the run cannot go on.
type task func(ctx context.Context, w *worker) error

// complain notes a wrong answer.
func (w *worker) complain(format string, args ...any) {
	if w.wrong++; w.first == "" {
		w.first = fmt.Sprintf(format, args...)
	}
}

// timed sends a request and notes how long the answer took.
func (w *worker) timed(ctx context.Context, method, path string, body []byte, header ...string) (*answer, error) {
	start := time.Now()
	a, err := w.do(ctx, method, path, body, header...)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	w.requests = append(w.requests, time.Since(start))
	return a, nil
}

// measure runs t on conc connections for a time; 0 means until errDone.
func (r *run) measure(ctx context.Context, phase, name string, conc int, limit time.Duration, on *target, t task) (*Measurement, error) {
	workers := make([]*worker, conc)
	errs := make([]error, conc)
	cpu, start := processCPU(on.pid), time.Now()
	var wg sync.WaitGroup
	for i := range workers {
		w := &worker{conn: on.conn(), rnd: rand.New(rand.NewPCG(uint64(i), uint64(conc)))}
		workers[i] = w
		wg.Go(func() {
			defer w.close()
			for limit == 0 || time.Since(start) < limit {
				if err := t(ctx, w); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	wall := time.Since(start)
	cpu = processCPU(on.pid) - cpu
	for _, err := range errs {
		if err != nil && !errors.Is(err, errDone) {
			return nil, err
		}
	}
	m := summary(workers, wall)
	m.Phase, m.Name, m.Conc = phase, name, conc
	per := float64(m.Requests)
	if phase == "load" {
		per = m.Resources * m.Seconds
	}
	if per > 0 {
		m.CPU = float64(cpu) / float64(time.Millisecond) / per
	}
	m.RSS = processRSS(on.pid) >> 20
	r.report.add(r.opt, m)
	return m, nil
}

// summary puts the notes of the workers together.
func summary(workers []*worker, wall time.Duration) *Measurement {
	m := &Measurement{Seconds: wall.Seconds()}
	var all []time.Duration
	resources := 0
	for _, w := range workers {
		all = append(all, w.requests...)
		resources += w.resources
		m.Wrong += w.wrong
		if m.First == "" {
			m.First = w.first
		}
	}
	slices.Sort(all)
	m.Requests = len(all)
	m.PerSecond = float64(len(all)) / m.Seconds
	m.Resources = float64(resources) / m.Seconds
	m.P50, m.P99, m.Max = percentile(all, 50), percentile(all, 99), percentile(all, 100)
	return m
}

// percentile returns the p-th percentile of sorted durations, in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := (len(sorted)*p+99)/100 - 1
	return float64(sorted[max(i, 0)]) / float64(time.Millisecond)
}
