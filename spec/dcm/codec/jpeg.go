package codec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Markers of ITU-T T.81 table B.1 that matter here.
const (
	mSOF0 = 0xC0
	mSOF1 = 0xC1
	mSOF2 = 0xC2
	mSOF3 = 0xC3
	mDHT  = 0xC4
	mRST0 = 0xD0
	mRST7 = 0xD7
	mSOI  = 0xD8
	mEOI  = 0xD9
	mSOS  = 0xDA
	mDQT  = 0xDB
	mDRI  = 0xDD
	mAPP0 = 0xE0
	mAPPE = 0xEE
)

// component is one colour component of a frame.
type component struct {
	id     byte
	h, v   int // sampling factors
	tq     byte
	w, ht  int // samples that the image has
	bw, bh int // blocks that are stored, with those that fill the last MCU

	stride int
	plane  []uint16 // samples, bw*8 by bh*8; w by ht when lossless
	coef   []int32  // progressive: 64 per block, in natural order
}

// jpegDecoder reads one JPEG stream.
type jpegDecoder struct {
	src []byte
	pos int

	sof       byte
	precision int
	w, h      int
	comps     []component
	hmax      int
	vmax      int
	quant     [4]*[64]int32 // in natural order
	dc, ac    [4]*huffman
	restart   int
	jfif      bool
	adobe     int // transform of the Adobe segment; -1 none

	bits   bitReader
	scans  int
	blocks [64]int32
	eobrun int
}

// maxScans bounds the work of a progressive stream.
const maxScans = 1000

// unJPEG decodes all processes of JPEG that DICOM has used.
func unJPEG(im *dcm.Image, src []byte) (*Pixels, error) {
	d := &jpegDecoder{src: src, adobe: -1}
	if err := d.decode(im); err != nil {
		return nil, fmt.Errorf("JPEG: %w", err)
	}
	p, err := newPixels(im)
	if err != nil {
		return nil, err
	}
	if p.Bits != 8 && p.Bits != 16 || d.precision > p.Bits {
		return nil, fmt.Errorf("JPEG: samples of %d bits do not go into %d bits allocated", d.precision, p.Bits)
	}
	d.fill(p)
	if p.Samples == 3 {
		p.Photometric = d.photometric(im.Photometric)
	}
	return p, nil
}

// photometric tells the colour space of the samples. What the stream says about
// itself counts before the data set, which many writers left wrong.
func (d *jpegDecoder) photometric(declared string) string {
	switch {
	case d.sof == mSOF3:
		return declared // no transform is part of the lossless process
	case d.adobe == 0:
		return "RGB"
	case d.adobe > 0, d.jfif:
		return "YBR_FULL"
	case d.comps[0].id == 'R' && d.comps[1].id == 'G' && d.comps[2].id == 'B':
		return "RGB"
	case declared == "YBR_FULL_422":
		return "YBR_FULL"
	}
	return declared
}

// decode reads markers and scans until the end of the image.
func (d *jpegDecoder) decode(im *dcm.Image) error {
	if len(d.src) < 4 || d.src[0] != 0xFF || d.src[1] != mSOI {
		return errors.New("the frame does not begin with a start of image")
	}
	d.pos = 2
	for {
		m, err := d.marker()
		if err != nil {
			if d.scans > 0 { // the end of image is missing, all samples are there
				break
			}
			return err
		}
		if m == mEOI {
			break
		}
		if m >= mRST0 && m <= mRST7 || m == 1 {
			continue
		}
		seg, err := d.segment()
		if err != nil {
			return err
		}
		if err := d.segmentOf(m, seg, im); err != nil {
			return err
		}
	}
	if d.scans == 0 {
		return errors.New("the frame has no scan")
	}
	if d.sof == mSOF2 {
		return d.finishProgressive()
	}
	return nil
}

// marker moves behind the next marker, skipping what is between.
func (d *jpegDecoder) marker() (byte, error) {
	for d.pos+1 < len(d.src) {
		if d.src[d.pos] == 0xFF && d.src[d.pos+1] != 0 && d.src[d.pos+1] != 0xFF {
			d.pos += 2
			return d.src[d.pos-1], nil
		}
		d.pos++
	}
	return 0, errors.New("the stream ends where a marker should be")
}

// segment returns the parameters that follow a marker.
func (d *jpegDecoder) segment() ([]byte, error) {
	if d.pos+2 > len(d.src) {
		return nil, errors.New("the stream ends in a segment")
	}
	n := int(binary.BigEndian.Uint16(d.src[d.pos:]))
	if n < 2 || d.pos+n > len(d.src) {
		return nil, fmt.Errorf("a segment of %d bytes is impossible", n)
	}
	seg := d.src[d.pos+2 : d.pos+n]
	d.pos += n
	return seg, nil
}

func (d *jpegDecoder) segmentOf(m byte, seg []byte, im *dcm.Image) error {
	switch {
	case m == mSOS:
		return d.scan(seg)
	case m == mDHT:
		return d.huffmanTables(seg)
	case m == mDQT:
		return d.quantTables(seg)
	case m == mDRI:
		if len(seg) < 2 {
			return errors.New("the restart interval is cut off")
		}
		d.restart = int(binary.BigEndian.Uint16(seg))
	case m == mAPP0:
		d.jfif = d.jfif || len(seg) >= 5 && string(seg[:5]) == "JFIF\x00"
	case m == mAPPE:
		if len(seg) >= 12 && string(seg[:5]) == "Adobe" {
			d.adobe = int(seg[11])
		}
	case m == mSOF0 || m == mSOF1 || m == mSOF2 || m == mSOF3:
		return d.frameHeader(m, seg, im)
	case m >= 0xC5 && m <= 0xCF:
		return fmt.Errorf("the coding process %X is not used by DICOM", m)
	}
	return nil
}

// frameHeader reads a start of frame (section B.2.2) and allocates the planes.
func (d *jpegDecoder) frameHeader(m byte, seg []byte, im *dcm.Image) error {
	if d.comps != nil {
		return errors.New("there is a second start of frame")
	}
	if len(seg) < 6 || len(seg) < 6+3*int(seg[5]) {
		return errors.New("the start of frame is cut off")
	}
	d.sof, d.precision = m, int(seg[0])
	d.h, d.w = int(binary.BigEndian.Uint16(seg[1:])), int(binary.BigEndian.Uint16(seg[3:]))
	n := int(seg[5])
	switch {
	case m == mSOF3 && (d.precision < 2 || d.precision > 16), m != mSOF3 && d.precision != 8 && d.precision != 12:
		return fmt.Errorf("a precision of %d bits is impossible", d.precision)
	case d.w != im.Columns || d.h != im.Rows || n != im.SamplesPerPixel:
		return fmt.Errorf("the stream is %d x %d with %d components, the data set says %d x %d with %d", d.w, d.h, n, im.Columns, im.Rows, im.SamplesPerPixel)
	}
	comps := make([]component, n)
	d.hmax, d.vmax = 1, 1
	for i := range comps {
		s := seg[6+3*i:]
		c := &comps[i]
		c.id, c.h, c.v, c.tq = s[0], int(s[1]>>4), int(s[1]&15), s[2]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 {
			return fmt.Errorf("component %d has impossible parameters", i+1)
		}
		d.hmax, d.vmax = max(d.hmax, c.h), max(d.vmax, c.v)
	}
	if n == 1 {
		comps[0].h, comps[0].v, d.hmax, d.vmax = 1, 1, 1, 1 // one block is one MCU, whatever it says
	}
	d.comps = comps
	return d.planes()
}

// planes allocates what the components need.
func (d *jpegDecoder) planes() error {
	mx, my := ceilDiv(d.w, 8*d.hmax), ceilDiv(d.h, 8*d.vmax)
	for i := range d.comps {
		c := &d.comps[i]
		if d.sof == mSOF3 && (c.h != d.hmax || c.v != d.vmax) {
			return errors.New("subsampled lossless JPEG is not supported")
		}
		c.w, c.ht = ceilDiv(d.w*c.h, d.hmax), ceilDiv(d.h*c.v, d.vmax)
		if d.sof == mSOF3 {
			c.stride = d.w
			c.plane = make([]uint16, d.w*d.h)
			continue
		}
		c.bw, c.bh = mx*c.h, my*c.v
		c.stride = c.bw * 8
		if c.stride*c.bh*8 > maxFrame {
			return errors.New("the image is too large to decode")
		}
		c.plane = make([]uint16, c.stride*c.bh*8)
		if d.sof == mSOF2 {
			c.coef = make([]int32, c.stride*c.bh*8)
		}
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// zigzag maps the order of coefficients in the stream to the natural one (figure A.6).
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// quantTables reads a DQT segment (section B.2.4.1).
func (d *jpegDecoder) quantTables(seg []byte) error {
	for len(seg) > 0 {
		wide, id := int(seg[0]>>4), seg[0]&15
		size := 64 * (1 + wide)
		if wide > 1 || id > 3 || len(seg) < 1+size {
			return errors.New("a quantization table is damaged")
		}
		t := new([64]int32)
		for i, z := range zigzag {
			if wide == 1 {
				t[z] = int32(binary.BigEndian.Uint16(seg[1+2*i:]))
			} else {
				t[z] = int32(seg[1+i])
			}
		}
		d.quant[id] = t
		seg = seg[1+size:]
	}
	return nil
}
