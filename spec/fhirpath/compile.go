package fhirpath

import (
	"errors"
	"fmt"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// Expr is a compiled expression. It is immutable and may be used by many
// goroutines at once.
type Expr struct {
	src  string
	root ast
	run  fn
}

// Compile parses an expression and turns it into an Expr. The error is a
// *SyntaxError.
func Compile(expr string) (*Expr, error) {
	root, err := parse(expr)
	if err != nil {
		return nil, err
	}
	c := &compiler{src: expr}
	run, err := c.compile(root)
	if err != nil {
		return nil, err
	}
	return &Expr{src: expr, root: root, run: run}, nil
}

// String returns the text of the expression.
func (e *Expr) String() string { return e.src }

type compiler struct{ src string }

func (c *compiler) fail(pos int, format string, args ...any) error {
	return &SyntaxError{Expr: c.src, Offset: pos, Msg: fmt.Sprintf(format, args...)}
}

// located gives an error of evaluation its place in the expression; the
// innermost place wins.
func (c *compiler) located(err error, pos int) error {
	if _, ok := errors.AsType[*EvalError](err); ok || errors.Is(err, ErrTooCostly) {
		return err
	}
	return &EvalError{Expr: c.src, Offset: pos, Msg: err.Error()}
}

func (c *compiler) compile(a ast) (fn, error) {
	switch x := a.(type) {
	case *literal:
		if x.val.kind == kindNone {
			return func(_ *eval, _ *frame, dst []Value) ([]Value, error) { return dst, nil }, nil
		}
		val := x.val
		return func(_ *eval, _ *frame, dst []Value) ([]Value, error) { return append(dst, val), nil }, nil
	case *variable:
		return compileVariable(x.name), nil
	case *external:
		return c.external(x), nil
	case *member:
		return c.member(x)
	case *call:
		return c.call(x)
	case *index:
		return c.index(x)
	case *unary:
		return c.unary(x)
	case *binary:
		return c.binary(x)
	case *typeOp:
		return c.typed(x.pos, x.op, x.x, x.typ)
	}
	return nil, c.fail(a.offset(), "not supported")
}

func this(_ *eval, f *frame, dst []Value) ([]Value, error) { return append(dst, f.this...), nil }

// receiver compiles what stands before the dot; without it the context is meant.
func (c *compiler) receiver(a ast) (fn, error) {
	if a == nil {
		return this, nil
	}
	return c.compile(a)
}

func compileVariable(name string) fn {
	switch name {
	case "index":
		return func(_ *eval, f *frame, dst []Value) ([]Value, error) {
			return append(dst, Integer(int64(f.index))), nil
		}
	case "total":
		return func(_ *eval, f *frame, dst []Value) ([]Value, error) { return append(dst, f.total...), nil }
	}
	return this
}

// external compiles %name (N1 section 9, http://hl7.org/fhir/R4/fhirpath.html#variables).
func (c *compiler) external(x *external) fn {
	return func(ev *eval, _ *frame, dst []Value) ([]Value, error) {
		if v, ok := ev.env.Variables[x.name]; ok {
			return append(dst, v...), nil
		}
		switch x.name {
		case "context":
			return appendNonzero(dst, ev.root), nil
		case "resource", "rootResource":
			if ev.env.Resource.Valid() {
				return append(dst, Root(ev.env.Resource)), nil
			}
			return appendNonzero(dst, ev.root), nil
		case "ucum":
			return append(dst, String("http://unitsofmeasure.org")), nil
		case "sct":
			return append(dst, String("http://snomed.info/sct")), nil
		case "loinc":
			return append(dst, String("http://loinc.org")), nil
		}
		if url, ok := externalURL(x.name); ok {
			return append(dst, String(url)), nil
		}
		return nil, c.located(fmt.Errorf("the variable %%%s is not defined", x.name), x.pos)
	}
}

func appendNonzero(dst []Value, v Value) []Value {
	if v.kind == kindNone {
		return dst
	}
	return append(dst, v)
}

// externalURL expands %`vs-name` and %`ext-name`.
func externalURL(name string) (string, bool) {
	if len(name) > 3 && name[:3] == "vs-" {
		return "http://hl7.org/fhir/ValueSet/" + name[3:], true
	}
	if len(name) > 4 && name[:4] == "ext-" {
		return "http://hl7.org/fhir/StructureDefinition/" + name[4:], true
	}
	return "", false
}

func (c *compiler) member(x *member) (fn, error) {
	step := newStep(x.name)
	if x.recv == nil {
		if isTypeLike(x.name) {
			return c.rootType(x, step), nil
		}
		return func(ev *eval, f *frame, dst []Value) ([]Value, error) {
			return ev.walk(f.this, &step, dst)
		}, nil
	}
	recv, err := c.compile(x.recv)
	if err != nil {
		return nil, err
	}
	return func(ev *eval, f *frame, dst []Value) ([]Value, error) {
		in, err := recv(ev, f, ev.get())
		if err != nil {
			return nil, err
		}
		dst, err = ev.walk(in, &step, dst)
		ev.put(in)
		return dst, err
	}, nil
}

// walk appends the named elements of all items.
func (ev *eval) walk(in []Value, step *pathStep, dst []Value) ([]Value, error) {
	if err := ev.step(1 + len(in)); err != nil {
		return nil, err
	}
	start := len(dst)
	for _, v := range in {
		dst = v.child(step, dst)
	}
	if len(dst) > maxItems {
		return nil, ErrTooCostly
	}
	return dst, ev.step(len(dst) - start)
}

// rootType compiles a type name at the start of a path: it keeps the context
// if that has the type (N1 section 3). A name that is no type of R4 may be a
// member of a resource of an unknown type.
func (c *compiler) rootType(x *member, step pathStep) fn {
	known := r4.Lookup(x.name) != nil
	return func(ev *eval, f *frame, dst []Value) ([]Value, error) {
		for _, v := range f.this {
			switch {
			case v.kind != kindNode:
			case v.typ != nil:
				if known && derives(v.typ, x.name) {
					dst = append(dst, v)
				}
			case v.node.Get("resourceType").Is(x.name):
				dst = append(dst, v)
			default:
				dst = v.child(&step, dst)
			}
		}
		return dst, ev.step(1)
	}
}

func (c *compiler) index(x *index) (fn, error) {
	recv, err := c.compile(x.recv)
	if err != nil {
		return nil, err
	}
	at, err := c.compile(x.at)
	if err != nil {
		return nil, err
	}
	return func(ev *eval, f *frame, dst []Value) ([]Value, error) {
		in, err := recv(ev, f, ev.get())
		if err != nil {
			return nil, err
		}
		defer ev.put(in)
		v, ok, err := ev.one(at, f)
		if err == nil && ok && v.kind != kindInteger {
			err = errors.New("an index must be an integer")
		}
		if err != nil {
			return nil, c.located(err, x.pos)
		}
		if ok && v.i >= 0 && v.i < int64(len(in)) {
			dst = append(dst, in[v.i])
		}
		return dst, nil
	}, nil
}

// typed compiles is and as, both the operators and the functions. "resolve() is
// Patient" asks the text of the reference, so that nothing has to be fetched.
func (c *compiler) typed(pos int, op string, operand ast, t typeName) (fn, error) {
	if !t.known() {
		return nil, c.fail(pos, "unknown type %s", t)
	}
	if r, ok := operand.(*call); ok && op == "is" && r.name == "resolve" && len(r.args) == 0 {
		recv, err := c.receiver(r.recv)
		if err != nil {
			return nil, err
		}
		return func(ev *eval, f *frame, dst []Value) ([]Value, error) {
			return ev.resolvesTo(recv, f, t, dst)
		}, nil
	}
	x, err := c.receiver(operand)
	if err != nil {
		return nil, err
	}
	return func(ev *eval, f *frame, dst []Value) ([]Value, error) {
		in, err := x(ev, f, ev.get())
		if err != nil {
			return nil, err
		}
		defer ev.put(in)
		if op != "is" {
			for _, v := range in {
				if v.as(t) {
					dst = append(dst, v)
				}
			}
			return dst, ev.step(len(in))
		}
		if len(in) > 1 {
			return nil, c.located(errMany, pos)
		}
		if len(in) == 1 {
			dst = append(dst, Bool(in[0].is(t)))
		}
		return dst, nil
	}, nil
}

func (c *compiler) call(x *call) (fn, error) {
	switch x.name {
	case "is", "as", "ofType":
		if len(x.args) != 1 {
			return nil, c.fail(x.pos, "%s() takes one type", x.name)
		}
		t, ok := asTypeName(x.args[0])
		if !ok {
			return nil, c.fail(x.args[0].offset(), "%s() takes the name of a type", x.name)
		}
		return c.typed(x.pos, x.name, x.recv, t)
	}
	def, ok := functions[x.name]
	if !ok {
		return nil, c.fail(x.pos, "unknown function %s()", x.name)
	}
	if len(x.args) < def.min || len(x.args) > def.max {
		return nil, c.fail(x.pos, "%s() takes %s, not %d", x.name, def.arity(), len(x.args))
	}
	recv, err := c.receiver(x.recv)
	if err != nil {
		return nil, err
	}
	args := make([]fn, len(x.args))
	desc := make([]bool, len(x.args))
	for i, a := range x.args {
		if u, ok := a.(*unary); ok && x.name == "sort" && u.op == "-" {
			a, desc[i] = u.x, true // -key means descending, whatever its type
		}
		if args[i], err = c.compile(a); err != nil {
			return nil, err
		}
	}
	return func(ev *eval, f *frame, dst []Value) ([]Value, error) {
		in, err := recv(ev, f, ev.get())
		if err != nil {
			return nil, err
		}
		if err = ev.step(1 + len(in)); err != nil {
			return nil, err
		}
		dst, err = def.run(&invocation{ev: ev, f: f, in: in, args: args, desc: desc}, dst)
		if err != nil {
			return nil, c.located(err, x.pos)
		}
		ev.put(in)
		if len(dst) > maxItems {
			return nil, ErrTooCostly
		}
		return dst, nil
	}, nil
}
