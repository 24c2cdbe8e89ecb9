package fhir

import (
	"context"
	"strconv"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// ImportMode says how versions are taken in.
type ImportMode struct {
	Initial  bool   // the server gives versions and times; what exists is not changed
	Negative bool   // see ImportOp
	Type     string // the only type that is expected; "" = any
	Base     string // base URL of the service: references below it are local
}

// ImportResult is what became of one line.
type ImportResult struct {
	Type    string // of the resource, as far as it is known
	Outcome Outcome
	Err     error // why the line was refused
}

// Batch collects lines of an import and stores them in one transaction. They
// pass the same validation and extraction as an update. Nothing is searched:
// a reference that is a search stays as it is, or is refused by an initial
// load, as in Azure Health Data Services. It is used by one goroutine.
type Batch struct {
	s    *Service
	mode ImportMode
	ws   workspace
	doc  resource.Doc
	ops  []ImportOp
	at   []int // the result that each of ops belongs to
	out  []ImportResult
	wait func() ([]Imported, error)

	unnumbered bool // one of ops has no number, or one below 1
}

// maxNodes bounds the values of one line, as that of a request is bounded.
const maxNodes = 4_000_000

// keptMemory is how much of each kind of memory a batch keeps for other lines.
const keptMemory = 1 << 20

// NewBatch returns an empty batch.
func (s *Service) NewBatch(mode ImportMode) *Batch { return &Batch{s: s, mode: mode} }

// Len returns the number of lines added since the last Reset.
func (b *Batch) Len() int { return len(b.out) }

// Add parses and validates a line. The text must not change until Wait has
// returned: the index entries point into it.
func (b *Batch) Add(ctx context.Context, line []byte) {
	op, typ, err := b.prepare(ctx, &b.doc, line)
	b.doc.Trim(keptMemory)
	b.out = append(b.out, ImportResult{Type: typ, Err: clean(err)})
	if err == nil {
		b.ops, b.at = append(b.ops, op), append(b.at, len(b.out)-1)
		b.unnumbered = b.unnumbered || op.Number <= 0
	}
}

func (b *Batch) prepare(ctx context.Context, d *resource.Doc, line []byte) (op ImportOp, typ string, err error) {
	if err := d.Parse(line, resource.Options{MaxNodes: maxNodes}); err != nil {
		return op, "", parseError(err)
	}
	root := d.Root()
	typ = root.Get("resourceType").Text()
	if typ == "" {
		return op, "", fault.At(fault.Invalid, "structure", "resourceType", "the line is no resource: it has no resourceType")
	}
	if b.mode.Type != "" && typ != b.mode.Type {
		return op, "", fault.At(fault.Invalid, "invalid", "resourceType", "the line is a %s where only %s is expected", clip(typ), b.mode.Type)
	}
	if err := knownType(typ); err != nil {
		return op, "", fault.At(fault.Invalid, "invalid", "resourceType", "R4 has no resource type %q", clip(typ))
	}
	k := Key{Type: typ, ID: root.Get("id").Text()}
	if !ValidID(k.ID) {
		return op, typ, fault.At(fault.Invalid, "required", typ+".id", "the id %q is not 1 to 64 of A-Z, a-z, 0-9, - and .", clip(k.ID))
	}
	op.Initial, op.Negative = b.mode.Initial, b.mode.Negative
	meta := root.Get("meta")
	if op.Number, op.Time, err = versionOf(meta, typ); err != nil {
		return op, typ, err
	}
	if deletedMark(meta) {
		op.Op = Op{Kind: OpDelete, Key: k, Method: "DELETE"}
	} else {
		in := Interaction{Verb: VerbUpdate, Method: "PUT", Type: typ, ID: k.ID, Body: root, Base: b.mode.Base}
		refs := b.s.references(&in)
		refs.closed, refs.asIs = b.mode.Initial, !b.mode.Initial
		if op.Op, err = b.s.prepare(ctx, &in, k, refs, &b.ws); err != nil {
			return op, typ, err
		}
	}
	op.NoHistory = b.s.cfg.VersioningOf(typ) == NoVersion
	return op, typ, nil
}

// maxNumber bounds the versions of an import, so that every version has a next
// one, as an integer that JSON numbers keep too.
const maxNumber = 1 << 53

// versionOf reads meta.versionId and meta.lastUpdated.
func versionOf(meta resource.Node, typ string) (number int64, at time.Time, err error) {
	if v := meta.Get("versionId"); v.Valid() {
		n, ok := parseVersion(v.Text())
		if _, e := strconv.ParseInt(v.Text(), 10, 64); e != nil || !ok {
			return 0, at, fault.At(fault.Invalid, "value", typ+".meta.versionId", "meta.versionId must be a whole number to be kept")
		}
		if n > maxNumber || n < -maxNumber {
			return 0, at, fault.At(fault.Invalid, "value", typ+".meta.versionId", "meta.versionId must lie between %d and %d", int64(-maxNumber), int64(maxNumber))
		}
		number = n
	}
	if v := meta.Get("lastUpdated"); v.Valid() {
		if at, err = time.Parse(time.RFC3339Nano, v.Text()); err != nil {
			return 0, at, fault.At(fault.Invalid, "value", typ+".meta.lastUpdated", "meta.lastUpdated must be an instant such as 2026-01-31T12:00:00Z")
		}
		if SeqAt(at).Time().After(at) {
			return 0, at, fault.At(fault.Invalid, "value", typ+".meta.lastUpdated", "meta.lastUpdated lies before 1881, and such times cannot be kept")
		}
	}
	return number, at, nil
}

// DeletedExtension marks a resource in an import or export as a deletion, as
// Azure Health Data Services does.
const DeletedExtension = "http://azurehealthcareapis.com/data-extensions/deleted-state"

func deletedMark(meta resource.Node) bool {
	for e := range meta.Get("extension").Children() {
		if e.Get("url").Is(DeletedExtension) && e.Get("valueString").Is("soft-deleted") {
			return true
		}
	}
	return false
}

// parseError gives an error of the parser the kind of the platform.
func parseError(err error) error {
	return &fault.Error{Kind: fault.Invalid, Msg: "the line is no JSON: " + clip(err.Error()), Err: err}
}

// Store begins to write the batch. Batches of several calls are written in the
// order of the calls. When the order of the lines depends on what is stored, settle
// is called, which waits for the batches before; its error ends the call.
func (b *Batch) Store(ctx context.Context, settle func() error) error {
	if err := b.arrange(ctx, settle); err != nil {
		return err
	}
	switch im, ok := b.s.store.(Importer); {
	case !ok:
		err := fault.New(fault.NotImplemented, "this store cannot import")
		b.wait = func() ([]Imported, error) { return nil, err }
	case len(b.ops) == 0:
		b.wait = func() ([]Imported, error) { return nil, nil }
	default:
		wait := im.Import(ctx, b.ops)
		b.wait = func() (done []Imported, err error) {
			err = b.s.defined(ctx, b.s.FollowParams, func() error {
				if wait == nil {
					wait = im.Import(ctx, b.ops)
				}
				done, err = wait()
				wait = nil
				return err
			})
			return done, err
		}
	}
	return nil
}

// Wait returns one result per line when the batch is stored; they hold until
// Reset, which has to come before the next Add. After an error nothing of the
// batch was stored.
func (b *Batch) Wait() ([]ImportResult, error) {
	done, err := b.wait()
	if err != nil {
		return nil, clean(err)
	}
	for i, d := range done {
		r := &b.out[b.at[i]]
		r.Outcome, r.Err = d.Outcome, nil
		if d.Err != nil {
			r.Err = clean(d.Err)
		}
	}
	return b.out, nil
}

// Reset empties the batch, for other lines in the same memory.
func (b *Batch) Reset() {
	for i := range b.ops {
		release(&b.ops[i].Op)
	}
	clear(b.ops)
	clear(b.out)
	b.ops, b.at, b.out, b.unnumbered = b.ops[:0], b.at[:0], b.out[:0], false
	if b.ws.slab.recycle(); cap(b.ws.slab.buf) > keptMemory {
		b.ws.slab = slab{}
	}
	if cap(b.ws.edits) > keptMemory/64 {
		b.ws.edits = nil
	}
}
