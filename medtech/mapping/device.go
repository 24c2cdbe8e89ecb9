package mapping

import (
	"strings"

	"github.com/hygeia-health/hygeia/spec/jmespath"
	"github.com/hygeia-health/hygeia/spec/jsonpath"
	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Device is a device mapping, ready to be used by many goroutines.
type Device struct {
	opt       Options
	templates []*deviceTemplate
}

// TemplateKind says which kind of template it is.
type TemplateKind string

// The kinds of device templates.
const (
	JSONPathContent           TemplateKind = "JsonPathContent"
	IotJSONPathContent        TemplateKind = "IotJsonPathContent"
	IotCentralJSONPathContent TemplateKind = "IotCentralJsonPathContent"
	CalculatedContent         TemplateKind = "CalculatedContent"
)

var deviceKinds = []struct {
	name string
	kind TemplateKind
}{
	{"JsonPathContent", JSONPathContent},
	{"IotJsonPathContent", IotJSONPathContent},
	{"IotCentralJsonPathContent", IotCentralJSONPathContent},
	{"CalculatedContent", CalculatedContent},
	{"CalculatedFunctionContent", CalculatedContent},
}

// deviceTemplate is one template of a device mapping.
type deviceTemplate struct {
	kind     TemplateKind
	typeName string
	line     int
	column   int

	match       *expression
	device      *expression
	patient     *expression
	encounter   *expression
	timestamp   []*expression // the first that has a value
	correlation *expression
	values      []valueExpression
}

type valueExpression struct {
	name     string
	expr     *expression
	required bool
}

// expression is one expression in its language.
type expression struct {
	field        string // deviceIdExpression
	text         string
	line, column int
	path         *jsonpath.Path // one of the two
	jmes         *jmespath.Expr
}

// ParseDevice reads a device mapping. The Device is nil when there are problems
// that are no warnings.
func ParseDevice(text []byte, opt Options) (*Device, Problems) {
	d, root := decode(text)
	m := &Device{opt: opt}
	if root.Valid() {
		d.templates(root, "CollectionContent", func(kind string, at, body resource.Node) {
			for _, k := range deviceKinds {
				if isType(kind, k.name) {
					if t := d.deviceTemplate(k.kind, body); t != nil {
						m.templates = append(m.templates, t)
					}
					return
				}
			}
			d.fail(at, "%q is no type of device template; there are JsonPathContent, IotJsonPathContent, IotCentralJsonPathContent and CalculatedContent", kind)
		})
	}
	if len(d.problems.Fatal()) > 0 {
		return nil, d.sorted()
	}
	if len(m.templates) == 0 {
		d.warn(root, "the mapping has no templates: no message gives a measurement")
	}
	return m, d.sorted()
}

// pending is an expression that is compiled when the default language is known.
type pending struct {
	node resource.Node
	to   func(*expression)
}

// deviceTemplate reads one template; nil when it is no object.
func (d *decoder) deviceTemplate(kind TemplateKind, n resource.Node) *deviceTemplate {
	t := &deviceTemplate{kind: kind}
	t.line, t.column = d.at(n)
	language := "JsonPath"
	var exprs []pending
	expr := func(to func(*expression)) func(resource.Node) {
		return func(n resource.Node) { exprs = append(exprs, pending{n, to}) }
	}
	m := members{
		"*typeName":               d.name(&t.typeName),
		"*typeMatchExpression":    expr(func(e *expression) { t.match = e }),
		"patientIdExpression":     expr(func(e *expression) { t.patient = e }),
		"encounterIdExpression":   expr(func(e *expression) { t.encounter = e }),
		"correlationIdExpression": expr(func(e *expression) { t.correlation = e }),
		"values": func(n resource.Node) {
			d.list(n, "values", func(n resource.Node) { d.valueExpression(t, n, expr) })
		},
	}
	if kind == JSONPathContent || kind == CalculatedContent {
		m["*deviceIdExpression"] = expr(func(e *expression) { t.device = e })
		m["*timestampExpression"] = expr(func(e *expression) { t.timestamp = []*expression{e} })
	}
	if kind == CalculatedContent {
		m["defaultExpressionLanguage"] = d.language(&language)
	}
	if !d.object(n, "the template of a "+string(kind), m) {
		return nil
	}
	for _, p := range exprs {
		if e := d.expression(p.node, language, kind); e != nil {
			p.to(e)
		}
	}
	t.fixed()
	return t
}

// fixed adds the expressions that a kind of template brings along.
func (t *deviceTemplate) fixed() {
	path := func(field, text string) *expression {
		p, err := jsonpath.Parse(text)
		if err != nil {
			panic("mapping: " + err.Error()) // a constant below; every test would see it
		}
		return &expression{field: field, text: text, path: p, line: t.line, column: t.column}
	}
	switch t.kind {
	case IotJSONPathContent:
		t.device = path("deviceIdExpression", "$.SystemProperties.iothub-connection-device-id")
		t.timestamp = []*expression{
			path("timestampExpression", "$.Properties.iothub-creation-time-utc"),
			path("timestampExpression", "$.SystemProperties.iothub-enqueuedtime"),
		}
	case IotCentralJSONPathContent:
		t.device = path("deviceIdExpression", "$.deviceId")
		t.timestamp = []*expression{path("timestampExpression", "$.enqueuedTime")}
	}
}

func (d *decoder) valueExpression(t *deviceTemplate, n resource.Node, expr func(func(*expression)) func(resource.Node)) {
	v := valueExpression{}
	i := len(t.values)
	ok := d.object(n, "a value", members{
		"*valueName":       d.name(&v.name),
		"*valueExpression": expr(func(e *expression) { t.values[i].expr = e }),
		"required":         d.flag(&v.required),
	})
	if !ok {
		return
	}
	for _, o := range t.values {
		if o.name == v.name && v.name != "" {
			d.fail(n, "the valueName %q is there twice", v.name)
		}
	}
	t.values = append(t.values, v)
}

// language reads the name of an expression language.
func (d *decoder) language(to *string) func(resource.Node) {
	return func(n resource.Node) {
		for _, l := range []string{"JsonPath", "JmesPath"} {
			if n.Kind() == resource.String && strings.EqualFold(n.Text(), l) {
				*to = l
				return
			}
		}
		d.fail(n, "the language of expressions is JsonPath or JmesPath")
	}
}

// expression reads a string, or an object of value and language, and compiles it.
func (d *decoder) expression(n resource.Node, language string, kind TemplateKind) *expression {
	e := &expression{field: string(n.Key())}
	at := n
	switch n.Kind() {
	case resource.String:
		e.text = n.Text()
	case resource.Object:
		before := len(d.problems)
		d.object(n, "an expression", members{
			"*value":   func(c resource.Node) { at = c; d.text(&e.text)(c) },
			"language": d.language(&language),
		})
		if len(d.problems) > before {
			return nil
		}
	default:
		d.fail(n, "an expression is a string or an object with value and language, not %s", n.Kind())
		return nil
	}
	if strings.TrimSpace(e.text) == "" {
		d.fail(at, "the expression is empty")
		return nil
	}
	e.line, e.column = d.at(at)
	if language == "JmesPath" {
		if kind != CalculatedContent {
			d.fail(at, "JmesPath is only for CalculatedContent")
			return nil
		}
		x, err := jmespath.Parse(e.text)
		if err != nil {
			d.syntax(at, "JMESPath", err)
			return nil
		}
		e.jmes = x
		return e
	}
	p, err := jsonpath.Parse(e.text)
	if err != nil {
		d.syntax(at, "JSONPath", err)
		return nil
	}
	e.path = p
	return e
}

// syntax notes an error of an expression at its place inside of the string.
func (d *decoder) syntax(n resource.Node, language string, err error) {
	offset, msg := 0, err.Error()
	switch e := err.(type) {
	case *jsonpath.SyntaxError:
		offset, msg = e.Offset, e.Msg
	case *jmespath.SyntaxError:
		offset, msg = e.Offset, e.Msg
	}
	within := 0
	if start, end := n.Offsets(); string(d.src[start+1:end-1]) == n.Text() {
		within = 1 + offset // without escapes the places are the same
	}
	d.note(n, within, false, "the "+language+" expression cannot be read: "+msg)
}

// all returns the matches of a typeMatchExpression.
func (e *expression) all(v jsonvalue.Value) ([]jsonvalue.Value, error) {
	if e.path != nil {
		return e.path.All(v), nil
	}
	r, err := e.jmes.Eval(v)
	if err != nil || r.IsNull() {
		return nil, err
	}
	if !e.jmes.Projects() {
		return []jsonvalue.Value{r}, nil
	}
	var out []jsonvalue.Value
	for c := range r.Children() {
		out = append(out, c)
	}
	return out, nil
}

// one returns the first match. With strict several matches are an error.
func (e *expression) one(v jsonvalue.Value, strict bool) (jsonvalue.Value, error) {
	if e.path == nil {
		r, err := e.jmes.Eval(v)
		if err != nil || !e.jmes.Projects() {
			return r, err
		}
		if r.Len() > 1 {
			return r, &jmespath.EvalError{Msg: "the expression has more than one result"}
		}
		return r.At(0), nil
	}
	if !strict {
		return e.path.First(v), nil
	}
	all := e.path.All(v)
	switch len(all) {
	case 0:
		return jsonvalue.Value{}, nil
	case 1:
		return all[0], nil
	}
	return all[0], &jmespath.EvalError{Msg: "the path has more than one result"}
}
