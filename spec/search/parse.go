package search

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// ParseOptions are the rules of one search.
type ParseOptions struct {
	// Strict makes an error of everything that would be left out with a
	// warning (Prefer: handling=strict).
	Strict bool
	// Base is the absolute URL of the service, without a slash at the end. A
	// reference that begins with it is local.
	Base         string
	MaxCount     int // the largest page; 0 = 1000
	DefaultCount int // the page size without _count; 0 = 10
	// Now is the time that ap measures its distance to.
	Now time.Time
	// DateOverlap lets a date be equal to a value that it only overlaps
	// (OpOverlap), as Microsoft's server does; R4 asks for containment.
	DateOverlap bool
	// NumberExact compares numbers without the implicit precision of R4, so
	// that 5 is only 5 and not all from 4.5 to 5.5.
	NumberExact bool
}

// Result is what Parse understood besides the Query.
type Result struct {
	Used     url.Values // the parameters that counted, for the self link
	Warnings []Warning  // what was left out or capped
	Summary  string     // _summary: "", true, text, data, count or false
	Elements []string   // _elements
	Includes []Include  // _include and _revinclude
}

// Include is one _include or _revinclude. They are understood, but Parse
// reports each as not supported as long as no store follows them.
type Include struct {
	Reverse bool   // _revinclude
	Iterate bool   // :iterate or :recurse
	Source  string // the type that holds the reference; "*" = all
	Code    string // the reference parameter; "*" = all
	Target  string // the type referred to; "" = all
}

// parser is the state of one Parse.
type parser struct {
	reg   *Registry
	opt   ParseOptions
	types []string // the types searched; empty = all
	q     *Query
	res   *Result
}

// Parse turns the parameters of a search into a Query. types are the resource
// types of the URL, empty at system level; compartment is nil for a search
// outside of one. params holds all parameters, of the URL and of a form; the
// order of the clauses is that of rawQuery as far as it names them.
//
// A parameter that does not exist, or is not supported, is left out with a
// warning or, when opt.Strict is set, an error; a malformed value and an unknown
// modifier are always errors. The error is an *Error.
func (r *Registry) Parse(types []string, compartment *CompartmentRef, params url.Values, rawQuery string, opt ParseOptions) (*Query, *Result, error) {
	if opt.MaxCount <= 0 {
		opt.MaxCount = 1000
	}
	if opt.DefaultCount <= 0 {
		opt.DefaultCount = min(10, opt.MaxCount)
	}
	if len(types) == 0 && compartment != nil {
		types = compartment.Types()
	}
	p := &parser{
		reg: r, opt: opt, types: types,
		q:   &Query{Types: types, Compartment: compartment, Count: opt.DefaultCount},
		res: &Result{Used: url.Values{}},
	}
	for _, t := range types {
		if !r4.IsResource(t) {
			return nil, nil, notSupported("", "%q is not a resource type of FHIR R4", t)
		}
	}
	if err := p.typeParameter(params); err != nil {
		return nil, nil, err
	}
	for _, name := range order(params, rawQuery) {
		if err := p.parameter(name, params[name]); err != nil {
			return nil, nil, err
		}
	}
	if err := p.finish(); err != nil {
		return nil, nil, err
	}
	return p.q, p.res, nil
}

// order returns the names of params: first as in the query, then sorted.
func order(params url.Values, rawQuery string) []string {
	var out []string
	for rawQuery != "" {
		var pair string
		pair, rawQuery, _ = strings.Cut(rawQuery, "&")
		name, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if _, ok := params[name]; err == nil && ok && !slices.Contains(out, name) {
			out = append(out, name)
		}
		if len(out) > maxNames {
			break
		}
	}
	if len(out) < len(params) {
		for _, name := range slices.Sorted(maps.Keys(params)) {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// Limits on the size of a search. They are far above what a person or program
// writes, and keep a hostile one cheap.
const (
	maxNames  = 200
	maxValues = 5000
)

// parameter handles one name with all its values.
func (p *parser) parameter(name string, values []string) error {
	if len(p.res.Used)+len(p.res.Warnings) > maxNames {
		return &Error{Code: "too-costly", Msg: "the search has too many parameters"}
	}
	base, modifier, _ := strings.Cut(name, ":")
	if handle := control(base); handle != nil {
		if modifier != "" && base != "_include" && base != "_revinclude" {
			return invalid(name, "%s has no modifiers", base)
		}
		return handle(p, name, values)
	}
	switch {
	case base == "_has":
		return p.leaveOut(notSupported(name, "reverse chains (_has) are not supported yet"))
	case isChain(name):
		return p.leaveOut(notSupported(name, "chained parameters are not supported yet"))
	}
	for _, v := range values {
		if err := p.clause(name, base, modifier, v); err != nil {
			return err
		}
	}
	return nil
}

// isChain reports whether a name follows a reference: subject.name, subject:Patient.name.
func isChain(name string) bool { return strings.IndexByte(name, '.') >= 0 }

// leaveOut turns e into a warning, or returns it when the search is strict.
func (p *parser) leaveOut(e *Error) error {
	if p.opt.Strict {
		return e
	}
	p.warn(e)
	return nil
}

func (p *parser) warn(e *Error) {
	p.res.Warnings = append(p.res.Warnings, Warning{Param: e.Param, Code: e.Code, Message: e.Msg})
}

func (p *parser) used(name, value string) { p.res.Used[name] = append(p.res.Used[name], value) }

// clause parses one occurrence of a search parameter and adds it to the query.
func (p *parser) clause(name, code, modifier, value string) error {
	c := &Clause{Name: name, Modifier: modifier}
	if err := p.define(c, code); err != nil {
		return err
	}
	if c.Field == FieldParam && c.Params == nil {
		return nil // left out
	}
	if value == "" {
		return p.leaveOut(badValue(name, "it has no value"))
	}
	kind := c.kind()
	typ, err := p.modifier(c, kind)
	if err != nil {
		return err
	}
	if c.Modifier == "missing" {
		switch value {
		case "true", "false":
			c.Missing = value == "true"
		default:
			return badValue(name, "%q is neither true nor false", value)
		}
	} else if err := p.values(c, kind, typ, value); err != nil || len(c.Values) == 0 {
		return err
	}
	p.q.Where = append(p.q.Where, c)
	p.used(name, value)
	return nil
}

// define finds the parameters of a clause, one for each type searched.
func (p *parser) define(c *Clause, code string) error {
	switch code {
	case "_id":
		c.Field = FieldID
		return nil
	case "_lastUpdated":
		c.Field = FieldLastUpdated
		return nil
	}
	types := p.types
	if len(types) == 0 {
		// A search without types is over all of them, and only what Resource
		// defines is common to all.
		if !strings.HasPrefix(code, "_") {
			return p.leaveOutCommon(c.Name, code)
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
			return p.leaveOut(notSupported(c.Name, "the parameter is not supported: %s", param.Unsupported))
		}
		if len(list) > 0 && list[0].Kind != param.Kind {
			return invalid(c.Name, "the parameter does not have the same type for %s and %s", list[0].Type, t)
		}
		list = append(list, param)
	}
	switch {
	case len(list) == 0:
		return p.leaveOut(p.unknown(c.Name, code))
	case missing:
		return notCommon(c.Name)
	}
	c.Params = list
	return nil
}

// leaveOutCommon answers a parameter that not all types have, in a search over
// all types.
func (p *parser) leaveOutCommon(name, code string) error {
	for _, sp := range r4.SearchParams() {
		if sp.Code == code {
			return notCommon(name)
		}
	}
	return p.leaveOut(p.unknown(name, code))
}

func notCommon(name string) *Error {
	return invalid(name, "a search over several types can only use parameters that all of them have")
}

// unknown says that no type searched has the parameter.
func (p *parser) unknown(name, code string) *Error {
	if len(p.types) == 1 {
		return notSupported(name, "%s has no search parameter %q", p.types[0], code)
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
		return "", notSupported(c.Name, "the modifier :%s is not supported for this parameter", m)
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
