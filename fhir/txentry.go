package fhir

import (
	"context"
	"fmt"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/patch"
)

// txPhase is the place of an entry in the order of a transaction.
type txPhase uint8

const (
	phaseDelete txPhase = iota
	phaseCreate
	phaseUpdate
	phaseRead
)

// txEntry is one entry of a transaction on its way.
type txEntry struct {
	in    *Interaction
	index int
	phase txPhase
	key   Key // create, update and patch: what is written, or was found
	patch *patch.Patch
	found *Record // a conditional create that found its resource

	mustNotExist bool
	ops          []Op
	one          [1]Op // memory for ops of most entries
	guards       []Guard
	first        int // index of ops[0] in the Change
	err          error
}

// identify finds out which resource the entry is about, running its condition if it has one.
func (e *txEntry) identify(ctx context.Context, s *Service) error {
	switch e.in.Verb {
	case VerbDelete:
		e.phase = phaseDelete
		return e.identifyDelete(ctx, s)
	case VerbCreate:
		e.phase = phaseCreate
		return e.identifyCreate(ctx, s)
	case VerbUpdate:
		e.phase = phaseUpdate
		return e.identifyUpdate(ctx, s)
	case VerbPatch:
		e.phase = phaseUpdate
		return e.identifyPatch(ctx, s)
	case VerbRead, VerbVRead, VerbSearch, VerbHistory:
		e.phase = phaseRead
		return nil
	}
	return fault.At(fault.Invalid, "not-supported", "", "%q is not possible inside a transaction", e.in.Verb)
}

func (e *txEntry) identifyDelete(ctx context.Context, s *Service) (err error) {
	if e.in.Unlink {
		return fault.At(fault.Invalid, "not-supported", "", "_remove-references is not possible inside a transaction")
	}
	if e.in.Conditional {
		e.ops, e.guards, err = s.conditionalDelete(ctx, e.in)
	} else {
		e.ops = e.one[:]
		e.one[0], err = s.deleteOp(e.in)
	}
	for i := range e.ops {
		if err == nil {
			err = s.mayWrite(ctx, &e.ops[i])
		}
	}
	return err
}

func (e *txEntry) identifyCreate(ctx context.Context, s *Service) error {
	if err := knownType(e.in.Type); err != nil {
		return err
	}
	e.mustNotExist = true
	if !e.in.HasIfNoneExist && e.in.IfNoneExist == "" {
		e.key = Key{e.in.Type, s.newID()}
		return nil
	}
	c, err := s.conditionalCreate(ctx, e.in)
	if err != nil {
		return err
	}
	e.key, e.found, e.guards = c.key, c.found, []Guard{c.guard}
	if c.found == nil {
		e.key = Key{e.in.Type, s.newID()}
	}
	return nil
}

func (e *txEntry) identifyUpdate(ctx context.Context, s *Service) (err error) {
	if err := knownType(e.in.Type); err != nil {
		return err
	}
	if !e.in.Conditional {
		e.key, err = updateKey(e.in)
		return err
	}
	c, err := s.conditionalUpdate(ctx, e.in)
	if err != nil {
		return err
	}
	e.key, e.guards, e.mustNotExist = c.key, []Guard{c.guard}, c.found == nil
	return nil
}

func (e *txEntry) identifyPatch(ctx context.Context, s *Service) (err error) {
	if err := knownType(e.in.Type); err != nil {
		return err
	}
	if e.patch, err = parsePatch(e.in.Body); err != nil {
		return err
	}
	e.key, e.guards, err = s.patchKey(ctx, e.in)
	return err
}

// writes returns the resources that the entry changes.
func (e *txEntry) writes() []Key {
	switch {
	case e.phase == phaseDelete:
		keys := make([]Key, len(e.ops))
		for i := range e.ops {
			keys[i] = e.ops[i].Key
		}
		return keys
	case e.phase == phaseUpdate || e.phase == phaseCreate && e.found == nil:
		return []Key{e.key}
	}
	return nil
}

// foresee fails if the read of the entry cannot succeed after the commit.
func (e *txEntry) foresee(ctx context.Context, s *Service, written map[Key]bool) error {
	in := e.in
	switch {
	case in.Verb == VerbSearch:
		_, _, err := s.query(ctx, in)
		return err
	case in.Verb == VerbHistory:
		_, _, _, err := s.historyQuery(in)
		if err != nil || in.ID == "" || written[Key{in.Type, in.ID}] {
			return err
		}
	case written[Key{in.Type, in.ID}]:
		return nil
	}
	_, err := s.do(ctx, in)
	if fault.Is(err, fault.NotModified) {
		return nil
	}
	return err
}

// prepare makes the operation of a create, update or patch. The error stays in e too.
func (e *txEntry) prepare(ctx context.Context, s *Service, refs *references, ws *workspace) error {
	var op Op
	var err error
	if e.patch != nil {
		op, err = s.preparePatch(ctx, e.in, e.patch, e.key, refs, ws)
	} else {
		op, err = s.prepare(ctx, e.in, e.key, refs, ws)
	}
	if err != nil {
		e.err = err
		return err
	}
	e.one[0] = op
	e.ops = e.one[:]
	e.one[0].MustNotExist = e.mustNotExist
	in := e.in
	if e.phase == phaseCreate && in.IfMatch != "" {
		plain := *in
		plain.IfMatch = ""
		in = &plain
	}
	if e.err = s.policy(ctx, in, &e.one[0]); e.err == nil {
		e.err = s.mayWrite(ctx, &e.one[0])
	}
	return e.err
}

// takeGuards returns the guards once, in the phase of the entry.
func (e *txEntry) takeGuards(phase txPhase) []Guard {
	if e.phase != phase {
		return nil
	}
	return e.guards
}

// answer describes what happened to the entry.
func (e *txEntry) answer(done []Applied) Response {
	if e.found != nil {
		return *foundResponse(e.found)
	}
	done = done[e.first : e.first+len(e.ops)]
	if e.phase == phaseDelete {
		r := deletedResponse(done)
		if !e.in.Conditional {
			r.Deleted = 0
		}
		r.Status = 204
		return *r
	}
	return *putResponse(e.ops[0], done[0])
}

// request is the request line of the entry, for messages.
func (e *txEntry) request() string {
	in := e.in
	u := in.Type
	if in.ID != "" {
		u += "/" + in.ID
	}
	switch {
	case in.Compartment != "":
		u += "/" + in.Compartment
	case in.Verb == VerbVRead:
		u += "/_history/" + in.VersionID
	case in.Verb == VerbHistory:
		u += "/_history"
	case in.Verb == VerbPurgeHistory:
		u += "/$purge-history"
	}
	if in.RawQuery != "" {
		u += "?" + in.RawQuery
	}
	return in.Method + " " + clip(strings.TrimPrefix(u, "/"))
}

// blame puts the entry's place and request into the error.
func (e *txEntry) blame(err error) error {
	c := *fault.From(clean(err))
	at := fmt.Sprintf("Bundle.entry[%d]", e.index)
	prefix := at + " (" + e.request() + "): "
	c.Msg = prefix + c.Msg
	issues := c.Issues
	if len(issues) == 0 {
		issues = []fault.Issue{{Severity: "error"}}
	}
	c.Issues = make([]fault.Issue, len(issues))
	for i, issue := range issues {
		if issue.Diagnostics == "" {
			issue.Diagnostics = c.Msg
		} else {
			issue.Diagnostics = prefix + issue.Diagnostics
		}
		if !strings.HasPrefix(issue.Expression, "Bundle") {
			issue.Expression = at
		}
		c.Issues[i] = issue
	}
	return &c
}
