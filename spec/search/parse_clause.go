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
	kind := c.kind()
	typ, err := p.modifier(c, kind)
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
	} else if err := p.values(c, kind, typ, value); err != nil || len(c.Values) == 0 {
		return nil, err
	}
	return c, nil
}

// define finds the parameters of a clause, one for each type searched.
// It returns false when the clause was left out.
func (p *parser) define(c *Clause, types []string, code string) (bool, error) {
	switch code {
	case "_id":
		c.Field = FieldID
		return true, nil
	case "_lastUpdated":
		c.Field = FieldLastUpdated
		return true, nil
	case "_type": // at the end of a chain; else it was read by typeParameter
		c.Field = FieldType
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
		param := p.reg.Param(t, code)
		if param == nil {
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
	case FieldID, FieldType:
		return Token
	case FieldLastUpdated:
		return Date
	}
	return c.Params[0].Kind
}

// knownModifiers are those of R4 (section 3.1.1.4.5, value set
// search-modifier-code) and the ones that later versions added. What is not
// among them is a mistake rather than something that we lack.
var knownModifiers = []string{
	"missing", "exact", "contains", "not", "text", "in", "not-in", "below", "above",
	"type", "identifier", "ofType", "of-type", "iterate", "recurse", "code-text", "text-advanced",
}

// modifier checks the modifier of c against its kind. The type of subject:Patient
// is returned, and is no longer a modifier of the clause.
func (p *parser) modifier(c *Clause, kind Kind) (typ string, err error) {
	m := c.Modifier
	if m == "" {
		return "", nil
	}
	if c.Field == FieldParam {
		switch {
		case m == "missing",
			kind == String && (m == "exact" || m == "contains"),
			kind == Token && m == "not":
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
		e := notSupported(c.Name, "the modifier :%s is not supported for this parameter", m)
		e.Modifier = true
		return "", e
	}
	return "", invalid(c.Name, "there is no modifier :%s", m)
}

// values parses the alternatives of a clause.
func (p *parser) values(c *Clause, kind Kind, typ, value string) error {
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
		v, err := p.clauseValue(c, kind, typ, s)
		if err != nil {
			return err
		}
		c.Values = append(c.Values, v)
	}
	return nil
}

func (p *parser) clauseValue(c *Clause, kind Kind, typ, s string) (Value, error) {
	if c.Field == FieldID {
		return Value{Code: unescape(s), HasCode: true}, nil
	}
	var param *Param
	if len(c.Params) > 0 {
		param = c.Params[0]
	}
	v, err := p.value(kind, param, s)
	if err != nil {
		return Value{}, badValue(c.Name, "%s", err.Error())
	}
	switch kind {
	case Reference:
		err = p.inferType(c, typ, &v)
	case Token:
		c.implySystem(&v)
	}
	return v, err
}
