package search_test

import (
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

func BenchmarkExtract(b *testing.B) {
	for _, name := range []string{"synthea-Observation", "synthea-Observation-bp", "synthea-Patient", "synthea-Encounter", "synthea-Claim"} {
		b.Run(name, func(b *testing.B) {
			src, err := os.ReadFile("testdata/extract/" + name + ".json")
			if err != nil {
				b.Fatal(err)
			}
			var doc resource.Doc
			if err := doc.Parse(src, resource.Options{}); err != nil {
				b.Fatal(err)
			}
			reg := search.Default()
			var v search.Values
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				v.Reset()
				if err := reg.Extract(doc.Root(), nil, &v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	raw := "patient=Patient/1&code=http://loinc.org|8302-2&date=ge2020-01-01&_sort=-date&_count=20"
	params, err := url.ParseQuery(raw)
	if err != nil {
		b.Fatal(err)
	}
	types := []string{"Observation"}
	opt := search.ParseOptions{Now: time.Unix(0, 0)}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := search.Default().Parse(types, nil, params, raw, opt); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRegistry compiles the parameters of all types.
func BenchmarkRegistry(b *testing.B) {
	for b.Loop() {
		reg := search.NewRegistry()
		for _, t := range r4.ResourceTypes() {
			reg.Params(t)
		}
	}
}
