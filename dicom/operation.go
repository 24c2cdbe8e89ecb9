package dicom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
)

// Operation is work that outlives its request. It goes on where it was after a restart.
type Operation struct {
	ID      string // 32 hexadecimal digits
	Kind    OperationKind
	Status  OperationStatus
	Created time.Time
	Updated time.Time
	Percent int
	Input   json.RawMessage // what is to be done
	State   json.RawMessage // how far it has come
	Result  json.RawMessage // what it has to say; an object
}

// OperationKind names what an operation does.
type OperationKind string

// The kinds of operations.
const (
	OperationReindex OperationKind = "reindex"
)

// OperationStatus says where in its life an operation is.
type OperationStatus uint8

// The states of an operation.
const (
	OperationWaiting OperationStatus = iota
	OperationRunning
	OperationDone
	OperationFailed
	OperationCanceled
)

// Ended reports whether nothing more will happen.
func (s OperationStatus) Ended() bool { return s >= OperationDone }

// Operations is the part of the store that keeps operations.
type Operations interface {
	// AddOperation stores a new operation. With alone it does so only when none of
	// its kind is open, else it returns the id of that one.
	AddOperation(ctx context.Context, op *Operation, alone bool) (running string, err error)
	// PutOperation stores what has changed of an operation; Conflict when it has ended.
	PutOperation(ctx context.Context, op *Operation) error
	// Operation returns one, or NotFound.
	Operation(ctx context.Context, id string) (*Operation, error)
	// OpenOperations returns those that have not ended, oldest first.
	OpenOperations(ctx context.Context) ([]*Operation, error)
}

// Jobs is where operations wait to be carried out. *jobs.Store is one.
type Jobs interface {
	Submit(ctx context.Context, spec jobs.Spec) (jobs.Job, bool, error)
}

// jobOperation is the kind of the jobs that carry out operations.
const jobOperation = "dicom-operation"

// operationJob is the definition of such a job.
type operationJob struct {
	Operation string `json:"operation"`
}

// Resolve returns the service of a scope, held until release is called.
type Resolve func(ctx context.Context, scope string) (s *Service, release func(), err error)

// Handlers returns what carries out the operations of all services.
func Handlers(resolve Resolve) map[string]jobs.Handler {
	with := func(ctx context.Context, j *jobs.Job, f func(*Service, string) error) error {
		s, release, err := resolve(ctx, j.Scope)
		if err != nil {
			return err
		}
		defer release()
		var def operationJob
		if err := json.Unmarshal(j.Definition, &def); err != nil {
			return fault.Wrap("dicom: job", err)
		}
		return f(s, def.Operation)
	}
	return map[string]jobs.Handler{jobOperation: {
		Run: func(ctx context.Context, t *jobs.Task) (any, error) {
			return nil, with(ctx, &t.Job, func(s *Service, id string) error {
				return s.Perform(ctx, id, func(op *Operation) error {
					return t.Save(ctx, struct{}{}, jobs.Progress{Done: int64(op.Percent), Total: 100, Note: string(op.Kind)})
				})
			})
		},
		Clean: func(ctx context.Context, j jobs.Job) error {
			err := with(ctx, &j, func(s *Service, id string) error { return s.cancel(ctx, id) })
			if fault.Is(err, fault.NotFound) {
				return nil // the service or the operation is gone
			}
			return err
		},
	}}
}

// perform does an operation as far as it goes. It changes State, Percent and
// Result, and calls save when what it did is not to be done again. An error that
// is worth trying again leaves the operation where it was saved.
type perform func(ctx context.Context, op *Operation, save func() error) error

// steps makes a perform of a function that does a piece and says whether it was the last.
func steps(f func(context.Context, *Operation) (bool, error)) perform {
	return func(ctx context.Context, op *Operation, save func() error) error {
		for {
			done, err := f(ctx, op)
			if err != nil || done {
				return err
			}
			if err := save(); err != nil {
				return err
			}
		}
	}
}

// Operation returns an operation by its id, with or without hyphens.
func (s *Service) Operation(ctx context.Context, id string) (*Operation, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMRead); err != nil {
		return nil, err
	}
	return s.store.Operation(ctx, id)
}

// begin stores an operation and lets it be carried out. One that must be alone is
// Conflict, with the other one, while an operation of its kind is open.
func (s *Service) begin(ctx context.Context, id string, kind OperationKind, input any) (*Operation, error) {
	text, err := json.Marshal(input)
	if err != nil {
		return nil, fault.Wrap("dicom: operation", err)
	}
	now := time.Now().UTC()
	op := &Operation{ID: id, Kind: kind, Created: now, Updated: now, Input: text, State: []byte("{}"), Result: []byte("{}")}
	running, err := s.store.AddOperation(ctx, op, kind == OperationUpdate)
	if err != nil {
		return nil, err
	}
	if running != "" {
		return &Operation{ID: running}, fault.New(fault.Conflict, "The operation %s is updating studies; try again when it is complete.", running)
	}
	return op, s.submit(ctx, op)
}

// submit asks for an operation to be carried out, once. The requester is the
// platform itself, so that asking again after a crash is the same job.
func (s *Service) submit(ctx context.Context, op *Operation) error {
	_, _, err := s.jobs.Submit(ctx, jobs.Spec{Kind: jobOperation, Scope: s.scope, Requester: "dicom", Definition: operationJob{op.ID}, Unique: true})
	return err
}

// pending returns the id of an operation of a kind that has not ended; "" if none.
func (s *Service) pending(ctx context.Context, kind OperationKind) (string, error) {
	list, err := s.store.OpenOperations(ctx)
	for _, op := range list {
		if op.Kind == kind {
			return op.ID, nil
		}
	}
	return "", err
}

// saveEvery is how often the job hears of the progress.
const saveEvery = time.Second

// Perform carries out an operation from where it is to its end. alive is called
// now and then; its error ends the work. An operation that failed is an error too.
func (s *Service) Perform(ctx context.Context, id string, alive func(*Operation) error) error {
	op, err := s.store.Operation(ctx, id)
	if err != nil || op.Status.Ended() {
		return err
	}
	work := map[OperationKind]perform{
		OperationReindex: steps(s.reindex), OperationUpdate: steps(s.update), OperationExport: s.export, OperationImport: s.importFiles,
	}[op.Kind]
	// What the platform does on its own account was allowed when it was asked for.
	ctx = auth.WithPrincipal(ctx, auth.Internal("dicom "+string(op.Kind)))
	put := func() error {
		op.Updated = time.Now().UTC()
		return s.store.PutOperation(ctx, op)
	}
	told, ended := time.Now(), false
	op.Status = OperationRunning
	err = work(ctx, op, func() error {
		if err := put(); err != nil || time.Since(told) < saveEvery {
			ended = fault.Is(err, fault.Conflict)
			return err
		}
		told = time.Now()
		return alive(op)
	})
	switch {
	case ended:
		return nil // it was cancelled
	case ctx.Err() != nil:
		return ctx.Err() // goes on after the restart
	case err != nil && (fault.Is(err, fault.Transient) || fault.Is(err, fault.Throttled) || fault.Is(err, fault.Timeout)):
		return err // tried again later
	case errors.Is(err, jobs.ErrLost):
		return err // somebody else has it now
	case err != nil:
		op.Status, op.Result = OperationFailed, failure(op.Result, err)
	default:
		op.Status, op.Percent = OperationDone, 100
	}
	if e := put(); e != nil && !fault.Is(e, fault.Conflict) {
		return e
	}
	return err
}

// cancel ends an operation that is not carried out any more.
func (s *Service) cancel(ctx context.Context, id string) error {
	op, err := s.store.Operation(ctx, id)
	if err != nil || op.Status.Ended() {
		return err
	}
	if op.Kind == OperationReindex {
		if err := s.dropAdding(ctx, op.ID); err != nil {
			return err
		}
	}
	op.Status, op.Updated = OperationCanceled, time.Now().UTC()
	return s.store.PutOperation(ctx, op)
}

// failure adds the reason to a result.
func failure(result json.RawMessage, err error) json.RawMessage {
	m := map[string]any{}
	_ = json.Unmarshal(result, &m) // ours; an empty one is fine
	msg := fault.From(err).Msg
	if _, ok := errors.AsType[*fault.Error](err); !ok {
		msg = "internal error"
	}
	m["errors"] = []string{msg}
	text, err := json.Marshal(m)
	if err != nil {
		return result
	}
	return text
}

// decodeState reads input and state of an operation.
func decodeState(op *Operation, input, state any) error {
	if err := json.Unmarshal(op.Input, input); err != nil {
		return fault.Wrap("dicom: operation input", err)
	}
	return fault.Wrap("dicom: operation state", json.Unmarshal(op.State, state))
}

func encodeState(op *Operation, state, result any) error {
	var err error
	if op.State, err = json.Marshal(state); err != nil {
		return fmt.Errorf("dicom: operation state: %w", err)
	}
	if op.Result, err = json.Marshal(result); err != nil {
		return fmt.Errorf("dicom: operation result: %w", err)
	}
	return nil
}
