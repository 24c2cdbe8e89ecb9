package fhirpath

import "strings"

// quantity is a System.Quantity: a number with a UCUM unit, or with a calendar
// duration ("day"), whose name is then kept in the singular.
type quantity struct {
	val      *decimal
	unit     string
	calendar bool
}

func quantityOf(d *decimal, unit string, calendar bool) Value {
	if calendar {
		unit, _ = calendarUnit(unit)
	}
	return Value{kind: kindQuantity, p: &quantity{d, unit, calendar}}
}

// calendarUnit returns the singular of a calendar duration (N1 section 4.1.8).
func calendarUnit(word string) (string, bool) {
	unit := strings.TrimSuffix(word, "s")
	switch unit {
	case "year", "month", "week", "day", "hour", "minute", "second", "millisecond":
		return unit, true
	}
	return "", false
}

// calendarUCUM gives the UCUM code of a calendar duration. Years and months are
// only equivalent to theirs, not equal: a UCUM year is 365.25 days.
var calendarUCUM = map[string]string{
	"year": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h",
	"minute": "min", "second": "s", "millisecond": "ms",
}

// String writes the quantity as a literal: 4 'mg', 2 days.
func (q *quantity) String() string {
	if !q.calendar {
		return q.val.String() + " '" + q.unit + "'"
	}
	if q.val.cmp(intDecimal(1)) == 0 {
		return q.val.String() + " " + q.unit
	}
	return q.val.String() + " " + q.unit + "s"
}

// parseQuantity reads the text form that toQuantity() takes: a number, white
// space, and a unit in quotes or a calendar word.
func parseQuantity(s string) (Value, bool) {
	num, unit, _ := strings.Cut(strings.TrimSpace(s), " ")
	unit = strings.TrimSpace(unit)
	if i := strings.IndexByte(num, '\''); unit == "" && i > 0 {
		num, unit = num[:i], num[i:]
	}
	d, ok := parseDecimal(num)
	if !ok || strings.ContainsAny(num, "eE") {
		return Value{}, false
	}
	if unit == "" {
		return quantityOf(d, "1", false), true
	}
	if _, ok := calendarUnit(unit); ok {
		return quantityOf(d, unit, true), true
	}
	if len(unit) > 2 && unit[0] == '\'' && unit[len(unit)-1] == '\'' {
		return quantityOf(d, unit[1:len(unit)-1], false), true
	}
	return Value{}, false
}

// measure brings the quantity to base units. Calendar years and months have
// a dimension of their own unless loose is set (equivalence).
func (q *quantity) measure(loose bool) (*decimal, unit, bool) {
	code := q.unit
	if q.calendar {
		switch {
		case !loose && q.unit == "month":
			return q.val, unit{dim: "month", factor: intDecimal(1)}, true
		case !loose && q.unit == "year":
			return q.val.mul(intDecimal(12)), unit{dim: "month", factor: intDecimal(12)}, true
		}
		code = calendarUCUM[q.unit]
	}
	u, ok := parseUnit(code)
	if !ok {
		return nil, u, false
	}
	v := q.val.mul(u.factor)
	return v, u, v != nil
}

// compare orders two quantities; false when their units cannot be compared.
func (q *quantity) compare(r *quantity, loose bool) (int, bool) {
	if q.unit == r.unit && q.calendar == r.calendar {
		return q.val.cmp(r.val), true
	}
	x, ux, ok := q.measure(loose)
	y, uy, ok2 := r.measure(loose)
	if !ok || !ok2 || ux.dim != uy.dim {
		return 0, false
	}
	// Factors with a denominator are compared crosswise, so that no digit is lost.
	x, y = x.mul(uy.div()), y.mul(ux.div())
	if x == nil || y == nil {
		return 0, false
	}
	return x.cmp(y), true
}

// convert returns q in another unit.
func (q *quantity) convert(code string, calendar bool) (*quantity, bool) {
	if q.unit == code && q.calendar == calendar {
		return q, true
	}
	x, ux, ok := q.measure(false)
	one := &quantity{intDecimal(1), code, calendar}
	y, uy, ok2 := one.measure(false)
	if !ok || !ok2 || ux.dim != uy.dim {
		return nil, false
	}
	n, d := x.mul(uy.div()), y.mul(ux.div())
	if n == nil || d == nil {
		return nil, false
	}
	v := n.quo(d)
	return &quantity{v, code, calendar}, v != nil
}

// add returns q+r (or q-r) in the finer of the two units (N1 section 6.6.3).
func (q *quantity) add(r *quantity, sign int) (*quantity, bool) {
	one, other := &quantity{intDecimal(1), q.unit, q.calendar}, &quantity{intDecimal(1), r.unit, r.calendar}
	ok := true
	if c, comparable := one.compare(other, false); comparable && c > 0 {
		q, ok = q.convert(r.unit, r.calendar)
	} else {
		r, ok = r.convert(q.unit, q.calendar)
	}
	if !ok {
		return nil, false
	}
	v := r.val
	if sign < 0 {
		v = v.neg()
	}
	sum := q.val.add(v)
	return &quantity{sum, q.unit, q.calendar}, sum != nil
}

// times multiplies or divides; the unit is written as a UCUM product.
func (q *quantity) times(r *quantity, op string) (*quantity, bool) {
	a, b := q.code(), r.code()
	switch {
	case b == "1" && op == "*":
		v := q.val.mul(r.val)
		return &quantity{v, q.unit, q.calendar}, v != nil
	case b == "1":
		v := q.val.quo(r.val)
		return &quantity{v, q.unit, q.calendar}, v != nil
	case a == "1" && op == "*":
		v := r.val.mul(q.val)
		return &quantity{v, r.unit, r.calendar}, v != nil
	}
	var v *decimal
	unit := a
	if q.calendar || r.calendar {
		return nil, false // calendar durations have no products
	}
	if op == "*" {
		v = q.val.mul(r.val)
		unit = a + "." + b
	} else {
		v = q.val.quo(r.val)
		unit = a + "/" + b
		if a == b {
			unit = "1"
		}
	}
	if op == "/" && strings.ContainsAny(b, "./") && a != b {
		return nil, false // the subset of UCUM has no parentheses
	}
	return &quantity{val: v, unit: unit}, v != nil
}

func (q *quantity) code() string {
	if q.calendar {
		return calendarUCUM[q.unit]
	}
	return q.unit
}

// child gives the members of a System.Quantity.
func (q *quantity) child(name string, dst []Value) []Value {
	switch name {
	case "value":
		return append(dst, decimalValue(q.val))
	case "unit":
		return append(dst, String(q.unit))
	}
	return dst
}
