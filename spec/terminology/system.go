package terminology

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// system is a code system with its hierarchy.
type system struct {
	url     string
	order   []string
	parents map[string][]string
	concept map[string]resource.Node
}

func (e *expander) system(url, version string) (*system, error) {
	canonical := url
	if version != "" {
		canonical += "|" + version
	}
	n, ok, err := e.src.CodeSystem(canonical)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("the code system %s is not known here", url)
	}
	switch content := n.Get("content").Text(); content {
	case "complete", "":
	default:
		return nil, fmt.Errorf("the code system %s is here, but its content is %q and not complete", url, content)
	}
	s := &system{url: url, parents: map[string][]string{}, concept: map[string]resource.Node{}}
	s.read(n, "", 0)
	return s, nil
}

// maxLevels bounds nested concepts.
const maxLevels = 100

// read takes the concepts of one level. A parent is the concept around one, or
// named by the property parent, or names it by the property child.
func (s *system) read(n resource.Node, parent string, level int) {
	for c := n.Get("concept").First(); c.Valid() && level < maxLevels; c = c.Next() {
		code := c.Get("code").Text()
		if code == "" {
			continue
		}
		if _, ok := s.concept[code]; !ok {
			s.order = append(s.order, code)
			s.concept[code] = c
		}
		if parent != "" {
			s.parents[code] = append(s.parents[code], parent)
		}
		for p := c.Get("property").First(); p.Valid(); p = p.Next() {
			switch v := p.Get("valueCode").Text(); p.Get("code").Text() {
			case "parent":
				s.parents[code] = append(s.parents[code], v)
			case "child":
				s.parents[v] = append(s.parents[v], code)
			}
		}
		s.read(c, code, level+1)
	}
}

// above returns a code and all that subsume it.
func (s *system) above(code string) map[string]bool {
	seen := map[string]bool{}
	var up func(string)
	up = func(c string) {
		if !seen[c] {
			seen[c] = true
			for _, p := range s.parents[c] {
				up(p)
			}
		}
	}
	up(code)
	return seen
}

// isA reports whether code is below or equal to top.
func (s *system) isA(code, top string) bool { return s.above(code)[top] }

// filter keeps the codes that a ValueSet.compose.include.filter wants.
func (s *system) filter(out *codes, f resource.Node) error {
	property, op, value := f.Get("property").Text(), f.Get("op").Text(), f.Get("value").Text()
	concept := property == "concept" || property == "code"
	var want func(code string) bool
	switch {
	case op == "is-a" && concept:
		want = func(c string) bool { return s.isA(c, value) }
	case op == "descendent-of" && concept:
		want = func(c string) bool { return c != value && s.isA(c, value) }
	case op == "is-not-a" && concept:
		want = func(c string) bool { return !s.isA(c, value) }
	case op == "generalizes" && concept:
		above := s.above(value)
		want = func(c string) bool { return above[c] }
	case op == "=":
		want = func(c string) bool { return slices.Contains(s.values(c, property), value) }
	case op == "in":
		list := strings.Split(value, ",")
		want = func(c string) bool {
			return slices.ContainsFunc(s.values(c, property), func(v string) bool { return slices.Contains(list, v) })
		}
	case op == "exists":
		want = func(c string) bool { return (len(s.values(c, property)) > 0) == (value == "true") }
	case op == "regex":
		re, err := regexp.Compile("^(?:" + value + ")$")
		if err != nil {
			return fmt.Errorf("a filter on %s has no valid regular expression", s.url)
		}
		want = func(c string) bool { return slices.ContainsFunc(s.values(c, property), re.MatchString) }
	default:
		return fmt.Errorf("a filter %q on %s of %s cannot be answered here", op, property, s.url)
	}
	out.keep(func(c Coding) bool { return want(c.Code) })
	return nil
}

// values returns what a concept has for a property.
func (s *system) values(code, property string) (out []string) {
	c := s.concept[code]
	switch property {
	case "concept", "code":
		return []string{code}
	case "display":
		return []string{c.Get("display").Text()}
	}
	for p := c.Get("property").First(); p.Valid(); p = p.Next() {
		if p.Get("code").Text() != property {
			continue
		}
		for _, name := range []string{"valueCode", "valueString", "valueInteger", "valueBoolean", "valueDateTime", "valueDecimal"} {
			if v := p.Get(name); v.Valid() {
				out = append(out, v.Text())
			}
		}
		if v := p.Get("valueCoding"); v.Valid() {
			out = append(out, v.Get("code").Text())
		}
	}
	return out
}

// Related lists a code with all that it subsumes (below), or that subsume it.
func Related(src Source, c Coding, below bool) ([]Coding, error) {
	e := &expander{src: src}
	s, err := e.system(c.System, "")
	if err != nil {
		return nil, err
	}
	if s.concept[c.Code].Kind() != resource.Object {
		return nil, fmt.Errorf("the code system %s has no code %q", c.System, c.Code)
	}
	var out []Coding
	above := s.above(c.Code)
	for _, code := range s.order {
		if below && s.isA(code, c.Code) || !below && above[code] {
			out = append(out, Coding{c.System, code})
		}
	}
	return out, nil
}
