package fhirpath

import (
	"slices"
	"strconv"
	"strings"
)

// unit is a UCUM unit brought to base units: value × factor / divisor in dim.
type unit struct {
	dim     string   // canonical product of base units: "g.m-1"
	factor  *decimal // nil never
	divisor *decimal // nil = 1
}

func (u unit) div() *decimal {
	if u.divisor == nil {
		return intDecimal(1)
	}
	return u.divisor
}

// atom is a UCUM unit atom in base units.
type atom struct {
	factor string
	dims   string // product of base units with exponents, separated by blanks
	metric bool   // takes prefixes
}

// atoms holds the units whose conversion is a plain factor and which clinical
// data uses; a unit outside the table is comparable only with itself.
var atoms = map[string]atom{
	"m": {"1", "m", true}, "g": {"1", "g", true}, "s": {"1", "s", true}, "K": {"1", "K", true},
	"mol": {"602214076000000000000000", "", true}, "cd": {"1", "cd", true}, "C": {"1", "C", true}, "rad": {"1", "rad", true},
	"1": {"1", "", false}, "%": {"0.01", "", false}, "[ppth]": {"0.001", "", false}, "[ppm]": {"0.000001", "", false},
	"L": {"0.001", "m3", true}, "l": {"0.001", "m3", true},
	"min": {"60", "s", false}, "h": {"3600", "s", false}, "d": {"86400", "s", false}, "wk": {"604800", "s", false},
	"mo": {"2629800", "s", false}, "a": {"31557600", "s", false},
	"Hz": {"1", "s-1", true}, "N": {"1000", "g m s-2", true}, "Pa": {"1000", "g m-1 s-2", true},
	"J": {"1000", "g m2 s-2", true}, "W": {"1000", "g m2 s-3", true}, "bar": {"100000000", "g m-1 s-2", true},
	"cal": {"4184", "g m2 s-2", true}, "A": {"1", "C s-1", true}, "V": {"1000", "g m2 s-2 C-1", true},
	"t": {"1000000", "g", true}, "u": {"0.00000000000000000000000166053906660", "g", true},
	"m[Hg]":   {"133322000", "g m-1 s-2", true},
	"m[H2O]":  {"9806650", "g m-1 s-2", true},
	"[in_i]":  {"0.0254", "m", false},
	"[ft_i]":  {"0.3048", "m", false},
	"[yd_i]":  {"0.9144", "m", false},
	"[mi_i]":  {"1609.344", "m", false},
	"[lb_av]": {"453.59237", "g", false},
	"[oz_av]": {"28.349523125", "g", false},
	"[gr]":    {"0.06479891", "g", false},
	"[iU]":    {"1", "[iU]", true}, "[IU]": {"1", "[iU]", true}, "[arb'U]": {"1", "[arb'U]", false},
	"eq": {"602214076000000000000000", "", true}, "osm": {"602214076000000000000000", "", true},
	"kat": {"602214076000000000000000", "s-1", true}, "U": {"10036901266666666.66666666666666666667", "s-1", true},
}

// prefixes are the metric prefixes as powers of ten.
var prefixes = map[string]int{
	"Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
	"d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}

// maxUnit bounds the text of a unit.
const maxUnit = 100

// parseUnit reads a UCUM product such as mg/dL, kg.m2/s2 or 10*3/uL.
// Parentheses are not in the subset.
func parseUnit(code string) (unit, bool) {
	u := unit{factor: intDecimal(1), divisor: intDecimal(1)}
	if len(code) > maxUnit || strings.ContainsAny(code, "()") {
		return u, false
	}
	code = withoutAnnotations(code)
	dims := map[string]int{}
	sign := 1
	if strings.HasPrefix(code, "/") {
		sign, code = -1, code[1:]
	}
	for {
		i := strings.IndexAny(code, "./")
		part := code
		if i >= 0 {
			part = code[:i]
		}
		if !u.component(part, sign, dims) {
			return u, false
		}
		if i < 0 {
			break
		}
		sign = 1
		if code[i] == '/' {
			sign = -1
		}
		code = code[i+1:]
	}
	u.dim = canonical(dims)
	return u, true
}

// withoutAnnotations drops {text}; what then has no unit counts as 1.
func withoutAnnotations(code string) string {
	for {
		i := strings.IndexByte(code, '{')
		j := strings.IndexByte(code, '}')
		if i < 0 || j < i {
			break
		}
		one := ""
		if i == 0 || code[i-1] == '.' || code[i-1] == '/' {
			one = "1"
		}
		code = code[:i] + one + code[j+1:]
	}
	if code == "" {
		return "1"
	}
	return code
}

func canonical(dims map[string]int) string {
	var parts []string
	for d, e := range dims {
		if e != 0 {
			parts = append(parts, d+strconv.Itoa(e))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ".")
}

// component multiplies one simple unit with its exponent into u.
func (u *unit) component(s string, sign int, dims map[string]int) bool {
	if rest, ok := strings.CutPrefix(s, "10*"); ok || strings.HasPrefix(s, "10^") {
		if !ok {
			rest = s[3:]
		}
		e, err := strconv.Atoi(rest)
		return err == nil && u.scale(e*sign)
	}
	name, exp := s, 1
	if i := exponentAt(s); i < len(s) && i > 0 {
		e, err := strconv.Atoi(s[i:])
		if err != nil || e > 9 || e < -9 {
			return false
		}
		name, exp = s[:i], e
	}
	a, power, ok := findAtom(name)
	if !ok {
		return false
	}
	exp *= sign
	f := mustDecimal(a.factor)
	for range max(exp, -exp) {
		if exp > 0 {
			u.factor = u.factor.mul(f)
		} else {
			u.divisor = u.divisor.mul(f)
		}
		if u.factor == nil || u.divisor == nil {
			u.factor, u.divisor = intDecimal(1), intDecimal(1)
			return false
		}
	}
	for d := range strings.FieldsSeq(a.dims) {
		i := exponentAt(d)
		e := 1
		if i < len(d) {
			e, _ = strconv.Atoi(d[i:])
		}
		dims[d[:i]] += e * exp
	}
	return u.scale(power * exp)
}

// exponentAt returns where the exponent at the end of a unit begins.
func exponentAt(s string) int {
	i := len(s)
	for i > 0 && isDigit(s[i-1]) {
		i--
	}
	if i < len(s) && i > 0 && (s[i-1] == '-' || s[i-1] == '+') {
		i--
	}
	return i
}

// scale multiplies u by a power of ten.
func (u *unit) scale(n int) bool {
	if n > maxDigits || n < -maxDigits {
		return false
	}
	p := &decimal{pow10(max(n, -n)), 0}
	var r *decimal
	if n >= 0 {
		if r = u.factor.mul(p); r != nil {
			u.factor = r
		}
	} else if r = u.divisor.mul(p); r != nil {
		u.divisor = r
	}
	return r != nil
}

// findAtom looks a unit up, with a metric prefix if need be.
func findAtom(name string) (atom, int, bool) {
	if a, ok := atoms[name]; ok {
		return a, 0, true
	}
	for _, n := range [2]int{1, 2} {
		if len(name) > n {
			power, ok := prefixes[name[:n]]
			a, ok2 := atoms[name[n:]]
			if ok && ok2 && a.metric {
				return a, power, true
			}
		}
	}
	return atom{}, 0, false
}
