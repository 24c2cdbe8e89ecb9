package profile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/spec/resource"
)

func parse(t testing.TB, src string) resource.Node {
	t.Helper()
	d := new(resource.Doc)
	if err := d.Parse([]byte(src), resource.Options{}); err != nil {
		t.Fatal(err)
	}
	return d.Root()
}

// checkFile checks one resource file, or each line of an NDJSON file.
func checkFile(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(data)}
	if strings.HasSuffix(name, ".ndjson") {
		texts = strings.Split(strings.TrimSpace(string(data)), "\n")
	}
	for i, s := range texts {
		for _, issue := range Check(parse(t, s), "") {
			if reason := exclusions[filepath.Base(name)]; reason == "" {
				t.Errorf("%s:%d: %+v", filepath.Base(name), i+1, issue)
			}
		}
	}
}

func TestExamples(t *testing.T) {
	files, _ := filepath.Glob("testdata/examples/*.json")
	if len(files) < 40 {
		t.Fatalf("only %d examples", len(files))
	}
	for _, f := range append(files, "testdata/observation.json") {
		checkFile(t, f)
	}
}

// TestSharedData checks the official examples and Synthea data as a whole. They
// are too large for the repository.
func TestSharedData(t *testing.T) {
	root := os.Getenv("HYGEIA_SHARED_DATA")
	if root == "" {
		t.Skip("SKIPPED: HYGEIA_SHARED_DATA does not name a folder with fhir-r4-examples/ and synthea/")
	}
	for _, pattern := range []string{
		"fhir-r4-examples/*.json", "synthea/bundles/*.json", "synthea/bundles-uscore/*.json", "synthea/bulk-10-patients/[A-Z]*.ndjson",
	} {
		files, _ := filepath.Glob(filepath.Join(root, pattern))
		if len(files) == 0 {
			t.Errorf("no files match %s", pattern)
		}
		for _, f := range files {
			checkFile(t, f)
		}
	}
}

func TestMaskIsWideEnough(t *testing.T) {
	for i, tt := range tables().types {
		if len(tt.elements) > 128 {
			t.Errorf("type %d has %d elements", i, len(tt.elements))
		}
	}
}

func TestGoodPathDoesNotAllocate(t *testing.T) {
	data, err := os.ReadFile("testdata/observation.json")
	if err != nil {
		t.Fatal(err)
	}
	n := parse(t, string(data))
	if got := testing.AllocsPerRun(100, func() { Check(n, "Observation") }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// issue is what the tables below compare: code and location.
type issue struct{ Code, Expression string }

func TestCheck(t *testing.T) {
	const obs = `"status":"final","code":{"text":"x"}`
	tests := []struct {
		name, src string
		want      []issue
	}{
		{"minimal", `{"resourceType":"Patient"}`, nil},
		{"not an object", `[]`, []issue{{"structure", "$this"}}},
		{"no type", `{"id":"1"}`, []issue{{"required", "$this.resourceType"}}},
		{"type no string", `{"resourceType":1}`, []issue{{"structure", "$this.resourceType"}}},
		{"unknown type", `{"resourceType":"Foo"}`, []issue{{"structure", "Foo.resourceType"}}},
		{"abstract type", `{"resourceType":"DomainResource"}`, []issue{{"structure", "DomainResource.resourceType"}}},
		{"data type", `{"resourceType":"HumanName"}`, []issue{{"structure", "HumanName.resourceType"}}},

		{"unknown element", `{"resourceType":"Patient","foo":1}`, []issue{{"structure", "Patient.foo"}}},
		{"unknown in data type", `{"resourceType":"Patient","name":[{"given":["a"]},{"first":"b"}]}`, []issue{{"structure", "Patient.name[1].first"}}},
		{"fhir_comments", `{"resourceType":"Patient","fhir_comments":["a"]}`, []issue{{"structure", "Patient.fhir_comments"}}},
		{"resourceType inside", `{"resourceType":"Patient","name":[{"resourceType":"Patient","text":"a"}]}`, []issue{{"structure", "Patient.name[0].resourceType"}}},
		{"unknown sibling", `{"resourceType":"Patient","_foo":{}}`, []issue{{"structure", "Patient.foo"}}},
		{"empty name", `{"resourceType":"Patient","":1}`, []issue{{"structure", "Patient."}}},

		{"array where one", `{"resourceType":"Patient","gender":["male"]}`, []issue{{"structure", "Patient.gender"}}},
		{"one where array", `{"resourceType":"Patient","name":{"text":"a"}}`, []issue{{"structure", "Patient.name"}}},
		{"nested array", `{"resourceType":"Patient","name":[[{"text":"a"}]]}`, []issue{{"structure", "Patient.name[0]"}}},
		{"object where primitive", `{"resourceType":"Patient","gender":{"a":1}}`, []issue{{"structure", "Patient.gender"}}},
		{"primitive where object", `{"resourceType":"Patient","maritalStatus":"M"}`, []issue{{"structure", "Patient.maritalStatus"}}},
		{"string where boolean", `{"resourceType":"Patient","active":"true"}`, []issue{{"structure", "Patient.active"}}},
		{"string where number", `{"resourceType":"Patient","multipleBirthInteger":"1"}`, []issue{{"structure", "Patient.multipleBirthInteger"}}},
		{"number where string", `{"resourceType":"Patient","name":[{"given":["a",1]}]}`, []issue{{"structure", "Patient.name[0].given[1]"}}},
		{"null", `{"resourceType":"Patient","gender":null}`, []issue{{"structure", "Patient.gender"}}},
		{"null object", `{"resourceType":"Patient","name":[null]}`, []issue{{"structure", "Patient.name[0]"}}},
		{"empty object", `{"resourceType":"Patient","name":[{}]}`, []issue{{"structure", "Patient.name[0]"}}},
		{"empty array", `{"resourceType":"Patient","name":[]}`, []issue{{"structure", "Patient.name"}}},
		{"only id", `{"resourceType":"Patient","name":[{"id":"a"}]}`, []issue{{"invariant", "Patient.name[0]"}}},

		{"required", `{"resourceType":"Observation"}`, []issue{{"required", "Observation.status"}, {"required", "Observation.code"}}},
		{"required below", `{"resourceType":"Patient","link":[{"type":"seealso"}]}`, []issue{{"required", "Patient.link[0].other"}}},
		{"required choice", `{"resourceType":"MedicationRequest","status":"active","intent":"order","subject":{"reference":"Patient/1"}}`,
			[]issue{{"required", "MedicationRequest.medication[x]"}}},
		{"required by sibling", `{"resourceType":"Observation","code":{"text":"x"},"_status":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]}}`, nil},
		{"two choices", `{"resourceType":"Observation",` + obs + `,"valueString":"a","valueQuantity":{"value":1}}`, []issue{{"structure", "Observation.valueQuantity"}}},
		{"two choices by sibling", `{"resourceType":"Observation",` + obs + `,"valueString":"a","_valueBoolean":{"extension":[{"url":"http://a","valueCode":"b"}]}}`, []issue{{"structure", "Observation.valueBoolean"}}},
		{"choice with its sibling", `{"resourceType":"Observation",` + obs + `,"valueString":"a","_valueString":{"id":"x"}}`, nil},
		{"choice of no such type", `{"resourceType":"Observation",` + obs + `,"valueDecimal":1}`, []issue{{"structure", "Observation.valueDecimal"}}},
		{"choice without type", `{"resourceType":"Observation",` + obs + `,"value":1}`, []issue{{"structure", "Observation.value"}}},

		{"sibling arrays", `{"resourceType":"Patient","name":[{"given":["a",null],"_given":[null,{"extension":[{"url":"http://a","valueCode":"b"}]}]}]}`, nil},
		{"sibling array alone", `{"resourceType":"Patient","name":[{"_given":[{"extension":[{"url":"http://a","valueCode":"b"}]}]}]}`, nil},
		{"sibling lengths", `{"resourceType":"Patient","name":[{"given":["a"],"_given":[null,{"id":"b"}]}]}`, []issue{{"structure", "Patient.name[0].given"}}},
		{"null without sibling", `{"resourceType":"Patient","name":[{"given":["a",null]}]}`, []issue{{"structure", "Patient.name[0].given[1]"}}},
		{"null in both", `{"resourceType":"Patient","name":[{"given":["a",null],"_given":[{"id":"x"},null]}]}`, []issue{{"structure", "Patient.name[0].given[1]"}}},
		{"sibling no array", `{"resourceType":"Patient","name":[{"given":["a"],"_given":{"id":"x"}}]}`, []issue{{"structure", "Patient.name[0].given"}}},
		{"sibling no object", `{"resourceType":"Patient","birthDate":"2000","_birthDate":"x"}`, []issue{{"structure", "Patient.birthDate"}}},
		{"sibling null", `{"resourceType":"Patient","birthDate":"2000","_birthDate":null}`, []issue{{"structure", "Patient.birthDate"}}},
		{"sibling empty", `{"resourceType":"Patient","birthDate":"2000","_birthDate":{}}`, []issue{{"structure", "Patient.birthDate"}}},
		{"sibling with id", `{"resourceType":"Patient","birthDate":"2000","_birthDate":{"id":"x"}}`, nil},
		{"sibling with id alone", `{"resourceType":"Patient","_birthDate":{"id":"x"}}`, []issue{{"invariant", "Patient.birthDate"}}},
		{"sibling with bad id", `{"resourceType":"Patient","birthDate":"2000","_birthDate":{"id":1}}`, []issue{{"structure", "Patient.birthDate.id"}}},
		{"sibling with a value", `{"resourceType":"Patient","birthDate":"2000","_birthDate":{"value":"x"}}`, []issue{{"structure", "Patient.birthDate.value"}}},
		{"sibling of an object", `{"resourceType":"Patient","_maritalStatus":{"id":"x"}}`, []issue{{"structure", "Patient.maritalStatus"}}},
		{"sibling of an attribute", `{"resourceType":"Patient","name":[{"text":"a","id":"1","_id":{"id":"x"}}]}`, []issue{{"structure", "Patient.name[0].id"}}},

		{"extension", `{"resourceType":"Patient","extension":[{"url":"http://a","valueString":"b"}]}`, nil},
		{"extension without url", `{"resourceType":"Patient","extension":[{"valueString":"b"}]}`, []issue{{"required", "Patient.extension[0].url"}}},
		{"extension with both", `{"resourceType":"Patient","extension":[{"url":"http://a","valueString":"b","extension":[{"url":"c","valueCode":"d"}]}]}`, []issue{{"invariant", "Patient.extension[0]"}}},
		{"extension with neither", `{"resourceType":"Patient","extension":[{"url":"http://a"}]}`, []issue{{"invariant", "Patient.extension[0]"}}},
		{"extension of a primitive", `{"resourceType":"Patient","birthDate":"2000","_birthDate":{"extension":[{"url":"http://a","valueDateTime":"2000-13"}]}}`,
			[]issue{{"value", "Patient.birthDate.extension[0].valueDateTime"}}},

		{"code", `{"resourceType":"Patient","gender":"m"}`, []issue{{"code-invalid", "Patient.gender"}}},
		{"code below", `{"resourceType":"Patient","telecom":[{"system":"phone"},{"system":"smoke"}]}`, []issue{{"code-invalid", "Patient.telecom[1].system"}}},
		{"open code", `{"resourceType":"Attachment"}`, []issue{{"structure", "Attachment.resourceType"}}},
		{"reference", `{"resourceType":"Patient","managingOrganization":{"reference":"Foo/1"}}`, []issue{{"value", "Patient.managingOrganization.reference"}}},

		{"contained", `{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","name":1}]}`, []issue{{"structure", "Patient.contained[0].name"}}},
		{"contained twice", `{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","contained":[{"resourceType":"Patient"}]}]}`,
			[]issue{{"invariant", "Patient.contained[0].contained[0]"}}},
		{"contained without type", `{"resourceType":"Patient","contained":[{"id":"o"}]}`, []issue{{"required", "Patient.contained[0].resourceType"}}},
		{"bundle", `{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient"}},{"resource":{"resourceType":"Patient","name":[{"given":["a",""]}]}}]}`,
			[]issue{{"value", "Bundle.entry[1].resource.name[0].given[1]"}}},
		{"bundle entry no object", `{"resourceType":"Bundle","type":"batch","entry":[{"resource":"x"}]}`, []issue{{"structure", "Bundle.entry[0].resource"}}},
		{"parameters", `{"resourceType":"Parameters","parameter":[{"name":"a","resource":{"resourceType":"Patient","active":1}}]}`, []issue{{"structure", "Parameters.parameter[0].resource.active"}}},
		{"content reference", `{"resourceType":"Observation",` + obs + `,"component":[{"code":{"text":"a"},"referenceRange":[{"low":{"value":"1"}}]}]}`,
			[]issue{{"structure", "Observation.component[0].referenceRange[0].low.value"}}},
		{"several", `{"resourceType":"Patient","active":1,"birthDate":"x","gender":"y"}`,
			[]issue{{"structure", "Patient.active"}, {"value", "Patient.birthDate"}, {"code-invalid", "Patient.gender"}}},
	}
	for _, tt := range tests {
		var got []issue
		for _, i := range Check(parse(t, tt.src), "") {
			if i.Severity != "error" || i.Diagnostics == "" {
				t.Errorf("%s: %+v", tt.name, i)
			}
			got = append(got, issue{i.Code, i.Expression})
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

func TestWant(t *testing.T) {
	n := parse(t, `{"resourceType":"Patient"}`)
	want := []Issue{{"error", "invalid", "expected a resource of type Observation, found Patient", "Patient.resourceType"}}
	if d := cmp.Diff(want, Check(n, "Observation")); d != "" {
		t.Error(d)
	}
	if got := Check(n, "Patient"); got != nil {
		t.Error(got)
	}
	if got := Check(resource.Node{}, ""); len(got) != 1 {
		t.Error(got)
	}
}

func TestMessages(t *testing.T) {
	tests := map[string]string{
		`"birthDate":"2023-02-29"`: `"2023-02-29" is no date: it must be YYYY, YYYY-MM or YYYY-MM-DD and a day of the calendar`,
		`"active":"yes"`:           `"yes" is no boolean: it must be a boolean, found a string`,
		`"name":{}`:                `Patient.name may repeat: expected an array, found an object`,
		`"gender":["male"]`:        `Patient.gender may appear once only: expected a string, found an array`,
		`"gender":{"a":1}`:         `a value of type code must be a string, found an object`,
		`"gender":"boy"`:           `"boy" is not in the required value set http://hl7.org/fhir/ValueSet/administrative-gender`,
		`"foo":1`:                  `Patient has no element "foo"`,
	}
	for src, want := range tests {
		got := Check(parse(t, `{"resourceType":"Patient",`+src+`}`), "")
		if len(got) != 1 || got[0].Diagnostics != want {
			t.Errorf("%s: %+v", src, got)
		}
	}
}

func TestIssuesAreLimited(t *testing.T) {
	src := `{"resourceType":"Patient","name":[` + strings.Repeat(`{"text":1,"x":2},`, 1000) + `{}]}`
	if got := Check(parse(t, src), ""); len(got) != maxIssues {
		t.Errorf("%d issues", len(got))
	}
}

func FuzzCheck(f *testing.F) {
	files, _ := filepath.Glob("testdata/examples/*.json")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"resourceType":"Patient","_":{},"":[null],"name":[{"given":[null],"_given":[]}],"text":{"div":"<div","status":"generated"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := new(resource.Doc)
		if d.Parse(data, resource.Options{}) != nil {
			return
		}
		for _, i := range Check(d.Root(), "") {
			if i.Code == "" || i.Diagnostics == "" {
				t.Errorf("%+v", i)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	data, err := os.ReadFile("testdata/observation.json")
	if err != nil {
		b.Fatal(err)
	}
	n := parse(b, string(data))
	n = parse(b, string(n.AppendCompact(nil)))
	b.SetBytes(int64(len(n.Raw())))
	b.ReportAllocs()
	for b.Loop() {
		if Check(n, "Observation") != nil {
			b.Fatal("issues")
		}
	}
}

// exclusions lists files that fail although the rule is right, with the reason.
var exclusions = map[string]string{}
