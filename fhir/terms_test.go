package fhir_test

import (
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// TestTermModifiers asks with the value sets and code systems of the service.
func TestTermModifiers(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.do(201, "PUT", "CodeSystem/a", `{"resourceType":"CodeSystem","id":"a","url":"urn:animals","status":"active","content":"complete",
		"concept":[{"code":"dog","concept":[{"code":"poodle"}]},{"code":"cat"}]}`)
	r.do(201, "PUT", "ValueSet/v", `{"resourceType":"ValueSet","id":"v","url":"http://example.org/dogs","version":"2","status":"active",
		"compose":{"include":[{"system":"urn:animals","filter":[{"property":"concept","op":"is-a","value":"dog"}]}]}}`)
	for id, code := range map[string]string{"1": "dog", "2": "poodle", "3": "cat"} {
		r.do(201, "PUT", "Observation/"+id, `{"resourceType":"Observation","id":"`+id+`","status":"final","code":{"coding":[{"system":"urn:animals","code":"`+code+`"}]}}`)
	}
	for raw, want := range map[string]int{
		"code:in=http://example.org/dogs":                                       2,
		"code:in=http://example.org/dogs%7C2":                                   2,
		"code:in=ValueSet/v":                                                    2,
		"code:not-in=http://example.org/dogs":                                   1,
		"code:below=urn:animals%7Cdog":                                          2,
		"code:above=urn:animals%7Cpoodle":                                       2,
		"status:in=http://hl7.org/fhir/ValueSet/observation-status":             3,
		"status:not-in=http://hl7.org/fhir/ValueSet/observation-status%7C4.0.1": 0,
		"_has:Observation:focus:code:in=http://example.org/dogs":                0,
	} {
		if n := r.count("Observation?" + raw); n != want {
			t.Errorf("%s: %d, want %d", raw, n, want)
		}
	}
	for _, raw := range []string{"code:in=http://example.org/dogs%7C3", "code:in=http://example.org/none", "code:below=urn:animals%7Cfish", "code:below=urn:plants%7Coak", "code:below=dog"} {
		r.fail(fault.Invalid, "GET", "Observation?"+raw, "")
	}
}
