package fhir

import "context"

// create answers POST [base]/Type (R4 section 3.1.0.8). The server gives the
// id; one in the body is ignored. With If-None-Exist an existing match is
// returned instead.
func (s *Service) create(ctx context.Context, in *Interaction) (*Response, error) {
	if err := knownType(in.Type); err != nil {
		return nil, err
	}
	if !in.HasIfNoneExist && in.IfNoneExist == "" {
		return s.createAs(ctx, in, nil)
	}
	return again(ctx, func() (*Response, error) {
		c, err := s.conditionalCreate(ctx, in)
		if err != nil {
			return nil, err
		}
		if c.found != nil {
			return foundResponse(c.found), nil
		}
		return s.createAs(ctx, in, []Guard{c.guard})
	})
}

// createAs stores the body under a new id.
func (s *Service) createAs(ctx context.Context, in *Interaction, guards []Guard) (*Response, error) {
	var ws workspace
	op, err := s.prepare(ctx, in, Key{in.Type, s.newID()}, s.references(in), &ws)
	if err != nil {
		return nil, err
	}
	op.MustNotExist = true
	// If-Match says nothing about a resource that is not there yet.
	plain := *in
	plain.IfMatch = ""
	return s.put(ctx, &plain, op, guards)
}

// foundResponse answers a conditional create that found its resource.
func foundResponse(rec *Record) *Response {
	return &Response{Status: 200, Record: rec, Outcome: Unchanged, Version: rec.Version, Seq: rec.Seq}
}
