package codec

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// native brings an uncompressed little endian frame into the form of Pixels.
func native(im *dcm.Image, src []byte) (*Pixels, error) {
	p, err := newPixels(im)
	if err != nil {
		return nil, err
	}
	if im.Photometric == "YBR_FULL_422" && im.SamplesPerPixel == 3 && im.BitsAllocated == 8 && len(src) < len(p.Data) {
		return p, spread422(p, src)
	}
	if len(src) < len(p.Data) {
		return nil, fmt.Errorf("the frame has %d bytes of %d", len(src), len(p.Data))
	}
	src = src[:len(p.Data)]
	if im.Planar && p.Bits >= 8 {
		interleave(p, src)
		return p, nil
	}
	copy(p.Data, src)
	return p, nil
}

// nativeBig is native for samples in big endian. Samples of a byte or less are
// swapped too when they stand in words (PS3.5 section 8.1.1, VR OW).
func nativeBig(im *dcm.Image, src []byte) (*Pixels, error) {
	width := im.BitsAllocated / 8
	if width <= 1 && im.VR == dcm.OW {
		if width = 2; len(src)%2 != 0 {
			return nil, errors.New("the frame ends inside a word")
		}
	}
	if width > 1 {
		src = append([]byte(nil), src...)
		dcm.Swap(src, width)
	}
	return native(im, src)
}

// inflate reads Deflated Image Frame Compression (PS3.5 section A.4.13).
func inflate(im *dcm.Image, src []byte) (*Pixels, error) {
	n := im.FrameSize()
	if n > maxFrame {
		return nil, fmt.Errorf("a frame of %d bytes is too large to decode", n)
	}
	out := make([]byte, n)
	if _, err := io.ReadFull(flate.NewReader(bytes.NewReader(src)), out); err != nil {
		return nil, fmt.Errorf("the deflated frame cannot be read: %w", err)
	}
	return native(im, out)
}

// interleave turns planes into colour by pixel.
func interleave(p *Pixels, src []byte) {
	w, n := p.Bits/8, p.Rows*p.Columns
	for s := range p.Samples {
		plane := src[s*n*w : (s+1)*n*w]
		for i := range n {
			copy(p.Data[(i*p.Samples+s)*w:][:w], plane[i*w:])
		}
	}
}

// spread422 repeats the chroma of each pair of pixels: Y Y Cb Cr (PS3.3 section
// C.7.6.3.1.2).
func spread422(p *Pixels, src []byte) error {
	pairs := p.Rows * p.Columns / 2
	if p.Columns%2 != 0 || len(src) < pairs*4 {
		return fmt.Errorf("a YBR_FULL_422 frame of %d x %d has %d bytes", p.Columns, p.Rows, len(src))
	}
	for i := range pairs {
		s, d := src[4*i:4*i+4], p.Data[6*i:6*i+6]
		d[0], d[1], d[2] = s[0], s[2], s[3]
		d[3], d[4], d[5] = s[1], s[2], s[3]
	}
	p.Photometric = "YBR_FULL"
	return nil
}
