package jobs

import (
	"context"
	"encoding/json"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Handler does the jobs of one kind.
type Handler struct {
	// Run does the job, or goes on with it: see Task. What it returns becomes
	// the result, as JSON. It ends soon after ctx does. An error of the kinds
	// Transient, Throttled and Timeout is tried again, any other fails the job.
	Run func(ctx context.Context, t *Task) (any, error)
	// Clean frees what a cancelled or expired job made, children included. It
	// may be called twice. nil if there is nothing to free.
	Clean func(ctx context.Context, j Job) error
	// Attempts is how often a job may be started without a checkpoint in
	// between; default 5.
	Attempts int
}

func (h Handler) attempts() int {
	if h.Attempts <= 0 {
		return 5
	}
	return h.Attempts
}

// Task is a job in the hands of a worker. It is used by one goroutine.
type Task struct {
	Job
	store *Store
}

// Define reads the definition.
func (t *Task) Define(into any) error {
	return fault.Wrap("jobs: definition of "+t.Kind, json.Unmarshal(t.Definition, into))
}

// Load reads the last checkpoint; false when there is none.
func (t *Task) Load(into any) (bool, error) {
	if len(t.Checkpoint) == 0 {
		return false, nil
	}
	return true, fault.Wrap("jobs: checkpoint of "+t.Kind, json.Unmarshal(t.Checkpoint, into))
}

// Save keeps a checkpoint. What was done before it is not done again.
func (t *Task) Save(ctx context.Context, checkpoint any, p Progress) error {
	return t.store.save(ctx, &t.Job, checkpoint, p, nil)
}

// Spawn keeps a checkpoint and stores children, both or neither. Their scope,
// requester and priority are those of the job.
func (t *Task) Spawn(ctx context.Context, checkpoint any, p Progress, children []Spec) error {
	return t.store.save(ctx, &t.Job, checkpoint, p, children)
}

// Children returns the children, oldest first.
func (t *Task) Children(ctx context.Context) ([]Job, error) { return t.store.Children(ctx, t.ID) }
