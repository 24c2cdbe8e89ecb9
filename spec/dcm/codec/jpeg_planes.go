package codec

// fill writes the planes as colour by pixel.
func (d *jpegDecoder) fill(p *Pixels) {
	for i := range d.comps {
		c := &d.comps[i]
		plane, stride := c.plane, c.stride
		if d.sof != mSOF3 && (c.h != d.hmax || c.v != d.vmax) {
			plane, stride = d.upsample(c)
		}
		n, w := len(d.comps), p.Bits/8
		for y := range p.Rows {
			row := plane[y*stride:][:p.Columns]
			out := p.Data[y*p.Columns*n*w+i*w:]
			if w == 1 {
				for x, v := range row {
					out[x*n] = byte(v)
				}
				continue
			}
			for x, v := range row {
				out[2*x*n], out[2*x*n+1] = byte(v), byte(v>>8)
			}
		}
	}
}

// upsample brings a component to the size of the image. Factors of two are
// interpolated with weights 3:1, as the reference implementation does; others
// are repeated.
func (d *jpegDecoder) upsample(c *component) ([]uint16, int) {
	fx, fy := d.hmax/c.h, d.vmax/c.v
	whole := d.hmax%c.h == 0 && d.vmax%c.v == 0
	switch {
	case whole && fx == 2 && fy == 1 && c.w > 2:
		return d.upsampleWide(c)
	case whole && fx == 2 && fy == 2 && c.w > 2:
		return d.upsampleBoth(c)
	}
	out := make([]uint16, d.w*d.h)
	for y := range d.h {
		row := c.plane[y*c.v/d.vmax*c.stride:]
		for x := range d.w {
			out[y*d.w+x] = row[x*c.h/d.hmax]
		}
	}
	return out, d.w
}

// upsampleWide doubles the width.
func (d *jpegDecoder) upsampleWide(c *component) ([]uint16, int) {
	stride := 2 * c.w
	out := make([]uint16, stride*d.h)
	for y := range d.h {
		in, o := c.plane[y*c.stride:][:c.w], out[y*stride:][:stride]
		last := c.w - 1
		o[0], o[2*last+1] = in[0], in[last]
		for x := range last {
			a, b := uint32(in[x]), uint32(in[x+1])
			o[2*x+1], o[2*x+2] = uint16((3*a+b+2)>>2), uint16((a+3*b+1)>>2)
		}
	}
	return out, stride
}

// upsampleBoth doubles width and height.
func (d *jpegDecoder) upsampleBoth(c *component) ([]uint16, int) {
	stride := 2 * c.w
	out := make([]uint16, stride*(d.h+1))
	sum := make([]uint32, c.w)
	for y := range d.h {
		near := y / 2
		far := min(max(near-1+2*(y%2), 0), c.ht-1)
		a, b := c.plane[near*c.stride:][:c.w], c.plane[far*c.stride:][:c.w]
		for x := range sum {
			sum[x] = 3*uint32(a[x]) + uint32(b[x])
		}
		o := out[y*stride:][:stride]
		last := c.w - 1
		o[0], o[2*last+1] = uint16((4*sum[0]+8)>>4), uint16((4*sum[last]+7)>>4)
		for x := range last {
			o[2*x+1], o[2*x+2] = uint16((3*sum[x]+sum[x+1]+7)>>4), uint16((sum[x]+3*sum[x+1]+8)>>4)
		}
	}
	return out, stride
}
