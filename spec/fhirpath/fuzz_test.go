package fhirpath

import (
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/spec/resource"
)

var fuzzSeeds = []string{
	"Patient.name.where(use = 'official').given.first()",
	"(Observation.value as Quantity) | Observation.value.ofType(Range)",
	"Patient.telecom.where(system='phone' and use != 'old').value",
	"iif(Patient.active, 1 + 2.50, -3 'mg' * 2) in {} implies @2015-02-04T14:34:28+10:00 > now()",
	"Patient.descendants().repeat($this.children()).aggregate($total & $this, '')",
	"%resource.contact[0].name.`family` ~ \"x\"",
	"'a'.matches('(a+)+$') and 10 days + 1 'wk' = 17 days",
	"@T10:30.highBoundary(9).precision() div 2 mod 3",
}

func FuzzCompile(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Compile(s)
		if err != nil {
			_ = err.Error()
			return
		}
		e.Paths()
	})
}

func FuzzEval(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s)
	}
	root := parseFile(f, "testdata/input/patient-example.json")
	env := &Env{MaxSteps: 20000, Resolve: func(string) (resource.Node, bool) { return root, true }}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Compile(s)
		if err != nil {
			return
		}
		got, err := e.Eval(root, env)
		if err != nil {
			return
		}
		for _, v := range got {
			_ = v.Type() + v.String()
		}
	})
}

// TestLimits tries expressions that were made to exhaust the machine.
func TestLimits(t *testing.T) {
	root := parseFile(t, "testdata/input/patient-example.json")
	for _, s := range []string{
		strings.Repeat("(", 1e5),
		strings.Repeat("-", 1e5) + "1",
		strings.Repeat("a[", 3e4),
		strings.Repeat("not(", 1e4) + strings.Repeat(")", 1e4),
		"1" + strings.Repeat("+1", 3e4),
		"a" + strings.Repeat(".a", 3e4),
		strings.Repeat("9", 1e4),
	} {
		if _, err := Compile(s); err == nil {
			t.Errorf("%.20s... (%d bytes) was accepted", s, len(s))
		}
	}
	for _, s := range []string{
		"('a' | 'b' | 'c' | 'd' | 'e' | 'f' | 'g' | 'h' | 'i' | 'j' | 'k' | 'l' | 'm' | 'n' | 'o' | 'p' | 'q' | 'r' | 's' | 't' | 'u' | 'v').aggregate($total & $total & $total & $total, 'x')",
		"repeat($this | Patient.descendants()).repeat(%resource.descendants()).select(%resource.descendants().select(%resource.descendants()))",
		"(1).repeat($this + 1)",
		"'x'" + strings.Repeat(".replace('', 'yyyyyyyyyyyyyyyy')", 12),
		"'" + strings.Repeat("a", 3e4) + "'.toChars().isDistinct()",
		"'" + strings.Repeat("ab", 1e4) + "'.toChars().select(%context.descendants())",
	} {
		e, err := Compile(s)
		if err != nil {
			t.Errorf("%.60s: %v", s, err)
			continue
		}
		if got, err := e.Eval(root, nil); err == nil && len(got) > maxItems {
			t.Errorf("%.60s: no limit; %d items", s, len(got))
		}
	}
	// Numbers that grow without end give no result rather than an error.
	e, err := Compile("(1|2|3|4|5|6|7|8|9|10|11|12|13|14).aggregate($total * $total, 9999999.5)")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Eval(root, nil); err != nil || len(got) != 0 {
		t.Errorf("overflow: %v %v", got, err)
	}
}
