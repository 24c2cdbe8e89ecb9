package bulk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// The sizes of an import.
const (
	batchLines   = 50      // what others wait behind is short; the writer joins several
	batchBytes   = 1 << 20 // of lines, in memory
	batchesAhead = 40      // batches of one part in memory
	bytesAhead   = 8 << 20 // of lines in them, and one batch more
	saveLines    = 10_000  // between checkpoints
)

// importFolder holds the errors of imports in a service's part of the blob store.
const importFolder = "import/"

// importPart is the definition of a child: the lines of a file that begin in a range.
type importPart struct {
	Import importing `json:"import"`
	Job    string    `json:"job"`
	Input  int       `json:"input"`
	From   int64     `json:"from"`
	To     int64     `json:"to"` // -1: to the end
}

// progressed is the checkpoint and the result of a part.
type progressed struct {
	Input  int              `json:"input"`
	Next   int64            `json:"next"` // where the next line begins
	Lines  int64            `json:"lines"`
	Counts map[string]int64 `json:"counts"`
	Errors int64            `json:"errors"`
	Blobs  []string         `json:"blobs,omitempty"` // with the errors
	Begun  bool             `json:"begun"`           // Next is the beginning of a line
}

// runImport cuts the files into parts, then waits, then adds up.
func (s *Service) runImport(ctx context.Context, t *jobs.Task) (any, error) {
	var d importing
	if err := t.Define(&d); err != nil {
		return nil, err
	}
	planned, err := t.Load(new(bool))
	if err != nil {
		return nil, err
	}
	var specs []jobs.Spec
	var total int64
	if planned {
		for _, in := range d.Inputs {
			total += max(in.Size, 0)
		}
		s.d.Store.Analyze(ctx)
		return s.addUp(ctx, t, jobs.Progress{Done: total, Total: total, Note: "bytes"})
	}
	for i, in := range d.Inputs {
		only := d
		only.Inputs = []input{in} // a child needs no other
		for from := int64(0); from == 0 || from < in.Size; from += d.Unit {
			p := importPart{Import: only, Job: t.ID, Input: i, From: from, To: from + d.Unit}
			if in.Size < 0 {
				p.To = -1
			}
			specs = append(specs, jobs.Spec{Kind: kindImportPart, Definition: p, Keep: s.d.Keep})
		}
		total += max(in.Size, 0)
	}
	if err := t.Spawn(ctx, true, jobs.Progress{Total: total, Note: "bytes"}, specs); err != nil {
		return nil, err
	}
	return nil, jobs.ErrWait
}

// addUp gathers the results of the children, one entry per file.
func (s *Service) addUp(ctx context.Context, t *jobs.Task, all jobs.Progress) (any, error) {
	children, err := t.Children(ctx)
	if err != nil {
		return nil, err
	}
	out := map[int]*progressed{}
	for _, c := range children {
		if c.State != jobs.Completed {
			return nil, fault.New(fault.Internal, "a part of the import failed: %s", c.Error)
		}
		var p progressed
		if err := json.Unmarshal(c.Result, &p); err != nil {
			return nil, fault.Wrap("bulk: result of a part", err)
		}
		sum := out[p.Input]
		if sum == nil {
			out[p.Input] = &p
			continue
		}
		for typ, n := range p.Counts {
			sum.Counts[typ] += n
		}
		sum.Lines += p.Lines
		sum.Errors += p.Errors
		sum.Blobs = append(sum.Blobs, p.Blobs...)
	}
	list := []*progressed{}
	for _, i := range slices.Sorted(maps.Keys(out)) {
		list = append(list, out[i])
	}
	return list, t.Save(ctx, true, all)
}

// loader imports one part. While the store writes some batches, the next ones
// are read, parsed and validated.
type loader struct {
	s      *Service
	t      *jobs.Task
	part   importPart
	mark   progressed // up to where everything is stored
	in     *bufio.Reader
	at     int64 // the offset of the next line
	line   int64 // the number of the last line that was read
	free   []*slot
	busy   []*slot // being stored, in the order of the file
	bytes  int     // of lines in busy
	errors bytes.Buffer
	saved  int64
	large  bool // it has the turn for a large line
	loose  int  // bytes of large lines since their memory was given back
}

// slot is a batch with the memory of its lines.
type slot struct {
	batch *fhir.Batch
	lines []int64 // the numbers of the lines in the batch
	long  []int64 // of lines that were too long to be in it
	arena []byte  // the lines
	ends  []int   // of the lines in arena
	next  int64   // the offset behind the batch
	last  int64   // the number of the last line before it
}

func (s *Service) runImportPart(ctx context.Context, t *jobs.Task) (any, error) {
	l := &loader{s: s, t: t}
	if err := t.Define(&l.part); err != nil {
		return nil, err
	}
	l.mark = progressed{Input: l.part.Input, Next: l.part.From, Counts: map[string]int64{}}
	if _, err := t.Load(&l.mark); err != nil {
		return nil, err
	}
	d := &l.part.Import
	mode := fhir.ImportMode{Initial: d.Initial, Negative: d.Negative, Type: d.Inputs[0].Type, Base: d.Base}
	for range batchesAhead {
		l.free = append(l.free, &slot{batch: s.d.FHIR.NewBatch(mode)})
	}
	l.saved, l.line = l.mark.Lines, l.mark.Lines
	defer l.leave()
	r, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	err = l.run(ctx)
	for _, x := range l.busy { // the store may still use what they hold
		_, _ = x.batch.Wait()
	}
	if err != nil {
		return nil, err
	}
	return l.mark, nil
}

// run reads to the end of the part.
func (l *loader) run(ctx context.Context) error {
	for more := true; more; {
		for len(l.free) == 0 || l.bytes > bytesAhead {
			if err := l.settle(ctx); err != nil {
				return err
			}
		}
		x := l.free[len(l.free)-1]
		l.free = l.free[:len(l.free)-1]
		var err error
		if more, err = l.fill(ctx, x); err != nil {
			return err
		}
		if err := x.batch.Store(ctx, func() error { return l.settleAll(ctx) }); err != nil {
			return err
		}
		l.busy = append(l.busy, x)
		l.bytes += len(x.arena)
		if l.large {
			if err := l.settleAll(ctx); err != nil {
				return err
			}
			l.empty(x)
		}
	}
	if err := l.settleAll(ctx); err != nil {
		return err
	}
	if err := l.unchanged(ctx); err != nil {
		return err
	}
	return l.save(ctx)
}

// unchanged looks at the end of a part whether the file is still the one of the
// request: one that is written over in its place shows that in no other way.
func (l *loader) unchanged(ctx context.Context) error {
	in := l.part.Import.Inputs[0]
	if in.Tag == "" {
		return nil
	}
	info, err := l.s.d.Sources.Stat(ctx, in.URL)
	if fault.Is(err, fault.NotFound) || err == nil && info.Tag != in.Tag {
		return l.changed()
	}
	return err
}

func (l *loader) changed() error {
	return fault.New(fault.Unprocessable, "the file of input %d changed or went away while it was imported", l.part.Input+1)
}

func (l *loader) settleAll(ctx context.Context) error {
	for len(l.busy) > 0 {
		if err := l.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle waits for the first batch that is being stored and, now and then,
// writes the checkpoint.
func (l *loader) settle(ctx context.Context) error {
	x := l.busy[0]
	l.busy, l.free = l.busy[1:], append(l.free, x)
	l.bytes -= len(x.arena)
	results, err := x.batch.Wait()
	if err != nil {
		return err
	}
	for _, n := range x.long {
		l.fail(n, l.tooLong())
	}
	for i, r := range results {
		if r.Err != nil {
			l.fail(x.lines[i], r.Err)
			continue
		}
		l.mark.Counts[r.Type]++
	}
	l.mark.Next, l.mark.Lines = x.next, x.last
	if l.mark.Lines-l.saved < saveLines {
		return nil
	}
	return l.save(ctx)
}

// save writes the checkpoint.
func (l *loader) save(ctx context.Context) error {
	if l.errors.Len() > 0 {
		key := fmt.Sprintf("%s%s/%d-%d-%d.ndjson", importFolder, l.part.Job, l.part.Input, l.part.From, len(l.mark.Blobs))
		if _, err := l.s.d.Blobs.Put(ctx, key, bytes.NewReader(l.errors.Bytes()), blob.PutOptions{ContentType: "application/fhir+ndjson"}); err != nil {
			return err
		}
		l.mark.Blobs = append(l.mark.Blobs, key)
		l.errors.Reset()
	}
	l.saved = l.mark.Lines
	return l.t.Save(ctx, l.mark, jobs.Progress{Done: l.mark.Next - l.part.From, Note: "bytes"})
}

// fail notes why a line was refused.
func (l *loader) fail(line int64, err error) {
	l.mark.Errors++
	e := fault.From(err)
	issues := e.Issues
	if len(issues) == 0 {
		issues = []fault.Issue{{Code: "invalid", Diagnostics: e.Msg}}
	}
	where := "line " + strconv.FormatInt(line, 10)
	if l.part.From > 0 {
		where += " behind byte " + strconv.FormatInt(l.part.From, 10)
	}
	b := l.errors.AvailableBuffer()
	b = append(b, `{"resourceType":"OperationOutcome","issue":[`...)
	for i, is := range issues {
		if i > 0 {
			b = append(b, ',')
		}
		severity, code := is.Severity, is.Code
		if severity == "" {
			severity = "error"
		}
		if code == "" {
			code = "invalid"
		}
		b = append(append(b, `{"severity":`...), strconv.Quote(severity)...)
		b = resource.AppendString(append(b, `,"code":`...), code)
		b = append(resource.AppendString(append(b, `,"details":{"text":`...), is.Diagnostics), '}')
		b = resource.AppendString(append(b, `,"diagnostics":`...), where+": "+is.Diagnostics)
		if is.Expression != "" {
			b = append(resource.AppendString(append(b, `,"expression":[`...), is.Expression), ']')
		}
		b = append(b, '}')
	}
	l.errors.Write(append(b, "]}\n"...))
}

// Import returns the status of an import. One that was cancelled is Invalid, as
// in Azure Health Data Services.
func (s *Service) Import(ctx context.Context, id, base string) (*Status, error) {
	if err := s.d.FHIR.Allow(ctx, fhir.VerbImport); err != nil {
		return nil, err
	}
	j, err := s.anyJob(ctx, kindImport, id)
	if err != nil {
		return nil, err
	}
	switch {
	case cancelled(j):
		return nil, fault.At(fault.Invalid, "processing", "", "User requested cancellation: what was imported before stays")
	case j.State == jobs.Failed:
		return nil, fault.New(fault.Internal, "the import failed: %s", j.Error)
	case j.State == jobs.Completed:
		m, err := importManifest(j, base)
		return &Status{Manifest: m, Expires: j.Expires}, err
	}
	p, err := s.progress(ctx, j)
	return &Status{Running: true, Progress: p}, err
}

func importManifest(j jobs.Job, base string) (*ImportManifest, error) {
	var d importing
	var list []progressed
	if err := errors.Join(json.Unmarshal(j.Definition, &d), json.Unmarshal(j.Result, &list)); err != nil {
		return nil, fault.Wrap("bulk: import", err)
	}
	m := &ImportManifest{TransactionTime: j.Created, Request: d.Request, Output: []ImportOutput{}, Error: []ImportOutput{}}
	for _, p := range list {
		url := d.Inputs[p.Input].URL
		for _, typ := range slices.Sorted(maps.Keys(p.Counts)) {
			m.Output = append(m.Output, ImportOutput{Type: typ, Count: p.Counts[typ], InputURL: url})
		}
		if p.Errors > 0 {
			m.Error = append(m.Error, ImportOutput{
				Type: "OperationOutcome", Count: p.Errors, InputURL: url,
				URL: base + "/_operations/import/" + j.ID + "/" + strconv.Itoa(p.Input) + ".ndjson",
			})
		}
	}
	return m, nil
}

// ImportErrors returns the errors of one file, as NDJSON of OperationOutcome.
func (s *Service) ImportErrors(ctx context.Context, id, name string) (io.ReadCloser, error) {
	if err := s.d.FHIR.Allow(ctx, fhir.VerbImport); err != nil {
		return nil, err
	}
	j, err := s.job(ctx, kindImport, id)
	if err != nil {
		return nil, err
	}
	var list []progressed
	if j.State == jobs.Completed {
		if err := json.Unmarshal(j.Result, &list); err != nil {
			return nil, fault.Wrap("bulk: import", err)
		}
	}
	for _, p := range list {
		if strconv.Itoa(p.Input)+".ndjson" == name && len(p.Blobs) > 0 {
			return &chain{ctx: ctx, store: s.d.Blobs, keys: p.Blobs}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "the import has no such file")
}

// chain reads several blobs one after the other.
type chain struct {
	ctx   context.Context
	store blob.Store
	keys  []string
	cur   io.ReadCloser
}

// Read implements io.Reader.
func (c *chain) Read(p []byte) (int, error) {
	for {
		if c.cur == nil {
			if len(c.keys) == 0 {
				return 0, io.EOF
			}
			r, _, err := c.store.Open(c.ctx, c.keys[0], 0, -1)
			if err != nil {
				return 0, err
			}
			c.cur, c.keys = r, c.keys[1:]
		}
		n, err := c.cur.Read(p)
		if errors.Is(err, io.EOF) {
			_ = c.cur.Close()
			c.cur, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close implements io.Closer.
func (c *chain) Close() error {
	if c.cur == nil {
		return nil
	}
	return c.cur.Close()
}

// cleanImport removes the errors of an import.
func (s *Service) cleanImport(ctx context.Context, j jobs.Job) error {
	return blob.DeleteAll(ctx, s.d.Blobs, importFolder+j.ID+"/")
}
