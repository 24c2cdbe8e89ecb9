package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The model that is written. Its fields are those of the package spec/r4.

type model struct {
	types        []*typ
	params       []searchParameter
	compartments []compartmentDefinition
	codes        map[string][]string // value set URL -> codes
}

const (
	kindPrimitive = iota
	kindComplex
	kindBackbone
	kindResource
)

type typ struct {
	name, base, url, regex string
	kind                   int
	abstract               bool
	elements               []*element
}

type element struct {
	name, path                string
	min, max, maxLength       int
	choice, summary, modifier bool
	strength, valueSet        string
	types                     []typeRef
}

type typeRef struct {
	name, jsonName, profile string
	targets                 []string
}

const (
	extFHIRType = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
	extRegex    = "http://hl7.org/fhir/StructureDefinition/regex"
	systemType  = "http://hl7.org/fhirpath/System."
)

func build(src *source) (*model, error) {
	m := &model{codes: map[string][]string{}}
	for i := range src.structures {
		sd := &src.structures[i]
		if sd.Derivation == "constraint" || sd.Kind == "logical" {
			continue
		}
		if err := m.addStructure(sd); err != nil {
			return nil, fmt.Errorf("%s: %w", sd.URL, err)
		}
	}
	slices.SortFunc(m.types, func(a, b *typ) int { return strings.Compare(a.name, b.name) })
	if err := m.check(); err != nil {
		return nil, err
	}
	m.addCodes(src)
	m.params = src.params
	slices.SortFunc(m.params, func(a, b searchParameter) int { return strings.Compare(a.URL, b.URL) })
	for _, c := range src.compartments {
		// The package also has one example, which is no compartment of R4.
		if !strings.HasSuffix(c.URL, "/example") {
			m.compartments = append(m.compartments, c)
		}
	}
	slices.SortFunc(m.compartments, func(a, b compartmentDefinition) int { return strings.Compare(a.Code, b.Code) })
	return m, nil
}

// addStructure adds the type of a StructureDefinition and the types of its
// backbone elements.
func (m *model) addStructure(sd *structureDefinition) error {
	root := &typ{name: sd.Type, base: lastSegment(sd.BaseDefinition), url: sd.URL, abstract: sd.Abstract}
	switch sd.Kind {
	case "primitive-type":
		root.kind = kindPrimitive
	case "complex-type":
		root.kind = kindComplex
	case "resource":
		root.kind = kindResource
	default:
		return fmt.Errorf("kind %q", sd.Kind)
	}
	byPath := map[string]*typ{sd.Type: root}
	m.types = append(m.types, root)
	els := sd.Snapshot.Element[1:]
	for i := range els {
		ed := &els[i]
		dot := strings.LastIndexByte(ed.Path, '.')
		owner := byPath[ed.Path[:dot]]
		if owner == nil {
			return fmt.Errorf("%s has no parent", ed.Path)
		}
		if i+1 < len(els) && strings.HasPrefix(els[i+1].Path, ed.Path+".") {
			b := &typ{name: ed.Path, base: ed.Type[0].Code, kind: kindBackbone}
			byPath[ed.Path] = b
			m.types = append(m.types, b)
		}
		if ed.Max == "0" {
			continue
		}
		e, err := newElement(ed, byPath[ed.Path] != nil)
		if err != nil {
			return fmt.Errorf("%s: %w", ed.Path, err)
		}
		owner.elements = append(owner.elements, e)
		if root.kind == kindPrimitive && e.name == "value" {
			root.regex = regexOf(ed)
		}
	}
	return nil
}

func regexOf(ed *elementDefinition) string {
	for _, t := range ed.Type {
		for _, x := range t.Extension {
			if x.URL == extRegex {
				return x.ValueString
			}
		}
	}
	return ""
}

func newElement(ed *elementDefinition, backbone bool) (*element, error) {
	e := &element{
		path: ed.Path, name: ed.Path[strings.LastIndexByte(ed.Path, '.')+1:],
		min: ed.Min, max: -1, maxLength: ed.MaxLength, summary: ed.IsSummary, modifier: ed.IsModifier,
	}
	if ed.Max != "*" {
		n, err := strconv.Atoi(ed.Max)
		if err != nil {
			return nil, err
		}
		e.max = n
	}
	e.name, e.choice = strings.CutSuffix(e.name, "[x]")
	if ed.Binding != nil {
		e.strength = ed.Binding.Strength
		e.valueSet, _, _ = strings.Cut(ed.Binding.ValueSet, "|")
	}
	switch {
	case ed.ContentReference != "":
		_, name, _ := strings.Cut(ed.ContentReference, "#")
		e.types = []typeRef{{name: name, jsonName: e.name}}
	case backbone:
		e.types = []typeRef{{name: ed.Path, jsonName: e.name}}
	default:
		e.addTypes(ed)
	}
	return e, nil
}

func (e *element) addTypes(ed *elementDefinition) {
	for _, t := range ed.Type {
		r := typeRef{name: t.Code, jsonName: e.name}
		if sys, ok := strings.CutPrefix(t.Code, systemType); ok {
			r.name = strings.ToLower(sys[:1]) + sys[1:]
			for _, x := range t.Extension {
				if x.URL == extFHIRType {
					r.name = x.ValueURL
				}
			}
			// The snapshot calls the id of a resource a string; its type is id
			// (http://hl7.org/fhir/R4/resource.html#id).
			if strings.Count(ed.Path, ".") == 1 && e.name == "id" && e.summary {
				r.name = "id"
			}
		}
		if e.choice {
			r.jsonName = e.name + strings.ToUpper(r.name[:1]) + r.name[1:]
		}
		for _, p := range t.TargetProfile {
			r.targets = append(r.targets, lastSegment(p))
		}
		slices.Sort(r.targets)
		if len(t.Profile) == 1 {
			r.profile = t.Profile[0]
		}
		e.types = append(e.types, r)
	}
}

// check makes sure that every name leads to a type.
func (m *model) check() error {
	names := map[string]bool{}
	for _, t := range m.types {
		if names[t.name] {
			return fmt.Errorf("type %s is there twice", t.name)
		}
		names[t.name] = true
	}
	for _, t := range m.types {
		if t.base != "" && !names[t.base] {
			return fmt.Errorf("%s: unknown base %s", t.name, t.base)
		}
		for _, e := range t.elements {
			if len(e.types) == 0 {
				return fmt.Errorf("%s has no type", e.path)
			}
			for _, r := range e.types {
				if !names[r.name] {
					return fmt.Errorf("%s: unknown type %s", e.path, r.name)
				}
			}
		}
	}
	return nil
}

// addCodes enumerates the value sets that code elements are bound to.
func (m *model) addCodes(src *source) {
	for _, t := range m.types {
		for _, e := range t.elements {
			if e.strength != "required" || m.codes[e.valueSet] != nil ||
				!slices.ContainsFunc(e.types, func(r typeRef) bool { return r.name == "code" }) {
				continue
			}
			set := map[string]bool{}
			if src.expand(e.valueSet, set) {
				m.codes[e.valueSet] = slices.Sorted(maps.Keys(set))
			}
		}
	}
}

// expand adds the codes of a value set. It returns false when they cannot all
// be told from the package.
func (s *source) expand(url string, set map[string]bool) bool {
	url, _, _ = strings.Cut(url, "|")
	v := s.valueSets[url]
	if v == nil || len(v.Compose.Include) == 0 || len(v.Compose.Exclude) > 0 {
		return false
	}
	for _, inc := range v.Compose.Include {
		if len(inc.Filter) > 0 || len(inc.ValueSet) > 0 && inc.System != "" {
			return false
		}
		for _, u := range inc.ValueSet {
			if !s.expand(u, set) {
				return false
			}
		}
		list := inc.Concept
		if len(list) == 0 && inc.System != "" {
			c := s.codeSystems[inc.System]
			if c == nil || c.Content != "complete" {
				return false
			}
			list = c.Concept
		}
		addConcepts(list, set)
	}
	return len(set) > 0
}

func addConcepts(list []concept, set map[string]bool) {
	for _, c := range list {
		set[c.Code] = true
		addConcepts(c.Concept, set)
	}
}

func lastSegment(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }
