package codec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Markers of ITU-T T.87 section C.1.1.
const (
	mSOF55 = 0xF7
	mLSE   = 0xF8
	mAPP8  = 0xE8
)

// lsDecoder reads one JPEG-LS stream.
type lsDecoder struct {
	jpegDecoder // for its markers and segments
	precision   int
	comps       []component
	preset      lsPreset
	done        int // components that were decoded
}

// lsPreset are the coding parameters of a preset segment; 0 is the default.
type lsPreset struct{ maxval, t1, t2, t3, reset int }

// unJPEGLS decodes JPEG-LS, lossless and near-lossless.
func unJPEGLS(im *dcm.Image, src []byte) (*Pixels, error) {
	p, err := newPixels(im)
	if err != nil {
		return nil, err
	}
	if p.Bits != 8 && p.Bits != 16 {
		return nil, fmt.Errorf("JPEG-LS: %d bits allocated", p.Bits)
	}
	d := &lsDecoder{}
	d.src = src
	if err := d.decode(im); err != nil {
		return nil, fmt.Errorf("JPEG-LS: %w", err)
	}
	if d.precision > p.Bits {
		return nil, fmt.Errorf("JPEG-LS: samples of %d bits do not go into %d bits allocated", d.precision, p.Bits)
	}
	out := jpegDecoder{sof: mSOF3, comps: d.comps, hmax: 1, vmax: 1}
	out.fill(p)
	return p, nil
}

func (d *lsDecoder) decode(im *dcm.Image) error {
	if len(d.src) < 4 || d.src[0] != 0xFF || d.src[1] != mSOI {
		return errors.New("the frame does not begin with a start of image")
	}
	d.pos = 2
	for {
		m, err := d.marker()
		if err != nil {
			if d.comps != nil && d.done == len(d.comps) {
				return nil // the end of image is missing, all samples are there
			}
			return err
		}
		if m == mEOI {
			break
		}
		seg, err := d.segment()
		if err != nil {
			return err
		}
		if err := d.lsSegment(m, seg, im); err != nil {
			return err
		}
	}
	if d.comps == nil || d.done < len(d.comps) {
		return errors.New("a component has no scan")
	}
	return nil
}

func (d *lsDecoder) lsSegment(m byte, seg []byte, im *dcm.Image) error {
	switch m {
	case mSOF55:
		return d.lsFrame(seg, im)
	case mSOS:
		return d.lsScanHeader(seg)
	case mLSE:
		return d.lsParameters(seg)
	case mDRI:
		for _, b := range seg {
			if b != 0 {
				return errors.New("restart intervals are not supported")
			}
		}
	case mAPP8:
		if len(seg) == 5 && string(seg[:4]) == "mrfx" && seg[4] != 0 {
			return errors.New("colour transforms outside of the standard are not supported")
		}
	}
	return nil
}

// lsFrame reads the start of frame (section C.2.2).
func (d *lsDecoder) lsFrame(seg []byte, im *dcm.Image) error {
	if d.comps != nil {
		return errors.New("there is a second start of frame")
	}
	if len(seg) < 6 || len(seg) < 6+3*int(seg[5]) {
		return errors.New("the start of frame is cut off")
	}
	d.precision = int(seg[0])
	h, w, n := int(binary.BigEndian.Uint16(seg[1:])), int(binary.BigEndian.Uint16(seg[3:])), int(seg[5])
	if d.precision < 2 || d.precision > 16 {
		return fmt.Errorf("a precision of %d bits is impossible", d.precision)
	}
	if w != im.Columns || h != im.Rows || n != im.SamplesPerPixel {
		return fmt.Errorf("the stream is %d x %d with %d components, the data set says %d x %d with %d", w, h, n, im.Columns, im.Rows, im.SamplesPerPixel)
	}
	comps := make([]component, n)
	for i := range comps {
		s := seg[6+3*i:]
		if s[1] != 0x11 {
			return errors.New("subsampled components are not supported")
		}
		comps[i] = component{id: s[0], h: 1, v: 1, w: w, ht: h, stride: w, plane: make([]uint16, w*h)}
	}
	d.comps = comps
	return nil
}

// lsParameters reads preset coding parameters (section C.2.4.1).
func (d *lsDecoder) lsParameters(seg []byte) error {
	if len(seg) < 1 {
		return errors.New("the preset parameters are cut off")
	}
	if seg[0] != 1 {
		return fmt.Errorf("preset parameters of type %d are not supported", seg[0])
	}
	if len(seg) < 11 {
		return errors.New("the preset parameters are cut off")
	}
	v := func(i int) int { return int(binary.BigEndian.Uint16(seg[1+2*i:])) }
	d.preset = lsPreset{v(0), v(1), v(2), v(3), v(4)}
	return nil
}

// lsScanHeader reads a start of scan (section C.2.3) and its data.
func (d *lsDecoder) lsScanHeader(seg []byte) error {
	if d.comps == nil {
		return errors.New("a scan comes before the start of frame")
	}
	if len(seg) < 1 || seg[0] == 0 || int(seg[0]) > len(d.comps) || len(seg) < 4+2*int(seg[0]) {
		return errors.New("a start of scan is cut off")
	}
	n := int(seg[0])
	list := make([]*component, 0, n)
	for i := range n {
		for j := range d.comps {
			if d.comps[j].id == seg[1+2*i] {
				list = append(list, &d.comps[j])
			}
		}
		if len(list) != i+1 || seg[2+2*i] != 0 {
			return errors.New("a scan names a component or a table that is not there")
		}
	}
	near, ilv, pt := int(seg[1+2*n]), seg[2+2*n], seg[3+2*n]
	if d.done += n; d.done > len(d.comps) {
		return errors.New("a component has two scans")
	}
	if pt != 0 || ilv > 2 || n > 1 && ilv == 0 {
		return errors.New("a scan has impossible parameters")
	}
	s, err := newLSScan(d.preset, d.precision, near)
	if err != nil {
		return err
	}
	s.bits = lsBits{src: d.src, pos: d.pos}
	if ilv == 2 && n > 1 {
		err = s.bySample(list)
	} else {
		err = s.byLine(list)
	}
	d.pos = s.bits.pos
	return err
}
