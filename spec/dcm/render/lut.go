package render

import (
	"errors"
	"fmt"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

const (
	tagLUTDescriptor dcm.Tag = 0x00283002
	tagLUTData       dcm.Tag = 0x00283006
)

// lut is a table of values (PS3.3 section C.11.1.1).
type lut struct {
	first  int
	values []uint16
	bits   int // of a value
}

var errLUT = errors.New("the table has fewer values than it declares")

// descriptor reads the three values of a LUT descriptor: the number of entries,
// the first value that is mapped, and the bits of an entry. The second is signed
// when the pixels are.
func descriptor(e *dcm.Element) (n, first, bits int, err error) {
	if e == nil || e.Count() < 3 {
		return 0, 0, 0, errors.New("the table has no descriptor")
	}
	v := func(i int) int {
		x, _ := e.Number(i)
		return int(x)
	}
	n, first, bits = v(0)&0xFFFF, v(1), v(2)&0xFFFF
	if n == 0 {
		n = 1 << 16
	}
	if bits < 1 || bits > 16 {
		return 0, 0, 0, fmt.Errorf("a table of %d bits is impossible", bits)
	}
	return n, first, bits, nil
}

func lutOf(d *dcm.Dataset) (*lut, error) {
	n, from, bits, err := descriptor(d.Get(tagLUTDescriptor))
	if err != nil {
		return nil, err
	}
	values, err := entries(d.Get(tagLUTData), n, bits)
	if err != nil {
		return nil, err
	}
	return &lut{from, values, bits}, nil
}

// entries reads n entries: of 16 bits, or of 8 when there are only as many bytes.
func entries(e *dcm.Element, n, bits int) ([]uint16, error) {
	if e == nil {
		return nil, errLUT
	}
	out := make([]uint16, n)
	switch b := e.Value; {
	case len(b) >= 2*n:
		for i := range out {
			out[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
		}
	case len(b) >= n && bits <= 8:
		for i := range out {
			out[i] = uint16(b[i])
		}
	default:
		return nil, errLUT
	}
	return out, nil
}

// at maps a value; those outside of the table map to its ends.
func (l *lut) at(x float64) float64 {
	i := min(max(int(x)-l.first, 0), len(l.values)-1)
	return float64(l.values[i])
}

// shown maps a value to 0 .. 255.
func (l *lut) shown(x float64) float64 {
	return l.at(x) * 255 / float64(int(1)<<l.bits-1)
}
