package search

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/hygeia-health/hygeia/spec/ucum"
)

// prefixes are the comparison prefixes of R4 section 3.1.1.4.4.
var prefixes = map[string]Op{
	"eq": OpEq, "ne": OpNe, "lt": OpLt, "gt": OpGt, "le": OpLe, "ge": OpGe, "sa": OpSa, "eb": OpEb, "ap": OpAp,
}

// value parses one alternative, still escaped.
func (p *parser) value(kind Kind, param *Param, s string) (Value, error) {
	switch kind {
	case Token:
		return parseToken(s)
	case String:
		return parseString(unescape(s))
	case URI:
		return Value{Text: unescape(s)}, nil
	case Date:
		return p.date(unescape(s))
	case Number:
		return p.number(unescape(s))
	case Quantity:
		return p.quantity(s)
	case Reference:
		return p.reference(unescape(s)), nil
	case Composite:
		return p.composite(param, s)
	case Special:
		return parseNear(s)
	}
	return Value{}, errors.New("the parameter cannot be searched")
}

// parseString refuses what folds to nothing: it would begin every string.
func parseString(s string) (Value, error) {
	v := Value{Text: s, Norm: Fold(s)}
	if v.Norm == "" {
		return Value{}, fmt.Errorf("%q has no letters or digits", s)
	}
	return v, nil
}

// parseToken reads code, system|code, |code and system|.
func parseToken(s string) (Value, error) {
	pieces := splitEscaped(s, '|')
	switch len(pieces) {
	case 1:
		return Value{Code: unescape(s), HasCode: true}, nil
	case 2:
		v := Value{System: unescape(pieces[0]), HasSystem: true, Code: unescape(pieces[1]), HasCode: pieces[1] != ""}
		if v.System == "" && !v.HasCode {
			return Value{}, errors.New(`"|" has neither a system nor a code`)
		}
		if v.System == specialValues || v.System == specialValuesR4 {
			v.System = ""
		}
		return v, nil
	}
	return Value{}, fmt.Errorf("%q has more than one | (one that is part of a value is written \\|)", s)
}

// parseOfType reads system|code|value, all three needed (R4 section 3.1.1.4.10).
func parseOfType(s string) (Value, error) {
	pieces := splitEscaped(s, '|')
	if len(pieces) != 3 || pieces[0] == "" || pieces[1] == "" || pieces[2] == "" {
		return Value{}, fmt.Errorf("%q does not have the form system|code|value of a type and an identifier", s)
	}
	return Value{System: unescape(pieces[0]), HasSystem: true, Code: unescape(pieces[1]) + "|" + unescape(pieces[2]), HasCode: true}, nil
}

// implySystem removes the system from a code that the elements imply it for.
func (c *Clause) implySystem(v *Value) {
	if v.System == "" {
		return
	}
	for _, param := range c.Params {
		if param.System != v.System {
			return
		}
	}
	v.System = ""
}

// The systems of true and false: that of R4 section 3.1.1.4.10, and that of the
// code system that R4 has for it.
const (
	specialValues   = "http://hl7.org/fhir/special-values"
	specialValuesR4 = "http://terminology.hl7.org/CodeSystem/special-values"
)

// cutPrefix splits ge5 into its prefix and the rest.
func cutPrefix(s string) (Op, string) {
	if len(s) > 2 {
		if op, ok := prefixes[s[:2]]; ok {
			return op, s[2:]
		}
	}
	return OpEq, s
}

// date reads a date with a prefix. The + of a time zone that was not encoded
// arrives as a blank.
func (p *parser) date(s string) (Value, error) {
	op, rest := cutPrefix(s)
	if n := len(rest) - 6; n > 10 && rest[n] == ' ' {
		rest = rest[:n] + "+" + rest[n+1:]
	}
	d, ok := parseDate(rest)
	if !ok {
		return Value{}, fmt.Errorf("%q is not a date of the form YYYY[-MM[-DD[Thh:mm[:ss[.sss]][zone]]]]", rest)
	}
	v := Value{Op: op, Lo: d.lo, Hi: d.hi}
	if op == OpEq && p.opt.DateOverlap {
		v.Op = OpOverlap
	}
	if d.finer && v.Op != OpEq && (v.Op != OpNe || p.opt.DateOverlap) {
		// The instant lies between two milliseconds: above lo and below hi.
		v.Lo, v.Hi = d.hi, d.lo
	}
	if op == OpAp {
		distance := p.opt.Now.UnixMilli() - d.lo
		if distance < 0 {
			distance = -distance
		}
		v.Lo, v.Hi = d.lo-distance/10, d.hi+distance/10
	}
	return v, nil
}

// number reads a number with a prefix.
func (p *parser) number(s string) (Value, error) {
	op, rest := cutPrefix(s)
	d, ok := parseDecimal(rest)
	switch {
	case len(rest) > maxLiteral:
		return Value{}, fmt.Errorf("a number has %d characters at most, not %d", maxLiteral, len(rest))
	case !ok:
		return Value{}, fmt.Errorf("%q is not a number, or beyond the range of numbers", rest)
	}
	v := Value{Op: op, Num: d.value, NumLo: d.lo, NumHi: d.hi}
	if p.opt.NumberExact {
		v.NumLo, v.NumHi = d.value, next(d.value)
	}
	if op == OpAp {
		v.NumLo, v.NumHi = d.value-math.Abs(d.value)/10, next(d.value+math.Abs(d.value)/10)
	}
	return v, nil
}

// quantity reads number, number|system|code, number||code and number|system.
func (p *parser) quantity(s string) (Value, error) {
	pieces := splitEscaped(s, '|')
	if len(pieces) > 3 {
		return Value{}, fmt.Errorf("%q has more than two | (one that is part of a value is written \\|)", s)
	}
	v, err := p.number(unescape(pieces[0]))
	if err != nil {
		return Value{}, err
	}
	if len(pieces) > 1 {
		v.System = unescape(pieces[1])
		v.HasSystem = v.System != ""
	}
	if len(pieces) > 2 {
		v.Code = unescape(pieces[2])
		v.HasCode = v.Code != ""
	}
	v.Convert = v.System == ucum.System && v.HasCode && !p.opt.AHDS
	return v, nil
}

// reference reads id, Type/id and an absolute URL; one that begins with our
// own base is local. The version of a local reference does not matter: the
// index has none.
func (p *parser) reference(s string) Value {
	local := s
	if base := p.opt.Base; base != "" {
		if rest, ok := strings.CutPrefix(s, base); ok && strings.HasPrefix(rest, "/") {
			local = rest[1:]
		}
	}
	if typ, id, ok := parseLocal(local); ok {
		return Value{RefType: typ, Code: id, HasCode: true}
	}
	if isID(s) {
		return Value{Code: s, HasCode: true}
	}
	return Value{Text: s}
}

// inferType gives a bare id the type of the modifier, or the only one that the
// parameter points to, so that a store need not look for all types.
func (c *Clause) inferType(typ string, v *Value) {
	if typ != "" {
		switch {
		case v.Text != "" && TypeInURL(v.Text) == typ: // elsewhere
		case v.Text != "" || v.RefType != "" && v.RefType != typ:
			*v = Value{RefType: typ} // of another type: no reference can be both
		default:
			v.RefType = typ
		}
		return
	}
	if v.RefType != "" || v.Text != "" {
		return
	}
	for i, param := range c.Params {
		only := param.onlyTarget()
		if only == "" || i > 0 && only != v.RefType {
			v.RefType = ""
			return
		}
		v.RefType = only
	}
}

// composite reads the parts of a composite, separated by $.
func (p *parser) composite(param *Param, s string) (Value, error) {
	pieces := splitEscaped(s, '$')
	if len(pieces) != len(param.Components) {
		return Value{}, fmt.Errorf("%q has %d parts, the parameter needs %d, separated by $", s, len(pieces), len(param.Components))
	}
	v := Value{Parts: make([]Value, len(pieces))}
	for i, piece := range pieces {
		if piece == "" {
			return Value{}, fmt.Errorf("part %d of %q is empty", i+1, s)
		}
		c := param.Components[i].Param
		part, err := p.value(c.Kind, c, piece)
		if err != nil {
			return Value{}, err
		}
		if c.Kind == Token && part.System == c.System {
			part.System = "" // as implySystem does
		}
		v.Parts[i] = part
	}
	return v, nil
}
