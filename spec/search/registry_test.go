package search_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/search"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	name = "testdata/" + name
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

// TestRegistry compiles every parameter of R4 on every type. The golden file
// lists those without an index, and those made of others.
func TestRegistry(t *testing.T) {
	var b strings.Builder
	common := map[string]bool{}
	found := map[string]bool{}
	params := 0
	for _, typ := range r4.ResourceTypes() {
		for i, p := range search.Default().Params(typ) {
			params++
			found[p.URL] = true
			if p.Type != typ || p.Kind == 0 || search.Default().Param(typ, p.Code) != p {
				t.Errorf("%s: type %s, kind %d", p.Key(), p.Type, p.Kind)
			}
			if i > 0 && search.Default().Params(typ)[i-1].Code >= p.Code {
				t.Errorf("%s is not in order", p.Key())
			}
			if strings.HasPrefix(p.Code, "_") && p.Unsupported != "" {
				if !common[p.Code] {
					fmt.Fprintf(&b, "every type: %s unsupported: %s\n", p.Code, p.Unsupported)
				}
				common[p.Code] = true
				continue
			}
			describe(&b, p)
		}
	}
	golden(t, "registry.golden", b.String())
	for _, sp := range r4.SearchParams() {
		switch {
		case found[sp.URL], len(sp.Base) == 0, sp.Code == "_id", sp.Code == "_lastUpdated", strings.HasPrefix(sp.ID, "example"):
		default:
			t.Errorf("%s (%s) is on no type", sp.URL, sp.Code)
		}
	}
	if params < 2800 {
		t.Errorf("only %d parameters", params)
	}
}

func describe(b *strings.Builder, p *search.Param) {
	if p.Unsupported != "" {
		fmt.Fprintf(b, "%s unsupported: %s\n", p.Key(), p.Unsupported)
	}
	if len(p.Parts) > 0 {
		fmt.Fprintf(b, "%s =", p.Key())
		for _, q := range p.Parts {
			fmt.Fprintf(b, " %s", q.Code)
		}
		if p.PartTarget != "" {
			fmt.Fprintf(b, " to %s", p.PartTarget)
		}
		b.WriteByte('\n')
	}
}

func TestParam(t *testing.T) {
	type want struct {
		Kind       search.Kind
		Single     bool
		Expression string
		Targets    []string
		System     string
	}
	for key, w := range map[string]want{
		"Observation.date":           {search.Date, true, "Observation.effective", nil, ""},
		"Observation.code":           {search.Token, false, "Observation.code", nil, ""},
		"Observation.status":         {search.Token, true, "Observation.status", nil, "http://hl7.org/fhir/observation-status"},
		"Observation.patient":        {search.Reference, true, "Observation.subject.where(resolve() is Patient)", []string{"Patient"}, ""},
		"Observation.value-quantity": {search.Quantity, true, "(Observation.value as Quantity) | (Observation.value as SampledData)", nil, ""},
		"Patient.birthdate":          {search.Date, true, "Patient.birthDate", nil, ""},
		"Patient.name":               {search.String, false, "Patient.name", nil, ""},
		"Patient.phone":              {search.Token, false, "Patient.telecom.where(system='phone')", nil, ""},
		"Patient.gender":             {search.Token, true, "Patient.gender", nil, "http://hl7.org/fhir/administrative-gender"},
		"Patient.organization":       {search.Reference, true, "Patient.managingOrganization", []string{"Organization"}, ""},
		"AllergyIntolerance.patient": {search.Reference, true, "AllergyIntolerance.patient", []string{"Patient"}, ""},
		"Condition.onset-age":        {search.Quantity, true, "Condition.onset.as(Age) | Condition.onset.as(Range)", nil, ""},
		"InsurancePlan.name":         {search.String, false, "name | alias", nil, ""},
		"Patient._source":            {search.URI, true, "Resource.meta.source", nil, ""},
	} {
		typ, code, _ := strings.Cut(key, ".")
		p := search.Default().Param(typ, code)
		if p == nil {
			t.Errorf("%s: not found", key)
			continue
		}
		if d := cmp.Diff(w, want{p.Kind, p.Single, p.Expression, p.Targets, p.System}); d != "" {
			t.Errorf("%s (-want +got):\n%s", key, d)
		}
	}
	for _, key := range [][2]string{{"Patient", "_id"}, {"Patient", "_lastUpdated"}, {"Patient", "nothing"}, {"Nothing", "_tag"}, {"Resource", "_tag"}} {
		if p := search.Default().Param(key[0], key[1]); p != nil {
			t.Errorf("%s.%s is a parameter", key[0], key[1])
		}
	}
}

func TestRegistryConcurrently(t *testing.T) {
	reg := search.NewRegistry()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, typ := range []string{"Patient", "Observation", "Encounter"} {
				if len(reg.Params(typ)) == 0 {
					t.Errorf("%s has no parameters", typ)
				}
			}
		})
	}
	wg.Wait()
}

func TestCompartment(t *testing.T) {
	reg := search.Default()
	c, err := reg.Compartment("Patient", "1", []string{"Observation"})
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, p := range c.Params["Observation"] {
		codes = append(codes, p.Code)
	}
	if d := cmp.Diff([]string{"subject", "performer"}, codes); d != "" || c.Self {
		t.Errorf("self %t, codes (-want +got):\n%s", c.Self, d)
	}
	all, err := reg.Compartment("Patient", "1", nil)
	if err != nil || !all.Self || len(all.Params) < 60 || len(all.Params["Organization"]) > 0 {
		t.Errorf("%v: self %t, %d types", err, all.Self, len(all.Params))
	}
	for _, bad := range []struct{ name, id, typ string }{
		{"Organization", "1", "Observation"}, {"Patient", "a b", "Observation"}, {"Patient", "1", "Organization"}, {"Patient", "1", "Nothing"},
	} {
		if _, err := reg.Compartment(bad.name, bad.id, []string{bad.typ}); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
	obs := extract(t, `{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/1"}}`)
	other := extract(t, `{"resourceType":"Observation","id":"p","subject":{"reference":"Patient/2"},"focus":[{"reference":"Patient/1"}]}`)
	q := &search.Query{Compartment: all}
	for _, f := range []struct {
		fixture
		want bool
	}{{obs, true}, {other, false}, {fixture{typ: "Patient", id: "1"}, true}, {fixture{typ: "Patient", id: "2"}, false}} {
		if got := search.Match(q, search.Subject{Type: f.typ, ID: f.id, Values: &f.values}, nil); got != f.want {
			t.Errorf("%s/%s in the compartment: %t", f.typ, f.id, got)
		}
	}
}
