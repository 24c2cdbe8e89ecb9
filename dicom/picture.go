package dicom

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/png"

	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/dcm/codec"
)

// typePNG is a media type that no transfer syntax has: such pixel data are stored
// uncompressed (PS3.18 table 10.5.2-1).
const typePNG = "image/png"

// maxPicture is how many pixels a picture may have that is converted. One is
// converted at a time, since it is in memory as a whole.
const maxPicture = 12 << 20

// convert puts the pixels of a picture in its place.
func (c *composing) convert(ctx context.Context, sp *spool) (*spool, error) {
	c.s.converting.Lock()
	defer c.s.converting.Unlock()
	r, err := sp.open(ctx, c.s, 0, sp.size)
	if err != nil {
		return nil, err
	}
	cfg, err := png.DecodeConfig(bufio.NewReader(r))
	_ = r.Close() // it was only read
	if err != nil {
		return nil, unreadable{err}
	}
	if cfg.Width < 1 || cfg.Height < 1 || cfg.Width > 0xFFFF || cfg.Height > 0xFFFF || cfg.Width*cfg.Height > maxPicture {
		return nil, unreadable{fmt.Errorf("a picture of %d x %d is too large to be converted", cfg.Width, cfg.Height)}
	}
	if r, err = sp.open(ctx, c.s, 0, sp.size); err != nil {
		return nil, err
	}
	img, err := png.Decode(bufio.NewReader(r))
	_ = r.Close() // it was only read
	if err != nil {
		return nil, unreadable{err}
	}
	data, stream, err := samples(img)
	if err != nil {
		return nil, unreadable{err}
	}
	out, err := c.spool(ctx, &Part{Type: typeOctets, Body: bytes.NewReader(data)})
	if err != nil {
		return nil, err
	}
	out.stream = stream
	c.dropSpool(sp)
	return out, nil
}

// unreadable is an error that is the picture's own.
type unreadable struct{ error }

// samples returns the pixels of a picture in little endian, and what they are.
func samples(img image.Image) ([]byte, *codec.Stream, error) {
	size := img.Bounds().Size()
	s := &codec.Stream{Syntax: dcm.ExplicitLittle, Rows: size.Y, Columns: size.X, Samples: 1, Bits: 8, Photometric: "MONOCHROME2"}
	var out []byte
	switch img := img.(type) {
	case *image.Gray:
		for y := range size.Y {
			out = append(out, img.Pix[y*img.Stride:][:size.X]...)
		}
		return out, s, nil
	case *image.Gray16:
		s.Bits = 16
		for y := range size.Y {
			for x := range size.X {
				out = binary.LittleEndian.AppendUint16(out, img.Gray16At(x, y).Y)
			}
		}
		return out, s, nil
	case interface{ Opaque() bool }:
		if !img.Opaque() {
			return nil, nil, errors.New("a picture with transparent pixels cannot be converted")
		}
	}
	s.Samples, s.Photometric = 3, "RGB"
	switch img.(type) {
	case *image.RGBA64, *image.NRGBA64:
		s.Bits = 16
	}
	out = make([]byte, 0, size.X*size.Y*3*s.Bits/8)
	for y := range size.Y {
		for x := range size.X {
			r, g, b, _ := img.At(x, y).RGBA()
			if s.Bits == 8 {
				out = append(out, byte(r>>8), byte(g>>8), byte(b>>8))
				continue
			}
			for _, v := range []uint32{r, g, b} {
				out = binary.LittleEndian.AppendUint16(out, uint16(v))
			}
		}
	}
	return out, s, nil
}
