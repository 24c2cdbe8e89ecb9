package search

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// control returns the reader of a parameter that does not select resources (R4
// section 3.1.1.5), or of a selecting one of R4 that needs more than an index;
// nil for all others.
func control(name string) func(p *parser, name string, values []string) error {
	switch name {
	case "_format", "_pretty":
		return (*parser).passed
	case "_type": // was read first, see typeParameter
		return func(*parser, string, []string) error { return nil }
	case "_count":
		return (*parser).count
	case "_explain":
		return (*parser).explain
	case "_total":
		return (*parser).total
	case "_summary":
		return (*parser).summary
	case "_elements":
		return (*parser).elements
	case "_sort":
		return (*parser).sort
	case "_include", "_revinclude":
		return (*parser).include
	case "ct", "includesCt":
		return (*parser).token
	case "_includesCount":
		return (*parser).includesCount
	case "_list":
		return (*parser).list
	case "_filter":
		return (*parser).filter
	case "_not-referenced":
		return (*parser).notReferenced
	case "_contained", "_containedType":
		return (*parser).contained
	case "_query":
		return (*parser).notOffered
	}
	return nil
}

// passed keeps a parameter that the edge answers.
func (p *parser) passed(name string, values []string) error {
	p.res.Used[name] = values
	return nil
}

func (p *parser) notOffered(name string, _ []string) error {
	return p.leaveOut(notSupported(name, "the parameter is not supported"))
}

// once returns the value of a parameter that must not have two different ones.
// It returns "" when there is none that is not empty.
func once(name string, values []string) (string, error) {
	out := ""
	for _, v := range values {
		if out != "" && v != "" && v != out {
			return "", invalid(name, "it is given twice, as %q and %q", out, v)
		}
		if v != "" {
			out = v
		}
	}
	return out, nil
}

// single reads a control parameter; ok is false when it was left out for want
// of a value.
func (p *parser) single(name string, values []string) (value string, ok bool, err error) {
	value, err = once(name, values)
	if err != nil {
		return "", false, err
	}
	if value == "" {
		return "", false, p.leaveOut(badValue(name, "it has no value"))
	}
	p.res.Used[name] = []string{value}
	return value, true, nil
}

func (p *parser) count(name string, values []string) error {
	s, ok, err := p.single(name, values)
	if !ok {
		return err
	}
	n, err := strconv.Atoi(s)
	if err != nil && strings.Trim(s, "0123456789") == "" {
		n, err = p.opt.MaxCount+1, nil // more digits than an int has
	}
	if err != nil || n < 0 {
		return badValue(name, "%q is not a number of resources", s)
	}
	p.q.Count = p.capped(name, n, p.opt.MaxCount, "the number exceeds limit %d, the most resources that a page has")
	return nil
}

// capped lowers a number of resources to what one page may have, with a warning.
func (p *parser) capped(name string, n, most int, words string) int {
	if n <= most {
		return n
	}
	p.warn(&Error{Param: name, Code: "too-costly", Msg: fmt.Sprintf(words, most)})
	p.res.Used[name] = []string{strconv.Itoa(most)}
	return most
}

// includesCount limits the included resources of a page.
func (p *parser) includesCount(name string, values []string) error {
	s, ok, err := p.single(name, values)
	if !ok {
		return err
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return badValue(name, "%q is not a number of resources above 0", s)
	}
	p.q.IncludeCount = p.capped(name, n, maxIncludes, "the number exceeds limit %d, the most resources that are included in a page")
	return nil
}

// explain reads _explain, which asks how the search is answered.
func (p *parser) explain(name string, values []string) error {
	s, ok, err := p.single(name, values)
	if !ok {
		return err
	}
	switch s {
	case "true", "false":
		p.q.Explain = s == "true"
		return nil
	}
	return badValue(name, "%q is neither true nor false", s)
}

func (p *parser) total(name string, values []string) error {
	s, ok, err := p.single(name, values)
	if !ok {
		return err
	}
	switch s {
	case "none":
		p.q.Total = TotalNone
	case "estimate":
		p.q.Total = TotalEstimate
	case "accurate":
		p.q.Total = TotalAccurate
	default:
		return badValue(name, "%q is none of none, estimate and accurate", s)
	}
	return nil
}

func (p *parser) summary(name string, values []string) error {
	s, ok, err := p.single(name, values)
	if !ok {
		return err
	}
	switch s {
	case "true", "false", "text", "data", "count":
		p.res.Summary = s
		return nil
	}
	return badValue(name, "%q is none of true, false, text, data and count", s)
}

func (p *parser) elements(name string, values []string) error {
	for _, v := range values {
		for _, e := range strings.Split(v, ",") {
			if e = strings.TrimSpace(e); e != "" && !slices.Contains(p.res.Elements, e) {
				p.res.Elements = append(p.res.Elements, e)
			}
			if len(p.res.Elements) > maxNames {
				return &Error{Param: name, Code: "too-costly", Msg: fmt.Sprintf("it names more than %d elements", maxNames)}
			}
		}
	}
	if len(p.res.Elements) == 0 {
		return badValue(name, "it names no element")
	}
	return nil
}

// knownElements leaves out names that no resource of the answer can have: one of
// the types that are searched, or any type where others come along. Their
// resources show the mandatory elements all the same.
func (p *parser) knownElements() error {
	const name = "_elements"
	types := p.types
	if len(types) == 0 || len(p.q.Includes) > 0 || p.held != nil {
		types = []string{""}
	}
	var known []string
	for _, e := range p.res.Elements {
		if e == "resourceType" || slices.ContainsFunc(types, func(t string) bool { return r4.HasElement(t, e) }) {
			known = append(known, e)
			continue
		}
		if p.opt.AHDS && !p.opt.Strict {
			continue // without a word, as there
		}
		if err := p.leaveOut(badValue(name, "there is no element %.64q; they are named as in name,birthDate", e)); err != nil {
			return err
		}
	}
	if len(known) > 0 {
		p.used(name, strings.Join(known, ","))
	}
	return nil
}

// token takes the place of a page in the order of the results.
func (p *parser) token(name string, values []string) error {
	s, err := once(name, values)
	if err == nil && s == "" {
		err = badValue(name, "it has no value")
	}
	if name == "includesCt" {
		p.q.IncludeAfter = s
	} else {
		p.q.After = s
	}
	return err
}

// finish applies the rules between control parameters.
func (p *parser) finish() error {
	if len(p.res.Elements) > 0 && p.res.Summary != "" && p.res.Summary != "false" {
		return invalid("_elements", "it cannot be combined with _summary=%s", p.res.Summary)
	}
	if err := p.knownElements(); err != nil {
		return err
	}
	if p.res.Summary == "count" {
		p.q.Count = 0
	}
	if p.q.Count == 0 { // only the number is wanted
		p.q.Total = TotalAccurate
		p.q.Sort, p.q.Includes, p.q.After = nil, nil, ""
	}
	return p.finishContained()
}

// typeParameter reads _type and _type:not, which decide about all other
// parameters.
func (p *parser) typeParameter(params map[string][]string) error {
	if values, ok := params["_type"]; ok {
		want, err := p.namedTypes("_type", values)
		if err != nil {
			return err
		}
		switch {
		case len(want) == 0 && p.opt.AHDS && !p.opt.Strict:
			p.q.Where = append(p.q.Where, &Clause{Name: "_type", Field: FieldID}) // no id at all
			p.res.Used["_type"] = values
		case len(want) == 0:
			// Nothing can match; an empty list of types would mean all of them.
			return badValue("_type", "it names no resource type that can be searched here")
		default:
			p.types, p.q.Types = want, want
			p.used("_type", strings.Join(want, ","))
		}
	}
	values, ok := params["_type:not"]
	if !ok {
		return nil
	}
	without, err := p.namedTypes("_type:not", values)
	if err != nil || len(without) == 0 {
		return err
	}
	types := p.types
	if len(types) == 0 {
		types = r4.ResourceTypes()
	}
	types = slices.DeleteFunc(slices.Clone(types), func(t string) bool { return slices.Contains(without, t) })
	if len(types) == 0 {
		return badValue("_type:not", "it leaves no resource type to search")
	}
	p.types, p.q.Types = types, types
	p.used("_type:not", strings.Join(without, ","))
	return nil
}

// namedTypes returns the types that a parameter names and that can be searched.
func (p *parser) namedTypes(name string, values []string) (want []string, err error) {
	for _, v := range values {
		for _, t := range strings.Split(v, ",") {
			switch {
			case t == "":
				return nil, badValue(name, "it has an empty value")
			case !r4.IsResource(t):
				err = p.leaveOut(notSupported(name, "%q is not a resource type of FHIR R4", t))
			case len(p.types) > 0 && !slices.Contains(p.types, t):
				err = p.leaveOut(badValue(name, "%s is not among the types that the URL searches", t))
			case !slices.Contains(want, t):
				want = append(want, t)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return want, nil
}

// sort reads _sort: codes separated by commas, "-" for descending.
func (p *parser) sort(name string, values []string) error {
	var used []string
	for _, v := range values {
		for _, key := range strings.Split(v, ",") {
			code, desc := strings.CutPrefix(strings.TrimSpace(key), "-")
			s, e := p.sortKey(name, code)
			if e != nil {
				if err := p.leaveOut(e); err != nil {
					return err
				}
				continue
			}
			s.Desc = desc
			if len(p.q.Sort) == maxSort {
				return &Error{Param: name, Code: "too-costly", Msg: "the search is sorted by too many parameters"}
			}
			p.q.Sort = append(p.q.Sort, s)
			used = append(used, strings.TrimSpace(key))
		}
	}
	if len(used) > 0 {
		p.res.Used[name] = []string{strings.Join(used, ",")}
	}
	return nil
}

func (p *parser) sortKey(name, code string) (Sort, *Error) {
	if code == "" {
		return Sort{}, badValue(name, "it has an empty value")
	}
	if rowField(code) {
		return Sort{Special: code}, nil
	}
	if len(p.types) != 1 {
		return Sort{}, notSupported(name, "a search over several types can only be sorted by _lastUpdated and _id, not by %q", code)
	}
	head, rest, chained := strings.Cut(code, ".")
	if !chained {
		param, e := p.sortParam(name, p.types[0], code)
		return Sort{Param: param}, e
	}
	ref, target, _ := strings.Cut(head, ":")
	via := p.reg.usable(p.types[0], ref)
	if via == nil || via.Kind != Reference || via.Unsupported != "" {
		return Sort{}, notSupported(name, "%s has no reference parameter %q", p.types[0], ref)
	}
	targets := (&Clause{Params: []*Param{via}}).targets()
	switch {
	case target == "" && len(targets) == 1:
		target = targets[0]
	case target == "":
		return Sort{}, notSupported(name, "%q points to several types; name one, as in %s:Patient.%s", ref, ref, rest)
	case targets != nil && !slices.Contains(targets, target) || !r4.IsResource(target):
		return Sort{}, notSupported(name, "%q does not point to %s", ref, target)
	}
	param, e := p.sortParam(name, target, rest)
	return Sort{Param: param, Via: via, Target: target}, e
}

// sortParam returns a parameter that has an order.
func (p *parser) sortParam(name, typ, code string) (*Param, *Error) {
	param := p.reg.usable(typ, code)
	switch {
	case param == nil:
		return nil, notSupported(name, "%s has no search parameter %q", typ, code)
	case param.Unsupported != "":
		return nil, notSupported(name, "%q is not supported: %s", code, param.Unsupported)
	}
	own := param
	for len(own.Parts) == 1 {
		own = own.Parts[0]
	}
	if len(own.Parts) > 0 || own.Kind == Composite || own.Kind == Reference || own.Kind == Special {
		return nil, notSupported(name, "%q has values of several kinds, or none that have an order", code)
	}
	return param, nil
}
