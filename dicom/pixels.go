package dicom

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/dcm/codec"
	"github.com/hygeia-health/hygeia/spec/dcm/render"
)

// maxDecoded is the size of the largest frame that is decoded; AHDS has 100 MB too.
const maxDecoded = 128 << 20

// header is what is known about the pixels of an instance: the data set without
// them, and the attributes of the image.
type header struct {
	data  *dcm.Dataset
	image *dcm.Image
}

// header reads the data set of an instance up to its pixel data.
func (s *Service) header(ctx context.Context, in *Instance) (*header, error) {
	file, err := s.openFile(ctx, in, false, 0, -1)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	f, err := dcm.Read(file, dcm.Limits{Value: 4 << 20, Until: dcm.TagPixelData + 1})
	if err != nil {
		return nil, &fault.Error{Kind: fault.Internal, Op: "dicom: header", Msg: "the stored file cannot be read", Err: err}
	}
	im, err := dcm.ImageOf(f.Data)
	if errors.Is(err, dcm.ErrNoPixels) {
		return nil, fault.New(fault.NotFound, "The specified instance has no pixel data.")
	}
	if err != nil {
		return nil, unusable(err)
	}
	return &header{f.Data, im}, nil
}

// unusable says that pixels cannot be decoded or shown.
func unusable(err error) error {
	return &fault.Error{Kind: fault.NotAcceptable, Op: "dicom: pixels", Msg: "The pixel data cannot be converted: " + err.Error() + "."}
}

// pixels decodes a frame, counted from 1. The caller gives the memory back.
func (f *Frames) pixels(ctx context.Context, h *header, n int) (p *codec.Pixels, release func(), err error) {
	size, stored := h.image.FrameSize(), f.Size(n)
	if large := max(size, stored); large > maxDecoded {
		return nil, nil, unusable(fmt.Errorf("a frame has %d bytes, more than %d", large, maxDecoded))
	}
	release, err = f.s.budget.take(ctx, size+max(size, stored))
	if err != nil {
		return nil, nil, err
	}
	r, err := f.Open(ctx, n)
	if err != nil {
		release()
		return nil, nil, err
	}
	src, err := io.ReadAll(r)
	_ = r.Close()
	if err != nil {
		release()
		return nil, nil, err
	}
	syntax := f.Syntax
	if s, _ := dcm.SyntaxOf(syntax); !s.Encapsulated {
		syntax = dcm.ExplicitLittle // Open has put the bytes in order
	}
	if p, err = codec.Decode(h.image, syntax, src); err != nil {
		release()
		return nil, nil, unusable(err)
	}
	return p, release, nil
}

// plain is a decoded frame as it is given to others: colour in RGB.
func (f *Frames) plain(ctx context.Context, h *header, n int) (p *codec.Pixels, release func(), err error) {
	p, release, err = f.pixels(ctx, h, n)
	if err != nil || p.Samples != 3 || !strings.HasPrefix(p.Photometric, "YBR") {
		return p, release, err
	}
	rgb, err := p.RGB()
	if err != nil {
		release()
		return nil, nil, unusable(err)
	}
	return rgb, release, nil
}

// Decoded returns the bytes of a frame, counted from 1, without compression:
// little endian, colour by pixel and in RGB. The caller calls release when the
// bytes are sent.
func (f *Frames) Decoded(ctx context.Context, n int) (b []byte, release func(), err error) {
	if f.head == nil {
		if f.head, err = f.s.header(ctx, f.Instance); err != nil {
			return nil, nil, err
		}
	}
	p, release, err := f.plain(ctx, f.head, n)
	if err != nil {
		return nil, nil, err
	}
	return p.Data, release, nil
}

// CanDecode reports whether frames of a transfer syntax can be given without compression.
func CanDecode(syntax string) bool { return codec.CanDecode(syntax) }

// CanTranscode reports whether instances of one transfer syntax can be given in
// another.
func CanTranscode(from, to string) bool {
	if from == to {
		return true
	}
	_, known := dcm.SyntaxOf(from)
	return known && codec.CanDecode(from) && codec.CanEncode(to)
}

// maxRehearsed is the size of decoded frames up to which they are decoded before
// anything is answered: what is wrong with a later one can then be told by the
// status. A longer answer breaks off.
const maxRehearsed = 16 << 20

// rehearse decodes and encodes the frames of an instance that is not large, or
// else the first, which it returns.
func (f *Frames) rehearse(ctx context.Context, h *header, syntax string) (first *codec.Pixels, encoded []byte, release func(), err error) {
	last := f.Table.Count
	if h.image.FrameSize() > maxRehearsed/int64(max(last, 1)) {
		last = 1
	}
	for n := last; n >= 1; n-- { // the first comes last, for it is kept
		if first, release, err = f.plain(ctx, h, n); err != nil {
			return nil, nil, nil, err
		}
		if encoded, err = codec.Encode(first, syntax); err != nil {
			release()
			return nil, nil, nil, unusable(err)
		}
		if n > 1 {
			release()
		}
	}
	return first, encoded, release, nil
}

// reencode writes a file with all its frames decoded and encoded again.
func (s *Service) reencode(ctx context.Context, w io.Writer, in *Instance, f *dcm.File, src io.ReaderAt, syntax string) error {
	table, err := f.Frames()
	if err != nil {
		return unusable(err)
	}
	im, err := dcm.ImageOf(f.Data)
	if err != nil {
		return unusable(err)
	}
	if im.Element != dcm.TagPixelData || im.BitsAllocated%8 != 0 {
		return unusable(errors.New("they are no bytes or words"))
	}
	fr := &Frames{Instance: in, Table: table, s: s}
	h := &header{f.Data, im}
	if table.Count < 1 {
		return unusable(errors.New("there is no frame"))
	}
	first, encoded, release, err := fr.rehearse(ctx, h, syntax)
	if err != nil {
		return err
	}
	defer func() { release() }()
	describe(f.Data, first)
	pixels := &dcm.Pixels{VR: dcm.OB, Length: int64(len(first.Data)) * int64(table.Count)}
	if first.Bits > 8 {
		pixels.VR = dcm.OW
	}
	pixels.Frames = func(yield func([]byte, error) bool) {
		for n := 1; n <= table.Count; n++ {
			b, err := encoded, error(nil)
			if n > 1 {
				var p *codec.Pixels
				release()
				if p, release, err = fr.plain(ctx, h, n); err == nil {
					b, err = codec.Encode(p, syntax)
				} else {
					release = func() {}
				}
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
	return dcm.Write(w, f, syntax, dcm.WriteOptions{Source: src, SourceBig: f.Syntax.BigEndian, Pixels: pixels})
}

// describe makes the image pixel module say what decoded pixels are.
func describe(d *dcm.Dataset, p *codec.Pixels) {
	d.Put(dcm.NewText(dcm.TagPhotometricInterpretation, dcm.CS, p.Photometric))
	if p.Samples > 1 {
		d.Put(dcm.Element{Tag: dcm.TagPlanarConfiguration, VR: dcm.US, Value: []byte{0, 0}, Length: 2})
	}
}

// Picture is what a request for a rendered frame asks for.
type Picture struct {
	Frame    int // counted from 1
	Window   *render.Window
	Viewport *render.Viewport
}

// Render shows a frame of an instance: NotFound when it has no such frame,
// NotAcceptable when it cannot be shown.
func (s *Service) Render(ctx context.Context, t Target, q Picture) (image.Image, error) {
	fr, err := s.Frames(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := fr.Check([]int{q.Frame}); err != nil {
		return nil, err
	}
	h, err := s.header(ctx, fr.Instance)
	if err != nil {
		return nil, err
	}
	p, release, err := fr.pixels(ctx, h, q.Frame)
	if err != nil {
		return nil, err
	}
	defer release()
	img, err := render.Image(h.data, h.image, p, render.Options{Frame: q.Frame - 1, Window: q.Window, Viewport: q.Viewport})
	if err != nil {
		return nil, unusable(err)
	}
	return img, nil
}

// Representative returns the instance that stands for a study or series in a
// thumbnail: the first with frames. NotFound when there is none.
func (s *Service) Representative(ctx context.Context, t Target) (Target, error) {
	if t.UIDs.Level() == LevelInstance {
		return t, nil
	}
	for in, err := range s.Instances(ctx, t) {
		if err != nil {
			return t, err
		}
		one := Target{Partition: t.Partition, UIDs: in.UIDs}
		if _, err := s.Frames(ctx, one); err == nil {
			return one, nil
		} else if !fault.Is(err, fault.NotFound) {
			return t, err
		}
	}
	return t, fault.New(fault.NotFound, "Nothing of it has pixel data.")
}

// ImageOf returns the attributes of the image of an instance; NotFound when it is none.
func (s *Service) ImageOf(ctx context.Context, t Target) (*dcm.Image, error) {
	in, err := s.Instance(ctx, t)
	if err != nil {
		return nil, err
	}
	h, err := s.header(ctx, in)
	if err != nil {
		return nil, err
	}
	return h.image, nil
}
