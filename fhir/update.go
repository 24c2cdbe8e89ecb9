package fhir

import (
	"context"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// update answers PUT [base]/Type/id and PUT [base]/Type?criteria (R4 section
// 3.1.0.4). An unknown id is created; the same content makes no new version.
func (s *Service) update(ctx context.Context, in *Interaction) (*Response, error) {
	if err := knownType(in.Type); err != nil {
		return nil, err
	}
	return again(ctx, func() (*Response, error) {
		if in.Conditional {
			return s.updateWhere(ctx, in)
		}
		k, err := updateKey(in)
		if err != nil {
			return nil, err
		}
		var ws workspace
		op, err := s.prepare(ctx, in, k, s.references(in), &ws)
		if err != nil {
			return nil, err
		}
		return s.put(ctx, in, op, nil)
	})
}

func (s *Service) updateWhere(ctx context.Context, in *Interaction) (*Response, error) {
	c, err := s.conditionalUpdate(ctx, in)
	if err != nil {
		return nil, err
	}
	var ws workspace
	op, err := s.prepare(ctx, in, c.key, s.references(in), &ws)
	if err != nil {
		return nil, err
	}
	op.MustNotExist = c.found == nil
	return s.put(ctx, in, op, []Guard{c.guard})
}

// updateKey returns the key of an update: the body must carry the id of the address.
func updateKey(in *Interaction) (Key, error) {
	if !ValidID(in.ID) {
		return Key{}, fault.At(fault.Invalid, "value", in.Type+".id", "%q is not a valid id: 1 to 64 of A-Z, a-z, 0-9, - and . are allowed", clip(in.ID))
	}
	id := in.Body.Get("id")
	at := in.Body.Path() + ".id"
	switch {
	case in.Body.Kind() != resource.Object:
		return Key{}, fault.At(fault.Invalid, "structure", "", "a %s resource is required as the body", in.Type)
	case !id.Valid():
		return Key{}, fault.At(fault.Invalid, "required", at, "the body of an update needs the id %q of the address", in.ID)
	case id.Kind() != resource.String || string(id.Bytes()) != in.ID:
		return Key{}, fault.At(fault.Invalid, "value", at, "the id %q of the body is not the id %q of the address", clip(id.Text()), in.ID)
	}
	return Key{in.Type, in.ID}, nil
}
