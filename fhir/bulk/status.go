package bulk

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
)

// Status is what a client learns about its job.
type Status struct {
	Running  bool
	Progress string // while it runs
	Manifest any    // when it is completed; becomes JSON
	Expires  time.Time
}

// Manifest is the "Complete Status" of Bulk Data Access 2.0, with the issues of
// Azure Health Data Services.
type Manifest struct {
	TransactionTime     time.Time `json:"transactionTime"`
	Request             string    `json:"request"`
	RequiresAccessToken bool      `json:"requiresAccessToken"`
	Output              []Output  `json:"output"`
	Deleted             []Output  `json:"deleted,omitempty"`
	Error               []Output  `json:"error"`
	Issues              []Issue   `json:"issues,omitempty"`
}

// Output is one file of a manifest.
type Output struct {
	Type  string `json:"type"`
	URL   string `json:"url"`
	Count int64  `json:"count"`
}

// Issue is an OperationOutcome.issue.
type Issue struct {
	Severity    string `json:"severity"`
	Code        string `json:"code"`
	Diagnostics string `json:"diagnostics"`
}

// job returns a job of this service, NotFound for any other, and for one that
// was cancelled or is about to be removed.
func (s *Service) job(ctx context.Context, kind, id string) (jobs.Job, error) {
	j, err := s.anyJob(ctx, kind, id)
	if err == nil && cancelled(j) {
		err = noJob(kind)
	}
	return j, err
}

// anyJob is job, also for one that was cancelled.
func (s *Service) anyJob(ctx context.Context, kind, id string) (jobs.Job, error) {
	j, err := s.d.Jobs.Get(ctx, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return j, err
	}
	if err != nil || j.Kind != kind || j.Scope != s.d.Scope || j.State.Finished() && !j.Expires.After(s.d.Now()) {
		return j, noJob(kind)
	}
	return j, nil
}

func cancelled(j jobs.Job) bool { return j.Stopping || j.State == jobs.Cancelled }

func noJob(kind string) error { return fault.New(fault.NotFound, "there is no such %s", kind) }

// exportJob returns an export that the principal of ctx may know of: one about
// other types than the scopes of the token permit is NotFound.
func (s *Service) exportJob(ctx context.Context, id string) (j jobs.Job, d definition, err error) {
	allowed, err := s.d.FHIR.AllowTypes(ctx, fhir.VerbExport)
	if err != nil {
		return j, d, err
	}
	if j, err = s.job(ctx, kindExport, id); err != nil {
		return j, d, err
	}
	if err := json.Unmarshal(j.Definition, &d); err != nil {
		return j, d, fault.Wrap("bulk: definition", err)
	}
	if allowed != nil && (d.Types == nil || missing(d.Types, allowed) != "") {
		return j, d, noJob(kindExport)
	}
	return j, d, nil
}

// Export returns the status of an export. An export that failed answers with
// its error. base is that of the URLs in the manifest.
func (s *Service) Export(ctx context.Context, id, base string) (*Status, error) {
	j, d, err := s.exportJob(ctx, id)
	if err != nil {
		return nil, err
	}
	switch j.State {
	case jobs.Failed:
		return nil, fault.New(fault.Internal, "the export failed: %s", j.Error)
	case jobs.Completed:
		m, err := s.manifest(ctx, j, &d, base)
		return &Status{Manifest: m, Expires: j.Expires}, err
	}
	p, err := s.progress(ctx, j)
	return &Status{Running: true, Progress: p}, err
}

func (s *Service) manifest(ctx context.Context, j jobs.Job, d *definition, base string) (*Manifest, error) {
	var r exported
	if err := json.Unmarshal(j.Result, &r); err != nil {
		return nil, fault.Wrap("bulk: result", err)
	}
	sign, signs := s.d.Blobs.(blob.Signer)
	m := &Manifest{
		TransactionTime: r.Time, Request: d.Request, RequiresAccessToken: s.d.FHIR.Guarded() && !signs,
		Output: []Output{}, Error: []Output{},
	}
	for _, f := range r.Files {
		o := Output{Type: f.Type, Count: f.Count, URL: base + "/_operations/export/" + j.ID + "/" + f.Name}
		if signs {
			var err error
			if o.URL, err = sign.SignedURL(ctx, f.Key, signedFor); err != nil {
				return nil, err
			}
		}
		if f.Deleted {
			m.Deleted = append(m.Deleted, o)
		} else {
			m.Output = append(m.Output, o)
		}
	}
	for _, text := range d.Issues {
		m.Issues = append(m.Issues, Issue{Severity: "warning", Code: "not-supported", Diagnostics: text})
	}
	return m, nil
}

// signedFor is how long the URLs of a manifest work when the blob store serves
// the files itself; a client that needs longer asks for the manifest again.
const signedFor = 6 * time.Hour

// EndExport cancels an export, or removes one that is finished.
func (s *Service) EndExport(ctx context.Context, id string) error {
	j, _, err := s.exportJob(ctx, id)
	if err != nil {
		return err
	}
	if !j.State.Finished() {
		_, err := s.d.Jobs.Cancel(ctx, id)
		if !fault.Is(err, fault.Conflict) { // finished meanwhile
			return err
		}
	}
	return s.d.Jobs.Discard(ctx, id)
}

// File opens a file of an export from offset on.
func (s *Service) File(ctx context.Context, id, name string, offset int64) (io.ReadCloser, blob.Info, error) {
	j, _, err := s.exportJob(ctx, id)
	if err != nil {
		return nil, blob.Info{}, err
	}
	var r exported
	if j.State == jobs.Completed {
		if err := json.Unmarshal(j.Result, &r); err != nil {
			return nil, blob.Info{}, fault.Wrap("bulk: result", err)
		}
	}
	for _, f := range r.Files {
		if f.Name == name {
			r, info, err := s.d.Blobs.Open(ctx, f.Key, offset, -1)
			if fault.Is(err, fault.NotFound) {
				err = fault.New(fault.NotFound, "the file was removed from the blob store")
			}
			return r, info, err
		}
	}
	return nil, blob.Info{}, fault.New(fault.NotFound, "the export has no such file")
}

// progress describes a running job in the words of X-Progress.
func (s *Service) progress(ctx context.Context, j jobs.Job) (string, error) {
	p := j.Progress
	children, err := s.d.Jobs.Children(ctx, j.ID)
	for _, c := range children {
		p.Done += c.Progress.Done
	}
	return describe(j, p), err
}
