package render

import (
	"encoding/binary"
	"fmt"
	"image"
	"math"

	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/dcm/codec"
)

// Function is a VOI LUT function (PS3.3 section C.11.2.1.3).
type Function uint8

// The functions.
const (
	Linear Function = iota
	LinearExact
	Sigmoid
)

// ParseFunction reads the name of a function, of a data set (LINEAR_EXACT) or of
// a request (linear-exact); empty is Linear.
func ParseFunction(s string) (Function, bool) {
	switch s {
	case "", "LINEAR", "linear":
		return Linear, true
	case "LINEAR_EXACT", "linear-exact":
		return LinearExact, true
	case "SIGMOID", "sigmoid":
		return Sigmoid, true
	}
	return 0, false
}

// Window is a VOI window: in units of the modality, after rescale.
type Window struct {
	Center, Width float64
	Function      Function
}

// Valid reports whether the window has a width that its function allows.
func (w *Window) Valid() bool {
	return w.Width >= 1 || w.Function != Linear && w.Width > 0
}

// apply maps a value to 0 .. 255.
func (w *Window) apply(x float64) float64 {
	var y float64
	switch w.Function {
	case Sigmoid:
		y = 1 / (1 + math.Exp(-4*(x-w.Center)/w.Width))
	case LinearExact:
		y = (x-w.Center)/w.Width + 0.5
	default:
		if w.Width <= 1 { // a threshold
			if x <= w.Center-0.5 {
				return 0
			}
			return 255
		}
		y = (x-(w.Center-0.5))/(w.Width-1) + 0.5
	}
	return 255 * min(max(y, 0), 1)
}

const (
	tagSmallest       dcm.Tag = 0x00280106
	tagPadding        dcm.Tag = 0x00280120
	tagWindowCenter   dcm.Tag = 0x00281050
	tagWindowWidth    dcm.Tag = 0x00281051
	tagIntercept      dcm.Tag = 0x00281052
	tagSlope          dcm.Tag = 0x00281053
	tagVOIFunction    dcm.Tag = 0x00281056
	tagModalityLUT    dcm.Tag = 0x00283000
	tagVOILUT         dcm.Tag = 0x00283010
	tagPresentation   dcm.Tag = 0x20500020
	tagSharedGroups   dcm.Tag = 0x52009229
	tagFrameGroups    dcm.Tag = 0x52009230
	tagFrameVOI       dcm.Tag = 0x00289132
	tagFrameTransform dcm.Tag = 0x00289145
)

// frameGroup returns the item of a functional group: of the frame, else shared,
// else the data set itself, which is where single frames have these attributes.
func frameGroup(d *dcm.Dataset, group dcm.Tag, frame int) *dcm.Dataset {
	if e := d.Get(tagFrameGroups); e != nil && frame < len(e.Items) {
		if g := e.Items[frame].Get(group); g != nil && len(g.Items) > 0 {
			return g.Items[0]
		}
	}
	if e := d.Get(tagSharedGroups); e != nil && len(e.Items) > 0 {
		if g := e.Items[0].Get(group); g != nil && len(g.Items) > 0 {
			return g.Items[0]
		}
	}
	return d
}

// gray is the chain of PS3.3 section C.11 and PS3.4 annex N: stored value,
// modality, VOI, presentation.
func gray(d *dcm.Dataset, im *dcm.Image, p *codec.Pixels, opt Options) (*image.Gray, error) {
	values, err := stored(im, p)
	if err != nil {
		return nil, err
	}
	modality, err := modalityOf(d, opt.Frame)
	if err != nil {
		return nil, err
	}
	voi, err := voiOf(d, opt)
	if err != nil {
		return nil, err
	}
	if voi == nil {
		voi = fullRange(d, values, modality)
	}
	invert := p.Photometric == "MONOCHROME1"
	if shape := d.String(tagPresentation); shape != "" {
		invert = shape == "INVERSE"
	}
	show := func(v int64) byte {
		y := byte(voi(modality(float64(v))) + 0.5)
		if invert {
			return 255 - y
		}
		return y
	}
	img := image.NewGray(image.Rect(0, 0, p.Columns, p.Rows))
	if im.BitsStored > 16 || len(values) < 1<<im.BitsStored {
		for i, v := range values {
			img.Pix[i] = show(v)
		}
		return img, nil
	}
	// As many pixels as values or more: a table costs less.
	low, n := int64(0), 1<<im.BitsStored
	if im.Signed && p.Bits > 1 { // a single bit has no sign
		low = -1 << (im.BitsStored - 1)
	}
	table := make([]byte, n)
	for i := range table {
		table[i] = show(low + int64(i))
	}
	for i, v := range values {
		img.Pix[i] = table[v-low]
	}
	return img, nil
}

// stored gives the values of the pixels: the bits that are stored, with the sign.
func stored(im *dcm.Image, p *codec.Pixels) ([]int64, error) {
	n := p.Rows * p.Columns
	out := make([]int64, n)
	switch p.Bits {
	case 1:
		for i := range out {
			out[i] = int64(p.Data[i/8] >> (i % 8) & 1)
		}
		return out, nil
	case 8:
		for i := range out {
			out[i] = int64(p.Data[i])
		}
	case 16:
		for i := range out {
			out[i] = int64(binary.LittleEndian.Uint16(p.Data[2*i:]))
		}
	case 32:
		for i := range out {
			out[i] = int64(binary.LittleEndian.Uint32(p.Data[4*i:]))
		}
	default:
		return nil, fmt.Errorf("%w: values of %d bits", ErrNotImage, p.Bits)
	}
	up, down := 63-im.HighBit, 64-im.BitsStored
	if up < 0 || im.HighBit+1 < im.BitsStored {
		return nil, fmt.Errorf("%w: %d bits stored with the high bit %d", ErrNotImage, im.BitsStored, im.HighBit)
	}
	for i, v := range out {
		if im.Signed {
			out[i] = v << up >> down
		} else {
			out[i] = int64(uint64(v) << up >> down)
		}
	}
	return out, nil
}

// modalityOf returns the modality transformation: LUT, rescale or nothing.
func modalityOf(d *dcm.Dataset, frame int) (func(float64) float64, error) {
	if e := d.Get(tagModalityLUT); e != nil && len(e.Items) > 0 {
		l, err := lutOf(e.Items[0])
		if err != nil {
			return nil, fmt.Errorf("modality LUT: %w", err)
		}
		return l.at, nil
	}
	g := frameGroup(d, tagFrameTransform, frame)
	slope, intercept := first(g, tagSlope, 1), first(g, tagIntercept, 0)
	if slope == 0 {
		slope = 1
	}
	return func(x float64) float64 { return x*slope + intercept }, nil
}

// voiOf returns the VOI transformation that is asked for or that the data set
// has; nil when there is none.
func voiOf(d *dcm.Dataset, opt Options) (func(float64) float64, error) {
	if opt.Window != nil {
		return opt.Window.apply, nil
	}
	g := frameGroup(d, tagFrameVOI, opt.Frame)
	if e := g.Get(tagVOILUT); e != nil && len(e.Items) > 0 {
		l, err := lutOf(e.Items[0])
		if err != nil {
			return nil, fmt.Errorf("VOI LUT: %w", err)
		}
		return l.shown, nil
	}
	c, w := g.Floats(tagWindowCenter), g.Floats(tagWindowWidth)
	if len(c) == 0 || len(w) == 0 {
		return nil, nil
	}
	f, ok := ParseFunction(g.String(tagVOIFunction))
	win := &Window{c[0], w[0], f}
	if !ok || !win.Valid() {
		return nil, nil // a window that shows nothing is as none
	}
	return win.apply, nil
}

// fullRange shows the smallest value black and the largest white.
func fullRange(d *dcm.Dataset, values []int64, modality func(float64) float64) func(float64) float64 {
	pad, padded := d.Int(tagPadding)
	lo, hi, found := int64(0), int64(0), false
	for _, v := range values {
		if padded && v == pad {
			continue
		}
		if !found {
			lo, hi, found = v, v, true
		}
		lo, hi = min(lo, v), max(hi, v)
	}
	a, b := modality(float64(lo)), modality(float64(hi))
	if a > b {
		a, b = b, a
	}
	if a == b {
		b = a + 1
	}
	return func(x float64) float64 { return 255 * min(max((x-a)/(b-a), 0), 1) }
}

func first(d *dcm.Dataset, t dcm.Tag, def float64) float64 {
	if v := d.Floats(t); len(v) > 0 {
		return v[0]
	}
	return def
}
