package fhirpath

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// conversionFunctions are those of N1 section 5.5 and the clock of 5.9.
var conversionFunctions = map[string]function{
	"type": {0, 0, func(c *invocation, dst []Value) ([]Value, error) {
		for _, v := range c.in {
			if t, ok := v.typeOf(); ok {
				dst = append(dst, t)
			}
		}
		return dst, nil
	}},
	"now": clock(kindDateTime, func(t time.Time) *temporal {
		return &temporal{t: t.Truncate(time.Millisecond), prec: precSecond, zoned: true, digits: 3}
	}),
	"today":         clock(kindDate, func(t time.Time) *temporal { return &temporal{t: wall(t), prec: precDay} }),
	"timeOfDay":     clock(kindTime, timeOfDay),
	"precision":     {0, 0, precision},
	"lowBoundary":   {0, 1, boundary(-1)},
	"highBoundary":  {0, 1, boundary(1)},
	"yearOf":        part(kindDate, precYear, func(t time.Time) int { return t.Year() }),
	"monthOf":       part(kindDate, precMonth, func(t time.Time) int { return int(t.Month()) }),
	"dayOf":         part(kindDate, precDay, func(t time.Time) int { return t.Day() }),
	"hourOf":        part(kindTime, precHour, func(t time.Time) int { return t.Hour() }),
	"minuteOf":      part(kindTime, precMinute, func(t time.Time) int { return t.Minute() }),
	"secondOf":      part(kindTime, precSecond, func(t time.Time) int { return t.Second() }),
	"millisecondOf": part(kindTime, precSecond, func(t time.Time) int { return t.Nanosecond() / 1e6 }),
	"dateOf":        {0, 0, dateOf},
	"timeOf":        {0, 0, timeOf},
	"toQuantity": {0, 1, func(c *invocation, dst []Value) ([]Value, error) {
		v, ok, err := c.convert(toQuantity)
		return appendIf(dst, v, ok), err
	}},
	"convertsToQuantity": {0, 1, func(c *invocation, dst []Value) ([]Value, error) {
		if len(c.in) == 0 {
			return dst, nil
		}
		_, ok, err := c.convert(toQuantity)
		return append(dst, Bool(ok)), err
	}},
}

// typeConversions makes toX and convertsToX for the types without arguments.
func typeConversions() map[string]function {
	table := make(map[string]function)
	for name, f := range map[string]func(Value) (Value, bool){
		"Boolean": toBoolean, "Integer": toInteger, "Decimal": toDecimal, "String": toString,
		"Date": toDate, "DateTime": toDateTime, "Time": toTime,
	} {
		table["to"+name] = function{0, 0, func(c *invocation, dst []Value) ([]Value, error) {
			v, ok, err := c.convert(f)
			return appendIf(dst, v, ok), err
		}}
		table["convertsTo"+name] = function{0, 0, func(c *invocation, dst []Value) ([]Value, error) {
			if len(c.in) == 0 {
				return dst, nil
			}
			_, ok, err := c.convert(f)
			return append(dst, Bool(ok)), err
		}}
	}
	return table
}

func appendIf(dst []Value, v Value, ok bool) []Value {
	if !ok {
		return dst
	}
	return append(dst, v)
}

func clock(kind kind, f func(time.Time) *temporal) function {
	return function{0, 0, func(c *invocation, dst []Value) ([]Value, error) {
		return append(dst, Value{kind: kind, p: f(c.ev.now())}), nil
	}}
}

func timeOfDay(t time.Time) *temporal {
	h, m, s := t.Clock()
	return &temporal{t: time.Date(1, 1, 1, h, m, s, t.Nanosecond()/1e6*1e6, time.UTC), prec: precSecond, digits: 3}
}

// convert applies a conversion to the single input item, and for quantities
// checks the unit that the argument asks for.
func (c *invocation) convert(f func(Value) (Value, bool)) (Value, bool, error) {
	v, ok, err := c.input()
	if err != nil || !ok {
		return v, false, err
	}
	if v, ok = f(v); !ok || len(c.args) == 0 {
		return v, ok, nil
	}
	unit, given, err := c.str(0)
	if err != nil || !given {
		return v, false, err
	}
	q := v.p.(*quantity)
	word, calendar := calendarUnit(unit)
	if calendar {
		unit = word
	}
	r, ok := q.convert(unit, calendar)
	if !ok {
		return v, false, nil
	}
	return Value{kind: kindQuantity, p: r}, true, nil
}

func toBoolean(v Value) (Value, bool) {
	switch v.kind {
	case kindBoolean:
		return v, true
	case kindInteger, kindDecimal:
		d, _ := v.number()
		if d.cmp(intDecimal(1)) == 0 || d.sign() == 0 {
			return Bool(d.sign() != 0), true
		}
	case kindString:
		switch strings.ToLower(v.s) {
		case "true", "t", "yes", "y", "1", "1.0":
			return Bool(true), true
		case "false", "f", "no", "n", "0", "0.0":
			return Bool(false), true
		}
	}
	return v, false
}

func toInteger(v Value) (Value, bool) {
	switch v.kind {
	case kindInteger:
		return v, true
	case kindBoolean:
		return Integer(v.i), true
	case kindString:
		return parseInteger(v.s)
	}
	return v, false
}

func toDecimal(v Value) (Value, bool) {
	switch v.kind {
	case kindDecimal:
		return v, true
	case kindInteger:
		return decimalValue(intDecimal(v.i)), true
	case kindBoolean:
		return decimalValue(&decimal{intDecimal(v.i * 10).coef, 1}), true
	case kindString:
		if strings.ContainsAny(v.s, "eE") {
			return v, false
		}
		if d, ok := parseDecimal(v.s); ok {
			return decimalValue(d), true
		}
	}
	return v, false
}

func toString(v Value) (Value, bool) {
	if q, ok := v.quantity(); ok {
		return String(q.String()), true
	}
	s, ok := v.text()
	return String(s), ok && v.kind != kindType
}

func toDate(v Value) (Value, bool) {
	switch v.kind {
	case kindDate:
		return v, true
	case kindDateTime:
		t := *v.p.(*temporal)
		t.t, t.prec, t.zoned = wall(t.t), min(t.prec, precDay), false
		y, m, d := t.t.Date()
		t.t = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
		return Value{kind: kindDate, p: &t}, true
	case kindString:
		t, ok := parseDate(v.s)
		return Value{kind: kindDate, p: t}, ok
	}
	return v, false
}

func toDateTime(v Value) (Value, bool) {
	switch v.kind {
	case kindDateTime:
		return v, true
	case kindDate:
		return Value{kind: kindDateTime, p: v.p}, true
	case kindString:
		t, ok := parseDateTime(v.s)
		return Value{kind: kindDateTime, p: t}, ok
	}
	return v, false
}

func toTime(v Value) (Value, bool) {
	switch v.kind {
	case kindTime:
		return v, true
	case kindString:
		t, ok := parseTime(strings.TrimPrefix(v.s, "T"))
		return Value{kind: kindTime, p: t}, ok
	}
	return v, false
}

func toQuantity(v Value) (Value, bool) {
	if q, ok := v.quantity(); ok {
		return Value{kind: kindQuantity, p: q}, true
	}
	switch v.kind {
	case kindInteger, kindDecimal:
		d, _ := v.number()
		return quantityOf(d, "1", false), true
	case kindBoolean:
		return quantityOf(&decimal{intDecimal(v.i * 10).coef, 1}, "1", false), true
	case kindString:
		return parseQuantity(v.s)
	}
	return v, false
}

var errNotOffered = errors.New("the function needs a terminology or profile service, which this engine has not")

// part makes yearOf() and its like: one field of a temporal value, which must
// be a date-time or of the given kind. It is empty when the value is less precise.
func part(kind kind, prec int, f func(time.Time) int) function {
	return function{0, 0, func(c *invocation, dst []Value) ([]Value, error) {
		v, ok, err := c.input()
		if err != nil || !ok {
			return dst, err
		}
		if v.kind != kindDateTime && v.kind != kind {
			return dst, nil
		}
		if t := v.p.(*temporal); t.prec >= prec {
			dst = append(dst, Integer(int64(f(t.t))))
		}
		return dst, nil
	}}
}

// precision counts the digits of a decimal's fraction, or of a temporal value.
func precision(c *invocation, dst []Value) ([]Value, error) {
	v, ok, err := c.input()
	if err != nil || !ok {
		return dst, err
	}
	if d, ok := v.number(); ok {
		return append(dst, Integer(int64(d.scale))), nil
	}
	switch v.kind {
	case kindDate, kindDateTime, kindTime:
		t := *v.p.(*temporal)
		n := [...]int{precYear: 4, precMonth: 6, precDay: 8, precHour: 10, precMinute: 12, precSecond: 14}[t.prec] + t.digits
		if v.kind == kindTime {
			n -= 8
		}
		return append(dst, Integer(int64(n))), nil
	}
	return nil, fmt.Errorf("%s has no precision", v.describe())
}

// dateOf takes the date of a date or date-time.
func dateOf(c *invocation, dst []Value) ([]Value, error) {
	v, ok, err := c.input()
	if err != nil || !ok || v.kind == kindString {
		return dst, err
	}
	d, ok := toDate(v)
	return appendIf(dst, d, ok), nil
}

// timeOf takes the time of day of a date-time.
func timeOf(c *invocation, dst []Value) ([]Value, error) {
	v, ok, err := c.input()
	if err != nil || !ok || v.kind != kindDateTime {
		return dst, err
	}
	t := *v.p.(*temporal)
	if t.prec <= precDay {
		return dst, nil
	}
	h, m, s := t.t.Clock()
	t.t, t.zoned = time.Date(1, 1, 1, h, m, s, t.t.Nanosecond(), time.UTC), false
	return append(dst, Value{kind: kindTime, p: &t}), nil
}
