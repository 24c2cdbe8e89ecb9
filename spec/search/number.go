package search

import (
	"math"
	"math/big"
	"strconv"
)

// maxLiteral bounds the length of a number in a search, as that of a decimal in a
// resource is; maxExponent is far beyond what a double can hold.
const (
	maxLiteral  = 1024
	maxExponent = 1 << 30
)

// decimal is a number literal of a search: its exact value, and the half-open
// range [lo, hi) of the numbers that are equal to it at the precision in which
// it was written (R4 section 3.1.1.4.6): 100 is [99.5, 100.5), 100.00 is
// [99.995, 100.005).
type decimal struct {
	value, lo, hi float64
}

// parseDecimal reads a number as the FHIR data type decimal allows it.
func parseDecimal(s string) (decimal, bool) {
	mantissa, scale, exponent, ok := scanDecimal(s)
	if !ok {
		return decimal{}, false
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(v, 0) {
		return decimal{}, false
	}
	unit := exponent - scale // the last digit counts 10^unit
	if hasExponent(s) && scale == 0 {
		// The standard's own example: 1e2 is [95, 105), one digit finer than
		// its single significant figure would be.
		mantissa += "0"
		unit--
	}
	m, ok := new(big.Int).SetString(mantissa+"0", 10)
	if !ok {
		return decimal{}, false
	}
	five := big.NewInt(5)
	if m.Sign() == 0 && v == 0 && s[0] == '-' {
		v = 0 // no negative zero
	}
	d := decimal{
		value: v,
		lo:    scaled(new(big.Int).Sub(m, five), unit-1),
		hi:    scaled(new(big.Int).Add(m, five), unit-1),
	}
	if d.hi <= v { // more digits than a double tells apart: only the value itself
		d.hi = next(v)
	}
	return d, true
}

// scaled returns m * 10^e, correctly rounded because it goes through text.
func scaled(m *big.Int, e int) float64 {
	v, _ := strconv.ParseFloat(m.String()+"e"+strconv.Itoa(e), 64) // out of range gives ±Inf, which is right for a bound
	return v
}

func hasExponent(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == 'e' || s[i] == 'E' {
			return true
		}
	}
	return false
}

// scanDecimal splits -12.50e3 into its digits with sign "-1250", the number of
// digits after the point 2, and the exponent 3.
func scanDecimal(s string) (mantissa string, scale, exponent int, ok bool) {
	if len(s) == 0 || len(s) > maxLiteral {
		return "", 0, 0, false
	}
	buf := make([]byte, 0, len(s)+1)
	i := 0
	if s[i] == '-' || s[i] == '+' {
		if s[i] == '-' {
			buf = append(buf, '-')
		}
		i++
	}
	whole := i
	for ; i < len(s) && isDigit(s[i]); i++ {
		buf = append(buf, s[i])
	}
	count := i - whole
	if i < len(s) && s[i] == '.' {
		i++
		for ; i < len(s) && isDigit(s[i]); i++ {
			buf = append(buf, s[i])
			scale++
		}
		if scale == 0 {
			return "", 0, 0, false
		}
	}
	if count+scale == 0 {
		return "", 0, 0, false
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil || e > maxExponent || e < -maxExponent {
			return "", 0, 0, false
		}
		exponent = e
		i = len(s)
	}
	return string(buf), scale, exponent, i == len(s)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// next and previous are the neighbours of a double: [v, next(v)) holds only v.
func next(v float64) float64     { return math.Nextafter(v, math.Inf(1)) }
func previous(v float64) float64 { return math.Nextafter(v, math.Inf(-1)) }
