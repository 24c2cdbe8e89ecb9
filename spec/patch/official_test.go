package patch_test

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/spec/fhirxml"
	"github.com/hygeia-health/hygeia/spec/resource"
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

// TestOfficialFHIRPath runs the FHIRPath Patch cases of the FHIR test cases,
// whose resources are XML.
func TestOfficialFHIRPath(t *testing.T) {
	type part struct {
		XML string `xml:",innerxml"`
	}
	var suite struct {
		Cases []struct {
			Name   string `xml:"name,attr"`
			Input  part   `xml:"input"`
			Diff   part   `xml:"diff"`
			Output part   `xml:"output"`
		} `xml:"case"`
	}
	b, err := os.ReadFile("testdata/fhir-patch-tests.xml")
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(b, &suite); err != nil {
		t.Fatal(err)
	}
	if len(suite.Cases) != 11 {
		t.Fatalf("%d cases", len(suite.Cases))
	}
	for _, c := range suite.Cases {
		t.Run(c.Name, func(t *testing.T) {
			var text [3]string
			for i, p := range []part{c.Input, c.Diff, c.Output} {
				js, err := fhirxml.AppendJSON(nil, []byte(p.XML), resource.Options{})
				if err != nil {
					t.Fatal(err)
				}
				text[i] = string(js)
			}
			got, err := applyFHIR(t, text[0], text[1])
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(anyJSON(t, text[2]), anyJSON(t, got)); d != "" {
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
