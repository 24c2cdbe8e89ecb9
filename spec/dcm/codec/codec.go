package codec

import (
	"errors"
	"fmt"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Pixels is one frame, decoded.
type Pixels struct {
	Rows, Columns int
	Samples       int    // per pixel
	Bits          int    // allocated: 1 (packed, first pixel in the lowest bit), 8, 16, 32 or 64
	Photometric   string // of Data; chroma is never subsampled
	Data          []byte // little endian, colour by pixel
}

// ErrSyntax says that a transfer syntax has no codec here.
var ErrSyntax = errors.New("no codec for this transfer syntax")

// A decoder turns the stream of one frame into pixels.
type decoder func(im *dcm.Image, src []byte) (*Pixels, error)

var decoders = map[string]decoder{
	dcm.ImplicitLittle:       native,
	dcm.ExplicitLittle:       native,
	dcm.DeflatedLittle:       native,
	dcm.EncapsulatedPlain:    native,
	dcm.ExplicitBig:          nativeBig,
	dcm.PrivateImplicitBigGE: nativeBig,
	dcm.DeflatedFrame:        inflate,
	dcm.RLELossless:          unRLE,
	dcm.JPEGBaseline:         unJPEG,
	dcm.JPEGExtended:         unJPEG,
	"1.2.840.10008.1.2.4.53": unJPEG, // spectral selection, retired
	"1.2.840.10008.1.2.4.55": unJPEG, // full progression, retired
	dcm.JPEGLossless:         unJPEG,
	dcm.JPEGLosslessSV1:      unJPEG,
	dcm.JPEGLSLossless:       unJPEGLS,
	dcm.JPEGLSNear:           unJPEGLS,
}

// CanDecode reports whether frames of a transfer syntax can be decoded.
func CanDecode(syntax string) bool { return decoders[syntax] != nil }

// CanEncode reports whether native frames can be brought into a transfer syntax.
func CanEncode(syntax string) bool {
	switch syntax {
	case dcm.ImplicitLittle, dcm.ExplicitLittle, dcm.DeflatedLittle, dcm.ExplicitBig, dcm.RLELossless:
		return true
	}
	return false
}

// Decode decodes one frame: the bytes of a native frame, or the joined fragments
// of an encapsulated one. The error wraps ErrSyntax when there is no codec for
// the transfer syntax.
func Decode(im *dcm.Image, syntax string, src []byte) (*Pixels, error) {
	d := decoders[syntax]
	if d == nil {
		return nil, fmt.Errorf("%w: %s", ErrSyntax, syntax)
	}
	if im.SamplesPerPixel != 1 && im.SamplesPerPixel != 3 && im.SamplesPerPixel != 4 {
		return nil, fmt.Errorf("%d samples per pixel are not an image", im.SamplesPerPixel)
	}
	p, err := d(im, src)
	if err != nil {
		return nil, err
	}
	if p.Rows != im.Rows || p.Columns != im.Columns || p.Samples != im.SamplesPerPixel {
		return nil, fmt.Errorf("the frame is %d x %d with %d samples, the data set says %d x %d with %d",
			p.Columns, p.Rows, p.Samples, im.Columns, im.Rows, im.SamplesPerPixel)
	}
	return p, nil
}

// Encode brings pixels into a transfer syntax that CanEncode. The fragments of
// an encapsulated one have an even length.
func Encode(p *Pixels, syntax string) ([]byte, error) {
	switch syntax {
	case dcm.ImplicitLittle, dcm.ExplicitLittle, dcm.DeflatedLittle:
		return p.Data, nil
	case dcm.ExplicitBig:
		out := append([]byte(nil), p.Data...)
		dcm.Swap(out, p.Bits/8)
		return out, nil
	case dcm.RLELossless:
		return toRLE(p)
	}
	return nil, fmt.Errorf("%w: %s", ErrSyntax, syntax)
}

// newPixels allocates the frame that im describes.
func newPixels(im *dcm.Image) (*Pixels, error) {
	switch im.BitsAllocated {
	case 1, 8, 16, 32, 64:
	default:
		return nil, fmt.Errorf("%d bits allocated are not supported", im.BitsAllocated)
	}
	n := im.FrameSize()
	if n > maxFrame {
		return nil, fmt.Errorf("a frame of %d bytes is too large to decode", n)
	}
	return &Pixels{
		Rows: im.Rows, Columns: im.Columns, Samples: im.SamplesPerPixel, Bits: im.BitsAllocated,
		Photometric: im.Photometric, Data: make([]byte, n),
	}, nil
}

// maxFrame bounds the memory of one frame.
const maxFrame = 1 << 30
