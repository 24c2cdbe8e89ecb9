package fhirpath

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPaths(t *testing.T) {
	one := func(typ string, steps ...Step) []Path { return []Path{{Type: typ, Steps: steps}} }
	tests := []struct {
		expr string
		want []Path // nil: needs the interpreter
	}{
		{"Patient.name | Practitioner.name", []Path{
			{Type: "Patient", Steps: []Step{{Name: "name"}}},
			{Type: "Practitioner", Steps: []Step{{Name: "name"}}},
		}},
		{"(Observation.value as Quantity)", one("Observation", Step{Name: "value", As: "Quantity"})},
		{"Observation.value as Quantity", one("Observation", Step{Name: "value", As: "Quantity"})},
		{"Observation.value.as(Quantity)", one("Observation", Step{Name: "value", As: "Quantity"})},
		{"Observation.value.ofType(FHIR.Quantity)", one("Observation", Step{Name: "value", As: "Quantity"})},
		{"(Observation.component.value as Quantity).unit", one("Observation", Step{Name: "component"}, Step{Name: "value", As: "Quantity"}, Step{Name: "unit"})},
		{"value.as(DateTime)", one("", Step{Name: "value", As: "dateTime"})},
		{"Patient.telecom.where(system='phone')", one("Patient", Step{Name: "telecom", WhereName: "system", WhereValue: "phone"})},
		{"Observation.subject.where(resolve() is Patient)", one("Observation", Step{Name: "subject", ResolveIs: "Patient"})},
		{"Patient.extension('http://x')", one("Patient", Step{Name: "extension", Extension: "http://x"})},
		{"Resource.id", one("Resource", Step{Name: "id"})},
		{"Resource.meta.lastUpdated", one("Resource", Step{Name: "meta"}, Step{Name: "lastUpdated"})},
		{"%resource.referenceSeq.chromosome", one("%resource", Step{Name: "referenceSeq"}, Step{Name: "chromosome"})},
		{"code", one("", Step{Name: "code"})},
		{"Patient.deceased.exists() and Patient.deceased != false", nil},
		{"Bundle.entry[0].resource", nil},
		{"QuestionnaireResponse.item.where(hasExtension('x')).answer.value.ofType(Reference)", nil},
		{"Patient.telecom.where(system='phone' and use='home')", nil},
		{"(Patient.name | Patient.contact.name).family", nil},
		{"A.x | A.y.first()", nil},
	}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			e, err := Compile(tt.expr)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := e.Paths()
			if ok != (tt.want != nil) {
				t.Fatalf("ok = %v, paths %v", ok, got)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
