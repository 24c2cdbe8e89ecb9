package codec

import (
	"errors"
	"fmt"
)

// scanComp is a component of a scan with its tables.
type scanComp struct {
	*component
	dc, ac *huffman
	pred   int32
}

// scan reads a start of scan (section B.2.3) and the coded data after it.
func (d *jpegDecoder) scan(seg []byte) error {
	if d.comps == nil {
		return errors.New("a scan comes before the start of frame")
	}
	if d.scans++; d.scans > maxScans {
		return errors.New("there are too many scans")
	}
	if len(seg) < 1 || seg[0] == 0 || seg[0] > 4 || len(seg) < 4+2*int(seg[0]) {
		return errors.New("a start of scan is cut off")
	}
	n := int(seg[0])
	list := make([]scanComp, n)
	for i := range list {
		id, tables := seg[1+2*i], seg[2+2*i]
		for j := range d.comps {
			if d.comps[j].id == id {
				list[i].component = &d.comps[j]
			}
		}
		if list[i].component == nil || tables>>4 > 3 || tables&15 > 3 {
			return fmt.Errorf("a scan names the component %d", id)
		}
		for j := range i {
			if list[j].component == list[i].component {
				return errors.New("a scan names a component twice")
			}
		}
		list[i].dc, list[i].ac = d.dc[tables>>4], d.ac[tables&15]
	}
	ss, se, ah, al := int(seg[1+2*n]), int(seg[2+2*n]), uint(seg[3+2*n]>>4), uint(seg[3+2*n]&15)
	d.bits.reset(d.src, d.pos)
	var err error
	switch d.sof {
	case mSOF3:
		err = d.lossless(list, ss, al)
	case mSOF2:
		err = d.progressive(list, ss, se, ah, al)
	default:
		err = d.sequential(list)
	}
	if err == nil && d.bits.short() {
		err = errCut
	}
	d.pos = d.bits.pos
	return err
}

// blocks calls f for each block of a scan, in the order of the stream, and
// handles restarts.
func (d *jpegDecoder) eachBlock(list []scanComp, f func(c *scanComp, bx, by int) error) error {
	single := len(list) == 1
	mx, my := ceilDiv(d.w, 8*d.hmax), ceilDiv(d.h, 8*d.vmax)
	if single {
		mx, my = ceilDiv(list[0].w, 8), ceilDiv(list[0].ht, 8)
	}
	left := d.restart
	for y := range my {
		for x := range mx {
			if d.restart > 0 {
				if left == 0 {
					if err := d.restartScan(list); err != nil {
						return err
					}
					left = d.restart
				}
				left--
			}
			for i := range list {
				c := &list[i]
				if single {
					if err := f(c, x, y); err != nil {
						return err
					}
					continue
				}
				for v := range c.v {
					for h := range c.h {
						if err := f(c, x*c.h+h, y*c.v+v); err != nil {
							return err
						}
					}
				}
			}
			if d.bits.short() {
				return errCut
			}
		}
	}
	return nil
}

func (d *jpegDecoder) restartScan(list []scanComp) error {
	if !d.bits.restarted() {
		return errors.New("a restart marker is missing")
	}
	for i := range list {
		list[i].pred = 0
	}
	d.eobrun = 0
	return nil
}

var (
	errCode = errors.New("the coded data are damaged")
	errNoDC = errors.New("a scan uses a Huffman table that is not there")
)

// sequential decodes a scan of the baseline or extended process (section F.2).
func (d *jpegDecoder) sequential(list []scanComp) error {
	for i := range list {
		if list[i].dc == nil || list[i].ac == nil {
			return errNoDC
		}
		if d.quant[list[i].tq] == nil {
			return errors.New("a scan uses a quantization table that is not there")
		}
	}
	idct := newIDCT(d.precision)
	return d.eachBlock(list, func(c *scanComp, bx, by int) error {
		b, q := &d.blocks, d.quant[c.tq]
		clear(b[:])
		t := d.bits.symbol(c.dc)
		if t < 0 || t > 16 {
			return errCode
		}
		c.pred += d.bits.receive(uint(t))
		b[0] = c.pred * q[0]
		for k := 1; k < 64; k++ {
			rs := d.bits.symbol(c.ac)
			if rs < 0 {
				return errCode
			}
			r, s := int(rs>>4), uint(rs&15)
			if s == 0 {
				if r != 15 {
					break
				}
				k += 15
				continue
			}
			if k += r; k > 63 {
				return errCode
			}
			z := zigzag[k]
			b[z] = d.bits.receive(s) * q[z]
		}
		idct.block(b, c.plane[by*8*c.stride+bx*8:], c.stride)
		return nil
	})
}

// progressive decodes one scan of the progressive process (annex G).
func (d *jpegDecoder) progressive(list []scanComp, ss, se int, ah, al uint) error {
	if se > 63 || ss > se || ss == 0 && se != 0 || al > 13 || ss > 0 && len(list) > 1 {
		return errors.New("a progressive scan has impossible parameters")
	}
	for i := range list {
		if ss == 0 && ah == 0 && list[i].dc == nil || ss > 0 && list[i].ac == nil {
			return errNoDC
		}
	}
	d.eobrun = 0
	return d.eachBlock(list, func(c *scanComp, bx, by int) error {
		b := c.coef[(by*c.bw+bx)*64:][:64]
		switch {
		case ss == 0 && ah == 0:
			t := d.bits.symbol(c.dc)
			if t < 0 || t > 16 {
				return errCode
			}
			c.pred += d.bits.receive(uint(t))
			b[0] = c.pred << al
		case ss == 0:
			b[0] |= d.bits.bits(1) << al
		case ah == 0:
			return d.firstAC(c.ac, b, ss, se, al)
		default:
			return d.refineAC(c.ac, b, ss, se, al)
		}
		return nil
	})
}

// firstAC decodes the first scan of a band (section G.1.2.2).
func (d *jpegDecoder) firstAC(h *huffman, b []int32, ss, se int, al uint) error {
	if d.eobrun > 0 {
		d.eobrun--
		return nil
	}
	for k := ss; k <= se; k++ {
		rs := d.bits.symbol(h)
		if rs < 0 {
			return errCode
		}
		r, s := int(rs>>4), uint(rs&15)
		if s == 0 {
			if r != 15 {
				d.eobrun = 1<<r - 1 + int(d.bits.bits(uint(r)))
				return nil
			}
			k += 15
			continue
		}
		if k += r; k > 63 {
			return errCode
		}
		b[zigzag[k]] = d.bits.receive(s) << al
	}
	return nil
}

// refineAC decodes a further bit of a band (section G.1.2.3).
func (d *jpegDecoder) refineAC(h *huffman, b []int32, ss, se int, al uint) error {
	one := int32(1) << al
	k := ss
	if d.eobrun == 0 {
		for k <= se {
			rs := d.bits.symbol(h)
			if rs < 0 {
				return errCode
			}
			r, s := int(rs>>4), rs&15
			var fresh int32
			switch {
			case s == 1:
				if fresh = -one; d.bits.bits(1) == 1 {
					fresh = one
				}
			case s > 1:
				return errCode
			case r != 15:
				d.eobrun = 1<<r + int(d.bits.bits(uint(r)))
			}
			if d.eobrun > 0 {
				break
			}
			k = d.refineRun(b, k, se, r, one)
			if fresh != 0 {
				if k > 63 {
					return errCode
				}
				b[zigzag[k]] = fresh
			}
			k++
		}
	}
	if d.eobrun > 0 {
		d.eobrun--
		d.refineRun(b, k, se, -1, one)
	}
	return nil
}

// refineRun corrects coefficients that are there already, until zeros of them
// are skipped; -1 goes on to the end of the band. It returns where it stopped.
func (d *jpegDecoder) refineRun(b []int32, k, se, zeros int, one int32) int {
	for ; k <= se; k++ {
		v := &b[zigzag[k]]
		if *v == 0 {
			if zeros == 0 {
				break
			}
			zeros--
			continue
		}
		if d.bits.bits(1) == 1 && *v&one == 0 {
			if *v > 0 {
				*v += one
			} else {
				*v -= one
			}
		}
	}
	return k
}

// finishProgressive transforms the blocks when all scans are read.
func (d *jpegDecoder) finishProgressive() error {
	idct := newIDCT(d.precision)
	for i := range d.comps {
		c := &d.comps[i]
		q := d.quant[c.tq]
		if q == nil {
			return errors.New("a component uses a quantization table that is not there")
		}
		for by := range c.bh {
			for bx := range c.bw {
				coef := c.coef[(by*c.bw+bx)*64:][:64]
				for k, v := range coef {
					d.blocks[k] = v * q[k]
				}
				idct.block(&d.blocks, c.plane[by*8*c.stride+bx*8:], c.stride)
			}
		}
	}
	return nil
}
