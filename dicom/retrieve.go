package dicom

import (
	"bytes"
	"context"
	"io"
	"iter"
	"strconv"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Target names what a request is about.
type Target struct {
	Partition string
	UIDs
}

// check refuses UIDs that cannot be any.
func (u UIDs) check() error {
	for _, x := range []struct{ name, uid string }{{"StudyInstanceUID", u.Study}, {"SeriesInstanceUID", u.Series}, {"SOPInstanceUID", u.SOP}} {
		if x.uid != "" && !dcm.CheckUID(x.uid) {
			return fault.New(fault.Invalid, "The %s is not a valid UID.", x.name)
		}
	}
	return nil
}

// find authorises, checks and resolves a target.
func (s *Service) find(ctx context.Context, t Target, a auth.Actions) (Partition, error) {
	if err := s.guard.Authorize(ctx, a); err != nil {
		return 0, err
	}
	if err := t.UIDs.check(); err != nil {
		return 0, err
	}
	return s.partition(ctx, t.Partition, false)
}

// Instance returns one instance, or NotFound.
func (s *Service) Instance(ctx context.Context, t Target) (*Instance, error) {
	part, err := s.find(ctx, t, auth.DICOMRead)
	if err != nil {
		return nil, err
	}
	return s.store.Instance(ctx, part, t.UIDs)
}

// listPage is how many instances are looked up at a time.
const listPage = 500

// Instances yields the instances of a study or series in the order in which
// they were stored. What is stored or deleted meanwhile may or may not be among them.
// The first element is NotFound when there is nothing.
func (s *Service) Instances(ctx context.Context, t Target) iter.Seq2[*Instance, error] {
	return func(yield func(*Instance, error) bool) {
		part, err := s.find(ctx, t, auth.DICOMRead)
		if err != nil {
			yield(nil, err)
			return
		}
		after, first := Version(0), true
		for {
			list, err := s.store.List(ctx, part, t.UIDs, after, listPage)
			if err == nil && first && len(list) == 0 {
				err = notFound(t.UIDs)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, in := range list {
				if !yield(in, nil) {
					return
				}
				after = in.Version
			}
			if first = false; len(list) < listPage {
				return
			}
		}
	}
}

func notFound(u UIDs) error {
	what := [...]string{"study", "series", "instance"}[u.Level()]
	return fault.New(fault.NotFound, "The specified %s cannot be found.", what)
}

// Count returns how many instances are below a target and their newest version, or NotFound.
func (s *Service) Count(ctx context.Context, t Target) (Version, int64, error) {
	part, err := s.find(ctx, t, auth.DICOMRead)
	if err != nil {
		return 0, 0, err
	}
	return s.store.Revision(ctx, part, t.UIDs)
}

// File opens the stored bytes of an instance. original wants those from before
// a bulk update, if there was one.
func (s *Service) File(ctx context.Context, in *Instance, original bool) (io.ReadCloser, int64, error) {
	original = original && in.Original.Size > 0
	r, err := s.openFile(ctx, in, original, 0, -1)
	if original {
		return r, in.Original.Size, err
	}
	return r, in.Location.Size, err
}

// ETag returns the entity tag of metadata: that of an instance is its version,
// that of a series or study the newest version and the count.
func ETag(u UIDs, v Version, n int64) string {
	if u.Level() == LevelInstance {
		return `"` + strconv.FormatInt(int64(v), 10) + `"`
	}
	return `"` + strconv.FormatInt(int64(v), 10) + "-" + strconv.FormatInt(n, 10) + `"`
}

// Metadata appends the metadata of all instances below a target as a JSON array.
// base is the URL of the service up to /studies. original wants those from
// before bulk updates.
func (s *Service) Metadata(ctx context.Context, t Target, original bool, base string, dst []byte) ([]byte, error) {
	part, err := s.find(ctx, t, auth.DICOMRead)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	dst = append(dst, '[')
	err = s.store.Metadata(ctx, part, t.UIDs, original, func(in *Instance, a Attributes) error {
		if len(dst) > start+1 {
			dst = append(dst, ',')
		}
		dst = a.AppendJSON(dst, BulkBase(base, in.UIDs))
		return nil
	})
	if err == nil && len(dst) == start+1 {
		err = notFound(t.UIDs)
	}
	return append(dst, ']'), err
}

// BulkBase is what the BulkDataURIs of an instance begin with, below the URL of
// the service.
func BulkBase(base string, u UIDs) string {
	return base + "/studies/" + u.Study + "/series/" + u.Series + "/instances/" + u.SOP + "/bulkdata/"
}

// Frames are frames of one instance.
type Frames struct {
	*Instance
	Table *dcm.FrameTable
	s     *Service
	head  *header // read when frames are decoded
}

// Frames finds the frames of an instance; NotFound when it has none.
func (s *Service) Frames(ctx context.Context, t Target) (*Frames, error) {
	part, err := s.find(ctx, t, auth.DICOMRead)
	if err != nil {
		return nil, err
	}
	in, table, err := s.store.Frames(ctx, part, t.UIDs)
	if err != nil {
		return nil, err
	}
	if table == nil {
		return nil, fault.New(fault.NotFound, "The specified instance has no frames.")
	}
	ft, err := decodeFrames(table)
	if err != nil {
		return nil, err
	}
	return &Frames{Instance: in, Table: ft, s: s}, nil
}

// Check returns NotFound when a frame, counted from 1, is not there.
func (f *Frames) Check(numbers []int) error {
	for _, n := range numbers {
		if n < 1 || n > f.Table.Count {
			return fault.New(fault.NotFound, "The specified frame cannot be found: the instance has %d.", f.Table.Count)
		}
	}
	return nil
}

// Size returns the number of bytes of a frame, counted from 1, as it is stored.
func (f *Frames) Size(n int) int64 {
	if f.Table.Bits > 0 {
		return (f.Table.Bits + 7) / 8
	}
	size := int64(0)
	for _, r := range f.Table.Frame(n - 1) {
		size += r.Length
	}
	return size
}

// Open returns the bytes of a frame, counted from 1: as they are stored, but
// uncompressed ones always in little endian.
func (f *Frames) Open(ctx context.Context, n int) (io.ReadCloser, error) {
	ranges := f.Table.Frame(n - 1)
	syntax, _ := dcm.SyntaxOf(f.Syntax)
	switch {
	case f.Table.Bits > 0:
		return f.bits(ctx, n-1, ranges[0], syntax.Deflated)
	case f.swapped():
		return f.swap(ctx, ranges[0])
	}
	if len(ranges) == 1 {
		return f.s.piece(ctx, f.Instance, ranges[0], syntax.Deflated)
	}
	var all []io.Reader
	var closers multiCloser
	for _, r := range ranges {
		rc, err := f.s.piece(ctx, f.Instance, r, syntax.Deflated)
		if err != nil {
			_ = closers.Close()
			return nil, err
		}
		all, closers = append(all, rc), append(closers, rc)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(all...), closers}, nil
}

// bits returns a frame that does not begin at a byte, moved to one. Pixels of
// one bit are packed from the lowest bit on (PS3.5 section 8.1.1).
func (f *Frames) bits(ctx context.Context, i int, r dcm.Range, deflated bool) (io.ReadCloser, error) {
	rc, err := f.s.piece(ctx, f.Instance, r, deflated)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		return nil, err
	}
	if shift := uint(int64(i) * f.Table.Bits % 8); shift > 0 {
		for k := range b {
			b[k] >>= shift
			if k+1 < len(b) {
				b[k] |= b[k+1] << (8 - shift)
			}
		}
	}
	b = b[:min(int64(len(b)), (f.Table.Bits+7)/8)]
	if rest := f.Table.Bits % 8; rest > 0 && len(b) > 0 {
		b[len(b)-1] &= 1<<rest - 1
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

type multiCloser []io.Closer

// Close closes all; the first error is returned.
func (m multiCloser) Close() error {
	var first error
	for _, c := range m {
		if err := c.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// piece opens a range of an instance: of the file, or of its inflated data set.
func (s *Service) piece(ctx context.Context, in *Instance, r dcm.Range, deflated bool) (io.ReadCloser, error) {
	if !deflated {
		return s.openFile(ctx, in, false, r.Offset, r.Length)
	}
	file, err := s.openFile(ctx, in, false, 0, -1)
	if err != nil {
		return nil, err
	}
	data, err := inflated(file)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, data, r.Offset); err != nil {
		_ = file.Close()
		return nil, fault.Wrap("dicom: inflate", err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(data, r.Length), multiCloser{data, file}}, nil
}

// inflated returns the inflated data set of a deflated file.
func inflated(file io.Reader) (io.ReadCloser, error) {
	head := &bytes.Buffer{}
	f, err := dcm.Read(io.TeeReader(io.LimitReader(file, 64<<10), head), dcm.Limits{Until: 1})
	if f == nil || f.DataOffset == 0 {
		return nil, fault.Wrap("dicom: inflate", err)
	}
	head.Next(int(f.DataOffset))
	return dcm.Inflate(io.MultiReader(head, file)), nil
}

// swapped reports whether the stored frames are in big endian.
func (f *Frames) swapped() bool {
	syntax, _ := dcm.SyntaxOf(f.Syntax)
	return syntax.BigEndian || f.Syntax == dcm.PrivateImplicitBigGE
}

// swap returns a native frame in little endian. Its words may begin or end
// outside of it when the frame has an odd size.
func (f *Frames) swap(ctx context.Context, r dcm.Range) (io.ReadCloser, error) {
	width, err := f.s.wordSize(ctx, f.Instance)
	if err != nil || width <= 1 {
		if err != nil {
			return nil, err
		}
		return f.s.piece(ctx, f.Instance, r, false)
	}
	w := int64(width)
	from := (r.Offset - f.Table.Start) / w * w
	to := (r.Offset - f.Table.Start + r.Length + w - 1) / w * w
	rc, err := f.s.piece(ctx, f.Instance, dcm.Range{Offset: f.Table.Start + from, Length: to - from}, false)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		return nil, err
	}
	dcm.Swap(b, width)
	skip := r.Offset - f.Table.Start - from
	return io.NopCloser(bytes.NewReader(b[min(skip, int64(len(b))):min(skip+r.Length, int64(len(b)))])), nil
}

// wordSize is the size of the units of an instance's pixel data that byte order
// applies to; 1 for bytes.
func (s *Service) wordSize(ctx context.Context, in *Instance) (int, error) {
	file, err := s.openFile(ctx, in, false, 0, -1)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	f, err := dcm.Read(file, dcm.Limits{Until: dcm.TagPixelData + 1})
	if err != nil {
		return 0, &fault.Error{Kind: fault.Internal, Op: "dicom: word size", Msg: "the stored file cannot be read", Err: err}
	}
	bits, _ := f.Data.Int(dcm.TagBitsAllocated)
	e := f.Data.Get(dcm.TagPixelData)
	switch {
	case bits > 8:
		return int(bits+7) / 8, nil
	case e != nil && e.VR == dcm.OW:
		return 2, nil
	}
	return 1, nil
}
