package bench

import (
	"fmt"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/spec/patch"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// The same change of an Observation in both languages: another status, and one
// more note.
const (
	jsonPatch = `[{"op":"replace","path":"/status","value":"amended"},{"op":"add","path":"/note","value":[{"text":"checked"}]}]`
	fhirPatch = `{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"replace"},{"name":"path","valueString":"Observation.status"},{"name":"value","valueCode":"amended"}]},` +
		`{"name":"operation","part":[{"name":"type","valueCode":"add"},{"name":"path","valueString":"Observation"},{"name":"name","valueString":"note"},{"name":"value","valueAnnotation":{"text":"checked"}}]}]}`
)

func node(b *testing.B, src []byte) resource.Node {
	b.Helper()
	d := new(resource.Doc)
	if err := d.Parse(src, resource.Options{}); err != nil {
		b.Fatal(err)
	}
	return d.Root()
}

// BenchmarkPatch applies a patch of two operations to an Observation.
func BenchmarkPatch(b *testing.B) {
	obs := node(b, appendObservation(nil, "o", "p", 1))
	for _, tt := range []struct {
		name, text string
		parse      func(resource.Node) (*patch.Patch, error)
	}{{"JSON", jsonPatch, patch.ParseJSON}, {"FHIRPath", fhirPatch, patch.ParseFHIRPath}} {
		b.Run(tt.name, func(b *testing.B) {
			ops := node(b, []byte(tt.text))
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				p, err := tt.parse(ops)
				if err != nil {
					b.Fatal(err)
				}
				if out, err = p.Apply(out[:0], obs, patch.Options{Fixed: []string{"id"}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPatchWrite patches stored Observations, each in a durable commit of its own.
func BenchmarkPatchWrite(b *testing.B) {
	svc, ids := filled(b)
	i := 0
	for b.Loop() {
		ops := node(b, fmt.Appendf(nil, `[{"op":"add","path":"/note","value":[{"text":"%d"}]}]`, i))
		in := fhir.Interaction{Verb: fhir.VerbPatch, Method: "PATCH", Type: "Observation", ID: ids[i%len(ids)], Body: ops}
		if _, err := svc.Do(b.Context(), &in); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
