package fhirpath

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// jsSuite walks the nested lists of one file of fhirpath.js cases.
type jsSuite struct {
	t       *testing.T
	l       *ledger
	file    string
	subject resource.Node
}

// TestFHIRPathJS runs the cases of fhirpath.js. Cases for other versions of
// FHIR, and those that are disabled there, are not run.
func TestFHIRPathJS(t *testing.T) {
	files, err := filepath.Glob("testdata/fhirpathjs/cases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	l := newLedger(t, fhirpathjsExclusions)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var doc yaml.Node
		if err := yaml.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		top := doc.Content[0]
		s := &jsSuite{t: t, l: l, file: filepath.Base(f)}
		if n := entry(top, "subject"); n != nil {
			s.subject = toNode(t, n)
		}
		s.list(entry(top, "tests"))
	}
	l.finish()
}

func entry(m *yaml.Node, key string) *yaml.Node {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

func (s *jsSuite) list(n *yaml.Node) {
	if n == nil {
		return
	}
	for _, c := range n.Content {
		if x := entry(c, "expression"); x != nil {
			s.test(c, x)
			continue
		}
		for i := 0; i+1 < len(c.Content); i += 2 {
			if strings.HasPrefix(c.Content[i].Value, "group") {
				s.list(c.Content[i+1])
			}
		}
	}
}

func (s *jsSuite) test(c, x *yaml.Node) {
	model := ""
	if m := entry(c, "model"); m != nil {
		model = m.Value
	}
	if d := entry(c, "disable"); d != nil && d.Value == "true" || model != "" && model != "r4" {
		return
	}
	exprs := []*yaml.Node{x}
	if x.Kind == yaml.SequenceNode {
		exprs = x.Content
	}
	for _, e := range exprs {
		s.l.check(s.file+":"+strconv.Itoa(e.Line), e.Value, s.run(c, e.Value, model))
	}
}

func (s *jsSuite) run(c *yaml.Node, expr, model string) string {
	root := s.subject
	if f := entry(c, "inputfile"); f != nil {
		root = parseFile(s.t, "testdata/input/"+filepath.Base(f.Value))
	}
	context := Typed(root, nil)
	if model != "" {
		context = Root(root)
	}
	env := &Env{Variables: map[string][]Value{}}
	if model != "" {
		env.Resource = root
	}
	if vars := entry(c, "variables"); vars != nil {
		for i := 0; i+1 < len(vars.Content); i += 2 {
			n := toNode(s.t, vars.Content[i+1])
			items := appendElement(nil, nil, n, resource.Node{})
			for i := range items {
				if model != "" && items[i].node.Kind() == resource.Object {
					items[i] = Root(items[i].node)
				}
			}
			env.Variables[vars.Content[i].Value] = items
		}
	}
	if x := entry(c, "context"); x != nil {
		v, err := evalText(x.Value, context, env)
		if err != nil || len(v) != 1 {
			return fmt.Sprintf("context: %v %v", v, err)
		}
		context = v[0]
	}
	got, err := evalText(expr, context, env)
	if wrong := entry(c, "error"); wrong != nil && wrong.Value == "true" {
		if err == nil {
			return "no error; got " + show(got)
		}
		return ""
	}
	if err != nil {
		return err.Error()
	}
	want := toJSON(entry(c, "result"))
	if have := gotJSON(got); want != have {
		return "got " + have + ", want " + want
	}
	return ""
}

// gotJSON writes a result as the suite does: computed values as JSON, dates and
// quantities as strings, nodes as they are.
func gotJSON(values []Value) string {
	out := []any{}
	for _, v := range values {
		s := v.system()
		switch s.kind {
		case kindType:
			space, name, _ := strings.Cut(s.s, ".")
			out = append(out, map[string]string{"namespace": space, "name": name})
		case kindNode:
			if !v.node.Valid() {
				continue // extensions without a value are not shown
			}
			var x any
			_ = json.Unmarshal([]byte(v.String()), &x)
			out = append(out, x)
		case kindBoolean:
			out = append(out, s.i != 0)
		case kindInteger:
			out = append(out, float64(s.i))
		case kindDecimal:
			out = append(out, s.p.(*decimal).float())
		default:
			out = append(out, v.String())
		}
	}
	b, _ := json.Marshal(out)
	return string(b)
}

func toNode(t *testing.T, n *yaml.Node) resource.Node {
	t.Helper()
	d := new(resource.Doc)
	if err := d.Parse([]byte(toJSON(n)), resource.Options{}); err != nil {
		t.Fatalf("line %d: %v", n.Line, err)
	}
	return d.Root()
}

// toJSON converts YAML to JSON. Dates stay strings. Keys are sorted.
func toJSON(n *yaml.Node) string {
	b, _ := json.Marshal(plainYAML(n))
	return string(b)
}

func plainYAML(n *yaml.Node) any {
	switch {
	case n == nil:
		return []any{}
	case n.Kind == yaml.AliasNode:
		return plainYAML(n.Alias)
	case n.Kind == yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			out = append(out, plainYAML(c))
		}
		return out
	case n.Kind == yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			out[n.Content[i].Value] = plainYAML(n.Content[i+1])
		}
		return out
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true"
	case "!!int", "!!float":
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
			return f
		}
	}
	return n.Value
}
