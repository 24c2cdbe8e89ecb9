package fhirpath

import (
	"errors"
	"fmt"
	"time"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// Env is what an expression may know beside its context. The nil Env is legal.
type Env struct {
	// Resource is %resource and %rootResource; when it is absent the context is.
	Resource resource.Node
	// Variables are the other external constants, by name without %.
	Variables map[string][]Value
	// Resolve returns the resource that a reference points to, for resolve().
	// References to contained resources are resolved without it. nil resolves nothing.
	Resolve func(ref string) (resource.Node, bool)
	// Now is the time of now(), today() and timeOfDay(); zero means the clock.
	Now time.Time
	// Trace is called by trace(); nil drops what is traced.
	Trace func(name string, items []Value)
	// MaxSteps bounds the work of one Eval; 0 means 1 million.
	MaxSteps int
}

const (
	defaultMaxSteps = 1_000_000
	maxText         = 1 << 20 // bytes of a computed string
	maxItems        = 100_000 // items of one collection
)

// ErrTooCostly is returned by Eval when the expression needs more steps, or
// makes larger values, than it may.
var ErrTooCostly = errors.New("fhirpath: the expression is too costly for this resource")

// EvalError says what an expression could not do with the data at hand.
type EvalError struct {
	Expr   string
	Offset int // in bytes, of the operator or function
	Msg    string
}

// Error implements error.
func (e *EvalError) Error() string { return fmt.Sprintf("fhirpath: %q: %s", e.Expr, e.Msg) }

// frame holds the variables of one scope. this is $this: one item, or none.
type frame struct {
	this  []Value
	index int
	total []Value
}

// fn is a compiled part of an expression: it appends its result to dst.
type fn func(ev *eval, f *frame, dst []Value) ([]Value, error)

// eval is the state of one evaluation.
type eval struct {
	env   *Env
	root  Value
	left  int // steps
	free  [][]Value
	clock time.Time
}

var noEnv Env

// Eval evaluates the expression on a resource, or on any node inside one
// whose type follows from resourceType; see EvalOn for the others.
func (e *Expr) Eval(root resource.Node, env *Env) ([]Value, error) {
	return e.EvalOn(Root(root), env)
}

// EvalOn evaluates the expression on any value, such as one item of the result
// of another expression. It is how the parts of composite search parameters run.
func (e *Expr) EvalOn(context Value, env *Env) ([]Value, error) {
	if env == nil {
		env = &noEnv
	}
	ev := eval{env: env, root: context, left: env.MaxSteps}
	if ev.left == 0 {
		ev.left = defaultMaxSteps
	}
	f := frame{}
	if context.kind != kindNone {
		f.this = []Value{context}
	}
	return e.run(&ev, &f, nil)
}

// step takes n steps.
func (ev *eval) step(n int) error {
	if ev.left -= n; ev.left < 0 {
		return ErrTooCostly
	}
	return nil
}

// get returns an empty collection to work in; put gives it back.
func (ev *eval) get() []Value {
	if n := len(ev.free); n > 0 {
		s := ev.free[n-1]
		ev.free = ev.free[:n-1]
		return s[:0]
	}
	return make([]Value, 0, 4)
}

func (ev *eval) put(s []Value) {
	if cap(s) > 0 && len(ev.free) < 16 {
		ev.free = append(ev.free, s)
	}
}

func (ev *eval) now() time.Time {
	if ev.clock.IsZero() {
		ev.clock = ev.env.Now
		if ev.clock.IsZero() {
			ev.clock = time.Now()
		}
	}
	return ev.clock
}

// one evaluates x, which must give at most one item.
func (ev *eval) one(x fn, f *frame) (Value, bool, error) {
	buf, err := x(ev, f, ev.get())
	if err != nil {
		return Value{}, false, err
	}
	defer ev.put(buf)
	return single(buf)
}

var errMany = errors.New("a single item is needed here, but there are several")

// single returns the only item of a collection, converted to a System value if
// it is a primitive; ok is false when there is none.
func single(items []Value) (v Value, ok bool, err error) {
	switch len(items) {
	case 0:
		return Value{}, false, nil
	case 1:
		// A primitive that has extensions but no value is nothing to compute with.
		v = items[0].system()
		return v, v.kind != kindNode || v.node.Valid(), nil
	}
	return Value{}, false, errMany
}

// truth is a three-valued boolean.
type truth int8

const (
	unknown truth = iota
	no
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

func (t truth) append(dst []Value) []Value {
	if t == unknown {
		return dst
	}
	return append(dst, Bool(t == yes))
}

// condition evaluates x as a boolean. A single item that is no boolean counts
// as true (N1 section 4.5, singleton evaluation).
func (ev *eval) condition(x fn, f *frame) (truth, error) {
	v, ok, err := ev.one(x, f)
	if err != nil || !ok {
		return unknown, err
	}
	return truthOf(v.kind != kindBoolean || v.i != 0), nil
}

// criterion evaluates the argument of where() and its like, which must be a boolean.
func (ev *eval) criterion(x fn, f *frame) (bool, error) {
	if err := ev.step(1); err != nil {
		return false, err
	}
	v, ok, err := ev.one(x, f)
	if err != nil || !ok {
		return false, err
	}
	if v.kind != kindBoolean {
		return false, errors.New("the criterion is not a boolean")
	}
	return v.i != 0, nil
}
