package jmespath

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/resource"
)

var (
	errOverflow = errors.New("the result does not fit into 64 bits")
	errZero     = errors.New("division by zero")
)

// arithmetic computes with integers when both numbers are written as such, else
// with doubles.
func arithmetic(whole func(a, b int64) (int64, error), real func(a, b float64) float64) func([]value) (value, error) {
	return func(args []value) (value, error) {
		for i, x := range args {
			if err := want(x, i, resource.Number); err != nil {
				return x, err
			}
		}
		if !fractional(args[0]) && !fractional(args[1]) {
			a, ok1 := args[0].Int()
			b, ok2 := args[1].Int()
			if !ok1 || !ok2 {
				return args[0], errOverflow
			}
			r, err := whole(a, b)
			return jsonvalue.Int(r), err
		}
		a, ok1 := args[0].Float()
		b, ok2 := args[1].Float()
		r := real(a, b)
		if !ok1 || !ok2 || math.IsNaN(r) || math.IsInf(r, 0) {
			return args[0], errors.New("the result is no finite number")
		}
		return jsonvalue.Float(r), nil
	}
}

func fractional(v value) bool { return strings.ContainsAny(v.Text(), ".eE") }

func addInt(a, b int64) (int64, error) {
	r := a + b
	if (a > 0) == (b > 0) && (r > 0) != (a > 0) && a != 0 && b != 0 {
		return 0, errOverflow
	}
	return r, nil
}

func subtractInt(a, b int64) (int64, error) {
	r := a - b
	if (r < a) != (b > 0) && b != 0 {
		return 0, errOverflow
	}
	return r, nil
}

func multiplyInt(a, b int64) (int64, error) {
	if a == 0 || b == 0 {
		return 0, nil
	}
	r := a * b
	if r/b != a || a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
		return 0, errOverflow
	}
	return r, nil
}

func divideInt(a, b int64) (int64, error) {
	switch {
	case b == 0:
		return 0, errZero
	case a == math.MinInt64 && b == -1:
		return 0, errOverflow
	}
	return a / b, nil
}

func powInt(a, b int64) (int64, error) {
	r := math.RoundToEven(math.Pow(float64(a), float64(b)))
	if math.IsNaN(r) || r >= math.MaxInt64 || r < math.MinInt64 {
		return 0, errOverflow
	}
	return int64(r), nil
}

// insertString puts the second text into the first at a position counted in
// UTF-16 units, as the functions of device mappings do.
func insertString(a []value) (value, error) {
	for i, k := range []resource.Kind{resource.String, resource.String, resource.Number} {
		if err := want(a[i], i, k); err != nil {
			return a[i], err
		}
	}
	units := utf16.Encode([]rune(a[0].Text()))
	at, ok := a[2].Int()
	if !ok || at < 0 || at > int64(len(units)) {
		return a[2], fmt.Errorf("position %s is not between 0 and %d", a[2].Text(), len(units))
	}
	return jsonvalue.String(string(utf16.Decode(units[:at])) + a[1].Text() + string(utf16.Decode(units[at:]))), nil
}

// The range of times that have a text with a year of four digits.
var (
	minUnix = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	maxUnix = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMilli()
)

// fromUnix turns a number of milliseconds, or with scale 1000 of seconds, since
// 1970 into the text of a time in UTC.
func fromUnix(scale int64) func([]value) (value, error) {
	layout := "2006-01-02T15:04:05Z"
	if scale == 1 {
		layout = "2006-01-02T15:04:05.000Z"
	}
	return func(a []value) (value, error) {
		if err := want(a[0], 0, resource.Number); err != nil {
			return a[0], err
		}
		n, ok := a[0].Int()
		if !ok {
			return a[0], errors.New("a whole number is required")
		}
		ms, err := multiplyInt(n, scale)
		if err != nil || ms < minUnix || ms > maxUnix {
			return a[0], errors.New("the time is not between the years 1 and 9999")
		}
		return jsonvalue.String(time.UnixMilli(ms).UTC().Format(layout)), nil
	}
}
