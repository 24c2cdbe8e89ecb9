package search

import (
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// filter reads _filter (R4 section 3.1.3):
//
//	filter    = term { ("and" | "or") term }, "and" binding closer
//	term      = [ "not" ] "(" filter ")" | path op value
//	path      = name { "." name } | reference [ "[" filter "]" ] "." path
//
// A comparison becomes the clause that the same parameter, modifier and prefix
// would be in a URL. Whatever is wrong in it is an error: a filter without one
// of its parts would find too much.
func (p *parser) filter(name string, values []string) error {
	for _, v := range values {
		tokens, err := lexFilter(v)
		if err != nil {
			return badValue(name, "%s", err.Error())
		}
		in, err := p.inner(name)
		if err != nil {
			return err
		}
		f := &filterParser{p: in, name: name, rest: tokens}
		c, err := f.or()
		if err == nil && len(f.rest) > 0 {
			err = badValue(name, "%q is not expected there", f.rest[0].text)
		}
		if err != nil {
			return err
		}
		p.q.Where = append(p.q.Where, flat(c)...)
		p.used(name, v)
	}
	return nil
}

// flat takes the parts of an "and" as clauses of their own, which a store can
// walk one by one.
func flat(c *Clause) []*Clause {
	if len(c.All) == 0 || c.Negate {
		return []*Clause{c}
	}
	var out []*Clause
	for _, part := range c.All {
		out = append(out, flat(part)...)
	}
	return out
}

type filterParser struct {
	p     *parser
	ref   *Clause // the reference that the brackets stand behind; nil outside
	name  string
	rest  []filterToken
	depth int
	terms int
}

// maxTerms and maxNesting bound one filter.
const (
	maxTerms   = 100
	maxNesting = 20
)

func (f *filterParser) keyword(word string) bool {
	if len(f.rest) == 0 || f.rest[0].quoted || f.rest[0].text != word {
		return false
	}
	f.rest = f.rest[1:]
	return true
}

func (f *filterParser) or() (*Clause, error) {
	var any []*Clause
	for {
		c, err := f.and()
		if err != nil {
			return nil, err
		}
		if any = append(any, c); !f.keyword("or") {
			break
		}
	}
	if len(any) == 1 {
		return any[0], nil
	}
	return &Clause{Name: f.name, Any: any}, nil
}

func (f *filterParser) and() (*Clause, error) {
	var all []*Clause
	for {
		c, err := f.term()
		if err != nil {
			return nil, err
		}
		if all = append(all, c); !f.keyword("and") {
			break
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return &Clause{Name: f.name, All: all}, nil
}

func (f *filterParser) term() (*Clause, error) {
	negate := f.keyword("not")
	if !negate && (len(f.rest) == 0 || f.rest[0].text != "(" || f.rest[0].quoted) {
		return f.comparison()
	}
	if !f.keyword("(") {
		return nil, badValue(f.name, "after not a parenthesis is needed")
	}
	if f.depth++; f.depth > maxNesting {
		return nil, &Error{Param: f.name, Code: "too-costly", Msg: "the filter has too many parentheses inside each other"}
	}
	c, err := f.or()
	if err != nil {
		return nil, err
	}
	f.depth--
	if !f.keyword(")") {
		return nil, badValue(f.name, "a parenthesis is not closed")
	}
	if negate {
		c = &Clause{Name: f.name, All: []*Clause{c}, Negate: true}
	}
	return c, nil
}

// filterOps are the operators for each kind of parameter.
var filterOps = map[Kind]string{
	String:    "eq ne co sw ew gt lt ge le pr",
	Token:     "eq ne in ss sb pr co sw",
	URI:       "eq ne sw pr",
	Reference: "eq ne re pr",
	Date:      "eq ne gt lt ge le ap sa eb po pr",
	Number:    "eq ne gt lt ge le ap sa eb pr",
	Quantity:  "eq ne gt lt ge le ap sa eb pr",
	Composite: "eq ne pr",
}

// comparison reads path op value.
func (f *filterParser) comparison() (*Clause, error) {
	if len(f.rest) < 3 {
		return nil, badValue(f.name, "a comparison needs a parameter, an operator and a value")
	}
	path, op, value := f.rest[0], f.rest[1].text, f.rest[2]
	f.rest = f.rest[3:]
	if f.terms++; f.terms > maxTerms {
		return nil, &Error{Param: f.name, Code: "too-costly", Msg: "the filter has too many comparisons"}
	}
	switch {
	case path.quoted || path.text == ")" || strings.Contains(path.text, ":"):
		return nil, badValue(f.name, "%q is not the name of a parameter", path.text)
	case !value.quoted && (value.text == "(" || value.text == ")"):
		return nil, badValue(f.name, "the value of %s %s is missing", path.text, op)
	}
	return f.compare(path.text, op, value)
}

// compare makes the clause of a comparison.
func (f *filterParser) compare(path, op string, value filterToken) (*Clause, error) {
	if f.ref != nil {
		if err := f.ref.checkChain(path); err != nil {
			return nil, err
		}
	}
	if strings.ContainsAny(path, "[]") {
		return f.bracketed(path, op, value)
	}
	kind, err := f.p.kindAt(f.p.types, f.name, path)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(strings.Fields(filterOps[kind]), op) {
		return nil, badValue(f.name, "the operator %q is not one for %s", op, path)
	}
	return f.clause(kind, path, op, value)
}

// clause makes the clause of a comparison without brackets.
func (f *filterParser) clause(kind Kind, path, op string, value filterToken) (*Clause, error) {
	key, text := spelled(kind, path, op, value)
	negate := op == "ne" && !prefixed(kind)
	c, err := f.p.clause(f.p.types, f.name, key, text)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, badValue(f.name, "%s has no value", path)
	}
	c.refine(kind, op)
	if negate {
		c = &Clause{Name: f.name, All: []*Clause{c}, Negate: true}
	}
	return c, nil
}

// prefixed reports whether values of a kind may begin with ne.
func prefixed(kind Kind) bool { return kind == Date || kind == Number || kind == Quantity }

// spelled returns the parameter of a URL, and its value, that ask for the same
// or, where refine has to tell it apart, for something near.
func spelled(kind Kind, path, op string, value filterToken) (key, text string) {
	key, text = path, value.text
	if value.quoted || kind == String {
		text = Escape(text)
	} else {
		text = strings.ReplaceAll(text, ",", `\,`)
	}
	switch op {
	case "ne":
		if prefixed(kind) {
			text = "ne" + text
		}
	case "gt", "lt", "ge", "le", "ap", "sa", "eb":
		if kind != String {
			text = op + text
		}
	case "pr":
		key += ":missing"
		switch text {
		case "true":
			text = "false"
		case "false":
			text = "true"
		}
	case "in":
		key += ":in"
	case "ss":
		key += ":below"
	case "sb":
		key += ":above"
	case "co", "sw":
		if kind == Token {
			key += ":text"
			break
		}
		if op == "co" {
			key += ":contains"
		}
		if kind == URI {
			key += ":below"
		}
	}
	return key, text
}

// refine gives a clause the operators that no URL can spell.
func (c *Clause) refine(kind Kind, op string) {
	switch {
	case kind == String && (op == "eq" || op == "ne"):
		c.tail(func(t *Clause) { t.Modifier = "equals" })
	case kind == String && (op == "gt" || op == "lt" || op == "ge" || op == "le"):
		c.tail(func(t *Clause) { t.Modifier = op })
	case kind == String && op == "ew":
		c.tail(func(t *Clause) { t.Modifier = "ends" })
	case op == "po":
		c.tail(func(t *Clause) {
			for i := range t.Values {
				t.Values[i].Op = OpOverlap
			}
		})
	}
}

// tail calls f for the clauses at the ends of a chain.
func (c *Clause) tail(f func(*Clause)) {
	if len(c.Chain) == 0 {
		f(c)
		return
	}
	for i := range c.Chain {
		c.Chain[i].Next.tail(f)
	}
}

// kindAt returns the kind of the parameter that a path of a filter ends at.
func (p *parser) kindAt(types []string, name, path string) (Kind, error) {
	head, rest, more := strings.Cut(path, ".")
	c := &Clause{Name: name}
	if ok, err := p.define(c, types, head); !ok {
		return 0, err
	}
	if !more {
		return c.kind(), nil
	}
	if c.Field != FieldParam || c.kind() != Reference {
		return 0, invalid(name, "%s is no reference, and only a reference can be followed", head)
	}
	targets := c.targets()
	if targets == nil {
		targets = r4.ResourceTypes()
	}
	var first error
	for _, t := range targets {
		kind, err := p.kindAt([]string{t}, name, rest)
		if err == nil {
			return kind, nil
		}
		first = better(first, err)
	}
	return 0, first
}
