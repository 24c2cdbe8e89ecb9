package search

import (
	"errors"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// maxDepth is how many references one parameter may follow.
const maxDepth = 8

// inner returns a parser for what stands behind a reference. It is strict, so
// that the caller sees what is wrong and can decide about the whole parameter.
func (p *parser) inner(name string) (*parser, error) {
	if p.depth == maxDepth {
		return nil, &Error{Param: name, Code: "too-costly", Msg: "the parameter follows too many references"}
	}
	in := *p
	in.opt.Strict = true
	in.depth++
	return &in, nil
}

// chain parses head.rest: head is a reference parameter, maybe with the type
// that it is followed to (R4 section 3.1.1.4.13).
func (p *parser) chain(types []string, name, head, rest, value string) (*Clause, error) {
	code, target, typed := strings.Cut(head, ":")
	c := &Clause{Name: name, path: head + "."}
	if ok, err := p.define(c, types, code); !ok {
		return nil, err
	}
	if c.Field != FieldParam || c.kind() != Reference {
		return nil, invalid(name, "%s is no reference, and only a reference can be followed", code)
	}
	if err := c.checkChain(rest); err != nil {
		return nil, err
	}
	targets := c.targets()
	if typed {
		switch {
		case !r4.IsResource(target):
			return nil, invalid(name, "%q is not a resource type of FHIR R4", target)
		case targets != nil && !slices.Contains(targets, target):
			return nil, invalid(name, "%s does not point to %s", code, target)
		}
		targets = []string{target}
	}
	if targets == nil {
		targets = r4.ResourceTypes()
	}
	in, err := p.inner(name)
	if err != nil {
		return nil, err
	}
	var first error
	for _, t := range targets {
		next, err := in.clause([]string{t}, name, rest, value)
		if err != nil {
			first = better(first, err)
			continue
		}
		c.Chain = append(c.Chain, Chain{Target: t, Next: next})
	}
	if len(c.Chain) == 0 {
		return nil, p.leaveOutUnknown(first, targets, name, rest)
	}
	return c, nil
}

// better returns the error that says more: a mistake in the value or the
// modifier rather than that another type has no such parameter.
func better(a, b error) error {
	if a == nil {
		return b
	}
	if e, ok := errors.AsType[*Error](a); ok && e.Code == "not-supported" {
		return b
	}
	return a
}

// leaveOutUnknown leaves a chain out that ends at a parameter that no type has;
// any other mistake is an error.
func (p *parser) leaveOutUnknown(err error, types []string, name, rest string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != "not-supported" || e.Modifier {
		return err
	}
	if len(types) > 1 {
		e = notSupported(name, "none of the types that it leads to has the search parameter %q", rest)
	}
	return p.leaveOut(e)
}

// targets returns the types that the references of a clause may point to, nil for any.
func (c *Clause) targets() []string {
	var out []string
	for _, param := range c.Params {
		list := param.Targets
		if param.PartTarget != "" {
			list = []string{param.PartTarget}
		}
		if len(list) == 0 || slices.Contains(list, "Resource") {
			return nil
		}
		for _, t := range list {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out
}

// has parses what follows _has: Type:reference:rest (R4 section 3.1.1.4.14).
func (p *parser) has(types []string, name, key, value string) (*Clause, error) {
	pieces := strings.SplitN(key, ":", 3)
	if len(pieces) < 3 {
		return nil, invalid(name, "it must have the form _has:Type:reference:parameter")
	}
	typ, code := pieces[0], pieces[1]
	if !r4.IsResource(typ) {
		return nil, invalid(name, "%q is not a resource type of FHIR R4", typ)
	}
	ref := p.reg.usable(typ, code)
	switch {
	case ref == nil:
		return nil, p.leaveOut(unknown([]string{typ}, name, code))
	case ref.Kind != Reference || ref.Unsupported != "":
		return nil, invalid(name, "%s of %s is no reference", code, typ)
	}
	if targets := (&Clause{Params: []*Param{ref}}).targets(); targets != nil && len(types) > 0 &&
		!slices.ContainsFunc(types, func(t string) bool { return slices.Contains(targets, t) }) {
		return nil, invalid(name, "%s of %s does not point to %s", code, typ, strings.Join(types, " or "))
	}
	in, err := p.inner(name)
	if err != nil {
		return nil, err
	}
	next, err := in.clause([]string{typ}, name, pieces[2], value)
	if err != nil {
		return nil, p.leaveOutUnknown(err, []string{typ}, name, pieces[2])
	}
	return &Clause{Name: name, path: "_has:" + typ + ":" + code + ":", Has: &Has{Type: typ, Ref: ref, Next: next}}, nil
}
