package fhirpath

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// decimal is coef / 10^scale, exact, with scale >= 0. It keeps trailing zeros:
// 0.10 has scale 2, and precision is derived from it. A decimal is immutable.
type decimal struct {
	coef  *big.Int
	scale int
}

// maxBits bounds a computed number; beyond it the result of an operation is
// empty, as N1 section 6.6 wants for overflow.
const maxBits = 1024

// divisionScale is the number of fraction digits of a quotient.
const divisionScale = 20

var (
	bigOne = big.NewInt(1)
	bigTen = big.NewInt(10)
)

func pow10(n int) *big.Int { return new(big.Int).Exp(bigTen, big.NewInt(int64(n)), nil) }

// parseDecimal reads a JSON or FHIRPath number. Numbers of an absurd size are refused.
func parseDecimal(s string) (*decimal, bool) {
	mant, exp := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		n, err := strconv.Atoi(s[i+1:])
		if err != nil || n > maxDigits || n < -maxDigits {
			return nil, false
		}
		mant, exp = s[:i], n
	}
	whole, frac, point := strings.Cut(mant, ".")
	digits := strings.TrimLeft(whole, "+-")
	if len(whole)-len(digits) > 1 || digits == "" || point && frac == "" || len(mant) > 2*maxDigits {
		return nil, false
	}
	for _, part := range [2]string{digits, frac} {
		if strings.Trim(part, "0123456789") != "" {
			return nil, false
		}
	}
	coef, ok := new(big.Int).SetString(whole+frac, 10)
	if !ok {
		return nil, false
	}
	d := &decimal{coef, len(frac) - exp}
	if d.scale < 0 {
		d = &decimal{coef.Mul(coef, pow10(-d.scale)), 0}
	}
	return d, true
}

// mustDecimal is for text that the lexer has already checked.
func mustDecimal(s string) *decimal {
	d, ok := parseDecimal(s)
	if !ok {
		return intDecimal(0)
	}
	return d
}

func intDecimal(i int64) *decimal { return &decimal{big.NewInt(i), 0} }

// align returns both coefficients at the larger scale.
func align(a, b *decimal) (x, y *big.Int, scale int) {
	switch {
	case a.scale == b.scale:
		return a.coef, b.coef, a.scale
	case a.scale < b.scale:
		return new(big.Int).Mul(a.coef, pow10(b.scale-a.scale)), b.coef, b.scale
	default:
		return a.coef, new(big.Int).Mul(b.coef, pow10(a.scale-b.scale)), a.scale
	}
}

func (a *decimal) cmp(b *decimal) int {
	x, y, _ := align(a, b)
	return x.Cmp(y)
}

func (a *decimal) sign() int { return a.coef.Sign() }

// limited returns nil, meaning overflow, for a number that has grown too large.
func (a *decimal) limited() *decimal {
	if a.coef.BitLen() > maxBits || a.scale > maxBits {
		return nil
	}
	return a
}

func (a *decimal) add(b *decimal) *decimal {
	x, y, s := align(a, b)
	return (&decimal{new(big.Int).Add(x, y), s}).limited()
}

func (a *decimal) neg() *decimal { return &decimal{new(big.Int).Neg(a.coef), a.scale} }

func (a *decimal) abs() *decimal { return &decimal{new(big.Int).Abs(a.coef), a.scale} }

func (a *decimal) mul(b *decimal) *decimal {
	return (&decimal{new(big.Int).Mul(a.coef, b.coef), a.scale + b.scale}).limited()
}

// quo divides to divisionScale digits, rounded half away from zero, without
// trailing zeros. The result is nil for a division by zero.
func (a *decimal) quo(b *decimal) *decimal {
	if b.sign() == 0 {
		return nil
	}
	scale := divisionScale + max(0, b.scale-a.scale)
	num := new(big.Int).Mul(a.coef, pow10(scale+b.scale))
	den := new(big.Int).Mul(b.coef, pow10(a.scale))
	return (&decimal{roundQuo(num, den), scale}).trim().limited()
}

// roundQuo returns num/den rounded half away from zero.
func roundQuo(num, den *big.Int) *big.Int {
	q, r := new(big.Int).QuoRem(num, den, new(big.Int))
	if new(big.Int).Abs(r.Lsh(r, 1)).Cmp(new(big.Int).Abs(den)) >= 0 {
		if num.Sign()*den.Sign() < 0 {
			return q.Sub(q, bigOne)
		}
		return q.Add(q, bigOne)
	}
	return q
}

// quoRem returns the truncated integer quotient (div) and the remainder (mod).
func (a *decimal) quoRem(b *decimal) (div, mod *decimal) {
	if b.sign() == 0 {
		return nil, nil
	}
	x, y, s := align(a, b)
	q, r := new(big.Int).QuoRem(x, y, new(big.Int))
	return &decimal{q, 0}, &decimal{r, s}
}

// trim drops trailing zeros of the fraction.
func (a *decimal) trim() *decimal {
	d := &decimal{a.coef, a.scale}
	r := new(big.Int)
	for d.scale > 0 {
		q, r := new(big.Int).QuoRem(d.coef, bigTen, r)
		if r.Sign() != 0 {
			break
		}
		d.coef, d.scale = q, d.scale-1
	}
	return d
}

// round keeps n fraction digits, rounding half away from zero.
func (a *decimal) round(n int) *decimal {
	if n >= a.scale {
		return a
	}
	return &decimal{roundQuo(a.coef, pow10(a.scale-n)), n}
}

// integral rounds to an integer: towards zero, down (floor) or up (ceiling).
func (a *decimal) integral(dir int) *decimal {
	q, r := new(big.Int).QuoRem(a.coef, pow10(a.scale), new(big.Int))
	if r.Sign() != 0 && r.Sign() == dir {
		q.Add(q, big.NewInt(int64(dir)))
	}
	return &decimal{q, 0}
}

// int64 returns the value when it is an integer in range.
func (a *decimal) int64() (int64, bool) {
	t := a.trim()
	if t.scale != 0 || !t.coef.IsInt64() {
		return 0, false
	}
	return t.coef.Int64(), true
}

func (a *decimal) float() float64 {
	f, err := strconv.ParseFloat(a.String(), 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

// fromFloat returns the shortest decimal that reads back as f; nil for NaN and infinities.
func fromFloat(f float64) *decimal {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	d, ok := parseDecimal(strconv.FormatFloat(f, 'f', -1, 64))
	if !ok {
		return nil
	}
	return d
}

// String writes the number with its scale: 1.50.
func (a *decimal) String() string {
	s := a.coef.String()
	if a.scale == 0 {
		return s
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	if len(s) <= a.scale {
		s = strings.Repeat("0", a.scale-len(s)+1) + s
	}
	return sign + s[:len(s)-a.scale] + "." + s[len(s)-a.scale:]
}
