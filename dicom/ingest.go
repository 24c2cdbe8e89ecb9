package dicom

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// ingest is a store request in progress. Small files wait in memory until
// there are enough of them, or the request ends; then they are written together.
type ingest struct {
	s    *Service
	req  *StoreRequest
	part Partition
	res  *StoreResult

	count int // files so far

	waiting []*candidate
	bytes   int64
	used    []*[]byte // pooled memory of the files that wait
}

// candidate is a file that can be stored.
type candidate struct {
	rec  *Record
	data []byte
	out  Outcome
}

// batchBytes and batchFiles are when waiting files are written.
const (
	batchBytes = 4 << 20
	batchFiles = 100
)

// buffers has memory for small files; most have a few dozen kilobytes.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

func (in *ingest) recycle() {
	for _, b := range in.used {
		if cap(*b) <= 1<<20 {
			*b = (*b)[:0]
			buffers.Put(b)
		}
	}
	in.used = nil
}

// file takes one file. An error is one of the request.
func (in *ingest) file(ctx context.Context, r io.Reader) error {
	in.count++
	buf := buffers.Get().(*[]byte)
	in.used = append(in.used, buf)
	whole, err := readUpTo(r, buf, in.s.cfg.SmallFile)
	if err != nil {
		return err
	}
	if !whole {
		if err := in.flush(ctx); err != nil { // keeps the order, and frees memory
			return err
		}
		err := in.large(ctx, *buf, r)
		in.recycle()
		return err
	}
	in.small(*buf)
	if in.bytes >= batchBytes || len(in.waiting) >= batchFiles {
		err := in.flush(ctx)
		in.recycle()
		return err
	}
	return nil
}

// readUpTo fills buf with at most n bytes and reports whether r ended.
func readUpTo(r io.Reader, buf *[]byte, n int64) (whole bool, err error) {
	b := (*buf)[:0]
	defer func() { *buf = b }()
	for {
		if len(b) == cap(b) {
			if int64(len(b)) >= n {
				return false, nil
			}
			grown := make([]byte, len(b), min(int64(cap(b))*4, max(n, int64(cap(b)+1))))
			copy(grown, b)
			b = grown
		}
		got, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+got]
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// small parses and validates a file in memory.
func (in *ingest) small(data []byte) {
	f, err := dcm.Parse(data, dcm.Limits{})
	if err != nil {
		in.unreadable(f, err)
		return
	}
	if !f.Preamble {
		if data, err = withPreamble(f, data); err == nil {
			f, err = dcm.Parse(data, dcm.Limits{})
		}
		if err != nil {
			in.unreadable(f, err)
			return
		}
	}
	clear(data[:128])
	c := in.candidate(f)
	if c == nil {
		return
	}
	c.rec.Location.Size = int64(len(data))
	c.rec.Shared = true
	c.data = data
	in.waiting = append(in.waiting, c)
	in.bytes += int64(len(data))
}

// unreadable notes a file that cannot be read as DICOM.
func (in *ingest) unreadable(f *dcm.File, err error) {
	out := Outcome{File: in.count - 1, Reason: reasonProcessing, Comments: []string{fmt.Sprintf("DICOM%d: %s", errorNumberValidation, message(err))}}
	if f != nil && f.Data != nil {
		out.UIDs, out.Class = uidsOf(f.Data), f.Data.String(dcm.TagSOPClassUID)
		if !dcm.CheckUID(out.SOP) {
			out.SOP = ""
		}
		if !dcm.CheckUID(out.Class) {
			out.Class = ""
		}
	}
	in.res.Failed = append(in.res.Failed, out)
}

// message is the text of a parser's error without the cause below it.
func message(err error) string {
	if e, ok := errors.AsType[*dcm.Error](err); ok {
		return (&dcm.Error{Offset: e.Offset, Tag: e.Tag, Msg: e.Msg}).Error()
	}
	return err.Error()
}

// withPreamble puts in front of a data set what a Part 10 file begins with.
func withPreamble(f *dcm.File, data []byte) ([]byte, error) {
	if len(f.Meta.Elements) > 0 {
		head := make([]byte, 128, 132+len(data))
		if !bytes.HasPrefix(data, []byte("DICM")) {
			head = append(head, "DICM"...)
		}
		return append(head, data...), nil
	}
	var out bytes.Buffer
	if err := dcm.WriteHeader(&out, f, f.Syntax.UID); err != nil {
		return nil, err
	}
	out.Write(data[f.DataOffset:])
	return out.Bytes(), nil
}

// candidate validates a file and makes its record; nil when it failed.
func (in *ingest) candidate(f *dcm.File) *candidate {
	v := validate(f, in.req.Study, in.req.Version, in.s.tags.get())
	c := &candidate{out: Outcome{File: in.count - 1, UIDs: uidsOf(f.Data), Class: f.Data.String(dcm.TagSOPClassUID), Reason: v.reason, Warning: v.warning}}
	for _, x := range v.findings {
		c.out.Comments = append(c.out.Comments, x.comment())
	}
	if v.reason != 0 {
		in.res.Failed = append(in.res.Failed, c.out)
		return nil
	}
	c.rec = recordOf(f)
	return c
}

// recordOf makes the record of a file; its location is still to be set.
func recordOf(f *dcm.File) *Record {
	rec := &Record{Values: valuesOf(f.Data)}
	rec.UIDs, rec.Class, rec.Syntax = uidsOf(f.Data), f.Data.String(dcm.TagSOPClassUID), f.Syntax.UID
	if ft, err := f.Frames(); err == nil {
		rec.Frames = encodeFrames(ft)
	}
	rec.Attrs = attributesOf(f.Data)
	rec.Study, rec.Series = rec.Attrs.of(studyTags), rec.Attrs.of(seriesTags)
	return rec
}

// flush writes the files that wait: their bytes in one blob, and the index.
func (in *ingest) flush(ctx context.Context) error {
	list := in.dropKnown(ctx)
	in.waiting, in.bytes = in.waiting[:0], 0
	if len(list) == 0 {
		return nil
	}
	files := make([][]byte, len(list))
	for i, c := range list {
		files[i] = c.data
	}
	in.s.pack.coming.Add(-1) // it is there
	defer in.s.pack.coming.Add(1)
	for try := 0; ; try++ {
		err := in.index(ctx, list, nil, files)
		if try == packTries || !errors.Is(err, ErrCondemned) {
			return err
		}
	}
}

// packTries is how often files get another blob because theirs was given up.
const packTries = 3

// dropKnown fails the instances that are there already, before anything is
// written for them. The index decides for those that come at the same moment,
// and for all when it cannot be asked now.
func (in *ingest) dropKnown(ctx context.Context) []*candidate {
	if in.req.Replace || len(in.waiting) == 0 {
		return in.waiting
	}
	uids := make([]UIDs, len(in.waiting))
	for i, c := range in.waiting {
		uids[i] = c.rec.UIDs
	}
	known, err := in.s.store.Known(ctx, in.part, uids)
	if err != nil {
		return in.waiting
	}
	list := in.waiting[:0]
	for i, c := range in.waiting {
		if known[i] {
			in.duplicate(c)
			continue
		}
		list = append(list, c)
	}
	return list
}

func (in *ingest) duplicate(c *candidate) {
	c.out.Reason, c.out.Warning, c.out.Comments = reasonDuplicate, 0, nil
	in.res.Failed = append(in.res.Failed, c.out)
}

// index puts records into the index and notes what became of them. Their files
// are in the blob k, or if it is nil are written now.
func (in *ingest) index(ctx context.Context, list []*candidate, k *pack, files [][]byte) error {
	put := &Put{Ctx: ctx, Part: in.part, Records: make([]*Record, len(list)), Replace: in.req.Replace}
	for i, c := range list {
		put.Records[i] = c.rec
	}
	err := in.s.withTags(ctx, put.Records, func(tags int64) error {
		if put.Tags = tags; k != nil {
			in.s.store.Put([]*Put{put}, nil)
			return put.Err
		}
		w, err := in.s.pack.write(ctx, files, put)
		if err != nil {
			return err
		}
		k = w.pack
		return put.Err
	})
	if k != nil {
		kept := err == nil && slices.ContainsFunc(put.Records, func(r *Record) bool { return r.Stored })
		if errors.Is(err, ErrCondemned) {
			in.s.pack.abandon(k)
		}
		in.s.pack.finish(k, kept)
	}
	if err != nil {
		return in.failed(list, err)
	}
	for _, c := range list {
		if c.rec.Stored {
			in.res.Stored = append(in.res.Stored, c.out)
		} else {
			in.duplicate(c)
		}
	}
	return nil
}

// failed notes that files could not be written: a failure of the files when it
// is for want of room or a rule, else the error of the request.
func (in *ingest) failed(list []*candidate, err error) error {
	if !fault.Is(err, fault.TooLarge) {
		return err
	}
	for _, c := range list {
		c.out.Reason, c.out.Warning, c.out.Comments = reasonOutOfResources, 0, []string{fault.From(err).Msg}
		in.res.Failed = append(in.res.Failed, c.out)
	}
	return nil
}

// large stores a file that does not stay in memory: it goes into a blob of its
// own while it is parsed. head is what was read of it.
func (in *ingest) large(ctx context.Context, head []byte, rest io.Reader) error {
	if len(head) >= 132 && string(head[128:132]) == "DICM" {
		clear(head[:128])
	} else {
		in.unreadable(nil, errors.New("the file has no preamble with the prefix DICM"))
		_, err := io.Copy(io.Discard, rest)
		return err
	}
	in.s.pack.coming.Add(-1) // for nobody waits for it
	defer in.s.pack.coming.Add(1)
	object, err := in.s.object()
	if err != nil {
		return err
	}
	limited := &limitReader{r: io.MultiReader(bytes.NewReader(head), rest), left: in.s.cfg.MaxFile}
	pr, pw := io.Pipe()
	defer func() { _ = pw.CloseWithError(errEnough) }() // after a panic the blob would wait for its end
	k := in.s.pack.begin(object, 1)
	in.s.pack.seal(k)
	put := make(chan error, 1)
	go func() {
		_, err := in.s.blobs.Put(ctx, objectKey(object), pr, blob.PutOptions{ContentType: "application/dicom"})
		_ = pr.CloseWithError(errors.Join(errors.New("the blob is not written any more"), err))
		put <- err
	}()
	f, perr := dcm.Read(io.TeeReader(limited, pw), dcm.Limits{})
	if perr != nil && limited.err == nil {
		// The rest of the part has to be passed over, so that the next can be read.
		_ = pw.CloseWithError(perr)
		_, limited.err = io.Copy(io.Discard, rest)
	} else {
		_ = pw.CloseWithError(perr) // nil: the end of the blob
	}
	err = <-put
	return in.largeDone(ctx, k, f, limited.err, perr, err)
}

// largeDone decides about a large file that was read: readErr is the request's,
// parseErr the parser's, putErr the blob store's.
func (in *ingest) largeDone(ctx context.Context, k *pack, f *dcm.File, readErr, parseErr, putErr error) error {
	drop := func() { in.s.pack.finish(k, false) }
	switch {
	case errors.Is(readErr, errTooLarge):
		drop()
		return fault.New(fault.TooLarge, "The file is larger than the %d bytes that are allowed.", in.s.cfg.MaxFile)
	case readErr != nil:
		drop()
		return readErr
	case parseErr != nil && putErr != nil && !isParse(parseErr):
		drop()
		return putErr
	case parseErr != nil:
		drop()
		in.unreadable(f, parseErr)
		return nil
	case putErr != nil:
		drop()
		return putErr
	}
	c := in.candidate(f)
	if c == nil {
		drop()
		return nil
	}
	c.rec.Location = Location{Object: k.object, Size: f.Size}
	if !in.req.Replace {
		if known, err := in.s.store.Known(ctx, in.part, []UIDs{c.rec.UIDs}); err == nil && known[0] {
			drop()
			in.duplicate(c)
			return nil
		}
	}
	return in.index(ctx, []*candidate{c}, k, nil)
}

// isParse reports whether an error is the parser's own, and not that of a reader below it.
func isParse(err error) bool {
	e, ok := errors.AsType[*dcm.Error](err)
	return ok && e.Err == nil
}

var errTooLarge = errors.New("the file is too large")

// limitReader ends with an error after too many bytes, and remembers the error of r.
type limitReader struct {
	r    io.Reader
	left int64
	err  error
}

// Read implements io.Reader.
func (l *limitReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		l.err = errTooLarge
		return 0, errTooLarge
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}
