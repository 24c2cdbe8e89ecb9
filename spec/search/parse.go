package search

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// maxIncludes is the most resources that are included in a page.
const maxIncludes = 1000

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
	// Partial lets custom parameters count before all resources are indexed by
	// them, where AHDS leaves them out; elsewhere they always do, with a warning.
	Partial bool
	// Terms answers :in, :not-in, :above and :below; nil refuses them.
	Terms Terms
	// AHDS refuses what Azure Health Data Services refuses: a _revinclude:iterate
	// by a reference to several types.
	AHDS bool
	// Contained offers the search of contained resources; else what is not
	// _contained=false is refused.
	Contained bool
}

// Result is what Parse understood besides the Query.
type Result struct {
	Used     url.Values // the parameters that counted, for the self link
	Warnings []Warning  // what was left out or capped
	Summary  string     // _summary: "", true, text, data, count or false
	Elements []string   // _elements
}

// parser is the state of one Parse.
type parser struct {
	reg   *Registry
	opt   ParseOptions
	types []string // the types searched; empty = all
	depth int      // references followed
	q     *Query
	res   *Result
	held  *Contained // _contained, nil = it asks for nothing
	alone bool       // _containedType=contained
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
		q:   &Query{Types: types, Compartment: compartment, Count: opt.DefaultCount, IncludeCount: maxIncludes},
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
	for _, name := range Order(params, rawQuery) {
		if err := p.parameter(name, params[name]); err != nil {
			return nil, nil, err
		}
	}
	if err := p.checkOnce(); err != nil {
		return nil, nil, err
	}
	if err := p.finish(); err != nil {
		return nil, nil, err
	}
	return p.q, p.res, nil
}

// ParseQuery is url.ParseQuery, but a semicolon is a character like others, as in
// application/fhir+json;fhirVersion=4.0, and not an error.
func ParseQuery(raw string) (url.Values, error) {
	return url.ParseQuery(strings.ReplaceAll(raw, ";", "%3B"))
}

// Order returns the names of params: first as in the query, then sorted. A link to
// a search has to keep it, since a page token counts the clauses in it.
func Order(params url.Values, rawQuery string) []string {
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
	maxSort   = 16
)

// parameter handles one name with all its values.
func (p *parser) parameter(name string, values []string) error {
	if len(p.res.Used)+len(p.res.Warnings) > maxNames {
		return &Error{Code: "too-costly", Msg: "the search has too many parameters"}
	}
	if !utf8.ValidString(name) {
		return invalid("", "the name of a parameter is not UTF-8")
	}
	for _, v := range values {
		if !utf8.ValidString(v) { // no stored text has such a value; PostgreSQL refuses it
			return badValue(name, "the value is not UTF-8")
		}
	}
	base, modifier, _ := strings.Cut(name, ":")
	if handle := control(base); handle != nil {
		if modifier != "" && base != "_include" && base != "_revinclude" && name != "_type:not" {
			return invalid(name, "%s has no modifiers", base)
		}
		return handle(p, name, values)
	}
	for _, v := range values {
		c, err := p.clause(p.types, name, name, v)
		if err != nil {
			return err
		}
		if c != nil {
			p.q.Where = append(p.q.Where, c)
			p.used(name, v)
		}
	}
	return nil
}

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
