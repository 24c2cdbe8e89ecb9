package bulk

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Store is what bulk work needs of the store of a FHIR service.
type Store interface {
	fhir.Store
	fhir.Scanner
	// Analyze makes the plans of the store fit what was loaded into it.
	Analyze(ctx context.Context)
}

// Jobs is the queue. *jobs.Store is one.
type Jobs interface {
	Submit(ctx context.Context, spec jobs.Spec) (jobs.Job, bool, error)
	Get(ctx context.Context, id string) (jobs.Job, error)
	Children(ctx context.Context, id string) ([]jobs.Job, error)
	Cancel(ctx context.Context, id string) (jobs.Job, error)
	Discard(ctx context.Context, id string) error
}

// Subset appends a resource with the elements that _elements names.
type Subset func(dst []byte, n resource.Node, elements []string) []byte

// Deps are what a Service needs.
type Deps struct {
	FHIR   *fhir.Service
	Store  Store
	Jobs   Jobs
	Blobs  blob.Store // the part of this service
	Scope  string     // workspace/service
	Subset Subset
	// Sources are where an import may read; nil means nowhere.
	Sources Sources
	// Large is shared by the services of a node; nil means that this one is alone.
	Large *Large
	// LineSize is the largest line of an import; default 32 MiB.
	LineSize int64
	Now      func() time.Time // nil means time.Now
	// FileSize is where an export file ends; default 64 MiB.
	FileSize int64
	// PartSize is about how many resources one child of an export writes; default 100,000.
	PartSize int
	// Keep is how long the files of an export can be fetched; default 7 days.
	Keep time.Duration
}

// Service does bulk work for one FHIR service. Its methods may be called from
// many goroutines.
type Service struct{ d Deps }

// New returns a Service.
func New(d Deps) *Service {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.FileSize <= 0 {
		d.FileSize = 64 << 20
	}
	if d.PartSize <= 0 {
		d.PartSize = 100_000
	}
	if d.Keep <= 0 {
		d.Keep = 7 * 24 * time.Hour
	}
	if d.LineSize <= 0 {
		d.LineSize = 32 << 20
	}
	if d.Large == nil {
		d.Large = NewLarge()
	}
	if d.Sources == nil {
		d.Sources = nowhere{}
	}
	return &Service{d: d}
}

// The kinds of jobs.
const (
	kindExport = "export"
	kindPart   = "export-part"

	kindImport     = "import"
	kindImportPart = "import-part"
)

// Resolve returns the service of a scope, held until release is called.
type Resolve func(ctx context.Context, scope string) (s *Service, release func(), err error)

// Handlers returns what runs the jobs of all services.
func Handlers(resolve Resolve) map[string]jobs.Handler {
	run := func(f func(*Service, context.Context, *jobs.Task) (any, error)) func(context.Context, *jobs.Task) (any, error) {
		return func(ctx context.Context, t *jobs.Task) (any, error) {
			s, release, err := resolve(ctx, t.Scope)
			if err != nil {
				return nil, err
			}
			defer release()
			return f(s, ctx, t)
		}
	}
	clean := func(f func(*Service, context.Context, jobs.Job) error) func(context.Context, jobs.Job) error {
		return func(ctx context.Context, j jobs.Job) error {
			s, release, err := resolve(ctx, j.Scope)
			if fault.Is(err, fault.NotFound) {
				return nil // the service is gone, with all that it had
			}
			if err != nil {
				return err
			}
			defer release()
			return f(s, ctx, j)
		}
	}
	handlers := map[string]jobs.Handler{
		kindExport:     {Run: run((*Service).runExport), Clean: clean((*Service).cleanExport)},
		kindPart:       {Run: run((*Service).runPart)},
		kindReindex:    {Run: run((*Service).runReindex)},
		kindImport:     {Run: run((*Service).runImport), Clean: clean((*Service).cleanImport)},
		kindImportPart: {Run: run((*Service).runImportPart)},
	}
	for kind, h := range handlers {
		h.Attempts = attempts
		handlers[kind] = h
	}
	return handlers
}

// attempts lets work of hours outlive a store or a source that is away for some
// four minutes: the pauses between are 2, 4, 8 ... 128 seconds.
const attempts = 8
