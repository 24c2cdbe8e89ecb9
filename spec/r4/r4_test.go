package r4

import (
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCounts(t *testing.T) {
	got := map[string]int{
		"resource types":    len(ResourceTypes()),
		"search parameters": len(SearchParams()),
		"compartments":      len(Compartments()),
		"types":             TypeCount(),
	}
	want := map[string]int{
		"resource types": 146, "search parameters": 1400, "compartments": 5, "types": 682,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if !slices.IsSorted(ResourceTypes()) {
		t.Error("resource types are not sorted")
	}
}

func TestElement(t *testing.T) {
	type row struct {
		Path, Type, Kind string
		Min, Max         int
		Choice           bool
	}
	kinds := []string{"primitive", "complex", "backbone", "resource"}
	tests := []struct {
		typ, member string
		want        row
	}{
		{"Patient", "id", row{"Patient.id", "id", "primitive", 0, 1, false}},
		{"Patient", "name", row{"Patient.name", "HumanName", "complex", 0, -1, false}},
		{"Patient", "deceasedBoolean", row{"Patient.deceased[x]", "boolean", "primitive", 0, 1, true}},
		{"Patient", "contact", row{"Patient.contact", "Patient.contact", "backbone", 0, -1, false}},
		{"Patient", "contained", row{"Patient.contained", "Resource", "resource", 0, -1, false}},
		{"Patient.contact", "id", row{"Patient.contact.id", "string", "primitive", 0, 1, false}},
		{"Patient.link", "other", row{"Patient.link.other", "Reference", "complex", 1, 1, false}},
		{"Observation", "valueQuantity", row{"Observation.value[x]", "Quantity", "complex", 0, 1, true}},
		{"Observation.component", "referenceRange", row{"Observation.component.referenceRange", "Observation.referenceRange", "backbone", 0, -1, false}},
		{"Bundle.entry", "resource", row{"Bundle.entry.resource", "Resource", "resource", 0, 1, false}},
		{"Bundle.entry", "link", row{"Bundle.entry.link", "Bundle.link", "backbone", 0, -1, false}},
		{"Parameters.parameter", "part", row{"Parameters.parameter.part", "Parameters.parameter", "backbone", 0, -1, false}},
		{"Parameters.parameter", "resource", row{"Parameters.parameter.resource", "Resource", "resource", 0, 1, false}},
		{"Extension", "url", row{"Extension.url", "uri", "primitive", 1, 1, false}},
		{"Extension", "valueBase64Binary", row{"Extension.value[x]", "base64Binary", "primitive", 0, 1, true}},
		{"Condition", "onsetAge", row{"Condition.onset[x]", "Age", "complex", 0, 1, true}},
		{"Narrative", "div", row{"Narrative.div", "xhtml", "primitive", 1, 1, false}},
		{"Timing", "repeat", row{"Timing.repeat", "Timing.repeat", "backbone", 0, 1, false}},
		{"StructureDefinition.snapshot", "element", row{"StructureDefinition.snapshot.element", "ElementDefinition", "complex", 1, -1, false}},
	}
	for _, tt := range tests {
		e, ref, ok := Lookup(tt.typ).Element([]byte(tt.member))
		if !ok {
			t.Errorf("%s.%s: not found", tt.typ, tt.member)
			continue
		}
		got := row{e.Path, ref.Name, kinds[ref.Type.Kind], e.Min, e.Max, e.Choice}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s.%s: %s", tt.typ, tt.member, d)
		}
	}
	for _, name := range []string{"value", "value[x]", "valueFoo", "_active", ""} {
		if _, _, ok := Lookup("Observation").Element([]byte(name)); ok {
			t.Errorf("Observation.%s was found", name)
		}
	}
}

// TestResolved walks everything: each reference leads to the type it names.
func TestResolved(t *testing.T) {
	for _, tp := range load().types {
		if tp.Regex != "" {
			if _, err := regexp.Compile("^(" + tp.Regex + ")$"); err != nil {
				t.Errorf("%s: %v", tp.Name, err)
			}
		}
		if tp.Base != "" && Lookup(tp.Base) == nil {
			t.Errorf("%s: no base %s", tp.Name, tp.Base)
		}
		for i, e := range tp.Elements {
			if e.Index != i || len(e.Types) == 0 {
				t.Errorf("%s: index %d, %d types", e.Path, e.Index, len(e.Types))
			}
			for k := range e.Types {
				ref := &e.Types[k]
				if ref.Type == nil || Lookup(ref.Name) != ref.Type {
					t.Errorf("%s: %s is not resolved", e.Path, ref.Name)
				}
				ge, gr, ok := tp.Element([]byte(ref.JSONName))
				if !ok || ge != e || gr != ref {
					t.Errorf("%s: %s leads elsewhere", e.Path, ref.JSONName)
				}
			}
		}
	}
}

func TestReferenceTargets(t *testing.T) {
	e, ref, _ := Lookup("Observation").Element([]byte("subject"))
	if d := cmp.Diff([]string{"Device", "Group", "Location", "Patient"}, ref.TargetProfiles); d != "" || !e.Summary {
		t.Error(d, e.Summary)
	}
	_, ref, _ = Lookup("Composition.section").Element([]byte("entry"))
	if d := cmp.Diff([]string{"Resource"}, ref.TargetProfiles); d != "" {
		t.Error(d)
	}
	_, ref, _ = Lookup("Observation.referenceRange").Element([]byte("low"))
	if ref.Profile != "http://hl7.org/fhir/StructureDefinition/SimpleQuantity" {
		t.Errorf("profile %q", ref.Profile)
	}
	e, _, _ = Lookup("Patient").Element([]byte("active"))
	if !e.Summary || !e.Modifier {
		t.Error("Patient.active is in the summary and a modifier")
	}
}

func TestSearchParams(t *testing.T) {
	p := SearchParamByURL("http://hl7.org/fhir/SearchParameter/Observation-code-value-quantity")
	want := &SearchParam{
		ID: "Observation-code-value-quantity", URL: "http://hl7.org/fhir/SearchParameter/Observation-code-value-quantity",
		Code: "code-value-quantity", Type: "composite", Expression: "Observation",
		Base: []string{"Observation"},
		Components: []Component{
			{"http://hl7.org/fhir/SearchParameter/clinical-code", "code"},
			{"http://hl7.org/fhir/SearchParameter/Observation-value-quantity", "value.as(Quantity)"},
		},
	}
	if d := cmp.Diff(want, p); d != "" {
		t.Error(d)
	}
	if SearchParamByURL("http://example.org/none") != nil {
		t.Error("found what is not there")
	}
	var codes []string
	for _, p := range SearchParamsFor("Binary") {
		codes = append(codes, p.Code)
	}
	if d := cmp.Diff([]string{"_content", "_filter", "_id", "_lastUpdated", "_profile", "_query", "_security", "_source", "_tag"}, codes); d != "" {
		t.Error(d)
	}
	if !slices.ContainsFunc(SearchParamsFor("Patient"), func(p *SearchParam) bool { return p.Code == "_text" }) {
		t.Error("Patient lacks _text of DomainResource")
	}
	if SearchParamsFor("Resource") != nil || SearchParamsFor("Nothing") != nil {
		t.Error("parameters for a type that is not concrete")
	}
}

func TestCompartment(t *testing.T) {
	if d := cmp.Diff([]string{"Device", "Encounter", "Patient", "Practitioner", "RelatedPerson"}, Compartments()); d != "" {
		t.Error(d)
	}
	c := Compartment("Patient")
	if d := cmp.Diff([]string{"subject", "performer"}, c.Resources["Observation"]); d != "" {
		t.Error(d)
	}
	if _, ok := c.Resources["Medication"]; ok {
		t.Error("Medication is in no patient compartment")
	}
	for _, name := range Compartments() {
		for typ := range Compartment(name).Resources {
			if !IsResource(typ) {
				t.Errorf("%s compartment: %s", name, typ)
			}
		}
	}
}

func TestRequiredCodes(t *testing.T) {
	set, ok := RequiredCodes("http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1")
	if _, male := set["male"]; !ok || len(set) != 4 || !male {
		t.Errorf("administrative-gender: %v", set)
	}
	set, ok = RequiredCodes("http://hl7.org/fhir/ValueSet/resource-types")
	if _, has := set["Patient"]; !ok || !has {
		t.Errorf("resource-types: %d", len(set))
	}
	if _, ok := RequiredCodes("http://hl7.org/fhir/ValueSet/mimetypes"); ok {
		t.Error("mime types cannot be enumerated")
	}
}

func TestIsResource(t *testing.T) {
	for name, want := range map[string]bool{
		"Patient": true, "Resource": false, "DomainResource": false, "HumanName": false, "patient": false, "": false,
	} {
		if got := IsResource(name); got != want {
			t.Errorf("IsResource(%q) = %v", name, got)
		}
	}
	if u := Lookup("Patient").URL; u != "http://hl7.org/fhir/StructureDefinition/Patient" {
		t.Errorf("URL %q", u)
	}
	if !strings.HasPrefix(Lookup("id").Regex, "[A-Za-z0-9") {
		t.Errorf("regex %q", Lookup("id").Regex)
	}
}

func TestElementDoesNotAllocate(t *testing.T) {
	tp, name := Lookup("Observation"), []byte("valueQuantity")
	if n := testing.AllocsPerRun(100, func() { tp.Element(name); LookupBytes(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLoad(b *testing.B) {
	var d *definitions
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for b.Loop() {
		d = decodeEmbedded()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "heap-MB")
	runtime.KeepAlive(d)
}

func BenchmarkElement(b *testing.B) {
	t, name := Lookup("Observation"), []byte("effectiveDateTime")
	for b.Loop() {
		t.Element(name)
	}
}
