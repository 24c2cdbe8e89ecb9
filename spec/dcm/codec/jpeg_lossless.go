package codec

import (
	"errors"
	"fmt"
)

// lossless decodes a scan of the lossless process (annex H): each sample is its
// prediction from the left (a), the one above (b) and the one above left (c),
// plus a coded difference.
func (d *jpegDecoder) lossless(list []scanComp, predictor int, pt uint) error {
	if predictor < 1 || predictor > 7 {
		return fmt.Errorf("the predictor %d does not exist", predictor)
	}
	if int(pt) >= d.precision {
		return errors.New("the point transform leaves no bits")
	}
	for i := range list {
		if list[i].dc == nil {
			return errNoDC
		}
	}
	if d.restart > 0 && d.restart%d.w != 0 {
		return errors.New("a restart inside a row is not allowed")
	}
	initial := uint16(1) << (d.precision - int(pt) - 1)
	first := 0 // the row after the last restart
	for y := range d.h {
		if d.restart > 0 && y > 0 && y*d.w%d.restart == 0 {
			if err := d.restartScan(list); err != nil {
				return err
			}
			first = y
		}
		if err := d.losslessRow(list, y, y == first, predictor, initial); err != nil {
			return err
		}
		if d.bits.short() {
			return errCut
		}
	}
	if pt > 0 {
		for i := range list {
			for j, v := range list[i].plane {
				list[i].plane[j] = v << pt
			}
		}
	}
	return nil
}

// losslessRow decodes one row of all components of the scan, pixel by pixel.
func (d *jpegDecoder) losslessRow(list []scanComp, y int, first bool, predictor int, initial uint16) error {
	for x := range d.w {
		for i := range list {
			c := &list[i]
			row := c.plane[y*d.w:][:d.w]
			diff, err := d.difference(c.dc)
			if err != nil {
				return err
			}
			var p uint16
			switch {
			case x > 0 && first:
				p = row[x-1]
			case first:
				p = initial
			case x == 0:
				p = c.plane[(y-1)*d.w]
			default:
				above := c.plane[(y-1)*d.w:][:d.w]
				p = predict(predictor, int32(row[x-1]), int32(above[x]), int32(above[x-1]))
			}
			row[x] = p + diff
		}
	}
	return nil
}

// difference decodes a difference modulo 2^16 (section H.1.2.2).
func (d *jpegDecoder) difference(h *huffman) (uint16, error) {
	t := d.bits.symbol(h)
	switch {
	case t < 0 || t > 16:
		return 0, errCode
	case t == 16:
		return 1 << 15, nil
	}
	return uint16(d.bits.receive(uint(t))), nil
}

// predict is table H.1.
func predict(n int, a, b, c int32) uint16 {
	switch n {
	case 1:
		return uint16(a)
	case 2:
		return uint16(b)
	case 3:
		return uint16(c)
	case 4:
		return uint16(a + b - c)
	case 5:
		return uint16(a + (b-c)>>1)
	case 6:
		return uint16(b + (a-c)>>1)
	}
	return uint16((a + b) >> 1)
}
