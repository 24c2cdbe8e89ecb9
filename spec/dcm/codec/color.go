package codec

import (
	"fmt"
)

// RGB returns the pixels with three samples in RGB; those that are grey or
// indices of a palette stay as they are. Integer arithmetic as in the JPEG File
// Interchange Format, with a scale of 16 bits.
func (p *Pixels) RGB() (*Pixels, error) {
	switch p.Photometric {
	case "RGB", "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR":
		return p, nil
	case "YBR_FULL", "YBR_FULL_422":
		if p.Samples != 3 || p.Bits != 8 {
			return nil, fmt.Errorf("%s with %d samples of %d bits", p.Photometric, p.Samples, p.Bits)
		}
	default:
		return nil, fmt.Errorf("the colour space %s is not supported", p.Photometric)
	}
	q := *p
	q.Photometric = "RGB"
	q.Data = make([]byte, len(p.Data))
	for i := 0; i+2 < len(p.Data); i += 3 {
		q.Data[i], q.Data[i+1], q.Data[i+2] = rgb(p.Data[i], p.Data[i+1], p.Data[i+2])
	}
	return &q, nil
}

// rgb converts one pixel of the full range.
func rgb(y, cb, cr byte) (r, g, b byte) {
	const half = 1 << 15
	u, v := int32(cb)-128, int32(cr)-128
	l := int32(y)
	return clamp8(l + (91881*v+half)>>16), clamp8(l + (-22554*u-46802*v+half)>>16), clamp8(l + (116130*u+half)>>16)
}

func clamp8(v int32) byte {
	if uint32(v) > 255 {
		return byte(^(v >> 31))
	}
	return byte(v)
}
