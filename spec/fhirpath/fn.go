package fhirpath

import (
	"errors"
	"fmt"
	"maps"
	"math"
)

// invocation is one call of a function: its input, and its arguments still to
// be evaluated, each in the scope that the function chooses.
type invocation struct {
	ev   *eval
	f    *frame
	in   []Value
	args []fn
	desc []bool // sort(): which keys descend
	// noFlags says that the second argument is no list of regular expression flags.
	noFlags bool
}

// function is an entry of the function tables.
type function struct {
	min, max int // arguments
	run      func(c *invocation, dst []Value) ([]Value, error)
}

func (f function) arity() string {
	switch {
	case f.min == f.max && f.min == 1:
		return "1 argument"
	case f.min == f.max:
		return fmt.Sprintf("%d arguments", f.min)
	case f.max == math.MaxInt:
		return fmt.Sprintf("%d arguments or more", f.min)
	}
	return fmt.Sprintf("%d to %d arguments", f.min, f.max)
}

// functions are all functions but is, as and ofType, which take a type.
var functions = merge(collectionFunctions, stringFunctions, mathFunctions, conversionFunctions, typeConversions(), fhirFunctions)

func merge(tables ...map[string]function) map[string]function {
	all := make(map[string]function)
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

// arg evaluates argument i, in the scope of the call, to at most one item.
func (c *invocation) arg(i int) (Value, bool, error) { return c.ev.one(c.args[i], c.f) }

// str evaluates argument i to a string; false when it is empty.
func (c *invocation) str(i int) (string, bool, error) {
	v, ok, err := c.arg(i)
	if err == nil && ok && v.kind != kindString {
		err = fmt.Errorf("argument %d must be a string, not %s", i+1, v.describe())
	}
	return v.s, ok, err
}

// integer evaluates argument i to an integer; false when it is empty.
func (c *invocation) integer(i int) (int64, bool, error) {
	v, ok, err := c.arg(i)
	if err == nil && ok && v.kind != kindInteger {
		err = fmt.Errorf("argument %d must be an integer, not %s", i+1, v.describe())
	}
	return v.i, ok, err
}

// input returns the only input item.
func (c *invocation) input() (Value, bool, error) { return single(c.in) }

// text returns the input as a string.
func (c *invocation) text() (string, bool, error) {
	v, ok, err := c.input()
	if err == nil && ok && v.kind != kindString {
		err = fmt.Errorf("the input must be a string, not %s", v.describe())
	}
	return v.s, ok, err
}

// each calls visit with a scope for every input item: $this and $index are set.
func (c *invocation) each(visit func(i int, f *frame) (more bool, err error)) error {
	f := frame{total: c.f.total}
	for i := range c.in {
		if err := c.ev.step(1); err != nil {
			return err
		}
		f.this, f.index = c.in[i:i+1:i+1], i
		more, err := visit(i, &f)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// slice is a function that keeps a range of the input.
func slice(keep func(in []Value, n int64) []Value) function {
	return function{1, 1, func(c *invocation, dst []Value) ([]Value, error) {
		n, ok, err := c.integer(0)
		if err != nil || !ok {
			return dst, err
		}
		return append(dst, keep(c.in, n)...), nil
	}}
}

// plain is a function of the input collection alone.
func plain(run func(in []Value, dst []Value) []Value) function {
	return function{0, 0, func(c *invocation, dst []Value) ([]Value, error) { return run(c.in, dst), nil }}
}

// allAre makes allTrue and its family: the answer for no items, and the
// item that turns it around.
func allAre(none bool, turn int64) function {
	return function{0, 0, func(c *invocation, dst []Value) ([]Value, error) {
		for _, v := range c.in {
			s := v.system()
			if s.kind != kindBoolean {
				return nil, errors.New("the input must be booleans")
			}
			if s.i == turn {
				return append(dst, Bool(!none)), nil
			}
		}
		return append(dst, Bool(none)), nil
	}}
}
