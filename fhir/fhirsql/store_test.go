package fhirsql_test

import (
	"path/filepath"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirsql"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/spec/search"
)

func open(t *testing.T) fhir.Store {
	t.Helper()
	s, err := fhirsql.Open(t.Context(), filepath.Join(t.TempDir(), "fhir.db"), search.Default(), fhirsql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) { fhirtest.Run(t, open) }
