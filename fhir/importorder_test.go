package fhir_test

import (
	"context"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// unreadable is a store that cannot read now.
type unreadable struct{ *fhirtest.Memory }

func (unreadable) Read(context.Context, fhir.Key) (fhir.Record, error) {
	return fhir.Record{}, fault.New(fault.Transient, "away")
}

// TestImportOrderUnread: versions are not put into an order that nothing is known about.
func TestImportOrderUnread(t *testing.T) {
	svc, err := fhir.New(fhir.Deps{Store: unreadable{fhirtest.NewMemory(nil)}})
	if err != nil {
		t.Fatal(err)
	}
	b := svc.NewBatch(fhir.ImportMode{})
	for _, at := range []string{"2020-01-01", "2021-01-01"} {
		b.Add(t.Context(), []byte(`{"resourceType":"Patient","id":"p","meta":{"lastUpdated":"`+at+`T00:00:00Z"}}`))
	}
	if err := b.Store(t.Context(), func() error { return nil }); !fault.Is(err, fault.Transient) {
		t.Errorf("%v", err)
	}
}
