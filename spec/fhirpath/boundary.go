package fhirpath

import (
	"fmt"
	"time"
)

// maxPrecision is the largest number of digits that a boundary may have.
const maxPrecision = 31

// boundary makes lowBoundary() (dir -1) and highBoundary() (dir 1): the least
// and the greatest value that a number or time of limited precision may stand
// for, written with the precision of the argument.
func boundary(dir int) runner {
	return func(c *invocation, dst []Value) ([]Value, error) {
		v, ok, err := c.input()
		if err != nil || !ok {
			return dst, err
		}
		digits := -1
		if len(c.args) == 1 {
			n, given, err := c.integer(0)
			if err != nil {
				return nil, err
			}
			if given && (n < 0 || n > maxPrecision) {
				return dst, nil
			}
			if given {
				digits = int(n)
			}
		}
		out, ok, err := v.boundary(dir, digits)
		return appendIf(dst, out, ok), err
	}
}

func (v Value) boundary(dir, digits int) (Value, bool, error) {
	scale := digits
	if digits < 0 {
		scale = 8
	}
	if d, ok := v.number(); ok {
		return decimalValue(d.boundary(dir, scale)), true, nil
	}
	if q, ok := v.quantity(); ok {
		return Value{kind: kindQuantity, p: &quantity{q.val.boundary(dir, scale), q.unit, q.calendar}}, true, nil
	}
	switch v.kind {
	case kindDate, kindDateTime, kindTime:
		t, ok := v.p.(*temporal).boundary(v.kind, dir, digits)
		return Value{kind: v.kind, p: t}, ok, nil
	}
	return v, false, fmt.Errorf("%s has no boundaries", v.describe())
}

// boundary adds or takes half a unit of the last digit and rounds outwards.
func (a *decimal) boundary(dir, scale int) *decimal {
	b := a.add(&decimal{intDecimal(int64(5 * dir)).coef, a.scale + 1})
	if b == nil {
		b = a
	}
	if scale >= b.scale {
		x, _, _ := align(b, &decimal{bigOne, scale})
		return &decimal{x, scale}
	}
	return &decimal{(&decimal{b.coef, b.scale - scale}).integral(dir).coef, scale}
}

// boundaryPrecision gives the fields for a number of digits: 4 is a year, 17 a
// date-time with milliseconds, 9 such a time.
func boundaryPrecision(kind kind, digits int) (prec, fraction int, ok bool) {
	if kind == kindTime {
		if digits < 0 {
			digits = 9
		}
		digits += 8
	}
	if digits < 0 {
		if digits = 17; kind == kindDate {
			digits = 8
		}
	}
	switch digits {
	case 4:
		prec = precYear
	case 6:
		prec = precMonth
	case 8:
		prec = precDay
	case 10:
		prec = precHour
	case 12:
		prec = precMinute
	case 14:
		prec = precSecond
	case 17:
		prec, fraction = precSecond, 3
	default:
		return 0, 0, false
	}
	return prec, fraction, (kind != kindDate || prec <= precDay) && (kind != kindTime || prec > precDay)
}

// boundary fills the fields that are missing. A missing zone becomes the one
// that reaches farthest.
func (a *temporal) boundary(kind kind, dir, digits int) (*temporal, bool) {
	prec, fraction, ok := boundaryPrecision(kind, digits)
	if !ok {
		return nil, false
	}
	r := *a
	if dir > 0 {
		r.t = a.latest()
	}
	r.prec, r.digits = prec, fraction
	if kind == kindDateTime && !a.zoned && prec > precDay {
		zone := time.FixedZone("", -12*3600)
		if dir < 0 {
			zone = time.FixedZone("", 14*3600)
		}
		y, mo, d := r.t.Date()
		h, m, s := r.t.Clock()
		r.t, r.zoned = time.Date(y, mo, d, h, m, s, r.t.Nanosecond(), zone), true
	}
	return &r, true
}

// latest returns the last millisecond that the value may mean. FHIR has no
// hour without minutes, so the hour 08 means 08:00.
func (a *temporal) latest() time.Time {
	y, mo, d := a.t.Date()
	h, m, s := a.t.Clock()
	ns := a.t.Nanosecond()
	switch {
	case a.prec <= precDay:
		h, m, s, ns = 23, 59, 59, 999e6
	case a.prec <= precMinute:
		s, ns = 59, 999e6
	case a.digits == 0:
		ns = 999e6
	}
	if a.prec == precYear {
		mo = time.December
	}
	if a.prec <= precMonth {
		d = daysIn(y, int(mo))
	}
	return time.Date(y, mo, d, h, m, s, ns, a.t.Location())
}
