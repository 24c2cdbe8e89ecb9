package fhirpath

import "testing"

func BenchmarkEval(b *testing.B) {
	for _, bb := range []struct{ file, expr string }{
		{"patient-example", "Patient.name"},
		{"patient-example", "Patient.telecom.where(system='phone')"},
		{"patient-example", "Patient.deceased.exists() and Patient.deceased != false"},
		{"observation-example", "(Observation.value as Quantity)"},
		{"observation-example", "Observation.subject.where(resolve() is Patient)"},
	} {
		b.Run(bb.expr, func(b *testing.B) {
			root := parseFile(b, "testdata/input/"+bb.file+".json")
			e, err := Compile(bb.expr)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Eval(root, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile("Observation.subject.where(resolve() is Patient) | Patient.telecom.where(system='phone')"); err != nil {
			b.Fatal(err)
		}
	}
}
