package managehttp

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
)

// Jobs is the queue. *jobs.Store is one.
type Jobs interface {
	List(ctx context.Context, f jobs.Filter) ([]jobs.Job, error)
	Get(ctx context.Context, id string) (jobs.Job, error)
	Children(ctx context.Context, id string) ([]jobs.Job, error)
	Cancel(ctx context.Context, id string) (jobs.Job, error)
}

// jobView is a job as the API shows it. What it has to do is left out: that may
// name patients, and addresses with secrets in them.
type jobView struct {
	ID        string       `json:"id"`
	Kind      string       `json:"kind"`
	Service   string       `json:"service"`
	Requester string       `json:"requester,omitempty"`
	State     jobs.State   `json:"state"`
	Stopping  bool         `json:"stopping,omitempty"`
	Priority  int          `json:"priority,omitempty"`
	Attempts  int          `json:"attempts"`
	Worker    string       `json:"worker,omitempty"`
	Progress  progressView `json:"progress"`
	Error     string       `json:"error,omitempty"`
	Created   time.Time    `json:"created"`
	Started   *time.Time   `json:"started,omitempty"`
	Changed   time.Time    `json:"changed"`
	Finished  *time.Time   `json:"finished,omitempty"`
	Expires   *time.Time   `json:"expires,omitempty"`
	Children  []jobView    `json:"children,omitempty"`
}

type progressView struct {
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"`
	Note  string `json:"note,omitempty"`
}

func viewJob(j jobs.Job) jobView {
	opt := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	return jobView{
		ID: j.ID, Kind: j.Kind, Service: j.Scope, Requester: j.Requester, State: j.State, Stopping: j.Stopping && !j.State.Finished(),
		Priority: j.Priority, Attempts: j.Attempts, Worker: j.Worker, Error: j.Error,
		Progress: progressView{Done: j.Progress.Done, Total: j.Progress.Total, Note: j.Progress.Note},
		Created:  j.Created, Started: opt(j.Started), Changed: j.Changed, Finished: opt(j.Finished), Expires: opt(j.Expires),
	}
}

// maxJobs is the largest page of a list.
const maxJobs = 1000

func (h *handler) listJobs(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := jobs.Filter{Kind: q.Get("kind"), Scope: q.Get("service"), State: jobs.State(q.Get("state")), After: q.Get("after")}
	if f.State != "" && !slices.Contains(jobs.States(), f.State) {
		return fault.New(fault.Invalid, "state must be one of %s", strings.Trim(strings.ReplaceAll(fmt.Sprint(jobs.States()), " ", ", "), "[]"))
	}
	if text := q.Get("limit"); text != "" {
		var err error
		if f.Limit, err = strconv.Atoi(text); err != nil || f.Limit < 1 || f.Limit > maxJobs {
			return fault.New(fault.Invalid, "limit must be a number from 1 to %d", maxJobs)
		}
	}
	workspace, _, _ := strings.Cut(f.Scope, "/")
	if err := h.plane.Authorize(r.Context(), workspace, auth.ManageRead); err != nil {
		return err
	}
	all, err := h.jobs.List(r.Context(), f)
	if err != nil {
		return err
	}
	out := list[jobView]{Value: []jobView{}}
	for _, j := range all {
		v := viewJob(j)
		if !j.State.Finished() {
			children, err := h.jobs.Children(r.Context(), j.ID)
			if err != nil {
				return err
			}
			v.add(children)
			v.Children = nil
		}
		out.Value = append(out.Value, v)
	}
	return respond(w, http.StatusOK, out)
}

// add puts the children into v, and what they have done into its progress.
func (v *jobView) add(children []jobs.Job) {
	for _, c := range children {
		v.Children = append(v.Children, viewJob(c))
		v.Progress.Done += c.Progress.Done
	}
}

// job returns a job whose workspace the principal may do a to. Whoever may not
// learns nothing of it.
func (h *handler) job(r *http.Request, a auth.Actions) (jobs.Job, error) {
	j, err := h.jobs.Get(r.Context(), r.PathValue("job"))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return j, err
	}
	workspace, _, _ := strings.Cut(j.Scope, "/")
	if refused := h.plane.Authorize(r.Context(), workspace, a); refused != nil {
		return j, refused
	}
	return j, err
}

func (h *handler) showJob(w http.ResponseWriter, r *http.Request) error {
	j, err := h.job(r, auth.ManageRead)
	if err != nil {
		return err
	}
	v := viewJob(j)
	children, err := h.jobs.Children(r.Context(), j.ID)
	if err != nil {
		return err
	}
	v.add(children)
	return respond(w, http.StatusOK, v)
}

func (h *handler) cancelJob(w http.ResponseWriter, r *http.Request) error {
	if _, err := h.job(r, auth.ManageWrite); err != nil {
		return err
	}
	j, err := h.jobs.Cancel(r.Context(), r.PathValue("job"))
	if err != nil {
		return err
	}
	return respond(w, http.StatusAccepted, viewJob(j))
}
