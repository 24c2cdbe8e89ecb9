package fhir_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
)

const (
	toFemale = `[{"op":"add","path":"/gender","value":"female"}]`
	person   = `{"resourceType":"Patient","id":"p","meta":{"tag":[{"code":"t"}]},"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"},"identifier":[{"system":"urn:mrn","value":"1"}],"name":[{"family":"Old"}],"extension":[{"url":"u","valueDecimal":0.10}],"deceasedBoolean":false}`
)

// fhirPatch makes a Parameters resource from operations of the form type, path
// and further parts in JSON.
func fhirPatch(list ...[3]string) string {
	var ops []string
	for _, o := range list {
		ops = append(ops, fmt.Sprintf(`{"name":"operation","part":[{"name":"type","valueCode":%q},{"name":"path","valueString":%q}%s]}`, o[0], o[1], o[2]))
	}
	return `{"resourceType":"Parameters","parameter":[` + strings.Join(ops, ",") + `]}`
}

// wrapped is a JSON Patch as a Bundle carries it.
func wrapped(ops string) string {
	return `{"resourceType":"Binary","contentType":"application/json-patch+json","data":"` + base64.StdEncoding.EncodeToString([]byte(ops)) + `"}`
}

func TestPatch(t *testing.T) {
	for name, body := range map[string]string{
		"JSON":     `[{"op":"replace","path":"/name/0/family","value":"New"},{"op":"add","path":"/extension/-","value":{"url":"v","valueDecimal":1.500}}]`,
		"FHIRPath": fhirPatch([3]string{"replace", "Patient.name[0].family", `,{"name":"value","valueString":"New"}`}, [3]string{"add", "Patient", `,{"name":"name","valueString":"extension"},{"name":"value","part":[{"name":"url","valueUri":"v"},{"name":"value","valueDecimal":1.500}]}`}),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, fhir.Config{})
			r.do(201, "PUT", "Patient/p", person)
			resp := r.do(200, "PATCH", "Patient/p", body)
			if resp.Outcome != fhir.Updated || resp.Record.Version != 2 || resp.Record.Method != "PATCH" {
				t.Fatalf("%+v", resp)
			}
			want := strings.Replace(strings.Replace(person, "Old", "New", 1), `0.10}`, `0.10},{"url":"v","valueDecimal":1.500}`, 1)
			want = strings.Replace(want, `{"tag"`, `{"versionId":"2","lastUpdated":"2026-05-01T12:00:00.000Z","tag"`, 1)
			if d := cmp.Diff(want, r.text("Patient/p")); d != "" {
				t.Error(d)
			}
			if n := r.count("Patient?family=new"); n != 1 {
				t.Errorf("the index finds %d", n)
			}
			again := r.do(200, "PATCH", "Patient/p", `[{"op":"replace","path":"/name/0/family","value":"New"}]`)
			if again.Outcome != fhir.Unchanged || again.Version != 2 {
				t.Errorf("a patch that changes nothing: %+v", again)
			}
			page := r.do(200, "GET", "Patient/p/_history", "").Page
			if len(page.Records) != 2 || page.Records[0].Method != "PATCH" {
				t.Errorf("history: %+v", page.Records)
			}
		})
	}
}

func TestPatchRefused(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.do(201, "PUT", "Patient/p", person)
	r.do(201, "PUT", "Patient/gone", patient("gone", "Gone"))
	r.do(204, "DELETE", "Patient/gone", "")
	before := r.text("Patient/p")
	tests := []struct {
		name, target, body string
		kind               fault.Kind
		at, msg            string
		opt                func(*fhir.Interaction)
	}{
		{name: "Missing", target: "Patient/none", body: toFemale, kind: fault.NotFound, msg: "Patient/none does not exist"},
		{name: "Deleted", target: "Patient/gone", body: toFemale, kind: fault.Gone},
		{name: "NoBody", target: "Patient/p", kind: fault.Invalid, msg: "a patch is a JSON Patch, or"},
		{name: "OtherResource", target: "Patient/p", body: person, kind: fault.Invalid, msg: "not a Patient"},
		{name: "InvalidParameters", target: "Patient/p", body: `{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":7}]}]}`, kind: fault.Invalid, at: "Parameters.parameter[0].part[0].valueCode"},
		{name: "FHIRPathError", target: "Patient/p", body: fhirPatch([3]string{"delete", "Patient.gender", ""}, [3]string{"replace", "Patient.gender", `,{"name":"value","valueCode":"male"}`}), kind: fault.Invalid, at: "Parameters.parameter[1]", msg: "patch operation 1 (replace Patient.gender): the path leads to no element"},
		{name: "TestFails", target: "Patient/p", body: `[{"op":"add","path":"/gender","value":"male"},{"op":"test","path":"/deceasedBoolean","value":true}]`, kind: fault.Invalid, msg: "patch operation 1 (test /deceasedBoolean): the test failed"},
		{name: "UnknownProperty", target: "Patient/p", body: `[{"op":"add","path":"/dummyProperty","value":"dummy"}]`, kind: fault.Invalid, at: "Patient.dummyProperty"},
		{name: "InvalidValue", target: "Patient/p", body: `[{"op":"add","path":"/gender","value":"dummy"}]`, kind: fault.Invalid, at: "Patient.gender"},
		{name: "SecondChoice", target: "Patient/p", body: `[{"op":"add","path":"/deceasedDateTime","value":"2015-02-14T13:42:00+10:00"}]`, kind: fault.Invalid, at: "Patient.deceasedDateTime"},
		{name: "DateTimeAsDate", target: "Patient/p", body: fhirPatch([3]string{"add", "Patient", `,{"name":"name","valueString":"birthDate"},{"name":"value","valueDateTime":"2022-05-02T14:00:00+02:00"}`}), kind: fault.Invalid, at: "Patient.birthDate"},
		{name: "ID", target: "Patient/p", body: `[{"op":"replace","path":"/id","value":"q"}]`, kind: fault.Invalid, at: "Patient.id", msg: "immutable"},
		{name: "Type", target: "Patient/p", body: `[{"op":"replace","path":"/resourceType","value":"Group"}]`, kind: fault.Invalid, msg: "immutable"},
		{name: "Version", target: "Patient/p", body: `[{"op":"replace","path":"/meta/versionId","value":"100"}]`, kind: fault.Invalid, at: "Patient.meta.versionId", msg: "immutable"},
		{name: "WholeMeta", target: "Patient/p", body: `[{"op":"remove","path":"/meta"}]`, kind: fault.Invalid, msg: "immutable"},
		{name: "TooDeep", target: "Patient/p", body: `[{"op":"add","path":"/contact","value":` + strings.Repeat("[", 98) + strings.Repeat("]", 98) + `},{"op":"copy","from":"/contact","path":"/contact/0/0/0/0/0/0/0"}]`, kind: fault.TooCostly, msg: "deeper"},
		{name: "IfMatch", target: "Patient/p", body: toFemale, kind: fault.Precondition, opt: ifMatch(`W/"7"`)},
		{name: "IfMatchMalformed", target: "Patient/p", body: toFemale, kind: fault.Invalid, opt: ifMatch(`seven`)},
		{name: "IfMatchMissing", target: "Patient/none", body: toFemale, kind: fault.NotFound, opt: ifMatch(`W/"1"`)},
		{name: "UnknownType", target: "Foo/p", body: toFemale, kind: fault.NotFound},
		{name: "NoMatch", target: "Patient?identifier=urn:mrn|9", body: toFemale, kind: fault.NotFound, msg: "no Patient matches the condition"},
		{name: "NoCriteria", target: "Patient", body: toFemale, kind: fault.Invalid, msg: "not selective enough"},
		{name: "UnknownCriterion", target: "Patient?foo=1", body: toFemale, kind: fault.Invalid},
		{name: "BinaryType", target: "Patient/p", body: `{"resourceType":"Binary","contentType":"application/xml-patch+xml","data":"AAAA"}`, kind: fault.Unsupported},
		{name: "BinaryEmpty", target: "Patient/p", body: `{"resourceType":"Binary","contentType":"application/json-patch+json"}`, kind: fault.Invalid, at: "Binary.data"},
		{name: "BinaryNoJSON", target: "Patient/p", body: `{"resourceType":"Binary","contentType":"application/json-patch+json","data":"AAAA"}`, kind: fault.Invalid, at: "Binary.data"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opt := tt.opt
			if opt == nil {
				opt = func(*fhir.Interaction) {}
			}
			e := r.fail(tt.kind, "PATCH", tt.target, tt.body, opt)
			if !strings.Contains(e.Msg, tt.msg) {
				t.Errorf("got %q, want %q", e.Msg, tt.msg)
			}
			if tt.at != "" && (len(e.Issues) == 0 || e.Issues[0].Expression != tt.at) {
				t.Errorf("issues %+v, want them at %s", e.Issues, tt.at)
			}
		})
	}
	if after := r.text("Patient/p"); after != before {
		t.Errorf("a patch that was refused changed the resource: %s", after)
	}
}

func TestPatchAllowed(t *testing.T) {
	tests := []struct {
		name, target, body string
		opt                func(*fhir.Interaction)
		cfg                fhir.Config
	}{
		{name: "IfMatch", target: "Patient/p", body: toFemale, opt: ifMatch(`W/"1"`)},
		{name: "Conditional", target: "Patient?identifier=urn:mrn|1", body: toFemale},
		{name: "ConditionalIfMatch", target: "Patient?identifier=urn:mrn|1", body: toFemale, opt: ifMatch(`W/"1"`)},
		{name: "Binary", target: "Patient/p", body: wrapped(toFemale)},
		{name: "Narrative", target: "Patient/p", body: `[{"op":"replace","path":"/text/status","value":"additional"}]`},
		{name: "OtherChoice", target: "Patient/p", body: fhirPatch([3]string{"replace", "Patient.deceased", `,{"name":"value","valueDateTime":"2022-05-02T14:00:00+02:00"}`})},
		{name: "VersionedUpdate", target: "Patient/p", body: toFemale, opt: ifMatch(`W/"1"`), cfg: fhir.Config{Versioning: map[string]fhir.Versioning{"*": fhir.VersionedUpdate}}},
		{name: "NoVersion", target: "Patient/p", body: toFemale, cfg: fhir.Config{Versioning: map[string]fhir.Versioning{"*": fhir.NoVersion}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.cfg)
			r.do(201, "PUT", "Patient/p", person)
			opt := tt.opt
			if opt == nil {
				opt = func(*fhir.Interaction) {}
			}
			if resp := r.do(200, "PATCH", tt.target, tt.body, opt); resp.Outcome != fhir.Updated || resp.Version != 2 {
				t.Errorf("%+v", resp)
			}
		})
	}
}

func TestPatchPolicies(t *testing.T) {
	r := newRig(t, fhir.Config{Compat: fhir.CompatAHDS, Versioning: map[string]fhir.Versioning{"Group": fhir.VersionedUpdate}})
	r.do(201, "PUT", "Patient/p", person)
	e := r.fail(fault.Invalid, "PATCH", "Patient/p", `[{"op":"replace","path":"/text/status","value":"additional"}]`)
	if !strings.Contains(e.Msg, "text.status is immutable") {
		t.Error(e)
	}
	r.do(201, "PUT", "Group/g", `{"resourceType":"Group","id":"g","type":"person","actual":true}`)
	e = r.fail(fault.Invalid, "PATCH", "Group/g", `[{"op":"replace","path":"/actual","value":false}]`)
	if !strings.Contains(e.Msg, "needs If-Match") {
		t.Error(e)
	}
	// A change of meta only leaves no old version behind if the client says so.
	r.do(200, "PATCH", "Patient/p", `[{"op":"add","path":"/meta/tag/-","value":{"code":"u"}}]`, noOldVersion)
	if n := len(r.do(200, "GET", "Patient/p/_history", "").Page.Records); n != 1 {
		t.Errorf("%d versions after a change of meta", n)
	}
	r.do(200, "PATCH", "Patient/p", toFemale, noOldVersion)
	if n := len(r.do(200, "GET", "Patient/p/_history", "").Page.Records); n != 2 {
		t.Errorf("%d versions after a change of content", n)
	}
}

func TestPatchSeveralMatches(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.do(201, "POST", "Patient", identified("", "1"))
	r.do(201, "POST", "Patient", identified("", "1"))
	r.fail(fault.Precondition, "PATCH", "Patient?identifier=urn:mrn|1", toFemale)
}

// TestPatchRace: patches of one resource by many at once are all applied.
func TestPatchRace(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.do(201, "PUT", "Patient/p", `{"resourceType":"Patient","id":"p","name":[{"text":"x"}]}`)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := r.try("PATCH", "Patient/p", `[{"op":"add","path":"/name/-","value":{"text":"y"}}]`); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	rec := r.do(200, "GET", "Patient/p", "").Record
	if got := len(r.body(rec)["name"].([]any)); got != 41 || rec.Version != 41 {
		t.Errorf("%d names in version %d: a patch was lost or applied twice", got, rec.Version)
	}
}

func TestPatchInTransaction(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.do(201, "PUT", "Patient/p", person)
	r.do(201, "PUT", "Patient/q", patient("q", "Q"))
	link := fhirPatch([3]string{"add", "Patient", `,{"name":"name","valueString":"generalPractitioner"},{"name":"value","valueReference":{"reference":"urn:uuid:1"}}`})
	resp, err := r.svc.Transaction(t.Context(), bundle(t, []entry{
		{method: "PATCH", target: "Patient/p", body: link, full: "urn:uuid:2"},
		{method: "POST", target: "Organization", body: `{"resourceType":"Organization","name":"O","alias":["x"]}`, full: "urn:uuid:1"},
		{method: "PATCH", target: "Patient?family=Q", body: wrapped(toFemale)},
		{method: "GET", target: "Patient/q"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{200, 201, 200, 200} {
		if resp[i].Status != want {
			t.Errorf("entry %d: %d", i, resp[i].Status)
		}
	}
	if got := r.text("Patient/p"); !strings.Contains(got, `"generalPractitioner":[{"reference":"Organization/`+resp[1].Record.ID+`"}]`) {
		t.Errorf("the urn was not replaced: %s", got)
	}
	if got := r.text("Patient/q"); !strings.Contains(got, `"gender":"female"`) || resp[3].Record.Version != 2 {
		t.Errorf("the read came first: %s", got)
	}
	for name, entries := range map[string][]entry{
		"entry[1] (PATCH Patient/none): Patient/none does not exist": {{method: "PATCH", target: "Patient/q", body: wrapped(`[{"op":"remove","path":"/gender"}]`)}, {method: "PATCH", target: "Patient/none", body: wrapped(toFemale)}},
		"entry[0] (PATCH Patient/q): patch operation 0 (remove /x)":  {{method: "PATCH", target: "Patient/q", body: wrapped(`[{"op":"remove","path":"/x"}]`)}},
		"are about the same resource Patient/q":                      {{method: "PATCH", target: "Patient/q", body: wrapped(toFemale)}, {method: "PUT", target: "Patient/q", body: patient("q", "Q")}},
		"is not the current one":                                     {{method: "PATCH", target: "Patient/q", body: wrapped(toFemale), ifMatch: `W/"1"`}},
	} {
		_, err := r.svc.Transaction(t.Context(), bundle(t, entries))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %s", err, name)
		}
	}
	if got := r.text("Patient/q"); !strings.Contains(got, `"gender":"female"`) {
		t.Errorf("a transaction that failed changed something: %s", got)
	}
}
