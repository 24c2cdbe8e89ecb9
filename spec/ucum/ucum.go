package ucum

import (
	_ "embed"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// System is the URI of UCUM as a code system.
const System = "http://unitsofmeasure.org"

//go:embed units.txt
var units string

// Unit is a unit in base units: a value v of it is (v + Shift) × Factor in Dim.
type Unit struct {
	Dim    string   // the product of base units in one order, "g1.m-3"; "" is a plain number
	Factor *big.Rat // never 0
	Shift  *big.Rat // of temperatures with another zero; nil = none
}

// unit is a Unit with its dimensions apart.
type unit struct {
	factor *big.Rat
	shift  *big.Rat
	dims   map[string]int
}

// atom is a line of the table.
type atom struct {
	metric bool
	base   bool // a dimension of its own
	value  string
	of     string
	shift  string // in the unit itself: what is added before the factor
	busy   bool   // being resolved
	done   *unit
}

// maxCode bounds the text of a unit, maxExponent its exponents.
const (
	maxCode     = 100
	maxExponent = 30
)

// Parse reads a unit. It returns false for one that is not UCUM, or that is not
// converted.
func Parse(code string) (Unit, bool) {
	if len(code) > maxCode {
		return Unit{}, false
	}
	mu.Lock()
	defer mu.Unlock()
	u, ok := parse(code)
	if !ok {
		return Unit{}, false
	}
	return Unit{Dim: dimension(u.dims), Factor: u.factor, Shift: u.shift}, true
}

// mu guards the atoms, which are resolved when they are first needed.
var mu sync.Mutex

type table struct {
	atoms    map[string]*atom
	prefixes map[string]*big.Rat
}

// shifts are the zeros of the temperature scales in their own degrees.
var shifts = map[string]string{"Cel": "273.15", "degF": "459.67", "degRe": "218.52"}

var load = sync.OnceValue(func() table {
	t := table{map[string]*atom{}, map[string]*big.Rat{}}
	for line := range strings.Lines(units) {
		f := strings.Fields(line)
		switch {
		case len(f) < 2 || f[0] == "#":
		case f[0] == "p":
			t.prefixes[f[1]] = rat(f[2])
		case f[0] == "b":
			t.atoms[f[1]] = &atom{metric: true, base: true}
		case f[0] == "a":
			t.atoms[f[1]] = &atom{metric: f[2] == "m", base: true}
		case f[3] != "f":
			t.atoms[f[1]] = &atom{metric: f[2] == "m", value: f[3], of: f[4]}
		case shifts[f[4]] != "":
			t.atoms[f[1]] = &atom{metric: false, value: f[5], of: f[6], shift: shifts[f[4]]}
		}
	}
	t.atoms["[IU]"] = &atom{metric: true, value: "1", of: "[iU]"} // two spellings of one unit
	return t
})

func rat(s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return new(big.Rat) // refused by whoever divides or multiplies by it
	}
	return r
}

// dimension writes dimensions in one order.
func dimension(dims map[string]int) string {
	var b strings.Builder
	for _, d := range slices.Sorted(maps.Keys(dims)) {
		if dims[d] == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(d)
		b.WriteString(strconv.Itoa(dims[d]))
	}
	return b.String()
}

// parse reads a whole unit: [ "/" ] term.
func parse(code string) (*unit, bool) {
	p := &parser{rest: code}
	u, ok := p.term()
	if !ok || p.rest != "" {
		return nil, false
	}
	return u, true
}

type parser struct {
	rest  string
	depth int
}

// term reads components joined by . and /, from left to right.
func (p *parser) term() (*unit, bool) {
	out := &unit{factor: big.NewRat(1, 1), dims: map[string]int{}}
	sign, first := 1, true
	if p.take('/') {
		sign, first = -1, false
	}
	for {
		c, ok := p.component()
		if !ok || !out.multiply(c, sign) || c.shift != nil && (!first || p.more()) {
			return nil, false // a shifted scale has no products
		}
		out.shift = c.shift
		first = false
		switch {
		case p.take('.'):
			sign = 1
		case p.take('/'):
			sign = -1
		default:
			return out, true
		}
	}
}

func (p *parser) more() bool { return p.rest != "" && (p.rest[0] == '.' || p.rest[0] == '/') }

func (p *parser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// annotation skips {text}.
func (p *parser) annotation() (found, ok bool) {
	if !p.take('{') {
		return false, true
	}
	i := strings.IndexByte(p.rest, '}')
	if i < 0 || strings.IndexByte(p.rest[:i], '{') >= 0 {
		return true, false
	}
	p.rest = p.rest[i+1:]
	return true, true
}

// component reads one of (term), {annotation}, a number, or a unit with its
// prefix, exponent and annotation.
func (p *parser) component() (*unit, bool) {
	one := &unit{factor: big.NewRat(1, 1)}
	if found, ok := p.annotation(); found {
		return one, ok
	}
	if p.take('(') {
		if p.depth++; p.depth > 10 {
			return nil, false
		}
		u, ok := p.term()
		if !ok || !p.take(')') || u.shift != nil {
			return nil, false
		}
		return u, true
	}
	s := p.symbol()
	if s == "" {
		return nil, false
	}
	if _, ok := p.annotation(); !ok {
		return nil, false
	}
	if n := strings.Trim(s, "0123456789"); n == "" {
		one.factor = rat(s)
		return one, one.factor.Sign() != 0
	}
	name, exp, ok := exponent(s)
	if !ok {
		return nil, false
	}
	u, ok := find(name)
	if !ok || u.shift != nil && exp != 1 {
		return nil, false
	}
	if exp == 1 {
		return u, true
	}
	return one, one.multiply(u, exp)
}

// symbol takes the text up to the next operator; brackets may hold operators.
func (p *parser) symbol() string {
	inside := false
	i := 0
	for ; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '[':
			inside = true
		case c == ']':
			inside = false
		case !inside && strings.IndexByte("./(){}", c) >= 0:
			s := p.rest[:i]
			p.rest = p.rest[i:]
			return s
		}
	}
	s := p.rest
	p.rest = ""
	return s
}

// exponent splits m2 and s-1.
func exponent(s string) (name string, exp int, ok bool) {
	i := len(s)
	for i > 0 && s[i-1] >= '0' && s[i-1] <= '9' {
		i--
	}
	if i == len(s) {
		return s, 1, true
	}
	if i > 0 && (s[i-1] == '-' || s[i-1] == '+') {
		i--
	}
	if i == 0 {
		return "", 0, false
	}
	exp, err := strconv.Atoi(s[i:])
	return s[:i], exp, err == nil && exp >= -maxExponent && exp <= maxExponent
}

// multiply multiplies u by a power of v.
func (u *unit) multiply(v *unit, exp int) bool {
	f := v.factor
	if exp < 0 {
		f = new(big.Rat).Inv(f)
	}
	for range max(exp, -exp) {
		u.factor = new(big.Rat).Mul(u.factor, f)
		if u.factor.Num().BitLen() > 4096 || u.factor.Denom().BitLen() > 4096 {
			return false
		}
	}
	for d, e := range v.dims {
		if u.dims == nil {
			u.dims = map[string]int{}
		}
		u.dims[d] += e * exp
	}
	return true
}

// find looks a symbol up, with a metric prefix if need be.
func find(name string) (*unit, bool) {
	t := load()
	if a := t.atoms[name]; a != nil {
		return a.resolve(name)
	}
	for _, n := range [2]int{1, 2} {
		if len(name) <= n {
			continue
		}
		factor, a := t.prefixes[name[:n]], t.atoms[name[n:]]
		if factor == nil || a == nil || !a.metric {
			continue
		}
		u, ok := a.resolve(name[n:])
		if !ok {
			return nil, false
		}
		return &unit{factor: new(big.Rat).Mul(u.factor, factor), dims: u.dims}, true
	}
	return nil, false
}

// resolve brings an atom to base units.
func (a *atom) resolve(name string) (*unit, bool) {
	switch {
	case a.done != nil:
		return a.done, true
	case a.base:
		a.done = &unit{factor: big.NewRat(1, 1), dims: map[string]int{name: 1}}
		return a.done, true
	case a.busy:
		return nil, false
	}
	a.busy = true
	u, ok := parse(a.of)
	a.busy = false
	v := rat(a.value)
	if !ok || v.Sign() == 0 {
		return nil, false
	}
	a.done = &unit{factor: v.Mul(v, u.factor), dims: u.dims}
	if a.shift != "" {
		a.done.shift = rat(a.shift)
	}
	return a.done, true
}
