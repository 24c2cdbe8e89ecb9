package mapping

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// FHIR is a FHIR mapping, ready to be used by many goroutines.
type FHIR struct {
	opt       Options
	templates map[string]*fhirTemplate // by type name in lower case
	order     []*fhirTemplate
}

// Period is the window of an Observation.
type Period int

// The values of periodInterval.
const (
	Single        Period = 0    // each time of occurrence on its own
	Hourly        Period = 60   // all of one hour
	Daily         Period = 1440 // all of one day, in UTC
	ByCorrelation Period = -1   // all that have one correlation id
)

// ValueKind is the data type of a value.
type ValueKind string

// The kinds of values.
const (
	Quantity        ValueKind = "Quantity"
	SampledData     ValueKind = "SampledData"
	CodeableConcept ValueKind = "CodeableConcept"
	String          ValueKind = "String"
)

// coding is one code.
type coding struct{ system, code, display string }

// concept is a CodeableConcept.
type concept struct {
	text  string
	codes []coding
}

// fhirTemplate is one template of a FHIR mapping.
type fhirTemplate struct {
	typeName   string
	line       int
	column     int
	period     Period
	categories []concept
	codes      []coding
	value      *valueTemplate
	components []component
}

type component struct {
	codes []coding
	value *valueTemplate
}

// valueTemplate says how a value is made.
type valueTemplate struct {
	name               string
	kind               ValueKind
	line, column       int
	unit, system, code string        // Quantity; unit also of SampledData
	period             time.Duration // SampledData
	periodText         string        // its number as written
	concept            concept       // CodeableConcept
}

// each calls f for the values of the template and its components.
func (t *fhirTemplate) each(f func(*valueTemplate)) {
	if t.value != nil {
		f(t.value)
	}
	for _, c := range t.components {
		if c.value != nil {
			f(c.value)
		}
	}
}

// ParseFHIR reads a FHIR mapping. The FHIR is nil when there are problems that
// are no warnings.
func ParseFHIR(text []byte, opt Options) (*FHIR, Problems) {
	d, root := decode(text)
	m := &FHIR{opt: opt, templates: map[string]*fhirTemplate{}}
	if root.Valid() {
		d.templates(root, "CollectionFhir", func(kind string, at, body resource.Node) {
			if !isType(kind, "CodeValueFhir") {
				d.fail(at, "%q is no type of FHIR template; there is CodeValueFhir", kind)
				return
			}
			t := d.fhirTemplate(body)
			if t == nil || t.typeName == "" {
				return
			}
			key := strings.ToLower(t.typeName)
			if first := m.templates[key]; first != nil {
				d.fail(body.Get("typeName"), "Duplicate template defined for type name: %q, first on line %d", t.typeName, first.line)
				return
			}
			m.templates[key] = t
			m.order = append(m.order, t)
		})
	}
	if len(d.problems.Fatal()) > 0 {
		return nil, d.sorted()
	}
	if len(m.order) == 0 {
		d.warn(root, "the mapping has no templates: no measurement becomes an Observation")
	}
	return m, d.sorted()
}

func (d *decoder) fhirTemplate(n resource.Node) *fhirTemplate {
	t := &fhirTemplate{}
	t.line, t.column = d.at(n)
	ok := d.object(n, "the template of a CodeValueFhir", members{
		"*typeName":      d.name(&t.typeName),
		"periodInterval": d.interval(&t.period),
		"category":       func(n resource.Node) { d.categories(n, &t.categories) },
		"*codes":         func(n resource.Node) { d.codes(n, &t.codes) },
		"value":          func(n resource.Node) { t.value = d.value(n) },
		"components":     func(n resource.Node) { d.components(n, t) },
	})
	if !ok {
		return nil
	}
	if t.value == nil && len(t.components) == 0 {
		d.warn(n, "the template has neither value nor components: its Observations have no value")
	}
	d.distinctValues(n, t)
	t.each(func(v *valueTemplate) { d.window(n, t, v) })
	return t
}

func (d *decoder) distinctValues(n resource.Node, t *fhirTemplate) {
	seen := map[string]bool{}
	for _, c := range t.components {
		if c.value == nil {
			continue
		}
		if name := c.value.name; name != "" && seen[name] {
			d.fail(n.Get("components"), "two components have the valueName %q", name)
		} else {
			seen[name] = true
		}
	}
}

// maxSamples bounds the data of one SampledData.
const maxSamples = 100_000

// window refuses SampledData that would have too many samples.
func (d *decoder) window(n resource.Node, t *fhirTemplate, v *valueTemplate) {
	if v.kind != SampledData || v.period <= 0 || t.period <= 0 {
		return
	}
	if samples := time.Duration(t.period) * time.Minute / v.period; samples > maxSamples {
		d.fail(n, "%q: a window of %d minutes has %d samples of %s ms; at most %d are possible", v.name, t.period, samples, v.periodText, maxSamples)
	}
}

// interval reads a periodInterval: a number, or the name that stands for it.
func (d *decoder) interval(to *Period) func(resource.Node) {
	return func(n resource.Node) {
		for _, p := range []struct {
			name string
			p    Period
		}{{"Single", Single}, {"Hourly", Hourly}, {"Daily", Daily}, {"CorrelationId", ByCorrelation}} {
			k := n.Kind()
			if (k == resource.String || k == resource.Number) && (n.Text() == strconv.Itoa(int(p.p)) || strings.EqualFold(n.Text(), p.name)) {
				*to = p.p
				return
			}
		}
		d.fail(n, "periodInterval is 0 (single), 60 (hourly), 1440 (daily) or -1 (by correlation id)")
	}
}

// categories reads [{text, codes}] or the flat form [{system, code, display}].
func (d *decoder) categories(n resource.Node, to *[]concept) {
	d.list(n, "category", func(n resource.Node) {
		var c concept
		if n.Get("code").Valid() || n.Get("system").Valid() {
			var one coding
			d.coding(n, &one)
			c.codes = []coding{one}
		} else {
			d.object(n, "a category", members{
				"text":  d.text(&c.text),
				"codes": func(n resource.Node) { d.codes(n, &c.codes) },
			})
		}
		*to = append(*to, c)
	})
}

func (d *decoder) codes(n resource.Node, to *[]coding) {
	d.list(n, "codes", func(n resource.Node) {
		var c coding
		d.coding(n, &c)
		*to = append(*to, c)
	})
}

func (d *decoder) coding(n resource.Node, to *coding) {
	d.object(n, "a code", members{"code": d.text(&to.code), "system": d.text(&to.system), "display": d.text(&to.display)})
}

func (d *decoder) components(n resource.Node, t *fhirTemplate) {
	d.list(n, "components", func(n resource.Node) {
		var c component
		d.object(n, "a component", members{
			"*codes": func(n resource.Node) { d.codes(n, &c.codes) },
			"*value": func(n resource.Node) { c.value = d.value(n) },
		})
		t.components = append(t.components, c)
	})
}

// value reads a value of any kind. The members of one kind are allowed in all:
// mappings in use have, for example, a defaultPeriod in a Quantity.
func (d *decoder) value(n resource.Node) *valueTemplate {
	v := &valueTemplate{}
	v.line, v.column = d.at(n)
	var kind, period, text, codes, system, code, unit resource.Node
	keep := func(to *resource.Node) func(resource.Node) { return func(n resource.Node) { *to = n } }
	ok := d.object(n, "a value", members{
		"*valueName":    d.name(&v.name),
		"*valueType":    keep(&kind),
		"unit":          func(n resource.Node) { unit = n; d.text(&v.unit)(n) },
		"system":        func(n resource.Node) { system = n; d.text(&v.system)(n) },
		"code":          func(n resource.Node) { code = n; d.text(&v.code)(n) },
		"defaultPeriod": keep(&period),
		"text":          func(n resource.Node) { text = n; d.text(&v.concept.text)(n) },
		"codes":         func(n resource.Node) { codes = n; d.codes(n, &v.concept.codes) },
	})
	if !ok || !kind.Valid() {
		return v
	}
	var idle []resource.Node
	switch v.kind = d.kind(kind); v.kind {
	case Quantity:
		idle = []resource.Node{period, text, codes}
	case SampledData:
		idle = []resource.Node{system, code, text, codes}
		if !period.Valid() {
			d.fail(n, "the required member %q is missing: SampledData needs the milliseconds between two samples", "defaultPeriod")
		}
	case CodeableConcept:
		idle = []resource.Node{period, unit, system, code}
	case String:
		idle = []resource.Node{period, unit, system, code, text, codes}
	}
	for _, c := range idle {
		if c.Valid() && v.kind != "" {
			d.warn(c, "%s has no effect on a %s", c.Key(), v.kind)
		}
	}
	if period.Valid() {
		d.period(period, v)
	}
	return v
}

func (d *decoder) kind(n resource.Node) ValueKind {
	for _, k := range []ValueKind{Quantity, SampledData, CodeableConcept, String} {
		if n.Kind() == resource.String && strings.EqualFold(n.Text(), string(k)) {
			return k
		}
	}
	d.fail(n, "the valueType is Quantity, SampledData, CodeableConcept or String")
	return ""
}

func (d *decoder) period(n resource.Node, v *valueTemplate) {
	ms, err := strconv.ParseFloat(n.Text(), 64)
	if k := n.Kind(); k != resource.Number || err != nil || ms <= 0 || ms > math.MaxInt32 || ms < 0.001 {
		d.fail(n, "defaultPeriod is a number of milliseconds greater than 0")
		return
	}
	v.period, v.periodText = time.Duration(math.Round(ms*1e6)), n.Text()
}

// template returns the template of a type.
func (m *FHIR) template(typeName string) (*fhirTemplate, *Error) {
	t := m.templates[strings.ToLower(typeName)]
	if t == nil {
		return nil, &Error{Class: TemplateNotFound, TypeName: typeName, Msg: fmt.Sprintf("the FHIR mapping has no template for the type %q", typeName)}
	}
	return t, nil
}
