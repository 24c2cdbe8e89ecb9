package ucum_test

import (
	"math/big"
	"testing"

	"github.com/hygeia-health/hygeia/spec/ucum"
)

// TestConvert compares units by what one of them is in the other.
func TestConvert(t *testing.T) {
	for _, c := range []struct{ value, from, want, to string }{
		{"5", "mg", "0.005", "g"},
		{"1", "kg", "1000", "g"},
		{"180", "mg/dL", "1.8", "g/L"},
		{"180", "mg/dl", "1.8", "kg/m3"},
		{"1", "[lb_av]", "453.59237", "g"},
		{"72", "[in_i]", "6", "[ft_i]"},
		{"120", "mm[Hg]", "15.99864", "kPa"},
		{"60", "/min", "1", "Hz"},
		{"60", "{beats}/min", "1", "/s"},
		{"37", "Cel", "310.15", "K"},
		{"98.6", "[degF]", "37", "Cel"},
		{"32", "[degF]", "0", "Cel"},
		{"1", "10*3/uL", "1000000000", "/L"},
		{"1", "10^3/uL", "1", "10*9/L"},
		{"50", "%", "0.5", "1"},
		{"1", "m2", "10000", "cm2"},
		{"1", "kg.m/s2", "1", "N"},
		{"1", "mL/min/{1.73_m2}", "60", "mL/h"},
		{"1", "mg/(kg.d)", "1", "mg/kg/d"},
		{"24", "h", "1", "d"},
		{"1000", "[iU]/L", "1", "[IU]/mL"},
		{"1", "ug{total}", "1000", "ng"},
		{"1", "mmol/L", "1000", "umol/L"},
	} {
		from, ok1 := ucum.Parse(c.from)
		to, ok2 := ucum.Parse(c.to)
		if !ok1 || !ok2 || from.Dim != to.Dim {
			t.Errorf("%s (%v %q) and %s (%v %q) are not comparable", c.from, ok1, from.Dim, c.to, ok2, to.Dim)
			continue
		}
		v, _ := new(big.Rat).SetString(c.value)
		if from.Shift != nil {
			v.Add(v, from.Shift)
		}
		v.Mul(v, from.Factor).Quo(v, to.Factor)
		if to.Shift != nil {
			v.Sub(v, to.Shift)
		}
		if want, _ := new(big.Rat).SetString(c.want); v.Cmp(want) != 0 {
			t.Errorf("%s %s = %s %s, want %s", c.value, c.from, v.FloatString(10), c.to, c.want)
		}
	}
}

func TestNotComparable(t *testing.T) {
	for _, c := range [][2]string{{"mg", "mL"}, {"[iU]", "mg"}, {"[iU]", "[arb'U]"}, {"1", "m"}, {"Cel", "m"}} {
		a, ok1 := ucum.Parse(c[0])
		b, ok2 := ucum.Parse(c[1])
		if !ok1 || !ok2 || a.Dim == b.Dim {
			t.Errorf("%s and %s: %v %v, both %q", c[0], c[1], ok1, ok2, a.Dim)
		}
	}
	for _, bad := range []string{"", "foo", "mg/", "mg..dL", "(mg", "mg)", "{a", "m99", "[pH]", "Cel/m", "Cel2", "kmg", "2m", "10*99999"} {
		if u, ok := ucum.Parse(bad); ok {
			t.Errorf("%q is %+v", bad, u)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"mg/dL", "10*3/uL", "{a}/(kg.d)", "Cel", "[in_i]2", "/m30/s-30"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u, ok := ucum.Parse(s); ok && (u.Factor == nil || u.Factor.Sign() == 0) {
			t.Errorf("%q has no factor", s)
		}
	})
}
