package medtech

import (
	"context"
	"errors"
	"time"

	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// contentions is how often a write is tried again because somebody else changed
// the Observation in between.
const contentions = 8

// operations of FhirResourceSaved.
const (
	created = "ObservationCreated"
	updated = "ObservationUpdated"
	same    = "ObservationNoOperation"
)

// observation is one group on its way into the FHIR service.
type observation struct {
	group *mapping.Group
	id    mapping.Identity
	key   string
	text  []byte
	old   int64 // version that it replaces
	what  string
	tries int // how often it was in conflict
	err   *mapping.Error
}

// persistBatch groups the measurements of a batch, resolves whom they are about
// and stores the Observations. What cannot be stored becomes a dead letter of b.
// An error means that nothing is known about the batch and that it is to be
// tried again; b is then as it was. diff, when not nil, gets the changes and
// nothing is stored.
func (s *Service) persistBatch(ctx context.Context, b *batch, diff *diff) error {
	s.persist.Lock()
	defer s.persist.Unlock()
	groups, bad := b.maps.fhir.Group(b.list)
	var failed []letter
	for _, e := range bad {
		failed = append(failed, letter{b.of[e.Member], StageGroup, e.Err})
	}
	list, err := s.save(ctx, groups, diff)
	if err != nil {
		return err
	}
	if list, err = s.apart(ctx, b, list, diff); err != nil {
		return err
	}
	counts := map[string]int{}
	for _, o := range list {
		if o.err == nil {
			counts[o.what]++
			continue
		}
		for _, m := range o.group.Members {
			failed = append(failed, letter{b.of[m], StageFHIR, o.err})
		}
	}
	if diff == nil {
		s.count(b, len(groups), counts, failed)
	}
	seen := map[letter]bool{} // a message with many samples in one group has one letter
	for _, l := range failed {
		if !seen[l] {
			seen[l] = true
			b.fail(s, l.message, l.stage, l.err)
		}
	}
	return nil
}

// save resolves groups and stores their Observations.
func (s *Service) save(ctx context.Context, groups []*mapping.Group, diff *diff) ([]*observation, error) {
	list, err := s.resolveAll(ctx, groups, diff != nil)
	if err != nil {
		return nil, err
	}
	return list, s.write(ctx, list, diff)
}

// apart tries the members of a group that failed one by one, so that a bad
// measurement does not take the good ones of its group with it. AHDS does not.
func (s *Service) apart(ctx context.Context, b *batch, list []*observation, diff *diff) ([]*observation, error) {
	if s.cfg.Compat == CompatMS {
		return list, nil
	}
	var kept []*observation
	var alone []*mapping.Group
	for _, o := range list {
		if o.err == nil || len(o.group.Members) == 1 {
			kept = append(kept, o)
			continue
		}
		for _, m := range o.group.Members {
			groups, _ := b.maps.fhir.Group(b.list[m : m+1]) // it was in a group before, so it is in one now
			for _, g := range groups {
				g.Members = []int{m}
				alone = append(alone, g)
			}
		}
	}
	if len(alone) == 0 {
		return list, nil
	}
	again, err := s.save(ctx, alone, diff)
	return append(kept, again...), err
}

// letter is a failure of one message.
type letter struct {
	message int
	stage   Stage
	err     *mapping.Error
}

func (s *Service) count(b *batch, groups int, counts map[string]int, failed []letter) {
	s.meter.Grouped(groups)
	for op, n := range counts {
		s.meter.Saved(op, n)
	}
	for _, l := range failed {
		s.meter.Failed(l.stage, string(l.err.Class), 1)
	}
	now := s.now()
	for i := range b.raws {
		s.meter.Latency(StageFHIR, now.Sub(b.raws[i].Arrived))
	}
}

// resolveAll finds the identity of each group and makes the Patients and Devices
// that are missing.
func (s *Service) resolveAll(ctx context.Context, groups []*mapping.Group, dry bool) ([]*observation, error) {
	list := make([]*observation, len(groups))
	r := s.resolver
	r.begin()
	for i, g := range groups {
		o := &observation{group: g}
		list[i] = o
		var err error
		if o.id, err = r.resolve(ctx, g); err != nil {
			e, ok := errors.AsType[*mapping.Error](err)
			if !ok {
				return nil, err
			}
			e.TypeName = g.TypeName
			o.err = e
			continue
		}
		o.key = g.ID(o.id)
	}
	if dry {
		r.forget()
		return list, nil
	}
	refused, err := r.make(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range list {
		if e := refused[o.group.DeviceID]; e != nil && o.err == nil {
			o.err = e
		}
	}
	return list, nil
}

// write stores the observations that have no error, merged with what is there.
func (s *Service) write(ctx context.Context, list []*observation, diff *diff) error {
	todo := make([]*observation, 0, len(list))
	for _, o := range list {
		if o.err == nil {
			todo = append(todo, o)
		}
	}
	for len(todo) > 0 {
		round, later := distinct(todo)
		if err := s.prepare(ctx, round, diff); err != nil {
			return err
		}
		if diff != nil {
			todo = later
			continue
		}
		again, err := s.put(ctx, round)
		if err != nil {
			return err
		}
		todo = append(again, later...)
	}
	return nil
}

// distinct takes the first observation of each key: two names of one device may
// lead to the same Observation, and then the second sees what the first wrote.
func distinct(list []*observation) (round, later []*observation) {
	seen := make(map[string]bool, len(list))
	for _, o := range list {
		if seen[o.key] {
			later = append(later, o)
			continue
		}
		seen[o.key] = true
		round = append(round, o)
	}
	return round, later
}

// put stores what was prepared. It returns the observations that somebody else
// changed in between.
func (s *Service) put(ctx context.Context, list []*observation) (again []*observation, err error) {
	var puts []Put
	var of []*observation
	for _, o := range list {
		if o.err == nil && o.what != same {
			puts, of = append(puts, Put{Type: "Observation", ID: o.key, Text: o.text, Version: o.old, New: o.old == 0}), append(of, o)
		}
	}
	if len(puts) == 0 {
		return nil, nil
	}
	errs, err := s.dest.Write(ctx, puts)
	if err != nil {
		return nil, err
	}
	for i, err := range errs {
		o := of[i]
		switch {
		case err == nil:
		case o.tries < contentions && (fault.Is(err, fault.Precondition) || fault.Is(err, fault.Conflict)):
			o.tries++
			again = append(again, o)
		default:
			o.err = refusal(o.group.TypeName, err)
		}
	}
	if len(again) > 0 {
		s.meter.Contention(len(again))
	}
	return again, nil
}

// refusal is the error of an Observation that the FHIR service did not take.
func refusal(typeName string, err error) *mapping.Error {
	f := fault.From(err)
	class := mapping.FHIRDataMapping
	if f.Kind != fault.Invalid && f.Kind != fault.Unprocessable {
		class = MeasurementProcessing
	}
	msg := f.Msg
	if msg == "" && len(f.Issues) > 0 {
		msg = f.Issues[0].Diagnostics
	}
	return &mapping.Error{Class: class, TypeName: typeName, Msg: "the FHIR service did not take the Observation: " + msg}
}

// prepare reads what is there and makes the texts.
func (s *Service) prepare(ctx context.Context, list []*observation, diff *diff) error {
	ids := make([]string, len(list))
	for i, o := range list {
		ids[i] = o.key
	}
	old, err := s.dest.Read(ctx, "Observation", ids)
	if err != nil {
		return err
	}
	issued := s.now().Truncate(time.Millisecond)
	for i, o := range list {
		o.text, o.old, o.what, o.err = nil, old[i].Version, created, nil
		if old[i].Version == 0 {
			o.text, o.err = o.group.Observation(o.id, issued)
		} else {
			o.merge(old[i].Text, issued)
		}
		if diff != nil && o.err == nil {
			diff.add(o, old[i].Text)
		}
	}
	return nil
}

func (o *observation) merge(old []byte, issued time.Time) {
	var doc resource.Doc
	if err := doc.Parse(old, resource.Options{}); err != nil {
		o.err = &mapping.Error{Class: mapping.FHIRDataMapping, TypeName: o.group.TypeName, Msg: "the stored Observation cannot be read"}
		return
	}
	text, changed, err := o.group.Merge(doc.Root(), issued)
	o.text, o.err, o.what = text, err, updated
	if !changed {
		o.what = same
	}
}
