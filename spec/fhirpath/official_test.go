package fhirpath

import (
	"encoding/xml"
	"os"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/spec/resource"
)

type officialSuite struct {
	Groups []struct {
		Name  string         `xml:"name,attr"`
		Tests []officialTest `xml:"test"`
	} `xml:"group"`
}

type officialTest struct {
	Name       string `xml:"name,attr"`
	Input      string `xml:"inputfile,attr"`
	Predicate  bool   `xml:"predicate,attr"`
	Expression struct {
		Invalid string `xml:"invalid,attr"`
		Text    string `xml:",chardata"`
	} `xml:"expression"`
	Outputs []struct {
		Type string `xml:"type,attr"`
		Text string `xml:",chardata"`
	} `xml:"output"`
}

// TestOfficial runs the official suite for R4. The tests that do not pass are
// named in the ledger of exclusions.
func TestOfficial(t *testing.T) {
	data, err := os.ReadFile("testdata/official/tests-fhir-r4.xml")
	if err != nil {
		t.Fatal(err)
	}
	var suite officialSuite
	if err := xml.Unmarshal(data, &suite); err != nil {
		t.Fatal(err)
	}
	l := newLedger(t, officialExclusions)
	for _, g := range suite.Groups {
		for _, test := range g.Tests {
			l.check(test.Name, test.Expression.Text, test.run(t))
		}
	}
	l.finish()
}

// run returns "" when the test passes, or what is wrong.
func (o *officialTest) run(t *testing.T) string {
	root := resource.Node{}
	if o.Input != "" {
		root = parseFile(t, "testdata/input/"+strings.TrimSuffix(strings.TrimSuffix(o.Input, ".xml"), ".json")+".json")
	}
	got, err := evalText(o.Expression.Text, Root(root), &Env{Resource: root})
	if o.Expression.Invalid != "" {
		if err == nil {
			return "no error, but " + o.Expression.Invalid + " error expected; got " + show(got)
		}
		return ""
	}
	if err != nil {
		return err.Error()
	}
	if o.Predicate {
		b := len(got) > 0
		if len(got) == 1 {
			if v, ok := got[0].Bool(); ok {
				b = v
			}
		}
		got = []Value{Bool(b)}
	}
	if len(got) != len(o.Outputs) {
		return "got " + show(got)
	}
	for i, out := range o.Outputs {
		want := strings.TrimPrefix(strings.TrimPrefix(out.Text, "@"), "T")
		if out.Type != "" && !strings.EqualFold(out.Type, got[i].Type()) || got[i].String() != want && out.Type != "Quantity" {
			return "got " + show(got)
		}
		if out.Type == "Quantity" {
			q, ok := parseQuantity(out.Text)
			if !ok || equalQuantity(q.p.(*quantity), got[i].p.(*quantity)) != yes {
				return "got " + show(got)
			}
		}
	}
	return ""
}

func evalText(expr string, context Value, env *Env) ([]Value, error) {
	e, err := Compile(expr)
	if err != nil {
		return nil, err
	}
	return e.EvalOn(context, env)
}

func show(values []Value) string {
	var parts []string
	for _, v := range values {
		parts = append(parts, v.Type()+" "+v.String())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// ledger compares the outcome of a suite with the list of what is known to fail.
type ledger struct {
	t        *testing.T
	excluded map[string]string
	passed   int
	seen     map[string]bool
}

func newLedger(t *testing.T, excluded map[string]string) *ledger {
	return &ledger{t: t, excluded: excluded, seen: map[string]bool{}}
}

func (l *ledger) check(name, expr, problem string) {
	l.seen[name] = true
	reason, excluded := l.excluded[name]
	switch {
	case problem == "":
		l.passed++
		if excluded {
			l.t.Errorf("%s passes, but is excluded: %s", name, reason)
		}
	case !excluded:
		l.t.Errorf("%s: %s\n\t%s", name, strings.TrimSpace(expr), problem)
	}
}

func (l *ledger) finish() {
	for name := range l.excluded {
		if !l.seen[name] {
			l.t.Errorf("%s is excluded, but there is no such test", name)
		}
	}
	l.t.Logf("%d of %d tests pass", l.passed, len(l.seen))
}
