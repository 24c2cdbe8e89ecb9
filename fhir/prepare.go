package fhir

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/profile"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// values are reused: a resource has a few dozen index entries, and a bundle thousands.
var values = sync.Pool{New: func() any { return new(search.Values) }}

// maxKeptValues is how many entries a resource may have whose memory is reused.
const maxKeptValues = 1 << 14

// release gives the index entries of an operation back after Apply. The stored
// form is not pooled, because the answer shows it.
func release(op *Op) {
	if op.Values != nil {
		if op.Values.Reset(); op.Values.Cap() <= maxKeptValues {
			values.Put(op.Values)
		}
		op.Values = nil
	}
}

// slab hands out room for stored forms from large blocks.
type slab struct {
	buf  []byte
	used int // bytes of earlier blocks
}

const slabSize = 256 << 10

// recycle hands the same room out again. One block takes the place of several.
func (s *slab) recycle() {
	if s.used > 0 {
		s.buf = make([]byte, 0, s.used+len(s.buf))
	}
	s.buf, s.used = s.buf[:0], 0
}

// stored appends the stored form of n and returns it. The slice keeps no spare
// room, so that nobody can write into its neighbour.
func (s *slab) stored(n resource.Node, edits []resource.Edit) []byte {
	need := len(n.Raw())
	for _, e := range edits {
		need += len(e.With)
	}
	if cap(s.buf)-len(s.buf) < need {
		s.used += len(s.buf)
		s.buf = make([]byte, 0, max(need, slabSize))
	}
	start := len(s.buf)
	s.buf = n.AppendStored(s.buf, edits)
	return s.buf[start:len(s.buf):len(s.buf)]
}

// workspace is what one goroutine needs to prepare resources.
type workspace struct {
	slab  slab
	edits []resource.Edit
}

// prepare makes the operation that stores the body of in under k: everything
// that costs time and needs no lock. The caller releases the operation after Apply.
func (s *Service) prepare(ctx context.Context, in *Interaction, k Key, refs *references, ws *workspace) (Op, error) {
	n := in.Body
	if err := checkBody(in); err != nil {
		return Op{}, err
	}
	if s.cfg.Narrative == NarrativeSafe {
		if err := checkNarratives(n); err != nil {
			return Op{}, err
		}
	}
	edits, uris, err := refs.rewrite(ctx, n, ws.edits[:0])
	ws.edits = edits
	if err != nil {
		return Op{}, err
	}
	op := Op{Kind: OpPut, Key: k, Method: in.Method, MustNotExist: in.MustNotExist}
	if len(edits) == 0 && len(n.Raw()) < slabSize/8 && ws.slab.buf == nil {
		op.Stored = n.AppendStored(make([]byte, 0, len(n.Raw())), nil)
	} else {
		op.Stored = ws.slab.stored(n, edits)
	}
	if uris {
		// An indexed uri may have changed: read the new text.
		if n, err = reparse(n, edits); err != nil {
			return Op{}, err
		}
	}
	op.Values = values.Get().(*search.Values)
	if err := s.reg.Extract(n, refs.resolve, op.Values); err != nil {
		release(&op)
		return Op{}, fault.Wrap("fhir: extract "+k.String(), err)
	}
	return op, nil
}

// reparse returns the resource n with edits as a tree of its own.
func reparse(n resource.Node, edits []resource.Edit) (resource.Node, error) {
	var d resource.Doc
	if err := d.Parse(n.AppendEdited(nil, edits), resource.Options{}); err != nil {
		return resource.Node{}, fault.Wrap("fhir: rewritten resource", err)
	}
	return d.Root(), nil
}

// checkBody refuses a body that is not a valid resource of the type in the URL.
func checkBody(in *Interaction) error {
	n := in.Body
	if n.Kind() != resource.Object {
		return fault.At(fault.Invalid, "structure", "", "a %s resource is required as the body", in.Type)
	}
	if t := n.Get("resourceType"); t.Kind() != resource.String {
		return fault.At(fault.Invalid, "structure", n.Path()+".resourceType", "resourceType is missing")
	} else if string(t.Bytes()) != in.Type {
		return fault.At(fault.Invalid, "invalid", n.Path()+".resourceType",
			"the body is a %s, but the address asks for a %s", clip(t.Text()), in.Type)
	}
	return invalid(profile.Check(n, in.Type))
}

// invalid makes an error of validation issues if one of them is an error.
func invalid(issues []profile.Issue) error {
	if len(issues) == 0 {
		return nil
	}
	bad := &fault.Error{Kind: fault.Invalid}
	for _, i := range issues {
		if bad.Msg == "" && (i.Severity == "error" || i.Severity == "fatal") {
			bad.Msg = i.Diagnostics
			if i.Expression != "" {
				bad.Msg = i.Expression + ": " + i.Diagnostics
			}
		}
		bad.Issues = append(bad.Issues, fault.Issue{
			Severity: i.Severity, Code: i.Code, Diagnostics: i.Diagnostics, Expression: i.Expression,
		})
	}
	if bad.Msg == "" {
		return nil
	}
	return bad
}

// put sends one prepared operation to the store and describes the result.
func (s *Service) put(ctx context.Context, in *Interaction, op Op, guards []Guard) (*Response, error) {
	defer release(&op)
	if err := s.policy(ctx, in, &op); err != nil {
		return nil, err
	}
	if err := s.mayWrite(ctx, &op); err != nil {
		return nil, err
	}
	done, err := s.apply(ctx, op, guards)
	if err != nil {
		return nil, s.refused(in, op, err)
	}
	return putResponse(op, done), nil
}

// policy applies If-Match, the versioning policy of the type and
// _meta-history=false to a put.
func (s *Service) policy(ctx context.Context, in *Interaction, op *Op) error {
	v, err := ifMatch(in)
	if err != nil {
		return err
	}
	if v > 0 {
		op.IfMatch, op.MustExist = v, true
	}
	switch s.cfg.VersioningOf(op.Key.Type) {
	case NoVersion:
		op.NoHistory = true
		return nil
	case VersionedUpdate:
		// Without If-Match only a new resource may be written. A patch was
		// refused before it got here.
		op.MustNotExist = op.MustNotExist || v == 0 && !op.MustExist
	}
	if !in.KeepNoOldVersion || op.MustNotExist {
		return nil
	}
	cur, err := s.store.Read(ctx, op.Key)
	if fault.Is(err, fault.NotFound) || err == nil && cur.Deleted {
		return nil
	}
	if err != nil {
		return err
	}
	if sameContent(cur.Stored, op.Stored) {
		// Only valid against the version that was compared.
		op.NoHistory = true
		if op.IfMatch == 0 {
			op.IfMatch, op.pinned = cur.Version, true
		}
	}
	return nil
}

// sameContent reports whether two stored forms differ in meta only: they begin
// with the length of meta (spec/resource, stored form).
func sameContent(a, b []byte) bool {
	return string(storedRest(a)) == string(storedRest(b))
}

func storedRest(stored []byte) []byte {
	n, w := binary.Uvarint(stored)
	if w <= 0 || n > uint64(len(stored)-w) {
		return nil
	}
	return stored[w+int(n):]
}

// apply does one operation.
func (s *Service) apply(ctx context.Context, op Op, guards []Guard) (Applied, error) {
	done, err := s.commit(ctx, &Change{Ops: []Op{op}, Guards: guards})
	if oe, ok := errors.AsType[*OpError](err); ok {
		err = oe.Err
	}
	if err != nil {
		return Applied{}, err
	}
	return done[0], nil
}

// refused gives the refusal of a store the words of the interaction.
func (s *Service) refused(in *Interaction, op Op, err error) error {
	switch {
	case fault.Is(err, fault.Precondition) && op.pinned:
		return ErrStale
	case fault.Is(err, fault.Precondition):
		return notCurrent(op.IfMatch, op.Key)
	case fault.Is(err, fault.NotFound):
		return notFound(err, op.Key)
	case fault.Is(err, fault.Conflict) && s.cfg.VersioningOf(op.Key.Type) == VersionedUpdate && in.IfMatch == "":
		return needsIfMatch(op.Key)
	case fault.Is(err, fault.Conflict):
		return fault.At(fault.Conflict, "conflict", "", "%s exists already", op.Key)
	}
	return err
}

// notCurrent reports an If-Match that does not hold.
func notCurrent(version int64, k Key) error {
	return fault.At(fault.Precondition, "conflict", "", "version %d of %s is not the current one", version, k)
}

// needsIfMatch reports an If-Match that the versioning policy of a type demands.
func needsIfMatch(k Key) error {
	return fault.At(fault.Invalid, "required", "", "an update of %s needs If-Match: the versioning policy of %s is %s", k, k.Type, VersionedUpdate)
}

func putResponse(op Op, done Applied) *Response {
	r := &Response{Status: 200, Outcome: done.Outcome, Version: done.Version, Seq: done.Seq}
	if done.Outcome == Created {
		r.Status = 201
	}
	r.Record = &Record{Key: op.Key, Version: done.Version, Seq: done.Seq, Method: op.Method, Stored: op.Stored}
	return r
}
