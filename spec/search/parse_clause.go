package search

import (
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// clause parses one occurrence of a search parameter over types. name is the
// name as written, key the part of it that is left to understand: behind the
// references of a chain it is shorter. The clause is nil when it was left out.
func (p *parser) clause(types []string, name, key, value string) (*Clause, error) {
	if value == "" {
		return nil, p.leaveOut(badValue(name, "it has no value"))
	}
	if rest, ok := strings.CutPrefix(key, "_has:"); ok {
		return p.has(types, name, rest, value)
	}
	if head, rest, ok := strings.Cut(key, "."); ok {
		return p.chain(types, name, head, rest, value)
	}
	code, modifier, _ := strings.Cut(key, ":")
	c := &Clause{Name: name, Modifier: modifier}
	if ok, err := p.define(c, types, code); !ok {
		return nil, err
	}
	if err := c.checkLimits(modifier, value); err != nil {
		return nil, err
	}
	c.path = code
	typ, err := p.modifier(c)
	if err != nil {
		return nil, err
	}
	if c.Modifier == "missing" {
		switch value {
		case "true", "false":
			c.Missing = value == "true"
		default:
			return nil, badValue(name, "%q is neither true nor false", value)
		}
		return c, nil
	}
	if err := p.values(c, typ, value); err != nil {
		return nil, err
	}
	if len(c.Values) == 0 && !expands(c.Modifier) {
		return nil, nil // nothing but empty values
	}
	c.settle()
	return c, nil
}

// fields are the parameters that ask for what every resource has. _type comes
// here at the end of a chain; else it was read by typeParameter.
var fields = map[string]Field{
	"_id": FieldID, "_lastUpdated": FieldLastUpdated, "_text": FieldText, "_content": FieldContent, "_type": FieldType,
}

// define finds the parameters of a clause, one for each type searched.
// It returns false when the clause was left out.
func (p *parser) define(c *Clause, types []string, code string) (bool, error) {
	if c.Field = fields[code]; c.Field != FieldParam {
		return true, nil
	}
	if len(types) == 0 {
		// A search without types is over all of them, and only what Resource
		// defines is common to all.
		if !strings.HasPrefix(code, "_") {
			return false, p.leaveOutCommon(c.Name, code)
		}
		types = r4.ResourceTypes()
	}
	var list []*Param
	missing := false
	for _, t := range types {
		param := p.reg.usable(t, code)
		if param == nil {
			if off := p.reg.Param(t, code); off != nil {
				return false, p.leaveOut(notSupported(c.Name, "the search parameter %q is disabled", code))
			}
			missing = true
			continue
		}
		if param.Unsupported != "" {
			return false, p.leaveOut(notSupported(c.Name, "the parameter is not supported: %s", param.Unsupported))
		}
		if len(list) > 0 && list[0].Kind != param.Kind {
			return false, invalid(c.Name, "the parameter does not have the same type for %s and %s", list[0].Type, t)
		}
		list = append(list, param)
	}
	if slices.ContainsFunc(list, (*Param).Partial) {
		e := &Error{Param: c.Name, Code: "incomplete", Msg: "resources that were stored before the search parameter was defined are not found until $reindex has run"}
		if p.opt.AHDS && !p.opt.Partial {
			return false, p.leaveOut(e)
		}
		p.warn(e)
	}
	switch {
	case len(list) == 0:
		return false, p.leaveOut(unknown(types, c.Name, code))
	case missing:
		return false, notCommon(c.Name)
	}
	c.Params = list
	return true, nil
}

// leaveOutCommon answers a parameter that not all types have, in a search over
// all types.
func (p *parser) leaveOutCommon(name, code string) error {
	for _, sp := range r4.SearchParams() {
		if sp.Code == code {
			return notCommon(name)
		}
	}
	return p.leaveOut(unknown(nil, name, code))
}

func notCommon(name string) *Error {
	return invalid(name, "a search over several types can only use parameters that all of them have")
}

// unknown says that no type searched has the parameter.
func unknown(types []string, name, code string) *Error {
	if len(types) == 1 {
		return notSupported(name, "%s has no search parameter %q", types[0], code)
	}
	return notSupported(name, "there is no search parameter %q for the types searched", code)
}

func (c *Clause) kind() Kind {
	switch c.Field {
	case FieldID, FieldType, FieldText, FieldContent:
		return Token
	case FieldLastUpdated:
		return Date
	}
	return c.Params[0].Kind
}

// values parses the alternatives of a clause.
func (p *parser) values(c *Clause, typ, value string) error {
	alternatives := splitEscaped(value, ',')
	if len(alternatives) > maxValues {
		return &Error{Param: c.Name, Code: "too-costly", Msg: "the parameter has too many values"}
	}
	seen := make(map[string]bool, len(alternatives))
	for _, s := range alternatives {
		if s == "" {
			if err := p.leaveOut(badValue(c.Name, "one of its values is empty")); err != nil {
				return err
			}
			continue
		}
		if seen[s] {
			continue
		}
		seen[s] = true
		if expands(c.Modifier) && c.kind() == Token {
			if err := p.expand(c, s); err != nil {
				return err
			}
			continue
		}
		v, err := p.clauseValue(c, typ, s)
		if err != nil {
			return err
		}
		c.Values = append(c.Values, v)
	}
	return nil
}

func (p *parser) clauseValue(c *Clause, typ, s string) (Value, error) {
	switch c.Field {
	case FieldID, FieldType:
		return Value{Code: unescape(s), HasCode: true}, nil
	case FieldText, FieldContent:
		v, err := parseWords(unescape(s))
		if err != nil {
			return Value{}, badValue(c.Name, "%s", err.Error())
		}
		return v, nil
	}
	var param *Param
	if len(c.Params) > 0 {
		param = c.Params[0]
	}
	kind := c.kind()
	var v Value
	var err error
	switch c.Modifier {
	case "text":
		v, err = parseString(unescape(s))
	case "of-type":
		v, err = parseOfType(s)
	case "identifier":
		v, err = parseToken(s)
	default:
		v, err = p.value(kind, param, s)
	}
	if err != nil {
		return Value{}, badValue(c.Name, "%s", err.Error())
	}
	switch {
	case kind == Reference && c.Modifier != "identifier":
		c.inferType(typ, &v)
	case kind == Token && c.Modifier != "text":
		c.implySystem(&v)
	}
	return v, nil
}
