package loader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options says where and how to load. Only To is needed.
type Options struct {
	To          string        // base URL of the FHIR service
	Images      string        // URL of the DICOM service with its version, for .dcm files; empty leaves them out
	Token       string        // bearer token; empty sends none
	Concurrency int           // requests at the same time; 0 means 4
	BatchSize   int           // resources in one batch; 0 means 100
	ErrorFile   string        // NDJSON of what failed; created when something does
	AsIs        bool          // send entries and resources without rewriting POST to PUT
	Progress    bool          // show progress on Log
	MaxDocument int64         // largest .json file or line in bytes; 0 means 512 MiB
	Backoff     time.Duration // the first pause before a retry; 0 means 500 ms
	Log         io.Writer     // progress and the first failures; nil means nowhere
}

// Report counts what a run did.
type Report struct {
	Files     int     `json:"files"`
	Resources int     `json:"resources"` // answered: the sum of the next five
	Created   int     `json:"created"`
	Updated   int     `json:"updated"`
	Unchanged int     `json:"unchanged"`
	Other     int     `json:"other"` // entries of other methods that succeeded, such as GET or DELETE
	Failed    int     `json:"failed"`
	Bytes     int64   `json:"bytes"`   // of requests that were sent
	Seconds   float64 `json:"seconds"` // that it took
}

// String is the report in one line.
func (r Report) String() string {
	rate := 0.0
	if r.Seconds > 0 {
		rate = float64(r.Resources) / r.Seconds
	}
	return fmt.Sprintf("%d resources from %d files in %s (%.0f/s): %d created, %d updated, %d unchanged, %d failed",
		r.Resources, r.Files, time.Duration(r.Seconds*float64(time.Second)).Round(10*time.Millisecond), rate, r.Created, r.Updated, r.Unchanged, r.Failed)
}

// Run loads files and folders. What could not be loaded is counted in the
// Report; the error is for what ends a run early: a path that cannot be read, a
// service that does not answer or refuses the login, the end of ctx. The Report
// is valid in any case.
func Run(ctx context.Context, opt Options, paths []string) (Report, error) {
	var roots []root
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return Report{}, fmt.Errorf("load: %w", err)
		}
		if info.IsDir() {
			roots = append(roots, root{fsys: os.DirFS(p), name: ".", shown: p})
			continue
		}
		roots = append(roots, root{fsys: os.DirFS(filepath.Dir(p)), name: filepath.Base(p), shown: p})
	}
	return start(ctx, opt, roots)
}

// RunFS loads a whole file system, such as the embedded sample data.
func RunFS(ctx context.Context, opt Options, fsys fs.FS) (Report, error) {
	return start(ctx, opt, []root{{fsys: fsys, name: "."}})
}

// run is the state of one Run.
type run struct {
	Options
	base     string
	pictures string // Images without a slash at its end
	client   client
	cancel   context.CancelCauseFunc
	broken   map[string]bool // files that cannot be read; only the walkers, one at a time, use it

	mu     sync.Mutex // guards the next three
	report Report
	errs   errorFile
	shown  int // failures written to Log

	read, total atomic.Int64 // bytes of input, for the progress
	begin       time.Time
	bar         progress
}

func start(ctx context.Context, opt Options, roots []root) (Report, error) {
	r, err := newRun(opt)
	if err != nil {
		return Report{}, err
	}
	ctx, r.cancel = context.WithCancelCause(ctx)
	defer r.cancel(nil)
	r.begin = time.Now()
	r.total.Store(r.size(roots))
	if r.fhir(roots) {
		if err := r.client.greet(ctx); err != nil {
			return Report{}, err
		}
	}
	r.bar.start(r)
	err = r.passes(ctx, roots)
	r.bar.stop(r)
	if cause := context.Cause(ctx); cause != nil {
		err = cause // what the passes say is only its echo
	}
	r.report.Seconds = time.Since(r.begin).Seconds()
	return r.report, errors.Join(err, r.errs.close())
}

func newRun(opt Options) (*run, error) {
	u, err := url.Parse(opt.To)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("load: %q is not the base URL of a FHIR service", opt.To)
	}
	if opt.Concurrency <= 0 {
		opt.Concurrency = 4
	}
	if opt.BatchSize <= 0 {
		opt.BatchSize = 100
	}
	if opt.MaxDocument <= 0 {
		opt.MaxDocument = 512 << 20
	}
	if opt.Backoff <= 0 {
		opt.Backoff = 500 * time.Millisecond
	}
	if opt.Log == nil {
		opt.Log = io.Discard
	}
	if i, err := url.Parse(opt.Images); opt.Images != "" && (err != nil || i.Scheme != "http" && i.Scheme != "https" || i.Host == "") {
		return nil, fmt.Errorf("load: %q is not the URL of a DICOM service", opt.Images)
	}
	r := &run{Options: opt, base: strings.TrimRight(opt.To, "/"), pictures: strings.TrimRight(opt.Images, "/"), broken: map[string]bool{}}
	r.errs.name = opt.ErrorFile
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = opt.Concurrency
	r.client = client{base: r.base, token: opt.Token, http: &http.Client{Transport: t, Timeout: 15 * time.Minute}, retries: retries, backoff: opt.Backoff}
	return r, nil
}

// passes reads the input once for each rank of files that occurs, and waits for
// all answers in between.
func (r *run) passes(ctx context.Context, roots []root) error {
	var seen [ranks]bool
	for rank := range ranks {
		if rank > 0 && rank < ranks-1 && !seen[rank] {
			continue
		}
		if err := r.pass(ctx, &walker{run: r, rank: rank, seen: &seen}, roots); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) pass(ctx context.Context, w *walker, roots []root) error {
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range r.Concurrency {
		workers.Go(func() {
			for j := range jobs {
				if ctx.Err() == nil {
					if err := r.do(ctx, j); err != nil {
						r.cancel(err)
					}
				}
			}
		})
	}
	w.out = func(j job) error {
		select {
		case jobs <- j:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	var err error
	for _, root := range roots {
		if err = w.walk(ctx, root); err != nil {
			break
		}
	}
	if err == nil {
		err = w.flushImages()
	}
	close(jobs)
	workers.Wait()
	return err
}
