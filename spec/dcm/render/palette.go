package render

import (
	"errors"
	"fmt"
	"image"

	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/dcm/codec"
)

// Palette attributes: descriptor, data and segmented data of red; those of green
// and blue follow (PS3.3 section C.7.9).
const (
	tagRedDescriptor dcm.Tag = 0x00281101
	tagRedData       dcm.Tag = 0x00281201
	tagRedSegmented  dcm.Tag = 0x00281221
)

// palette shows indices of a palette.
func palette(d *dcm.Dataset, im *dcm.Image, p *codec.Pixels) (image.Image, error) {
	values, err := stored(im, p)
	if err != nil {
		return nil, err
	}
	var tables [3][]byte
	from := 0
	for i := range tables {
		if tables[i], from, err = paletteTable(d, i); err != nil {
			return nil, fmt.Errorf("palette: %w", err)
		}
	}
	img := image.NewRGBA(image.Rect(0, 0, p.Columns, p.Rows))
	for i, v := range values {
		o := img.Pix[4*i : 4*i+4]
		for c, t := range tables {
			o[c] = t[min(max(int(v)-from, 0), len(t)-1)]
		}
		o[3] = 255
	}
	return img, nil
}

// paletteTable returns the table of one colour with 8 bits a value.
func paletteTable(d *dcm.Dataset, color int) (table []byte, from int, err error) {
	n, from, bits, err := descriptor(d.Get(tagRedDescriptor + dcm.Tag(color)))
	if err != nil {
		return nil, 0, err
	}
	var values []uint16
	if e := d.Get(tagRedSegmented + dcm.Tag(color)); e != nil && !e.Empty() {
		values, err = expand(e.Value, n, bits)
	} else {
		values, err = entries(d.Get(tagRedData+dcm.Tag(color)), n, bits)
	}
	if err != nil {
		return nil, 0, err
	}
	shift := 0
	if bits > 8 {
		for _, v := range values {
			if v > 255 { // else 8 bits were written although 16 are declared
				shift = bits - 8
				break
			}
		}
	}
	table = make([]byte, len(values))
	for i, v := range values {
		table[i] = byte(v >> shift)
	}
	return table, from, nil
}

var errSegments = errors.New("the segmented table is damaged")

// expand reads a segmented palette (PS3.3 section C.7.9.2).
func expand(b []byte, n, bits int) ([]uint16, error) {
	var words []uint16
	if bits <= 8 && len(b) < 2*n && len(b)%2 == 0 && !wideSegments(b) {
		for _, v := range b {
			words = append(words, uint16(v))
		}
	} else {
		for i := 0; i+1 < len(b); i += 2 {
			words = append(words, uint16(b[i])|uint16(b[i+1])<<8)
		}
	}
	out, err := segments(nil, words, words, n, true)
	if err != nil {
		return nil, err
	}
	if len(out) < n {
		return nil, errLUT
	}
	return out[:n], nil
}

// wideSegments reports whether the first segment has its opcode and its length in 16 bits.
func wideSegments(b []byte) bool { return len(b) >= 4 && b[0] <= 2 && b[1] == 0 && b[3] == 0 }

// segments appends discrete, linear and indirect segments to dst, n values at most.
func segments(dst, w, all []uint16, n int, indirect bool) ([]uint16, error) {
	for len(w) >= 2 && len(dst) < n {
		op, count := w[0], int(w[1])
		w = w[2:]
		switch {
		case op == 0 && len(w) >= count:
			dst, w = append(dst, w[:count]...), w[count:]
		case op == 1 && len(w) >= 1 && len(dst) > 0:
			a, b := int(dst[len(dst)-1]), int(w[0])
			for i := 1; i <= count; i++ {
				dst = append(dst, uint16(a+(b-a)*i/count))
			}
			w = w[1:]
		case op == 2 && len(w) >= 2 && indirect:
			at := int(w[0]) | int(w[1])<<16
			part, err := some(all, at, count)
			if err != nil {
				return nil, err
			}
			if dst, err = segments(dst, part, all, n, false); err != nil {
				return nil, err
			}
			w = w[2:]
		default:
			return nil, errSegments
		}
	}
	return dst, nil
}

// some returns the words of count segments that begin at an offset in bytes.
func some(all []uint16, at, count int) ([]uint16, error) {
	at /= 2
	if at < 0 || at >= len(all) {
		return nil, errSegments
	}
	end := at
	for range count {
		if end+2 > len(all) {
			return nil, errSegments
		}
		switch all[end] {
		case 0:
			end += 2 + int(all[end+1])
		case 1:
			end += 3
		default:
			return nil, errSegments
		}
	}
	if end > len(all) {
		return nil, errSegments
	}
	return all[at:end], nil
}
