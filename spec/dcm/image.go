package dcm

import (
	"errors"
	"fmt"
)

// Image is the image pixel module of a data set (PS3.3 section C.7.6.3): what a
// decoder of frames must know.
type Image struct {
	Rows, Columns   int
	SamplesPerPixel int
	Photometric     string // MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB, YBR_FULL, YBR_FULL_422, YBR_ICT, ...
	Planar          bool   // Planar Configuration 1: one plane per sample
	BitsAllocated   int
	BitsStored      int
	HighBit         int
	Signed          bool // Pixel Representation 1
	Frames          int
	Element         Tag // the element that has the pixels; 0 when there is none
	VR              VR  // its VR
}

// ErrNoPixels says that a data set has no pixel data.
var ErrNoPixels = errors.New("the instance has no pixel data")

// maxFrames bounds the table of frames.
const maxFrames = 1 << 20

// ImageOf reads the attributes of the image. It is ErrNoPixels when there is
// no pixel data, else an error that names the attribute that is missing or
// impossible.
func ImageOf(d *Dataset) (*Image, error) {
	im := &Image{Photometric: d.String(TagPhotometricInterpretation)}
	for _, t := range []Tag{TagPixelData, TagFloatPixelData, TagDoubleFloatPixelData} {
		if e := d.Get(t); e != nil && !e.Empty() {
			im.Element, im.VR = t, e.VR
			break
		}
	}
	if im.Element == 0 {
		return nil, ErrNoPixels
	}
	ints := []struct {
		tag      Tag
		to       *int
		def      int64 // -1: required
		min, max int64
	}{
		{TagRows, &im.Rows, -1, 1, 65535},
		{TagColumns, &im.Columns, -1, 1, 65535},
		{TagSamplesPerPixel, &im.SamplesPerPixel, 1, 1, 4},
		{TagBitsAllocated, &im.BitsAllocated, -1, 1, 64},
		{TagNumberOfFrames, &im.Frames, 1, 0, maxFrames},
	}
	for _, f := range ints {
		v, ok := d.Int(f.tag)
		if !ok {
			if f.def < 0 {
				return nil, fmt.Errorf("%s is missing", f.tag.Name())
			}
			v = f.def
		}
		if v < f.min || v > f.max {
			return nil, fmt.Errorf("%s is not between %d and %d", f.tag.Name(), f.min, f.max)
		}
		*f.to = int(v)
	}
	im.Frames = max(im.Frames, 1) // 0 is written by some who mean one
	im.BitsStored, im.HighBit = im.BitsAllocated, im.BitsAllocated-1
	if v, ok := d.Int(TagBitsStored); ok && v >= 1 && v <= int64(im.BitsAllocated) {
		im.BitsStored, im.HighBit = int(v), int(v)-1
	}
	if v, ok := d.Int(TagHighBit); ok && v >= 0 && v < int64(im.BitsAllocated) {
		im.HighBit = int(v)
	}
	if v, ok := d.Int(TagPlanarConfiguration); ok && v == 1 && im.SamplesPerPixel > 1 {
		im.Planar = true
	}
	v, _ := d.Int(TagPixelRepresentation)
	im.Signed = v == 1
	return im, nil
}

// FrameBits is the size of a native frame in bits.
func (im *Image) FrameBits() int64 {
	samples := int64(im.SamplesPerPixel)
	if im.Photometric == "YBR_FULL_422" && samples == 3 {
		samples = 2 // Cb and Cr are there for every other pixel
	}
	return int64(im.Rows) * int64(im.Columns) * samples * int64(im.BitsAllocated)
}

// FrameSize is the size in bytes of one decoded frame without subsampling:
// what a codec must give.
func (im *Image) FrameSize() int64 {
	return (int64(im.Rows)*int64(im.Columns)*int64(im.SamplesPerPixel)*int64(im.BitsAllocated) + 7) / 8
}
