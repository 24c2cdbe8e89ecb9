package fhirtest_test

import (
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/spec/search"
)

func TestMemory(t *testing.T) {
	fhirtest.Run(t, func(*testing.T) fhir.Store { return fhirtest.NewMemory(search.Default()) })
}
