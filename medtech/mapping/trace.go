package mapping

import (
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Trace tells what each template and expression did with one message. A nil
// Trace takes no notes.
type Trace struct {
	Templates []TemplateTrace `json:"templates"`

	used map[int]bool // nodes of the message that a value was taken from
}

// TemplateTrace is the part of one template.
type TemplateTrace struct {
	TypeName     string            `json:"typeName"`
	TemplateType TemplateKind      `json:"templateType"`
	Line         int               `json:"line"`
	Matches      int               `json:"matches"`
	Measurements int               `json:"measurements"`
	Expressions  []ExpressionTrace `json:"expressions"`
}

// ExpressionTrace is what one expression did for one token.
type ExpressionTrace struct {
	Field      string `json:"field"`
	Expression string `json:"expression"`
	Line       int    `json:"line,omitempty"`
	Column     int    `json:"column,omitempty"`
	Place      string `json:"place,omitempty"` // where it found something
	Path       string `json:"path,omitempty"`  // of what it found, in the message
	Value      string `json:"value,omitempty"`
	Problem    string `json:"problem,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
}

func (tr *Trace) template(t *deviceTemplate) {
	if tr == nil {
		return
	}
	tr.Templates = append(tr.Templates, TemplateTrace{TypeName: t.typeName, TemplateType: t.kind, Line: t.line})
}

func (tr *Trace) last() *TemplateTrace { return &tr.Templates[len(tr.Templates)-1] }

func (tr *Trace) measured() {
	if tr != nil {
		tr.last().Measurements++
	}
}

// matched notes what the typeMatchExpression found.
func (tr *Trace) matched(e *expression, place string, found []jsonvalue.Value) {
	if tr == nil {
		return
	}
	t := tr.last()
	t.Matches = len(found)
	x := e.trace()
	if x.Place = place; len(found) == 0 {
		x.Problem = "the expression matches nothing in this message"
	} else {
		x.Path = pathOf(found[0])
	}
	t.Expressions = append(t.Expressions, x)
}

func (tr *Trace) value(e *expression, place string, v jsonvalue.Value, text string) {
	if tr == nil {
		return
	}
	x := e.trace()
	x.Place, x.Path, x.Value = place, pathOf(v), text
	if n := v.Node(); n.Valid() {
		if tr.used == nil {
			tr.used = map[int]bool{}
		}
		tr.used[n.Index()] = true
	}
	t := tr.last()
	t.Expressions = append(t.Expressions, x)
}

func (tr *Trace) missing(e *expression, why string) {
	if tr == nil {
		return
	}
	x := e.trace()
	if x.Problem = why; why == "" {
		x.Problem = "the expression finds nothing in this message"
	}
	t := tr.last()
	t.Expressions = append(t.Expressions, x)
}

func (e *expression) trace() ExpressionTrace {
	return ExpressionTrace{Field: e.field, Expression: e.text, Line: e.line, Column: e.column}
}

// pathOf returns the place of a value in the message: $.Body.heartRate.
func pathOf(v jsonvalue.Value) string {
	n := v.Node()
	if !n.Valid() {
		return ""
	}
	return "$" + nodePath(n)
}

func nodePath(n resource.Node) string {
	p := n.Path()
	if i := strings.IndexAny(p, ".["); i >= 0 {
		return p[i:]
	}
	return ""
}

// Finish looks for what the expressions left out: it returns the places of the
// message that no expression took a value from, and adds a suggestion to each
// expression that found nothing and whose last name stands elsewhere.
func (tr *Trace) Finish(msg Message) (unused []string) {
	root := msg.body.Node()
	if !root.Valid() {
		return nil
	}
	if d := root.Doc(); d != nil {
		root = d.Root()
	}
	var leaves []resource.Node
	var walk func(resource.Node)
	walk = func(n resource.Node) {
		if n.Kind() != resource.Object && n.Kind() != resource.Array {
			leaves = append(leaves, n)
			return
		}
		for c := range n.Children() {
			walk(c)
		}
	}
	walk(root)
	// What a function computed with is not followed: such values count as unused.
	for _, n := range leaves {
		if !tr.used[n.Index()] {
			unused = append(unused, "$"+nodePath(n))
		}
	}
	for i := range tr.Templates {
		for j := range tr.Templates[i].Expressions {
			x := &tr.Templates[i].Expressions[j]
			if x.Path == "" && x.Value == "" {
				x.Suggestion = suggest(x.Expression, root)
			}
		}
	}
	return unused
}

// suggest looks for the last name of an expression, or one that is close, in
// the message.
func suggest(expr string, root resource.Node) string {
	names := strings.FieldsFunc(expr, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r < 0x80
	})
	slices.Reverse(names)
	for _, name := range names {
		if name == "matchedToken" || name == "Body" || len(name) < 2 {
			continue
		}
		best, distance := "", 1+len(name)/3
		var walk func(resource.Node)
		walk = func(n resource.Node) {
			for c := range n.Children() {
				if key := string(c.Key()); key != "" {
					if d := editDistance(strings.ToLower(key), strings.ToLower(name)); d < distance {
						best, distance = "$"+nodePath(c), d
					}
				}
				walk(c)
			}
		}
		walk(root)
		if best != "" {
			return "the message has " + best
		}
	}
	return ""
}
