package dicom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
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
	// PutOperation stores a new operation, or what has changed of one.
	PutOperation(ctx context.Context, op *Operation) error
	// Operation returns one, or NotFound.
	Operation(ctx context.Context, id string) (*Operation, error)
	// OpenOperations returns those that have not ended, oldest first.
	OpenOperations(ctx context.Context) ([]*Operation, error)
}

// runner carries out the operations of a service, one after another.
type runner struct {
	s    *Service
	wake chan struct{}
}

// perform does a piece of an operation. It changes State, Percent and Result and
// says whether the operation is complete; it is called again until then. An
// error that is worth trying again leaves the operation where it is.
type perform func(ctx context.Context, op *Operation) (done bool, err error)

// Operation returns an operation by its id, with or without hyphens.
func (s *Service) Operation(ctx context.Context, id string) (*Operation, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMRead); err != nil {
		return nil, err
	}
	return s.store.Operation(ctx, id)
}

// begin stores an operation and lets it run.
func (r *runner) begin(ctx context.Context, id string, kind OperationKind, input any) (*Operation, error) {
	text, err := json.Marshal(input)
	if err != nil {
		return nil, fault.Wrap("dicom: operation", err)
	}
	now := time.Now().UTC()
	op := &Operation{ID: id, Kind: kind, Created: now, Updated: now, Input: text, State: []byte("{}"), Result: []byte("{}")}
	if err := r.s.store.PutOperation(ctx, op); err != nil {
		return nil, err
	}
	r.poke()
	return op, nil
}

// pending returns the id of an operation of a kind that has not ended; "" if none.
func (r *runner) pending(ctx context.Context, kind OperationKind) (string, error) {
	list, err := r.s.store.OpenOperations(ctx)
	for _, op := range list {
		if op.Kind == kind {
			return op.ID, nil
		}
	}
	return "", err
}

func (r *runner) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run carries out what is there, until ctx ends.
func (r *runner) run(ctx context.Context) {
	for {
		list, err := r.s.store.OpenOperations(ctx)
		if err != nil && ctx.Err() == nil {
			r.s.log.LogAttrs(ctx, slog.LevelError, "operations cannot be read", slog.Any("err", err))
		}
		for _, op := range list {
			r.one(ctx, op)
		}
		if ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-time.After(cleanEvery):
		}
	}
}

// one carries out an operation as far as possible.
func (r *runner) one(ctx context.Context, op *Operation) {
	work := map[OperationKind]perform{OperationReindex: r.s.reindex, OperationUpdate: r.s.update}[op.Kind]
	// What the platform does on its own account was allowed when it was asked for.
	ctx = auth.WithPrincipal(ctx, auth.Internal("dicom "+string(op.Kind)))
	for ctx.Err() == nil {
		op.Status = OperationRunning
		done, err := work(ctx, op)
		switch {
		case ctx.Err() != nil:
			return // goes on after the restart
		case err != nil && (fault.Is(err, fault.Transient) || fault.Is(err, fault.Throttled) || fault.Is(err, fault.Timeout)):
			return // tried again later
		case err != nil:
			r.s.log.LogAttrs(ctx, slog.LevelError, "operation failed", slog.String("operation", op.ID), slog.Any("err", err))
			op.Status = OperationFailed
			op.Result = failure(op.Result, err)
		case done:
			op.Status, op.Percent = OperationDone, 100
		}
		op.Updated = time.Now().UTC()
		if err := r.s.store.PutOperation(ctx, op); err != nil {
			if ctx.Err() == nil {
				r.s.log.LogAttrs(ctx, slog.LevelError, "operation cannot be stored", slog.String("operation", op.ID), slog.Any("err", err))
			}
			return
		}
		if op.Status.Ended() {
			return
		}
	}
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
