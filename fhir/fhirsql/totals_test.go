package fhirsql

import (
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestTotals counts again after each write, and keeps the numbers of searches
// that look alike apart.
func TestTotals(t *testing.T) {
	s := filled(t, Options{})
	total := func(raw string) int64 {
		t.Helper()
		page, err := s.Search(t.Context(), asked(t, raw+"&_total=accurate"))
		if err != nil {
			t.Fatal(err)
		}
		return page.Total
	}
	for range 2 {
		for raw, want := range map[string]int64{
			"gender=male": 50, "gender=http://hl7.org/fhir/administrative-gender%7Cmale": 50,
			"name=secret1": 11, "name=secret2": 11, "_text=a": 0, "_lastUpdated=ap1990": 0,
		} {
			if n := total(raw); n != want {
				t.Errorf("%s: %d, want %d", raw, n, want)
			}
		}
	}
	d := &resource.Doc{}
	if err := d.Parse([]byte(`{"resourceType":"Patient","gender":"male"}`), resource.Options{}); err != nil {
		t.Fatal(err)
	}
	op := fhir.Op{Kind: fhir.OpPut, Method: "PUT", Key: fhir.Key{Type: "Patient", ID: "new"}, Stored: d.Root().AppendStored(nil, nil), Values: &search.Values{}}
	if err := search.Default().Extract(d.Root(), nil, op.Values); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), &fhir.Change{Ops: []fhir.Op{op}}); err != nil {
		t.Fatal(err)
	}
	if n := total("gender=male"); n != 51 {
		t.Errorf("after a write: %d, want 51", n)
	}
}
