package fhirpath

import (
	"fmt"
	"math"
)

// mathFunctions are those of N1 section 5.7. Roots, powers with a fraction,
// logarithms and exponentials are computed as binary floating point.
var mathFunctions = map[string]function{
	"abs":      {0, 0, abs},
	"ceiling":  integral(1),
	"floor":    integral(-1),
	"truncate": integral(0),
	"round":    {0, 1, round},
	"exp":      float(math.Exp),
	"ln":       float(math.Log),
	"sqrt":     float(math.Sqrt),
	"log":      {1, 1, logarithm},
	"power":    {1, 1, power},
}

// num returns the input as a number.
func (c *invocation) num() (v Value, d *decimal, err error) {
	v, ok, err := c.input()
	if err != nil || !ok {
		return v, nil, err
	}
	if d, ok = v.number(); !ok {
		return v, nil, fmt.Errorf("the input must be a number, not %s", v.describe())
	}
	return v, d, nil
}

func (c *invocation) numArg(i int) (v Value, d *decimal, err error) {
	v, ok, err := c.arg(i)
	if err != nil || !ok {
		return v, nil, err
	}
	if d, ok = v.number(); !ok {
		return v, nil, fmt.Errorf("argument %d must be a number, not %s", i+1, v.describe())
	}
	return v, d, nil
}

func abs(c *invocation, dst []Value) ([]Value, error) {
	v, ok, err := c.input()
	if err != nil || !ok {
		return dst, err
	}
	if q, ok := v.quantity(); ok {
		r := *q
		r.val = r.val.abs()
		return append(dst, Value{kind: kindQuantity, p: &r}), nil
	}
	v, d, err := c.num()
	if err != nil {
		return nil, err
	}
	return appendNonzero(dst, numberResult(d.abs(), v.kind == kindInteger)), nil
}

func integral(dir int) function {
	return function{0, 0, func(c *invocation, dst []Value) ([]Value, error) {
		_, d, err := c.num()
		if err != nil || d == nil {
			return dst, err
		}
		return appendNonzero(dst, numberResult(d.integral(dir), true)), nil
	}}
}

func round(c *invocation, dst []Value) ([]Value, error) {
	_, d, err := c.num()
	if err != nil || d == nil {
		return dst, err
	}
	places := int64(0)
	if len(c.args) == 1 {
		n, ok, err := c.integer(0)
		if err != nil {
			return nil, err
		}
		if ok {
			places = n
		}
	}
	if places < 0 {
		return nil, fmt.Errorf("round() takes no negative precision")
	}
	return append(dst, decimalValue(d.round(int(min(places, maxBits))))), nil
}

// float makes a function of one number; what is not a number is empty.
func float(f func(float64) float64) function {
	return function{0, 0, func(c *invocation, dst []Value) ([]Value, error) {
		_, d, err := c.num()
		if err != nil || d == nil {
			return dst, err
		}
		return appendFloat(dst, f(d.float())), nil
	}}
}

func appendFloat(dst []Value, f float64) []Value {
	if d := fromFloat(f); d != nil {
		return append(dst, decimalValue(d))
	}
	return dst
}

func logarithm(c *invocation, dst []Value) ([]Value, error) {
	_, d, err := c.num()
	if err != nil {
		return nil, err
	}
	_, base, err := c.numArg(0)
	if err != nil || d == nil || base == nil {
		return dst, err
	}
	x, b := d.float(), base.float()
	switch b {
	case 2:
		return appendFloat(dst, math.Log2(x)), nil
	case 10:
		return appendFloat(dst, math.Log10(x)), nil
	}
	return appendFloat(dst, math.Log(x)/math.Log(b)), nil
}

// power is exact for whole exponents.
func power(c *invocation, dst []Value) ([]Value, error) {
	v, d, err := c.num()
	if err != nil {
		return nil, err
	}
	w, exp, err := c.numArg(0)
	if err != nil || d == nil || exp == nil {
		return dst, err
	}
	integer := bothIntegers(v, w)
	n, whole := exp.int64()
	if !whole || n < 0 {
		return appendFloat(dst, math.Pow(d.float(), exp.float())), nil
	}
	result := intDecimal(1)
	for base := d; n > 0 && result != nil; n >>= 1 {
		if n&1 == 1 {
			if base == nil {
				return dst, nil
			}
			result = result.mul(base)
		}
		if base != nil {
			base = base.mul(base)
		}
	}
	return appendNonzero(dst, numberResult(result, integer)), nil
}
