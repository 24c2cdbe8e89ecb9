package fhir

import (
	"context"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// delete answers DELETE [base]/Type/id and DELETE [base]/Type?criteria (R4
// section 3.1.0.7). A delete of what is not there is a success, so that it can
// be repeated.
func (s *Service) delete(ctx context.Context, in *Interaction) (*Response, error) {
	if in.Conditional {
		return again(ctx, func() (*Response, error) { return s.deleteWhere(ctx, in) })
	}
	if in.Unlink {
		return again(ctx, func() (*Response, error) { return s.deleteUnlinked(ctx, in) })
	}
	return again(ctx, func() (*Response, error) {
		op, err := s.deleteOp(in)
		if err != nil {
			return nil, err
		}
		if err := s.mayWrite(ctx, &op); err != nil {
			return nil, err
		}
		done, err := s.apply(ctx, op, nil)
		if err != nil {
			return nil, s.refused(in, op, err)
		}
		return &Response{Status: 204, Outcome: done.Outcome, Version: done.Version, Seq: done.Seq}, nil
	})
}

// deleteOp returns the operation for a delete by id.
func (s *Service) deleteOp(in *Interaction) (Op, error) {
	k, err := keyOf(in)
	if err != nil {
		return Op{}, err
	}
	v, err := ifMatch(in)
	if err != nil {
		return Op{}, err
	}
	op := s.deletion(in, k)
	op.IfMatch, op.MustExist = v, v > 0
	return op, nil
}

// deletion returns the operation without its conditions.
func (s *Service) deletion(in *Interaction, k Key) Op {
	kind := OpDelete
	if in.HardDelete {
		kind = OpHardDelete
	}
	return Op{Kind: kind, Key: k, Method: "DELETE", NoHistory: s.cfg.VersioningOf(k.Type) == NoVersion}
}

// deleteWhere deletes what matches the criteria: one resource, or up to _count.
func (s *Service) deleteWhere(ctx context.Context, in *Interaction) (*Response, error) {
	ops, guards, err := s.conditionalDelete(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(ops) == 0 {
		return &Response{Status: 204, Outcome: Absent}, nil
	}
	for i := range ops {
		if err := s.mayWrite(ctx, &ops[i]); err != nil {
			return nil, err
		}
	}
	done, err := s.commit(ctx, &Change{Ops: ops, Guards: guards})
	if fault.Is(err, fault.Precondition) {
		return nil, ErrStale // a match got a new version, and may match no longer
	}
	if err != nil {
		return nil, err
	}
	return deletedResponse(done), nil
}

// deletedResponse counts what a conditional delete removed.
func deletedResponse(done []Applied) *Response {
	r := &Response{Status: 204, Outcome: Absent}
	for _, d := range done {
		if d.Outcome == Deleted {
			r.Deleted++
			r.Outcome = Deleted
		}
	}
	if len(done) == 1 {
		r.Version, r.Seq = done[0].Version, done[0].Seq
	}
	return r
}
