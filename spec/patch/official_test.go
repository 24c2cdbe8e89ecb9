package patch_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOfficialJSON runs the JSON Patch cases of the FHIR test cases.
func TestOfficialJSON(t *testing.T) {
	var cases []struct {
		Comment              string
		Doc, Patch, Expected json.RawMessage
		Error                string
	}
	readJSON(t, "testdata/json-patch-tests.json", &cases)
	if len(cases) != 8 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Comment, func(t *testing.T) {
			got, err := applyJSON(t, string(c.Doc), string(c.Patch))
			if c.Error != "" {
				if err == nil {
					t.Errorf("got %s, want the error %q", got, c.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(anyJSON(t, string(c.Expected)), anyJSON(t, got)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestOfficialFHIRPath runs the FHIRPath Patch cases of the FHIR test cases.
func TestOfficialFHIRPath(t *testing.T) {
	var cases []struct {
		Name                string
		Input, Diff, Output json.RawMessage
	}
	readJSON(t, "testdata/fhir-patch-tests.json", &cases)
	if len(cases) != 11 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			got, err := applyFHIR(t, string(c.Input), string(c.Diff))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(anyJSON(t, string(c.Output)), anyJSON(t, got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func anyJSON(t *testing.T, s string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}
