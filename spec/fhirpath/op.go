package fhirpath

import (
	"errors"
	"fmt"
)

func (c *compiler) unary(x *unary) (fn, error) {
	operand, err := c.compile(x.x)
	if err != nil {
		return nil, err
	}
	return func(ev *eval, f *frame, dst []Value) ([]Value, error) {
		v, ok, err := ev.one(operand, f)
		if err != nil || !ok {
			return dst, c.locate(err, x.pos)
		}
		if x.op == "-" {
			if v, ok = v.negated(); !ok {
				return nil, c.located(errors.New("only a number or a quantity has a sign"), x.pos)
			}
		} else if v.kind != kindInteger && v.kind != kindDecimal && v.kind != kindQuantity {
			return nil, c.located(errors.New("only a number or a quantity has a sign"), x.pos)
		}
		return append(dst, v), nil
	}, nil
}

// locate is located, but keeps nil.
func (c *compiler) locate(err error, pos int) error {
	if err == nil {
		return nil
	}
	return c.located(err, pos)
}

func (v Value) negated() (Value, bool) {
	switch v.kind {
	case kindInteger:
		return Integer(-v.i), true
	case kindDecimal:
		return decimalValue(v.p.(*decimal).neg()), true
	case kindQuantity:
		q := *v.p.(*quantity)
		q.val = q.val.neg()
		return Value{kind: kindQuantity, p: &q}, true
	}
	return v, false
}

// binary compiles an infix operator.
func (c *compiler) binary(x *binary) (fn, error) {
	l, err := c.compile(x.l)
	if err != nil {
		return nil, err
	}
	r, err := c.compile(x.r)
	if err != nil {
		return nil, err
	}
	var run func(ev *eval, f *frame, l, r fn, dst []Value) ([]Value, error)
	switch x.op {
	case "and", "or", "xor", "implies":
		run = logic(x.op)
	case "=", "!=", "~", "!~", "in", "contains", "|":
		run = collections(x.op)
	case "<", "<=", ">", ">=":
		run = singles(comparison(x.op))
	case "&":
		run = concatenate
	default:
		run = singles(arithmetic[x.op])
	}
	return func(ev *eval, f *frame, dst []Value) ([]Value, error) {
		if err := ev.step(1); err != nil {
			return nil, err
		}
		dst, err := run(ev, f, l, r, dst)
		return dst, c.locate(err, x.pos)
	}, nil
}

// logic is three-valued (N1 section 6.5). The right side is not evaluated when
// the left one decides.
func logic(op string) func(*eval, *frame, fn, fn, []Value) ([]Value, error) {
	return func(ev *eval, f *frame, l, r fn, dst []Value) ([]Value, error) {
		a, err := ev.condition(l, f)
		if err != nil {
			return nil, err
		}
		switch {
		case op == "and" && a == no:
			return append(dst, Bool(false)), nil
		case op == "or" && a == yes, op == "implies" && a == no:
			return append(dst, Bool(true)), nil
		}
		b, err := ev.condition(r, f)
		if err != nil {
			return nil, err
		}
		return combine(op, a, b).append(dst), nil
	}
}

func combine(op string, a, b truth) truth {
	switch op {
	case "and":
		if b == no {
			return no
		}
		return min(a, b) // unknown if either is, else yes
	case "or":
		if b == yes {
			return yes
		}
		return min(a, b) // unknown if either is, else no
	case "xor":
		if a == unknown || b == unknown {
			return unknown
		}
		return truthOf(a != b)
	}
	// implies, with a yes or unknown.
	if b == yes || a == yes {
		return b
	}
	return unknown
}

// collections are the operators that take whole collections.
func collections(op string) func(*eval, *frame, fn, fn, []Value) ([]Value, error) {
	return func(ev *eval, f *frame, l, r fn, dst []Value) ([]Value, error) {
		a, err := l(ev, f, ev.get())
		if err != nil {
			return nil, err
		}
		b, err := r(ev, f, ev.get())
		if err != nil {
			return nil, err
		}
		defer ev.put(a)
		defer ev.put(b)
		switch op {
		case "|":
			dst, err = ev.union(a, b, dst)
		case "=", "!=":
			var t truth
			t, err = ev.equalAll(a, b)
			if t != unknown && op == "!=" {
				t = yes + no - t
			}
			dst = t.append(dst)
		case "~", "!~":
			var same bool
			same, err = ev.equivalentAll(a, b)
			dst = append(dst, Bool(same == (op == "~")))
		case "in":
			dst, err = ev.member(a, b, dst)
		case "contains":
			dst, err = ev.member(b, a, dst)
		}
		return dst, err
	}
}

// member is "item in set".
func (ev *eval) member(item, set []Value, dst []Value) ([]Value, error) {
	if len(item) == 0 {
		return dst, nil
	}
	if len(item) > 1 {
		return nil, errMany
	}
	found, err := ev.has(set, item[0])
	return append(dst, Bool(found)), err
}

// has reports whether a collection holds an item equal to v.
func (ev *eval) has(set []Value, v Value) (bool, error) {
	for _, w := range set {
		t, err := ev.equal(v, w)
		if err != nil || t == yes {
			return t == yes, err
		}
	}
	return false, nil
}

// union appends the items of both without duplicates.
func (ev *eval) union(a, b []Value, dst []Value) ([]Value, error) {
	start := len(dst)
	for _, part := range [2][]Value{a, b} {
		for _, v := range part {
			found, err := ev.has(dst[start:], v)
			if err != nil {
				return nil, err
			}
			if !found {
				dst = append(dst, v)
			}
		}
	}
	return dst, nil
}

// concatenate is &: an empty operand counts as the empty string.
func concatenate(ev *eval, f *frame, l, r fn, dst []Value) ([]Value, error) {
	a, ok, err := ev.one(l, f)
	if err != nil {
		return nil, err
	}
	b, ok2, err := ev.one(r, f)
	if err != nil {
		return nil, err
	}
	if ok && a.kind != kindString || ok2 && b.kind != kindString {
		return nil, errors.New("& takes strings")
	}
	return ev.appendText(dst, a.s+b.s)
}

// appendText appends a computed string, within the limit.
func (ev *eval) appendText(dst []Value, s string) ([]Value, error) {
	if len(s) > maxText {
		return nil, ErrTooCostly
	}
	return append(dst, String(s)), ev.step(1 + len(s)/64)
}

// pair computes one operator on two single items; a result of kind none is empty.
type pair func(ev *eval, a, b Value) (Value, error)

// singles evaluates both sides to single items; empty in, empty out.
func singles(op pair) func(*eval, *frame, fn, fn, []Value) ([]Value, error) {
	return func(ev *eval, f *frame, l, r fn, dst []Value) ([]Value, error) {
		a, ok, err := ev.one(l, f)
		if err != nil {
			return nil, err
		}
		b, ok2, err := ev.one(r, f)
		if err != nil || !ok || !ok2 {
			return dst, err
		}
		v, err := op(ev, a, b)
		if err != nil {
			return nil, err
		}
		return appendNonzero(dst, v), nil
	}
}

func comparison(op string) pair {
	return func(_ *eval, a, b Value) (Value, error) {
		c, known, err := compare(a, b)
		if err != nil || !known {
			return Value{}, err
		}
		switch op {
		case "<":
			return Bool(c < 0), nil
		case "<=":
			return Bool(c <= 0), nil
		case ">":
			return Bool(c > 0), nil
		}
		return Bool(c >= 0), nil
	}
}

// errTypes reports operands that an operator does not take.
func errTypes(op string, a, b Value) error {
	return fmt.Errorf("%s does not take %s and %s", op, a.describe(), b.describe())
}

func (v Value) describe() string {
	if t := v.Type(); t != "" {
		return t
	}
	return "an element of unknown type"
}
