package fhirpath

import "github.com/hygeia-health/hygeia/spec/ucum"

// unit is a UCUM unit brought to base units: value × factor / divisor in dim.
type unit struct {
	dim     string   // canonical product of base units: "g1.m-1"
	factor  *decimal // nil never
	divisor *decimal // nil = 1
}

func (u unit) div() *decimal {
	if u.divisor == nil {
		return intDecimal(1)
	}
	return u.divisor
}

// parseUnit reads a UCUM unit. One on a scale with another zero, as degrees
// Celsius, is comparable only with itself.
func parseUnit(code string) (unit, bool) {
	u, ok := ucum.Parse(code)
	if !ok || u.Shift != nil {
		return unit{}, false
	}
	out := unit{u.Dim, (&decimal{u.Factor.Num(), 0}).limited(), (&decimal{u.Factor.Denom(), 0}).limited()}
	return out, out.factor != nil && out.divisor != nil
}
