package fhir

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Transaction does all interactions together or none (R4 section 3.1.0.11.2).
// Answers come in the order of the request, whatever order the entries were
// done in: deletes, creates, updates, and after the commit reads, so that those
// see the result. An error names the entry that caused it.
func (s *Service) Transaction(ctx context.Context, ins []*Interaction) ([]*Response, error) {
	if err := s.bundleSize(len(ins)); err != nil {
		return nil, err
	}
	for range retries {
		t := &transaction{s: s, entries: make([]txEntry, len(ins))}
		for i, in := range ins {
			t.entries[i] = txEntry{in: in, index: i}
		}
		err := t.run(ctx)
		t.release()
		if err == nil {
			return t.answers(ctx), nil
		}
		if !errors.Is(err, ErrStale) {
			return nil, clean(err)
		}
		if err := ctx.Err(); err != nil {
			return nil, clean(err)
		}
	}
	return nil, errStillStale()
}

// bundleSize refuses a Bundle with too many entries.
func (s *Service) bundleSize(n int) error {
	if n > s.cfg.MaxBundleEntries {
		return fault.At(fault.TooLarge, "too-costly", "Bundle.entry", "the Bundle has %d entries; the limit is %d", n, s.cfg.MaxBundleEntries)
	}
	return nil
}

// transaction is one attempt.
type transaction struct {
	s       *Service
	entries []txEntry
	refs    *references
	change  Change
	owner   []int // the entry of each operation of change
	done    []Applied
}

// run does the steps of the standard in order. Only the last one locks anything.
func (t *transaction) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		t.identify, t.distinct, t.name, t.foresee, t.prepare, t.assemble, t.apply,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// identify finds for every entry which resource it is about.
func (t *transaction) identify(ctx context.Context) error {
	for i := range t.entries {
		e := &t.entries[i]
		if err := t.s.authorize(ctx, e.in); err != nil {
			return t.blame(e, err)
		}
		if err := e.identify(ctx, t.s); err != nil {
			return t.blame(e, err)
		}
	}
	return nil
}

// distinct refuses two entries that write the same resource, and two entries
// that would create one by the same condition.
func (t *transaction) distinct(context.Context) error {
	seen := make(map[Key]int, len(t.entries))
	conditions := map[string]int{}
	for i := range t.entries {
		e := &t.entries[i]
		if c := e.in.IfNoneExist; e.phase == phaseCreate && c != "" {
			c = e.in.Type + "?" + c
			if first, ok := conditions[c]; ok {
				return t.blame(e, twice(first, i, c))
			}
			conditions[c] = i
		}
		for _, k := range e.writes() {
			if first, ok := seen[k]; ok {
				return t.blame(e, twice(first, i, k.String()))
			}
			seen[k] = i
		}
	}
	return nil
}

func twice(first, second int, what string) error {
	return fault.At(fault.Invalid, "duplicate", "", "Bundle.entry[%d] and Bundle.entry[%d] are about the same resource %s", first, second, what)
}

// name collects the names under which entries may refer to each other: the
// fullUrls, and for absolute ones also the relative form Type/id that means the
// same below their base (R4 section 2.36.4.1).
func (t *transaction) name(context.Context) error {
	if len(t.entries) == 0 {
		return nil
	}
	t.refs = t.s.references(t.entries[0].in)
	t.refs.written = t.written
	var relative map[string]Key
	for i := range t.entries {
		e := &t.entries[i]
		full := e.in.FullURL
		if full == "" || e.phase != phaseCreate && e.phase != phaseUpdate {
			continue
		}
		if _, taken := t.refs.targets[full]; taken {
			return t.blame(e, fault.At(fault.Invalid, "duplicate", "", "the fullUrl %q is used by two entries", clip(full)))
		}
		t.refs.add(full, e.key, e.in.Body)
		if rel := relativeForm(full); rel != "" && rel != e.key.String() {
			if relative == nil {
				relative = map[string]Key{}
			}
			relative[rel] = e.key
		}
	}
	for i := range t.entries {
		// A resource that is written under this very name keeps it.
		if e := &t.entries[i]; e.phase == phaseUpdate {
			delete(relative, e.key.String())
		}
	}
	for rel, k := range relative {
		if _, taken := t.refs.targets[rel]; !taken {
			t.refs.add(rel, k, resource.Node{})
		}
	}
	return nil
}

// written returns what references.written wants.
func (t *transaction) written(typ string) map[Key]resource.Node {
	out := map[Key]resource.Node{}
	for i := range t.entries {
		e := &t.entries[i]
		switch {
		case e.phase == phaseDelete:
			for j := range e.ops {
				if k := e.ops[j].Key; k.Type == typ {
					out[k] = resource.Node{}
				}
			}
		case e.key.Type == typ && (e.phase == phaseCreate && e.found == nil || e.phase == phaseUpdate && e.patch == nil):
			out[e.key] = e.in.Body
		}
	}
	return out
}

// relativeForm returns "Type/id" of an absolute URL that ends so, else "".
func relativeForm(full string) string {
	if !strings.Contains(full, "://") {
		return ""
	}
	i := strings.LastIndexByte(full, '/')
	j := strings.LastIndexByte(full[:i], '/')
	if j < 0 || !r4.IsResource(full[j+1:i]) || !ValidID(full[i+1:]) {
		return ""
	}
	return full[j+1:]
}

// foresee runs the reads whose answer the transaction cannot change, and parses
// the rest, so that a wrong address fails the transaction and not only its entry.
func (t *transaction) foresee(ctx context.Context) error {
	var written map[Key]bool
	for i := range t.entries {
		e := &t.entries[i]
		if e.phase != phaseRead {
			continue
		}
		if written == nil {
			written = map[Key]bool{}
			for j := range t.entries {
				for _, k := range t.entries[j].writes() {
					written[k] = true
				}
			}
		}
		if err := e.foresee(ctx, t.s, written); err != nil {
			return t.blame(e, err)
		}
	}
	return nil
}

// parallelFrom is the number of entries from which a second goroutine pays.
const parallelFrom = 64

// prepare validates, rewrites and extracts every resource.
func (t *transaction) prepare(ctx context.Context) error {
	var todo []*txEntry
	for i := range t.entries {
		if e := &t.entries[i]; e.phase == phaseCreate && e.found == nil || e.phase == phaseUpdate {
			todo = append(todo, e)
		}
	}
	var next atomic.Int64
	var failed atomic.Bool
	work := func() {
		var ws workspace
		ws.slab.buf = make([]byte, 0, slabSize/8)
		for !failed.Load() && ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(todo) {
				return
			}
			e := todo[i]
			if err := fault.Guard("fhir: prepare", func() error { return e.prepare(ctx, t.s, t.refs, &ws) }); err != nil {
				e.err = err
				failed.Store(true)
			}
		}
	}
	if len(todo) >= parallelFrom {
		var wg sync.WaitGroup
		wg.Go(work)
		work()
		wg.Wait()
	} else {
		work()
	}
	for _, e := range todo {
		if e.err != nil {
			return t.blame(e, e.err)
		}
	}
	return ctx.Err()
}

// assemble puts the operations in the order of the standard.
func (t *transaction) assemble(context.Context) error {
	for _, phase := range []txPhase{phaseDelete, phaseCreate, phaseUpdate} {
		for i := range t.entries {
			e := &t.entries[i]
			t.change.Guards = append(t.change.Guards, e.takeGuards(phase)...)
			if e.phase != phase {
				continue
			}
			e.first = len(t.change.Ops)
			t.change.Ops = append(t.change.Ops, e.ops...)
			for range e.ops {
				t.owner = append(t.owner, i)
			}
		}
	}
	return nil
}

// apply commits.
func (t *transaction) apply(ctx context.Context) error {
	if len(t.change.Ops) == 0 {
		return nil
	}
	var err error
	t.done, err = t.s.commit(ctx, &t.change)
	oe, ok := errors.AsType[*OpError](err)
	if !ok || oe.Index < 0 || oe.Index >= len(t.owner) {
		return err
	}
	e := &t.entries[t.owner[oe.Index]]
	op := t.change.Ops[oe.Index]
	if e.phase == phaseDelete && e.in.Conditional && fault.Is(oe.Err, fault.Precondition) {
		return ErrStale
	}
	err = t.s.refused(e.in, op, oe.Err)
	if errors.Is(err, ErrStale) {
		return err
	}
	return t.blame(e, err)
}

// release gives the index entries back.
func (t *transaction) release() {
	for i := range t.entries {
		for j := range t.entries[i].ops {
			release(&t.entries[i].ops[j])
		}
	}
}

// answers describes what happened and does the reads.
func (t *transaction) answers(ctx context.Context) []*Response {
	out := make([]*Response, len(t.entries))
	room := make([]Response, len(t.entries))
	var found reads
	for i := range t.entries {
		e := &t.entries[i]
		if e.phase == phaseRead {
			out[i] = t.s.settled(ctx, e.in, &found)
			continue
		}
		room[i] = e.answer(t.done)
		out[i] = &room[i]
	}
	return out
}

// settled does one interaction and puts its error into the answer.
func (s *Service) settled(ctx context.Context, in *Interaction, found *reads) *Response {
	reading := classOf(in) == batchRead
	if found.pages != nil && (in.Verb == VerbSearch || in.Verb == VerbHistory) {
		found.pages <- struct{}{}
		defer func() { <-found.pages }()
	}
	if reading && found.bytes.Load() > readsMax {
		return &Response{Err: fault.At(fault.TooCostly, "too-costly", "", "the reads of this Bundle find more than %d MiB; ask in several Bundles", readsMax>>20)}
	}
	var r *Response
	err := fault.Guard("fhir: entry", func() (err error) {
		r, err = s.Do(ctx, in)
		return err
	})
	if err != nil {
		return &Response{Err: err}
	}
	if reading {
		found.add(r)
	}
	return r
}

// reads bounds what the reads of one Bundle find. A page is bounded, but a
// Bundle may ask for thousands.
type reads struct {
	bytes atomic.Int64
	pages chan struct{} // of those that are read at the same time; nil = one
}

const (
	readsMax   = 32 << 20 // where further reads of a Bundle are refused
	pagesWidth = 4
)

func (f *reads) add(r *Response) {
	n := 0
	if r.Record != nil {
		n = len(r.Record.Stored)
	}
	if r.Page != nil {
		for _, list := range [...][]Record{r.Page.Records, r.Page.Included} {
			for i := range list {
				n += len(list[i].Stored)
			}
		}
	}
	f.bytes.Add(int64(n))
}

// blame says in err which entry it comes from. Interactions that do not come
// from a Bundle need no such help.
func (t *transaction) blame(e *txEntry, err error) error {
	if errors.Is(err, ErrStale) || t.loose() {
		return err
	}
	return e.blame(err)
}

// loose reports whether the interactions do not come from one Bundle.
func (t *transaction) loose() bool {
	return slices.ContainsFunc(t.entries, func(e txEntry) bool {
		return e.in.Body.Valid() && !e.in.Body.Parent().Valid()
	})
}
