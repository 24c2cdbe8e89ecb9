package fhirpath

import (
	"strings"
	"unicode"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// number returns an integer or decimal as a decimal.
func (v Value) number() (*decimal, bool) {
	switch v.kind {
	case kindInteger:
		return intDecimal(v.i), true
	case kindDecimal:
		return v.p.(*decimal), true
	}
	return nil, false
}

// quantity returns a System.Quantity, or a FHIR Quantity converted to one (http://hl7.org/fhir/R4/fhirpath.html#types): by its UCUM code, or by its unit.
func (v Value) quantity() (*quantity, bool) {
	switch {
	case v.kind == kindQuantity:
		return v.p.(*quantity), true
	case v.kind != kindNode || v.typ == nil || !derives(v.typ, "Quantity"):
		return nil, false
	}
	d, ok := parseDecimal(v.node.Get("value").Text())
	if !ok || v.node.Get("comparator").Valid() {
		return nil, false
	}
	code, system := v.node.Get("code").Text(), v.node.Get("system")
	switch {
	case code == "" && !system.Valid():
		if code = v.node.Get("unit").Text(); code == "" {
			code = "1"
		}
	case !system.Is("http://unitsofmeasure.org") || code == "":
		return nil, false
	}
	if word, ok := ucumCalendar[code]; ok {
		return &quantity{d, word, true}, true
	}
	return &quantity{val: d, unit: code}, true
}

// ucumCalendar gives the calendar durations that the UCUM codes of a FHIR
// Quantity stand for.
var ucumCalendar = map[string]string{"a": "year", "mo": "month", "d": "day", "h": "hour", "min": "minute", "s": "second"}

// moment returns a date or date-time.
func (v Value) moment() (*temporal, bool) {
	if v.kind != kindDate && v.kind != kindDateTime {
		return nil, false
	}
	return v.p.(*temporal), true
}

// equal is = on two items (N1 section 6.1.1).
func (ev *eval) equal(a, b Value) (truth, error) {
	if err := ev.step(1); err != nil {
		return unknown, err
	}
	a, b = a.system(), b.system()
	if a.kind == kindNode && b.kind == kindNode {
		same, err := ev.sameNode(a.node, b.node)
		if same && err == nil {
			same, err = ev.sameNode(a.ext, b.ext)
		}
		return truthOf(same), err
	}
	if a.kind == kindInteger && b.kind == kindInteger || a.kind == kindBoolean && b.kind == kindBoolean {
		return truthOf(a.i == b.i), nil
	}
	if x, ok := a.number(); ok {
		y, ok := b.number()
		if !ok {
			if q, isQ := b.quantity(); isQ {
				return equalQuantity(&quantity{val: x, unit: "1"}, q), nil
			}
		}
		return truthOf(ok && x.cmp(y) == 0), nil
	}
	if x, ok := a.quantity(); ok {
		y, ok := b.quantity()
		if n, isN := b.number(); isN {
			y, ok = &quantity{val: n, unit: "1"}, true
		}
		if !ok {
			return no, nil
		}
		return equalQuantity(x, y), nil
	}
	if x, ok := a.moment(); ok {
		y, ok := b.moment()
		if !ok {
			return no, nil
		}
		return equalTemporal(x, y), nil
	}
	if a.kind != b.kind {
		return no, nil
	}
	if a.kind == kindTime {
		return equalTemporal(a.p.(*temporal), b.p.(*temporal)), nil
	}
	return truthOf(a.s == b.s), ev.step(len(a.s) / 64)
}

func equalQuantity(a, b *quantity) truth {
	c, ok := a.compare(b, false)
	if !ok {
		return unknown
	}
	return truthOf(c == 0)
}

func equalTemporal(a, b *temporal) truth {
	c, ok := a.compare(b)
	if !ok {
		return unknown
	}
	return truthOf(c == 0)
}

// equalAll is = on collections: the same items in the same order.
func (ev *eval) equalAll(a, b []Value) (truth, error) {
	if len(a) == 0 || len(b) == 0 {
		return unknown, nil
	}
	if len(a) != len(b) {
		return no, nil
	}
	result := yes
	for i := range a {
		t, err := ev.equal(a[i], b[i])
		if err != nil || t == no {
			return t, err
		}
		result = minTruth(result, t)
	}
	return result, nil
}

// minTruth is yes only when both are; unknown otherwise (no is handled before).
func minTruth(a, b truth) truth {
	if a == yes && b == yes {
		return yes
	}
	return unknown
}

// sameNode compares two JSON values without regard to the order of members.
// The depth is bounded by that of the document.
func (ev *eval) sameNode(a, b resource.Node) (bool, error) {
	if err := ev.step(1); err != nil {
		return false, err
	}
	if a == b {
		return true, nil
	}
	if a.Kind() != b.Kind() {
		return false, nil
	}
	switch a.Kind() {
	case resource.Object:
		if a.Len() != b.Len() {
			return false, nil
		}
		for c := a.First(); c.Valid(); c = c.Next() {
			d := b.Get(string(c.Key()))
			if !d.Valid() {
				return false, nil
			}
			if same, err := ev.sameNode(c, d); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	case resource.Array:
		if a.Len() != b.Len() {
			return false, nil
		}
		d := b.First()
		for c := a.First(); c.Valid(); c, d = c.Next(), d.Next() {
			if same, err := ev.sameNode(c, d); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	case resource.Number:
		x, ok := parseDecimal(a.Text())
		y, ok2 := parseDecimal(b.Text())
		if ok && ok2 {
			return x.cmp(y) == 0, nil
		}
	}
	return a.Text() == b.Text(), nil
}

// equivalent is ~ on two items (N1 section 6.1.2).
func (ev *eval) equivalent(a, b Value) (bool, error) {
	a, b = a.system(), b.system()
	if a.kind == kindString && b.kind == kindString {
		return fold(a.s) == fold(b.s), ev.step(1 + (len(a.s)+len(b.s))/16)
	}
	if x, ok := a.number(); ok {
		if y, ok := b.number(); ok {
			n := min(x.trim().scale, y.trim().scale)
			return x.round(n).cmp(y.round(n)) == 0, ev.step(1)
		}
	}
	if x, ok := a.quantity(); ok {
		if y, ok := b.quantity(); ok {
			c, known := x.compare(y, true)
			return known && c == 0, ev.step(1)
		}
	}
	t, err := ev.equal(a, b)
	return t == yes, err
}

// fold is the form of a string that ~ compares: lower case, and every character
// of white space alike.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		return r
	}, strings.ToLower(s))
}

// equivalentAll is ~ on collections: the same items in any order.
func (ev *eval) equivalentAll(a, b []Value) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	used := make([]bool, len(b))
next:
	for _, v := range a {
		for i, w := range b {
			if used[i] {
				continue
			}
			same, err := ev.equivalent(v, w)
			if err != nil {
				return false, err
			}
			if same {
				used[i] = true
				continue next
			}
		}
		return false, nil
	}
	return true, nil
}

// compare orders two items (N1 section 6.2); known is false when the order is
// not, as between dates of different precision.
func compare(a, b Value) (c int, known bool, err error) {
	if a.kind == kindString && b.kind == kindString {
		return strings.Compare(a.s, b.s), true, nil
	}
	if x, ok := a.number(); ok {
		if y, ok := b.number(); ok {
			return x.cmp(y), true, nil
		}
	}
	if x, ok := a.moment(); ok {
		if y, ok := b.moment(); ok {
			c, known = x.compare(y)
			return c, known, nil
		}
	}
	if a.kind == kindTime && b.kind == kindTime {
		c, known = a.p.(*temporal).compare(b.p.(*temporal))
		return c, known, nil
	}
	if x, ok := asQuantity(a); ok {
		if y, ok := asQuantity(b); ok {
			c, known = x.compare(y, false)
			return c, known, nil
		}
	}
	return 0, false, errTypes("comparison", a, b)
}
