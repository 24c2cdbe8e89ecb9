package dcm

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
)

// trim removes what pads a value: spaces and NULs at the end, and spaces in
// front where the VR says that they mean nothing (PS3.5 section 6.2).
func trim(s string, vr VR) string {
	switch vr {
	case LT, ST, UT, UR:
		return strings.TrimRight(s, " \x00")
	case UI:
		return strings.Trim(s, " \x00")
	}
	return strings.TrimLeft(strings.TrimRight(s, " \x00"), " ")
}

// multi reports whether a backslash separates values of this VR.
func (v VR) multi() bool {
	switch v {
	case LT, ST, UT, UR:
		return false
	}
	return true
}

// splitText cuts a list of values that needs no character set.
func splitText(s string) []string {
	s = strings.TrimRight(s, " \x00")
	if s == "" {
		return nil
	}
	parts := strings.Split(s, `\`)
	for i := range parts {
		parts[i] = strings.Trim(parts[i], " \x00")
	}
	return parts
}

// Text returns the whole value of a text element in UTF-8, with its backslashes.
func (d *Dataset) Text(e *Element) string {
	if e == nil || len(e.Value) == 0 || !e.VR.isString() {
		return ""
	}
	if e.VR.kind() == kindCharset {
		return d.charset.Decode(e.Value, e.VR == PN)
	}
	return defaultCharset.Decode(e.Value, false)
}

// Strings returns the values of a text element in UTF-8, without padding.
func (d *Dataset) Strings(t Tag) []string {
	return d.StringsOf(d.Get(t))
}

// StringsOf returns the values of one of d's elements in UTF-8.
func (d *Dataset) StringsOf(e *Element) []string {
	s := d.Text(e)
	if trim(s, UI) == "" {
		return nil
	}
	if !e.VR.multi() {
		return []string{trim(s, e.VR)}
	}
	if strings.IndexByte(s, '\\') < 0 {
		return []string{trim(s, e.VR)}
	}
	parts := strings.Split(s, `\`)
	for i := range parts {
		parts[i] = trim(parts[i], e.VR)
	}
	return parts
}

// String returns the first value of a text element, "" when there is none.
func (d *Dataset) String(t Tag) string {
	e := d.Get(t)
	if e == nil {
		return ""
	}
	s := d.Text(e)
	if e.VR.multi() {
		s, _, _ = strings.Cut(s, `\`)
	}
	return trim(s, e.VR)
}

// Int returns the first value of an element as an integer: of a binary number,
// or of text that is one.
func (d *Dataset) Int(t Tag) (int64, bool) {
	e := d.Get(t)
	if e == nil {
		return 0, false
	}
	if e.VR.isString() {
		s := d.String(t)
		v, err := strconv.ParseInt(strings.TrimPrefix(s, "+"), 10, 64)
		if err != nil {
			f, err := strconv.ParseFloat(s, 64)
			if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
				return 0, false
			}
			return int64(f), true
		}
		return v, true
	}
	v, ok := e.Number(0)
	return int64(v), ok
}

// Floats returns the values of a numeric element, binary or text; values that
// are no numbers are left out.
func (d *Dataset) Floats(t Tag) []float64 {
	e := d.Get(t)
	if e == nil {
		return nil
	}
	var out []float64
	if e.VR.isString() {
		for _, s := range d.StringsOf(e) {
			if v, err := strconv.ParseFloat(s, 64); err == nil {
				out = append(out, v)
			}
		}
		return out
	}
	for i := range e.Count() {
		if v, ok := e.Number(i); ok {
			out = append(out, v)
		}
	}
	return out
}

// Count returns how many numbers a binary element has.
func (e *Element) Count() int {
	switch e.VR {
	case AT:
		return len(e.Value) / 4
	case OW, SS, US, FL, OF, OL, SL, UL, FD, OD, OV, SV, UV:
		return len(e.Value) / e.VR.width()
	}
	return 0
}

// Number returns number i of a binary element. Integers of 64 bits may lose digits: see Uint.
func (e *Element) Number(i int) (float64, bool) {
	switch e.VR {
	case FL, OF:
		if len(e.Value) >= 4*i+4 {
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(e.Value[4*i:]))), true
		}
		return 0, false
	case FD, OD:
		if len(e.Value) >= 8*i+8 {
			return math.Float64frombits(binary.LittleEndian.Uint64(e.Value[8*i:])), true
		}
		return 0, false
	}
	v, ok := e.Uint(i)
	switch e.VR {
	case SS:
		return float64(int16(v)), ok
	case SL:
		return float64(int32(v)), ok
	case SV:
		return float64(int64(v)), ok
	}
	return float64(v), ok
}

// Uint returns the bits of integer i of a binary element.
func (e *Element) Uint(i int) (uint64, bool) {
	w := e.VR.width()
	if e.VR == AT {
		w = 4
	}
	if i < 0 || len(e.Value) < w*i+w {
		return 0, false
	}
	b := e.Value[w*i:]
	switch {
	case e.VR == AT:
		return uint64(binary.LittleEndian.Uint16(b))<<16 | uint64(binary.LittleEndian.Uint16(b[2:])), true
	case w == 2:
		return uint64(binary.LittleEndian.Uint16(b)), true
	case w == 4:
		return uint64(binary.LittleEndian.Uint32(b)), true
	case w == 8:
		return binary.LittleEndian.Uint64(b), true
	}
	return uint64(b[0]), true
}

// NewText encodes text values into an element, padded to an even length.
func NewText(t Tag, vr VR, values ...string) Element {
	b := []byte(strings.Join(values, `\`))
	if len(b)&1 == 1 {
		pad := byte(' ')
		if vr == UI {
			pad = 0
		}
		b = append(b, pad)
	}
	return Element{Tag: t, VR: vr, Value: b, Length: int64(len(b))}
}
