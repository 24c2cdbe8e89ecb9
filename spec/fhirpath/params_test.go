package fhirpath

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// expressions returns the expressions of all R4 search parameters, and of the
// components of composites.
func expressions() []string {
	var all []string
	for _, p := range r4.SearchParams() {
		if p.Expression != "" {
			all = append(all, p.Expression)
		}
		for _, c := range p.Components {
			all = append(all, c.Expression)
		}
	}
	return all
}

func parseFile(t testing.TB, name string) resource.Node {
	t.Helper()
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := new(resource.Doc)
	if err := d.Parse(src, resource.Options{}); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d.Root()
}

// TestSearchParameters runs the expression of every search parameter of R4 on
// every fixture.
func TestSearchParameters(t *testing.T) {
	files, err := filepath.Glob("testdata/input/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no fixtures", err)
	}
	var roots []resource.Node
	for _, f := range files {
		roots = append(roots, parseFile(t, f))
	}
	found := 0
	simple := 0
	exprs := expressions()
	for _, s := range exprs {
		e, err := Compile(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if _, ok := e.Paths(); ok {
			simple++
		}
		for i, r := range roots {
			got, err := e.Eval(r, nil)
			if err != nil {
				t.Errorf("%s on %s: %v", s, files[i], err)
			}
			found += len(got)
		}
	}
	t.Logf("%d expressions, %d of them simple paths; %d values found in %d resources", len(exprs), simple, found, len(roots))
	if found == 0 {
		t.Error("nothing was found")
	}
}
