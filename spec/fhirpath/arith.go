package fhirpath

import (
	"math"
	"math/big"
	"time"
)

// arithmetic holds the operators of N1 section 6.6 on single items. Overflow
// and division by zero give no result.
var arithmetic = map[string]pair{"+": plus, "-": minus, "*": times, "/": times2, "div": integerDiv, "mod": modulo}

// numberResult makes an integer of a result whose operands were both integers.
func numberResult(d *decimal, integer bool) Value {
	switch {
	case d == nil:
		return Value{}
	case !integer:
		return decimalValue(d)
	}
	if i, ok := d.int64(); ok {
		return Integer(i)
	}
	return Value{}
}

func bothIntegers(a, b Value) bool { return a.kind == kindInteger && b.kind == kindInteger }

func plus(ev *eval, a, b Value) (Value, error)  { return sum(ev, a, b, 1) }
func minus(ev *eval, a, b Value) (Value, error) { return sum(ev, a, b, -1) }

func sum(ev *eval, a, b Value, sign int) (Value, error) {
	op := "+"
	if sign < 0 {
		op = "-"
	}
	if a.kind == kindString && b.kind == kindString && sign > 0 {
		if len(a.s)+len(b.s) > maxText {
			return Value{}, ErrTooCostly
		}
		return String(a.s + b.s), ev.step(1 + (len(a.s)+len(b.s))/64)
	}
	x, ok := a.number()
	y, ok2 := b.number()
	if ok && ok2 {
		if sign < 0 {
			y = y.neg()
		}
		return numberResult(x.add(y), bothIntegers(a, b)), nil
	}
	q, isQ := asQuantity(b)
	if !isQ || !(ok && ok2) && bareNumber(a, b) {
		return Value{}, errTypes(op, a, b)
	}
	switch a.kind {
	case kindDate, kindDateTime, kindTime:
		t, err := a.p.(*temporal).shift(a.kind, q, sign)
		if err != nil || t == nil {
			return Value{}, err
		}
		return Value{kind: a.kind, p: t}, nil
	}
	if p, ok := asQuantity(a); ok {
		if r, ok := p.add(q, sign); ok {
			return Value{kind: kindQuantity, p: r}, nil
		}
		return Value{}, nil
	}
	return Value{}, errTypes(op, a, b)
}

// bareNumber reports a date or time beside a number without a unit.
func bareNumber(a, b Value) bool {
	_, isNumber := b.number()
	return isNumber && (a.kind == kindDate || a.kind == kindDateTime || a.kind == kindTime)
}

func times(_ *eval, a, b Value) (Value, error)  { return product(a, b, "*") }
func times2(_ *eval, a, b Value) (Value, error) { return product(a, b, "/") }

func product(a, b Value, op string) (Value, error) {
	x, ok := a.number()
	y, ok2 := b.number()
	if ok && ok2 {
		if op == "/" {
			return numberResult(x.quo(y), false), nil
		}
		return numberResult(x.mul(y), bothIntegers(a, b)), nil
	}
	p, ok := asQuantity(a)
	q, ok2 := asQuantity(b)
	if !ok || !ok2 {
		return Value{}, errTypes(op, a, b)
	}
	r, ok := p.times(q, op)
	if !ok {
		return Value{}, nil
	}
	return Value{kind: kindQuantity, p: r}, nil
}

// asQuantity takes a number as a quantity without a unit.
func asQuantity(v Value) (*quantity, bool) {
	if d, ok := v.number(); ok {
		return &quantity{val: d, unit: "1"}, true
	}
	return v.quantity()
}

func integerDiv(_ *eval, a, b Value) (Value, error) {
	x, ok := a.number()
	y, ok2 := b.number()
	if !ok || !ok2 {
		return Value{}, errTypes("div", a, b)
	}
	q, _ := x.quoRem(y)
	return numberResult(q, true), nil
}

func modulo(_ *eval, a, b Value) (Value, error) {
	x, ok := a.number()
	y, ok2 := b.number()
	if !ok || !ok2 {
		return Value{}, errTypes("mod", a, b)
	}
	_, r := x.quoRem(y)
	return numberResult(r, bothIntegers(a, b)), nil
}

// durations are the units that a date or time can be moved by, as nanoseconds;
// the calendar units year and month have none. UCUM years and months are not
// calendar durations and are refused (N1 section 6.7).
var durations = map[string]int64{
	"week": 7 * 24 * 3600e9, "day": 24 * 3600e9, "hour": 3600e9, "minute": 60e9, "second": 1e9, "millisecond": 1e6,
	"wk": 7 * 24 * 3600e9, "d": 24 * 3600e9, "h": 3600e9, "min": 60e9, "s": 1e9, "ms": 1e6,
}

type unitError string

func (e unitError) Error() string {
	return "a date or time cannot be moved by the unit '" + string(e) + "'"
}

// shift moves a by a quantity of time. Only seconds may have a fraction; that
// of other units is dropped. The result keeps the precision of a: a smaller
// unit is first converted to the last field that a has. nil means out of range.
func (a *temporal) shift(kind kind, q *quantity, sign int) (*temporal, error) {
	if q.calendar && (q.unit == "year" || q.unit == "month") {
		if kind == kindTime {
			return nil, unitError(q.unit)
		}
		return a.shiftMonths(q, sign), nil
	}
	size, ok := durations[q.unit]
	if !ok {
		return nil, unitError(q.unit)
	}
	d := q.val
	if size > 1e9 {
		d = d.integral(0)
	}
	if d = d.mul(intDecimal(size * int64(sign))); d == nil {
		return nil, nil
	}
	nanos := d.integral(0).coef
	var r temporal
	switch {
	case kind == kindTime:
		nanos = new(big.Int).Mod(nanos, big.NewInt(24*3600e9))
		r = *a
		h, m, s := a.t.Add(time.Duration(nanos.Int64())).Clock()
		r.t = time.Date(1, 1, 1, h, m, s, a.t.Add(time.Duration(nanos.Int64())).Nanosecond(), time.UTC)
	case a.prec <= precMonth:
		days := new(big.Int).Quo(nanos, big.NewInt(24*3600e9))
		per := int64(30)
		if a.prec == precYear {
			per = 365
		}
		n := new(big.Int).Quo(days, big.NewInt(per))
		if !n.IsInt64() || n.Int64() > 12e4 || n.Int64() < -12e4 {
			return nil, nil
		}
		return a.addMonths(int(n.Int64()), a.prec == precYear), nil
	default:
		r = *a
		days, rest := new(big.Int).QuoRem(nanos, big.NewInt(24*3600e9), new(big.Int))
		if !days.IsInt64() || days.Int64() > 4e6 || days.Int64() < -4e6 {
			return nil, nil
		}
		r.t = a.t.AddDate(0, 0, int(days.Int64()))
		if a.prec > precDay {
			r.t = r.t.Add(time.Duration(rest.Int64()))
		}
	}
	if a.prec == precSecond && (q.unit == "millisecond" || q.unit == "ms" || q.val.scale > 0 && size == 1e9) {
		r.digits = max(r.digits, 3)
	}
	return r.inRange(), nil
}

func (a *temporal) shiftMonths(q *quantity, sign int) *temporal {
	n, ok := q.val.integral(0).int64()
	if !ok || n > math.MaxInt32/12 || n < math.MinInt32/12 {
		return nil
	}
	n *= int64(sign)
	if q.unit == "year" {
		return a.addMonths(int(n), true)
	}
	if a.prec == precYear {
		return a.addMonths(int(n/12), true)
	}
	return a.addMonths(int(n), false)
}

// addMonths adds months (or years), and takes the last day of the month when it
// has not as many days.
func (a *temporal) addMonths(n int, years bool) *temporal {
	if years {
		n *= 12
	}
	y, m, d := a.t.Date()
	months := y*12 + int(m) - 1 + n
	if months < 12 {
		return nil
	}
	y, m = months/12, time.Month(months%12+1)
	if y > 9999 {
		return nil
	}
	h, mi, s := a.t.Clock()
	r := *a
	r.t = time.Date(y, m, min(d, daysIn(y, int(m))), h, mi, s, a.t.Nanosecond(), a.t.Location())
	return r.inRange()
}

func (a temporal) inRange() *temporal {
	if y := a.t.Year(); y < 1 || y > 9999 {
		return nil
	}
	return &a
}
