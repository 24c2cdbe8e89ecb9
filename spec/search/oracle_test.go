package search

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/spec/fhirpath"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// TestTrieAgreesWithInterpreter extracts every parameter a second time, by the
// interpreter of its whole expression, and expects the same entries.
func TestTrieAgreesWithInterpreter(t *testing.T) {
	files, err := filepath.Glob("testdata/extract/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc resource.Doc
		if err := doc.Parse(src, resource.Options{}); err != nil {
			t.Fatal(err)
		}
		compareWithInterpreter(t, filepath.Base(file), doc.Root())
	}
}

func compareWithInterpreter(t *testing.T, name string, root resource.Node) {
	t.Helper()
	var all Values
	reg := Default()
	if err := reg.Extract(root, nil, &all); err != nil {
		t.Fatal(err)
	}
	for _, p := range reg.Params(root.Get("resourceType").Text()) {
		if p.Unsupported != "" || len(p.Parts) > 0 || p.Kind == Composite || strings.Contains(p.Expression, "resolve()") {
			continue // composites have parts, and nothing resolves references here
		}
		expr, err := fhirpath.Compile(p.Expression)
		if err != nil {
			t.Fatalf("%s: %v", p.Key(), err)
		}
		var v Values
		x := extractor{root: root, v: &v}
		x.evaluate(&evaluation{p, expr}, root)
		x.dedupe(marks{})
		want, got := entries(&v, p), entries(&all, p)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s (-interpreter +trie):\n%s", name, p.Key(), d)
		}
		if p.Single && len(got) > 1 {
			t.Errorf("%s: %s is single and has %d entries", name, p.Key(), len(got))
		}
	}
}

// entries returns the entries of one parameter as sorted text.
func entries(v *Values, p *Param) []string {
	var out []string
	add := func(q *Param, fields ...any) {
		if q == p {
			out = append(out, fmt.Sprintf("%q", fields))
		}
	}
	for _, e := range v.Tokens {
		add(e.Param, e.System, e.Code, e.Text)
	}
	for _, e := range v.References {
		add(e.Param, e.Type, e.ID, e.URL)
	}
	for _, e := range v.Dates {
		add(e.Param, e.Lo, e.Hi)
	}
	for _, e := range v.Numbers {
		add(e.Param, e.Lo, e.Hi, e.System, e.Code, e.Unit)
	}
	for _, e := range v.Strings {
		add(e.Param, e.Text, e.Norm)
	}
	for _, e := range v.URIs {
		add(e.Param, e.URI)
	}
	slices.Sort(out)
	return out
}
