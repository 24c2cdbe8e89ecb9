package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Phases are the phases of a Run in their order.
var Phases = []string{"load", "create", "update", "read", "search", "mixed"}

// Options say what to measure. Only URL is required.
type Options struct {
	URL      string        // the FHIR base: http://127.0.0.1:8080/default/fhir
	Token    string        // bearer token; "" sends none
	Data     string        // folder with transaction bundles; "" means the embedded sample
	Patients int           // how many patients to load; 0 means one copy of the data
	Phases   []string      // a subset of Phases; empty means all
	LoadConc int           // connections of the load phase; 0 means 4
	Conc     []int         // connections of the other phases; empty means 1 and 8
	Duration time.Duration // of one measurement; 0 means 3 s. Loading always runs to its end
	PID      int           // the server's process, for CPU and memory; 0 leaves them out
	Disk     string        // the server's data folder, for the bytes per resource; "" leaves it out
	JSON     bool          // print JSON instead of a table
	Out      io.Writer     // where the result goes; nil means standard output
	Progress io.Writer     // a line per measurement while it runs; nil means standard error
}

// withDefaults fills the zero fields and checks the rest.
func (o Options) withDefaults() (Options, error) {
	if o.URL == "" {
		return o, errors.New("bench: the base URL of a FHIR service is required")
	}
	if o.Patients < 0 || o.LoadConc < 0 || o.Duration < 0 {
		return o, errors.New("bench: patients, connections and duration must not be negative")
	}
	if len(o.Phases) == 0 {
		o.Phases = Phases
	}
	for _, p := range o.Phases {
		if !slices.Contains(Phases, p) {
			return o, fmt.Errorf("bench: unknown phase %q; the phases are %s", p, strings.Join(Phases, ", "))
		}
	}
	if len(o.Conc) == 0 {
		o.Conc = []int{1, 8}
	}
	for _, c := range o.Conc {
		if c < 1 {
			return o, errors.New("bench: a measurement needs at least one connection")
		}
	}
	if o.LoadConc == 0 {
		o.LoadConc = 4
	}
	if o.Duration == 0 {
		o.Duration = 3 * time.Second
	}
	if o.Out == nil {
		o.Out = os.Stdout
	}
	if o.Progress == nil {
		o.Progress = os.Stderr
	}
	return o, nil
}

// run is the state of one Run.
type run struct {
	opt    Options
	target *target
	data   *dataset
	report Report
	fresh  bool     // the server held no patients before the load: totals can be checked
	own    []string // ids of the Observations that create made
}

// Run measures the server and prints the result. It fails when the server
// cannot be reached or the data cannot be read, and when answers were wrong:
// after printing what it has.
func Run(ctx context.Context, opt Options) error {
	if os.Getenv(bareEnv) != "" {
		return serveBare(ctx, os.Stdin, os.Stdout)
	}
	opt, err := opt.withDefaults()
	if err != nil {
		return err
	}
	r := &run{opt: opt}
	if r.target, err = newTarget(opt.URL, opt.Token); err != nil {
		return err
	}
	r.target.pid = opt.PID
	if r.data, err = readData(opt.Data); err != nil {
		return err
	}
	r.report.begin(opt, r.data)
	err = r.phases(ctx)
	r.report.finish(opt)
	return errors.Join(err, r.report.print(opt), r.report.wrong())
}

// phases runs the wanted phases in order.
func (r *run) phases(ctx context.Context) error {
	if err := r.reach(ctx); err != nil {
		return err
	}
	if slices.Contains(r.opt.Phases, "load") {
		if err := r.load(ctx); err != nil {
			return err
		}
	} else if err := r.find(ctx); err != nil {
		return err
	}
	for _, p := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"create", r.create}, {"update", r.update}, {"read", r.read}, {"search", r.search}, {"mixed", r.mixed},
	} {
		if !slices.Contains(r.opt.Phases, p.name) {
			continue
		}
		if err := p.run(ctx); err != nil {
			return fmt.Errorf("bench: %s: %w", p.name, err)
		}
	}
	return nil
}

// reach asks the server for the number of its patients.
func (r *run) reach(ctx context.Context) error {
	c := r.target.conn()
	defer c.close()
	a, err := c.do(ctx, "GET", "/Patient?_summary=count", nil)
	if err != nil {
		return fmt.Errorf("bench: the server at %s does not answer: %w", r.opt.URL, err)
	}
	if a.status != 200 {
		return fmt.Errorf("bench: %s/Patient answers %d: %s", r.opt.URL, a.status, clip(a.body))
	}
	total, ok := a.total()
	r.fresh = ok && total == 0
	return nil
}
