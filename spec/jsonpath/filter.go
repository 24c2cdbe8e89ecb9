package jsonpath

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// condition is what a filter asks of a value.
type condition interface {
	holds(root, v jsonvalue.Value) bool
}

// all is a && b.
type all struct{ list []condition }

func (a *all) holds(root, v jsonvalue.Value) bool {
	for _, c := range a.list {
		if !c.holds(root, v) {
			return false
		}
	}
	return true
}

// some is a || b.
type some struct{ list []condition }

func (s *some) holds(root, v jsonvalue.Value) bool {
	for _, c := range s.list {
		if c.holds(root, v) {
			return true
		}
	}
	return false
}

// operator compares two values.
type operator uint8

const (
	exists operator = iota
	equal
	notEqual
	strictEqual
	strictNotEqual
	less
	lessEqual
	greater
	greaterEqual
	matches
)

// operand is one side of a comparison: a path from the root or from the
// candidate, or a literal.
type operand struct {
	path    []step
	isPath  bool
	root    bool
	literal jsonvalue.Value
	re      *regexp.Regexp
}

func (o operand) each(root, v jsonvalue.Value, found yield) {
	switch {
	case !o.isPath:
		found(o.literal)
	case o.root:
		walk(o.path, root, root, found)
	default:
		walk(o.path, root, v, found)
	}
}

// compare is left op right; it holds when any pair of their values does.
type compare struct {
	left, right operand
	op          operator
}

func (c compare) holds(root, v jsonvalue.Value) bool {
	held := false
	c.left.each(root, v, func(l jsonvalue.Value) bool {
		if c.op == exists {
			held = true
			return false
		}
		c.right.each(root, v, func(r jsonvalue.Value) bool {
			held = c.pair(l, r)
			return !held
		})
		return !held
	})
	return held
}

func (c compare) pair(l, r jsonvalue.Value) bool {
	if c.op == matches {
		return c.right.re != nil && l.Kind() == resource.String && c.right.re.MatchString(l.Text())
	}
	if !l.Scalar() || !r.Scalar() {
		return c.op == notEqual // objects and arrays are only ever different
	}
	switch c.op {
	case equal:
		return sameScalar(l, r)
	case notEqual:
		return !sameScalar(l, r)
	case strictEqual:
		return sameScalar(l, r)
	case strictNotEqual:
		return !sameScalar(l, r)
	}
	order, ok := orderOf(l, r)
	if !ok {
		return false
	}
	switch c.op {
	case less:
		return order < 0
	case lessEqual:
		return order <= 0
	case greater:
		return order > 0
	default:
		return order >= 0
	}
}

// sameScalar is equality without conversion, but for whole numbers and fractions.
func sameScalar(l, r jsonvalue.Value) bool {
	if l.Kind() != r.Kind() {
		return false
	}
	if l.Kind() == resource.Number {
		return jsonvalue.CompareNumbers(l.Text(), r.Text()) == 0
	}
	return l.Text() == r.Text()
}

// orderOf compares in the type of the left side, or of the right one when the
// left is text. Null comes first. False: the other side has no such value.
func orderOf(l, r jsonvalue.Value) (int, bool) {
	lk, rk := l.Kind(), r.Kind()
	switch {
	case lk == resource.Null && rk == resource.Null:
		return 0, true
	case lk == resource.Null:
		return -1, true
	case rk == resource.Null:
		return 1, true
	}
	kind := lk
	if lk == resource.String {
		kind = rk
	}
	switch kind {
	case resource.Number:
		a, ok1 := number(l)
		b, ok2 := number(r)
		if !ok1 || !ok2 {
			return 0, false
		}
		return jsonvalue.CompareNumbers(a, b), true
	case resource.Bool:
		a, ok1 := truth(l)
		b, ok2 := truth(r)
		return a - b, ok1 && ok2
	}
	return strings.Compare(l.Text(), r.Text()), true
}

func number(v jsonvalue.Value) (string, bool) {
	switch v.Kind() {
	case resource.Number:
		return v.Text(), true
	case resource.Bool:
		return strconv.Itoa(btoi(v.Text() == "true")), true
	}
	s := strings.TrimSpace(v.Text())
	_, err := strconv.ParseFloat(s, 64)
	return s, err == nil
}

func truth(v jsonvalue.Value) (int, bool) {
	switch v.Kind() {
	case resource.Bool:
		return btoi(v.Text() == "true"), true
	case resource.Number:
		return btoi(jsonvalue.CompareNumbers(v.Text(), "0") != 0), true
	}
	b, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(v.Text())))
	return btoi(b), err == nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
