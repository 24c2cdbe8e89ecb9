package jmespath

import (
	"fmt"

	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/resource"
)

type value = jsonvalue.Value

// node is a part of an expression. The result is never absent: null stands for
// what is not there.
type node interface {
	eval(v value) (value, error)
}

// EvalError says why an expression has no result for a value: a function got
// what it cannot take.
type EvalError struct{ Msg string }

// Error implements error.
func (e *EvalError) Error() string { return e.Msg }

func evalError(format string, args ...any) error { return &EvalError{fmt.Sprintf(format, args...)} }

// Eval returns the result of the expression, null when nothing matches. The
// error is an *EvalError.
func (e *Expr) Eval(v jsonvalue.Value) (jsonvalue.Value, error) { return e.root.eval(v) }

func orNull(v value) value {
	if !v.Valid() {
		return jsonvalue.Null()
	}
	return v
}

// isFalse follows "truth-like values": null, false and whatever is empty are false.
func isFalse(v value) bool {
	switch v.Kind() {
	case resource.Null, resource.Absent:
		return true
	case resource.Bool:
		return v.Text() == "false"
	case resource.String:
		return v.Text() == ""
	case resource.Array, resource.Object:
		return v.Len() == 0
	}
	return false
}

type field struct{ name string }

func (n field) eval(v value) (value, error) { return orNull(v.Get(n.name)), nil }

type current struct{}

func (current) eval(v value) (value, error) { return v, nil }

type literal struct{ v value }

func (n literal) eval(value) (value, error) { return n.v, nil }

// group is (x); it ends a projection inside of it.
type group struct{ x node }

func (n group) eval(v value) (value, error) { return n.x.eval(v) }

type not struct{ x node }

func (n not) eval(v value) (value, error) {
	x, err := n.x.eval(v)
	return jsonvalue.Bool(isFalse(x)), err
}

// chain is left.right.
type chain struct{ left, right node }

func (n chain) eval(v value) (value, error) {
	l, err := n.left.eval(v)
	if err != nil || l.IsNull() {
		return jsonvalue.Null(), err
	}
	return n.right.eval(l)
}

// pipe is left | right: right sees the projection of left as one list.
type pipe struct{ left, right node }

func (n pipe) eval(v value) (value, error) {
	l, err := n.left.eval(v)
	if err != nil {
		return l, err
	}
	return n.right.eval(l)
}

type or struct{ left, right node }

func (n or) eval(v value) (value, error) {
	l, err := n.left.eval(v)
	if err != nil || !isFalse(l) {
		return l, err
	}
	return n.right.eval(v)
}

type and struct{ left, right node }

func (n and) eval(v value) (value, error) {
	l, err := n.left.eval(v)
	if err != nil || isFalse(l) {
		return l, err
	}
	return n.right.eval(v)
}

type comparison struct {
	op          kind
	left, right node
}

func (n comparison) eval(v value) (value, error) {
	l, err := n.left.eval(v)
	if err != nil {
		return l, err
	}
	r, err := n.right.eval(v)
	if err != nil {
		return r, err
	}
	switch n.op {
	case tEQ:
		return jsonvalue.Bool(jsonvalue.Equal(l, r)), nil
	case tNE:
		return jsonvalue.Bool(!jsonvalue.Equal(l, r)), nil
	}
	if l.Kind() != resource.Number || r.Kind() != resource.Number {
		return jsonvalue.Null(), nil // ordering is for numbers only
	}
	c := jsonvalue.CompareNumbers(l.Text(), r.Text())
	return jsonvalue.Bool(n.op == tLT && c < 0 || n.op == tLE && c <= 0 || n.op == tGT && c > 0 || n.op == tGE && c >= 0), nil
}

type item struct {
	of node
	at int
}

func (n item) eval(v value) (value, error) {
	l, err := n.of.eval(v)
	if err != nil {
		return l, err
	}
	i := n.at
	if i < 0 {
		i += l.Len()
	}
	return orNull(l.At(i)), nil
}

// The sources of projections yield an array, or null when there is none.

type elements struct{ of node }

func (n elements) eval(v value) (value, error) {
	l, err := n.of.eval(v)
	if err != nil || l.Kind() != resource.Array {
		return jsonvalue.Null(), err
	}
	return l, nil
}

type values struct{ of node }

func (n values) eval(v value) (value, error) {
	l, err := n.of.eval(v)
	if err != nil || l.Kind() != resource.Object {
		return jsonvalue.Null(), err
	}
	return jsonvalue.Array(collect(l)...), nil
}

func collect(v value) []value {
	out := make([]value, 0, 8)
	for c := range v.Children() {
		out = append(out, c)
	}
	return out
}

type flatten struct{ of node }

func (n flatten) eval(v value) (value, error) {
	l, err := n.of.eval(v)
	if err != nil || l.Kind() != resource.Array {
		return jsonvalue.Null(), err
	}
	var out []value
	for c := range l.Children() {
		if c.Kind() == resource.Array {
			out = append(out, collect(c)...)
		} else {
			out = append(out, c)
		}
	}
	return jsonvalue.Array(out...), nil
}

type filtered struct{ of, cond node }

func (n filtered) eval(v value) (value, error) {
	l, err := n.of.eval(v)
	if err != nil || l.Kind() != resource.Array {
		return jsonvalue.Null(), err
	}
	var out []value
	for c := range l.Children() {
		keep, err := n.cond.eval(c)
		if err != nil {
			return keep, err
		}
		if !isFalse(keep) {
			out = append(out, c)
		}
	}
	return jsonvalue.Array(out...), nil
}

type sliced struct {
	of    node
	parts [3]*int
}

func (n sliced) eval(v value) (value, error) {
	l, err := n.of.eval(v)
	if err != nil || l.Kind() != resource.Array {
		return jsonvalue.Null(), err
	}
	list := collect(l)
	size, by := len(list), 1
	if n.parts[2] != nil {
		by = *n.parts[2]
	}
	bound := func(p *int, low, high, def int) int {
		if p == nil {
			return def
		}
		i := *p
		if i < 0 {
			i += size
		}
		return min(max(i, low), high)
	}
	var out []value
	if by > 0 {
		for i := bound(n.parts[0], 0, size, 0); i < bound(n.parts[1], 0, size, size); i += by {
			out = append(out, list[i])
		}
	} else {
		for i := bound(n.parts[0], -1, size-1, size-1); i > bound(n.parts[1], -1, size-1, -1); i += by {
			out = append(out, list[i])
		}
	}
	return jsonvalue.Array(out...), nil
}

// projection applies each to the items of a list and drops nulls.
type projection struct{ of, each node }

func (n projection) eval(v value) (value, error) {
	l, err := n.of.eval(v)
	if err != nil || l.Kind() != resource.Array {
		return jsonvalue.Null(), err
	}
	var out []value
	for c := range l.Children() {
		r, err := n.each.eval(c)
		if err != nil {
			return r, err
		}
		if !r.IsNull() {
			out = append(out, r)
		}
	}
	return jsonvalue.Array(out...), nil
}

type multiList struct{ items []node }

func (n multiList) eval(v value) (value, error) {
	if v.IsNull() {
		return jsonvalue.Null(), nil
	}
	out, err := evalAll(n.items, v)
	return jsonvalue.Array(out...), err
}

type multiHash struct {
	names []string
	items []node
}

func (n multiHash) eval(v value) (value, error) {
	if v.IsNull() {
		return jsonvalue.Null(), nil
	}
	out, err := evalAll(n.items, v)
	return jsonvalue.Object(n.names, out), err
}

func evalAll(list []node, v value) ([]value, error) {
	out := make([]value, len(list))
	for i, x := range list {
		r, err := x.eval(v)
		if err != nil {
			return nil, err
		}
		out[i] = r
	}
	return out, nil
}

// reference is &x, the argument of map, sort_by and the like.
type reference struct{ x node }

func (n reference) eval(v value) (value, error) { return n.x.eval(v) }

type call struct {
	name string
	f    function
	args []node
}

func (n call) eval(v value) (value, error) {
	args := make([]value, len(n.args))
	var each node
	for i, a := range n.args {
		if r, ok := a.(reference); ok {
			each = r.x
			continue
		}
		x, err := a.eval(v)
		if err != nil {
			return x, err
		}
		args[i] = x
	}
	r, err := n.f.do(args, each)
	if err != nil {
		return jsonvalue.Null(), evalError("%s: %s", n.name, err.Error())
	}
	return r, nil
}
