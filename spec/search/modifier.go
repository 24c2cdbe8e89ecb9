package search

import (
	"errors"
	"slices"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// Terms answers what value sets and code systems hold, for the modifiers :in,
// :not-in, :above and :below. An error is shown to the client.
type Terms interface {
	// Codes returns the codes of a value set.
	Codes(valueSet string) ([]Coding, error)
	// Related returns the codes that a code subsumes (below), or that subsume
	// it, itself included.
	Related(c Coding, below bool) ([]Coding, error)
}

// Coding is a code in a code system.
type Coding struct{ System, Code string }

// maxExpansion bounds the codes that one clause is expanded to.
const maxExpansion = 10_000

// knownModifiers are those of R4 (section 3.1.1.4.5, value set
// search-modifier-code) and the ones that later versions added. What is not
// among them is a mistake rather than something that we lack.
var knownModifiers = []string{
	"missing", "exact", "contains", "not", "text", "in", "not-in", "below", "above",
	"type", "identifier", "ofType", "of-type", "iterate", "recurse", "code-text", "text-advanced",
}

// modifiers are those of each kind, beside :missing, which all have.
var modifiers = map[Kind][]string{
	String:    {"exact", "contains"},
	Token:     {"not", "text", "in", "not-in", "above", "below", "of-type"},
	Reference: {"identifier"},
	URI:       {"above", "below"},
}

// modifier checks the modifier of c. The type of subject:Patient is returned,
// and is no longer a modifier of the clause.
func (p *parser) modifier(c *Clause) (typ string, err error) {
	m := c.Modifier
	if m == "" {
		return "", nil
	}
	if m == "ofType" { // the spelling in some texts of the standard
		m, c.Modifier = "of-type", "of-type"
	}
	switch c.Field {
	case FieldID, FieldType:
		if m == "not" || m == "missing" {
			return "", nil
		}
	case FieldText, FieldContent:
	case FieldLastUpdated:
		if m == "missing" {
			return "", nil
		}
	default:
		kind := c.kind()
		switch {
		case m == "of-type" && !slices.ContainsFunc(c.Params, func(p *Param) bool { return p.OfType != nil }):
			// only identifiers have a type
		case m == "missing" || slices.Contains(modifiers[kind], m):
			return "", nil
		case kind == Reference && r4.IsResource(m):
			for _, param := range c.Params {
				if len(param.Targets) > 0 && !slices.Contains(param.Targets, m) {
					return "", invalid(c.Name, "the parameter does not point to %s", m)
				}
			}
			c.Modifier = ""
			return m, nil
		}
	}
	if slices.Contains(knownModifiers, m) {
		return "", refused(c.Name, "the modifier :%s is not supported for this parameter", m)
	}
	return "", invalid(c.Name, "there is no modifier :%s", m)
}

// refused is a modifier that cannot be answered: that is never left out.
func refused(name, format string, args ...any) *Error {
	e := notSupported(name, format, args...)
	e.Modifier = true
	return e
}

// expands reports whether a token modifier stands for a list of codes, which
// may be empty.
func expands(modifier string) bool {
	switch modifier {
	case "in", "not-in", "above", "below":
		return true
	}
	return false
}

// expand adds the codes that a value of :in, :not-in, :above or :below stands for.
func (p *parser) expand(c *Clause, s string) error {
	if p.opt.Terms == nil {
		return refused(c.Name, "there is no terminology here to answer the modifier :%s", c.Modifier)
	}
	var list []Coding
	var err error
	if c.Modifier == "in" || c.Modifier == "not-in" {
		list, err = p.opt.Terms.Codes(unescape(s))
	} else {
		var v Value
		if v, err = parseToken(s); err == nil && (v.System == "" || !v.HasCode) {
			err = errors.New("it must have the form system|code")
		}
		if err != nil {
			return badValue(c.Name, "%s", err.Error())
		}
		list, err = p.opt.Terms.Related(Coding{v.System, v.Code}, c.Modifier == "below")
	}
	if err != nil {
		return refused(c.Name, "%s", err.Error())
	}
	if len(c.Values)+len(list) > maxExpansion {
		return &Error{Param: c.Name, Code: "too-costly", Msg: "the parameter stands for too many codes", Modifier: true}
	}
	for _, code := range list {
		v := Value{System: code.System, HasSystem: code.System != "", Code: code.Code, HasCode: true}
		c.implySystem(&v)
		c.Values = append(c.Values, v)
	}
	return nil
}

// settle turns modifiers that only choose other codes or another index into
// clauses without them.
func (c *Clause) settle() {
	var of func(*Param) *Param
	switch c.Modifier {
	case "in", "not-in", "above", "below":
		if c.kind() != Token {
			return
		}
		if c.Modifier == "not-in" {
			c.Modifier = "not"
		} else {
			c.Modifier = ""
		}
		return
	case "of-type":
		of = func(p *Param) *Param { return p.OfType }
	case "identifier":
		of = func(p *Param) *Param { return p.Identifier }
	default:
		return
	}
	var list []*Param
	for _, p := range c.Params {
		if q := of(p); q != nil {
			list = append(list, q)
		}
	}
	c.Modifier, c.Params = "", list
}
