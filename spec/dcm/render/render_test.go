package render

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/dcm/codec"
)

// words are values of 16 bits.
func words(v ...int) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint16(b, uint16(x))
	}
	return b
}

// mono is a picture of one row.
func mono(bits int, signed bool, v ...int) (*dcm.Image, *codec.Pixels) {
	im := &dcm.Image{Rows: 1, Columns: len(v), SamplesPerPixel: 1, BitsAllocated: 16, BitsStored: bits, HighBit: bits - 1, Signed: signed, Photometric: "MONOCHROME2"}
	return im, &codec.Pixels{Rows: 1, Columns: len(v), Samples: 1, Bits: 16, Photometric: "MONOCHROME2", Data: words(v...)}
}

func text(t dcm.Tag, vr dcm.VR, v ...string) dcm.Element { return dcm.NewText(t, vr, v...) }

func dataset(e ...dcm.Element) *dcm.Dataset {
	d := &dcm.Dataset{}
	for _, x := range e {
		d.Put(x)
	}
	return d
}

func sequence(t dcm.Tag, items ...*dcm.Dataset) dcm.Element {
	return dcm.Element{Tag: t, VR: dcm.SQ, Items: items}
}

func pix(t *testing.T, d *dcm.Dataset, im *dcm.Image, p *codec.Pixels, opt Options) []byte {
	t.Helper()
	img, err := Image(d, im, p, opt)
	if err != nil {
		t.Fatal(err)
	}
	switch m := img.(type) {
	case *image.Gray:
		return m.Pix
	case *image.RGBA:
		return m.Pix
	}
	t.Fatalf("%T", img)
	return nil
}

// TestGray has values that PS3.3 sections C.11.1 and C.11.2 give by formula.
func TestGray(t *testing.T) {
	center, width := text(tagWindowCenter, dcm.DS, "2048"), text(tagWindowWidth, dcm.DS, "4096")
	lut := func(tag dcm.Tag, first int, v ...int) dcm.Element {
		return sequence(tag, dataset(
			dcm.Element{Tag: tagLUTDescriptor, VR: dcm.US, Value: words(len(v), first, 8)},
			dcm.Element{Tag: tagLUTData, VR: dcm.OW, Value: words(v...)}))
	}
	for _, c := range []struct {
		name   string
		bits   int
		signed bool
		d      *dcm.Dataset
		opt    Options
		in     []int
		want   []byte
	}{
		{"linear of the standard", 12, false, dataset(center, width), Options{}, []int{0, 2047, 2048, 4095}, []byte{0, 127, 128, 255}},
		{"linear narrow", 12, false, dataset(), Options{Window: &Window{0, 100, Linear}}, []int{0, 49, 50}, []byte{129, 255, 255}},
		{"threshold", 12, false, dataset(), Options{Window: &Window{10, 1, Linear}}, []int{9, 10, 11}, []byte{0, 255, 255}},
		{"linear exact", 12, false, dataset(), Options{Window: &Window{100, 100, LinearExact}}, []int{50, 100, 150, 151}, []byte{0, 128, 255, 255}},
		{"sigmoid", 12, false, dataset(), Options{Window: &Window{100, 50, Sigmoid}}, []int{0, 100, 200}, []byte{0, 128, 255}},
		{"signed", 12, true, dataset(), Options{Window: &Window{0, 4096, Linear}}, []int{0x800, 0, 0x7FF}, []byte{0, 128, 255}},
		{"bits above the stored ones", 12, false, dataset(center, width), Options{}, []int{0xF000, 0xF000 | 4095}, []byte{0, 255}},
		{"rescale", 12, false, dataset(text(tagSlope, dcm.DS, "2"), text(tagIntercept, dcm.DS, "-100")), Options{Window: &Window{0, 201, Linear}}, []int{0, 50, 100}, []byte{1, 128, 255}},
		{"smallest to largest", 16, false, dataset(), Options{}, []int{1000, 1500, 2000}, []byte{0, 128, 255}},
		{"padding does not count", 16, true, dataset(dcm.Element{Tag: tagPadding, VR: dcm.SS, Value: words(-2000)}), Options{}, []int{-2000, 0, 100}, []byte{0, 0, 255}},
		{"one value", 16, false, dataset(), Options{}, []int{7, 7}, []byte{0, 0}},
		{"modality LUT", 8, false, dataset(lut(tagModalityLUT, 1, 10, 20, 30)), Options{Window: &Window{20, 21, Linear}}, []int{0, 1, 2, 3, 9}, []byte{6, 6, 134, 255, 255}},
		{"VOI LUT", 8, false, dataset(lut(tagVOILUT, 0, 255, 128, 0)), Options{}, []int{0, 1, 2, 3}, []byte{255, 128, 0, 0}},
		{"inverse", 12, false, dataset(center, width, text(tagPresentation, dcm.CS, "INVERSE")), Options{}, []int{0, 4095}, []byte{255, 0}},
		{"window of width 0 is none", 12, false, dataset(center, text(tagWindowWidth, dcm.DS, "0")), Options{}, []int{0, 10}, []byte{0, 255}},
		{"of the frame", 12, false, dataset(
			sequence(tagSharedGroups, dataset(sequence(tagFrameTransform, dataset(text(tagSlope, dcm.DS, "1"), text(tagIntercept, dcm.DS, "-1024"))))),
			sequence(tagFrameGroups, dataset(), dataset(sequence(tagFrameVOI, dataset(text(tagWindowCenter, dcm.DS, "0"), text(tagWindowWidth, dcm.DS, "11")))))),
			Options{Frame: 1}, []int{1018, 1024, 1030}, []byte{0, 140, 255}},
	} {
		im, p := mono(c.bits, c.signed, c.in...)
		if got := pix(t, c.d, im, p, c.opt); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	im, p := mono(12, false, 0, 4095)
	p.Photometric = "MONOCHROME1"
	if got := pix(t, dataset(center, width), im, p, Options{}); !bytes.Equal(got, []byte{255, 0}) {
		t.Errorf("MONOCHROME1: %v", got)
	}
}

// TestBit has values of one bit, which have no sign whatever the data set says.
func TestBit(t *testing.T) {
	im := &dcm.Image{Rows: 1, Columns: 4, SamplesPerPixel: 1, BitsAllocated: 1, BitsStored: 1, Signed: true, Photometric: "MONOCHROME2"}
	p := &codec.Pixels{Rows: 1, Columns: 4, Samples: 1, Bits: 1, Photometric: "MONOCHROME2", Data: []byte{0b0101}}
	if got := pix(t, dataset(), im, p, Options{}); !bytes.Equal(got, []byte{255, 0, 255, 0}) {
		t.Error(got)
	}
}

// TestTable has many pixels, which takes the way over a table.
func TestTable(t *testing.T) {
	var v []int
	for i := range 2000 {
		v = append(v, i%256)
	}
	im, p := mono(8, true, v...)
	for i, got := range pix(t, dataset(), im, p, Options{Window: &Window{0, 256, Linear}}) {
		if want := byte(int(int8(v[i])) + 128); got != want {
			t.Fatalf("%d: %d, want %d", v[i], got, want)
		}
	}
}

// TestPalette has plain and segmented tables (PS3.3 section C.7.9).
func TestPalette(t *testing.T) {
	im, p := mono(8, false, 0, 1, 2, 3, 200)
	p.Photometric = "PALETTE COLOR"
	desc := func(c dcm.Tag, bits int) dcm.Element {
		return dcm.Element{Tag: tagRedDescriptor + c, VR: dcm.US, Value: words(4, 1, bits)}
	}
	data := func(t dcm.Tag, v ...int) dcm.Element { return dcm.Element{Tag: t, VR: dcm.OW, Value: words(v...)} }
	d := dataset(desc(0, 16), desc(1, 16), desc(2, 16),
		data(tagRedData, 0x1100, 0x2200, 0x3300, 0x4400),
		data(tagRedData+1, 1, 2, 3, 4), // 8 bits in a table that declares 16
		data(tagRedSegmented+2, 0, 1, 0, 1, 3, 0x3000))
	want := []byte{0x11, 1, 0, 255, 0x11, 1, 0, 255, 0x22, 2, 0x10, 255, 0x33, 3, 0x20, 255, 0x44, 4, 0x30, 255}
	if got := pix(t, d, im, p, Options{}); !bytes.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for name, bad := range map[string]*dcm.Dataset{
		"no table":       dataset(),
		"short":          dataset(desc(0, 16), data(tagRedData, 1)),
		"bad segment":    dataset(desc(0, 16), data(tagRedSegmented, 7, 1, 1, 1)),
		"endless":        dataset(desc(0, 16), data(tagRedSegmented, 2, 1, 0, 0)),
		"outside":        dataset(desc(0, 16), data(tagRedSegmented, 2, 1, 5000, 0)),
		"no first value": dataset(desc(0, 16), data(tagRedSegmented, 1, 3, 9)),
	} {
		if _, err := Image(bad, im, p, Options{}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestColor(t *testing.T) {
	im := &dcm.Image{Rows: 1, Columns: 2, SamplesPerPixel: 3, BitsAllocated: 16, BitsStored: 12, HighBit: 11, Photometric: "RGB"}
	p := &codec.Pixels{Rows: 1, Columns: 2, Samples: 3, Bits: 16, Photometric: "RGB", Data: words(0xFFF, 0x800, 0, 0x10, 0x20, 0x30)}
	if got := pix(t, dataset(), im, p, Options{}); !bytes.Equal(got, []byte{255, 128, 0, 255, 1, 2, 3, 255}) {
		t.Errorf("16 bits: %v", got)
	}
	p.Photometric = "CMYK"
	if _, err := Image(dataset(), im, p, Options{}); !errors.Is(err, ErrNotImage) {
		t.Errorf("CMYK: %v", err)
	}
	im.Element = dcm.TagFloatPixelData
	if _, err := Image(dataset(), im, p, Options{}); !errors.Is(err, ErrNotImage) {
		t.Errorf("floating point: %v", err)
	}
}

// TestViewport is PS3.18 section 8.3.5.1.3.
func TestViewport(t *testing.T) {
	im := &dcm.Image{Rows: 2, Columns: 4, SamplesPerPixel: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7}
	p := &codec.Pixels{Rows: 2, Columns: 4, Samples: 1, Bits: 8, Photometric: "MONOCHROME2", Data: []byte{0, 100, 200, 255, 0, 100, 200, 255}}
	win := &Window{127.5, 255, LinearExact}
	show := func(v Viewport) (*image.Gray, error) {
		img, err := Image(dataset(), im, p, Options{Window: win, Viewport: &v})
		if err != nil {
			return nil, err
		}
		return img.(*image.Gray), nil
	}
	for _, c := range []struct {
		name string
		v    Viewport
		w, h int
		row  []byte
	}{
		{"its own size", Viewport{Width: 4, Height: 2}, 4, 2, []byte{0, 100, 200, 255}},
		{"aspect kept", Viewport{Width: 4, Height: 100}, 4, 2, []byte{0, 100, 200, 255}},
		{"flipped", Viewport{Width: 4, Height: 2, FlipX: true}, 4, 2, []byte{255, 200, 100, 0}},
		{"a part", Viewport{Width: 2, Height: 2, Source: image.Rect(1, 0, 3, 2)}, 2, 2, []byte{100, 200}},
	} {
		img, err := show(c.v)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if b := img.Bounds(); b.Dx() != c.w || b.Dy() != c.h || !bytes.Equal(img.Pix[:c.w], c.row) {
			t.Errorf("%s: %v %v", c.name, b, img.Pix)
		}
	}
	if img, err := show(Viewport{Width: 2, Height: 1}); err != nil || img.Pix[0] >= img.Pix[1] || img.Bounds().Dx() != 2 {
		t.Errorf("half: %v %v", img, err)
	}
	if img, err := show(Viewport{Width: 40, Height: 40}); err != nil || img.Bounds().Dy() != 20 || img.Pix[0] != 0 || img.Pix[39] != 255 {
		t.Errorf("ten times: %v", err)
	}
	for _, v := range []Viewport{{Width: 0, Height: 1}, {Width: 1 << 20, Height: 1}, {Width: 2, Height: 2, Source: image.Rect(3, 0, 5, 2)}} {
		if _, err := show(v); !errors.Is(err, ErrViewport) {
			t.Errorf("%v: %v", v, err)
		}
	}
}

func TestFormats(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 9, 5))
	var b bytes.Buffer
	if err := JPEG(&b, img, 90); err != nil {
		t.Fatal(err)
	}
	if c, err := jpeg.DecodeConfig(&b); err != nil || c.Width != 9 {
		t.Errorf("JPEG: %v %v", c, err)
	}
	b.Reset()
	if err := PNG(&b, img); err != nil {
		t.Fatal(err)
	}
	if c, err := png.DecodeConfig(&b); err != nil || c.Height != 5 {
		t.Errorf("PNG: %v %v", c, err)
	}
}

// FuzzSegments must not panic or grow without bound.
func FuzzSegments(f *testing.F) {
	f.Add(words(0, 1, 0, 1, 3, 0x3000), 4, 16)
	f.Add(words(0, 2, 1, 2, 2, 1, 0, 0), 4, 16)
	f.Fuzz(func(t *testing.T, b []byte, n, bits int) {
		if n < 1 || n > 1<<16 || bits < 1 || bits > 16 {
			return
		}
		out, err := expand(b, n, bits)
		if err == nil && len(out) != n {
			t.Fatalf("%d values of %d", len(out), n)
		}
	})
}
