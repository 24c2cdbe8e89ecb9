package fhirhttp_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
)

const (
	jsonPatch = "application/json-patch+json"
	patchable = "application/json-patch+json, application/fhir+json, application/fhir+xml"
	toMale    = `[{"op":"replace","path":"/gender","value":"male"}]`
)

// patchOf makes a FHIRPath Patch of one operation.
func patchOf(typ, path, parts string) string {
	return `{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"` + typ + `"},{"name":"path","valueString":"` + path + `"}` + parts + `]}]}`
}

var fhirMale = patchOf("replace", "Patient.gender", `,{"name":"value","valueCode":"male"}`)

func TestPatch(t *testing.T) {
	js := func(more ...string) []string { return append([]string{"Content-Type", jsonPatch}, more...) }
	is := func(typ string) []string { return []string{"Content-Type", typ} }
	create := step{do: "PUT /Patient/p1", body: pat, status: 201}
	play(t, []scenario{
		{name: "formats", steps: []step{
			create,
			{do: "PATCH /Patient/p1", body: toMale, headers: js(), status: 200, header: map[string]string{"ETag": `W/"2"`, "Location": base + "/Patient/p1/_history/2"}, want: map[string]string{"gender": "male", "meta.versionId": "2", "name.0.family": "Meyer"}},
			{do: "PATCH /Patient/p1", body: patchOf("replace", "Patient.gender", `,{"name":"value","valueCode":"other"}`), status: 200, want: map[string]string{"gender": "other"}},
			{do: "PATCH /Patient/p1", body: fhirMale, headers: is("application/json"), status: 200, want: map[string]string{"gender": "male"}},
			{do: "PATCH /Patient/p1", body: `[{"op":"remove","path":"/gender"}]`, headers: is("text/json; charset=utf-8"), status: 200, want: map[string]string{"gender": "", "meta.versionId": "5"}},
			{do: "PATCH /Patient/p1", body: gzipped(t, toMaleAgain), headers: js("Content-Encoding", "gzip"), status: 200, want: map[string]string{"gender": "male"}},
			{do: "PATCH /Patient/p1", body: toMale, headers: js(), status: 200, header: map[string]string{"ETag": `W/"6"`}},
			{do: "GET /Patient/p1/_history/5", status: 200, want: map[string]string{"gender": ""}},
		}},
		{name: "refused formats", steps: []step{
			create,
			{do: "PATCH /Patient/p1", body: "<diff/>", headers: is("application/xml-patch+xml"), status: 415, header: map[string]string{"Accept-Patch": patchable}, has: []string{"send application/json-patch+json"}},
			{do: "PATCH /Patient/p1", body: "<Parameters/>", headers: is("application/fhir+turtle"), status: 415, header: map[string]string{"Accept-Patch": patchable}},
			{do: "PATCH /Patient/p1", body: `{"gender":"male"}`, headers: is("application/merge-patch+json"), status: 415, header: map[string]string{"Accept-Patch": patchable}},
			{do: "PATCH /Patient/p1", body: toMale, headers: is("(none)"), status: 415},
			{do: "PATCH /Patient/p1", body: toMale, headers: is("application/json-patch+json; charset=latin1"), status: 415},
			{do: "PATCH /Patient/p1", body: toMale, headers: js("Content-Encoding", "br"), status: 415},
			{do: "PATCH /Patient/p1", body: toMale, status: 400, has: []string{"send a JSON Patch as application/json-patch+json"}},
			{do: "PATCH /Patient/p1", body: fhirMale, headers: js(), status: 400, has: []string{"array of operations"}},
			{do: "PATCH /Patient/p1", body: pat, status: 400, has: []string{"not a Patient"}},
			{do: "PATCH /Patient/p1", body: `{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W10="}`, status: 400, has: []string{"send the patch itself"}},
			{do: "PATCH /Patient/p1", body: `[`, headers: js(), status: 400, has: []string{"line 1, column 2"}},
			{do: "PATCH /Patient/p1", body: ` `, headers: js(), status: 400, has: []string{"the body is empty"}},
			{do: "PATCH /Patient/p1", headers: js(), status: 400, has: []string{"the body is empty"}},
			{do: "PATCH /Patient/p1", body: `[7]`, headers: js(), status: 400, want: map[string]string{"issue.0.code": "structure", "issue.0.diagnostics": "patch operation 0: an operation is an object, not a number"}},
			{do: "PATCH /Patient/p1?_meta-history=maybe", body: toMale, headers: js(), status: 400},
			{do: "PATCH /Patient/p1", body: toMale, headers: js("If-None-Exist", "x=y"), status: 400},
			{do: "PATCH /Patient/p1/_history/1", body: toMale, headers: js(), status: 405},
			{do: "PATCH /", body: toMale, headers: js(), status: 405},
			{do: "GET /Patient/p1", status: 200, want: map[string]string{"meta.versionId": "1"}},
		}},
		{name: "prefer", steps: []step{
			create,
			{do: "PATCH /Patient/p1", body: toMale, headers: js("Prefer", "return=minimal"), status: 200, header: map[string]string{"Content-Length": "0", "ETag": `W/"2"`, "Content-Type": ""}},
			{do: "PATCH /Patient/p1", body: toMale, headers: js("Prefer", "return=OperationOutcome"), status: 200, has: []string{"Patient/p1: unchanged"}},
			{do: "PATCH /Patient/p1?_pretty=true", body: `[]`, headers: js("Prefer", "return=representation"), status: 200, has: []string{"\n  \"gender\""}},
		}},
		{name: "conditions", steps: []step{
			create,
			{do: "PATCH /Patient/p1", body: toMale, headers: js("If-Match", `W/"2"`), status: 412},
			{do: "PATCH /Patient/p1", body: toMale, headers: js("If-Match", `two`), status: 400},
			{do: "PATCH /Patient/p1", body: toMale, headers: js("If-Match", `W/"1"`), status: 200},
			{do: "PATCH /Patient?family=meyer", body: `[{"op":"remove","path":"/gender"}]`, headers: js(), status: 200, want: map[string]string{"id": "p1", "meta.versionId": "3"}},
			{do: "PATCH /Patient?family=meyer", body: toMale, headers: js("If-Match", `W/"1"`), status: 412},
			{do: "PATCH /Patient?family=none", body: toMale, headers: js(), status: 404},
			{do: "PATCH /Patient?nick=meyer", body: toMale, headers: js(), status: 400},
			{do: "PATCH /Patient", body: toMale, headers: js(), status: 400, has: []string{"not selective enough"}},
			{do: "POST /Patient", body: pat, status: 201},
			{do: "PATCH /Patient?family=meyer", body: toMale, headers: js(), status: 412, want: map[string]string{"issue.0.code": "multiple-matches"}},
			{do: "PATCH /Patient/none", body: toMale, headers: js(), status: 404},
			{do: "DELETE /Patient/p1", status: 204},
			{do: "PATCH /Patient/p1", body: toMale, headers: js(), status: 410, header: map[string]string{"ETag": `W/"4"`}},
		}},
		{name: "provenance", steps: []step{
			create,
			{do: "PATCH /Patient/p1", body: toMale, headers: js("X-Provenance", `{"resourceType":"Provenance","recorded":"2026-11-21T10:00:00Z","agent":[{"who":{"display":"me"}}]}`), status: 200, want: map[string]string{"gender": "male"}},
			{do: "GET /Provenance?target=Patient/p1", status: 200, want: map[string]string{"entry.#": "1"}},
			{do: "PATCH /Patient/p1", body: `[{"op":"remove","path":"/x"}]`, headers: js("X-Provenance", `{"resourceType":"Provenance","recorded":"2026-11-21T10:00:00Z","agent":[{"who":{"display":"me"}}]}`), status: 400},
			{do: "GET /Provenance?target=Patient/p1", status: 200, want: map[string]string{"entry.#": "1"}},
		}},
		{name: "capabilities", steps: []step{
			{do: "GET /metadata", status: 200, want: map[string]string{"patchFormat.0": jsonPatch, "patchFormat.1": "application/fhir+json", "rest.0.resource.0.interaction.3.code": "patch"}},
			{do: "OPTIONS /Patient/1", status: 204, header: map[string]string{"Accept-Patch": patchable}},
			{do: "OPTIONS /Patient/1/_history", status: 204, header: map[string]string{"Accept-Patch": ""}},
		}},
	})
}

const toMaleAgain = `[{"op":"add","path":"/gender","value":"male"}]`

// TestPatchInBundle: a JSON Patch is wrapped into a Binary, a FHIRPath Patch is
// the Parameters resource itself.
func TestPatchInBundle(t *testing.T) {
	binary := func(typ, ops string) string {
		return `{"resourceType":"Binary","contentType":"` + typ + `","data":"` + base64.StdEncoding.EncodeToString([]byte(ops)) + `"}`
	}
	for _, kind := range []string{"batch", "transaction"} {
		play(t, []scenario{{name: kind, opt: fhirhttp.Options{AHDS: true}, steps: []step{
			{do: "PUT /Patient/p1", body: pat, status: 201},
			{do: "PUT /Patient/p2", body: strings.Replace(pat, `"p1"`, `"p2"`, 1), status: 201},
			{do: "POST /", status: 200, body: bundleOf(kind,
				entryOf("", "PATCH", "Patient/p1", binary(jsonPatch, toMale), ""),
				entryOf("", "PATCH", "Patient?_id=p2", patchOf("delete", "Patient.birthDate", ""), `,"ifMatch":"W/\"1\""`),
				entryOf("", "GET", "Patient/p1", "", ""),
			), want: map[string]string{
				"entry.0.response.status": "200", "entry.0.response.etag": `W/"2"`, "entry.0.resource.gender": "male",
				"entry.1.response.status": "200", "entry.1.resource.birthDate": "", "entry.1.fullUrl": base + "/Patient/p2",
				"entry.2.resource.gender": "male",
			}},
			{do: "GET /Patient/p1/_history", status: 200, want: map[string]string{"entry.0.request.method": "PATCH", "entry.0.request.url": "Patient/p1", "entry.0.response.status": "200"}},
		}}})
	}
	play(t, []scenario{
		{name: "failures in a batch", steps: []step{
			{do: "PUT /Patient/p1", body: pat, status: 201},
			{do: "POST /", status: 200, body: bundleOf("batch",
				entryOf("", "PATCH", "Patient/p1", binary("application/json", toMale), ""),
				entryOf("", "PATCH", "Patient/p1", "", ""),
				entryOf("", "PATCH", "Patient/none", fhirMale, ""),
				entryOf("", "PATCH", "Patient/p1", patchOf("delete", "Patient.nick", ""), ""),
				entryOf("", "PATCH", "Patient/p1", fhirMale, ""),
				entryOf("", "PATCH", "Patient/p1", patchOf("delete", "Patient.gender", ""), ""),
			), want: map[string]string{
				"entry.0.response.status": "415", "entry.1.response.status": "400", "entry.2.response.status": "404",
				"entry.3.response.status": "400", "entry.3.response.outcome.issue.0.expression.0": "Parameters.parameter[0]",
				"entry.4.response.status": "200", "entry.5.response.etag": `W/"3"`,
			}},
		}},
		{name: "failure of a transaction", steps: []step{
			{do: "PUT /Patient/p1", body: pat, status: 201},
			{do: "POST /", status: 400, body: bundleOf("transaction",
				entryOf("", "POST", "Patient", pat, ""),
				entryOf("", "PATCH", "Patient/p1", binary(jsonPatch, `[{"op":"test","path":"/gender","value":"male"}]`), ""),
			), has: []string{"Bundle.entry[1] (PATCH Patient/p1): patch operation 0 (test /gender)"}, want: map[string]string{"issue.0.expression.0": "Bundle.entry[1]"}},
			{do: "GET /Patient?_summary=count", status: 200, want: map[string]string{"total": "1"}},
		}},
		{name: "policy", cfg: fhir.Config{Versioning: map[string]fhir.Versioning{"Patient": fhir.VersionedUpdate}}, steps: []step{
			{do: "PUT /Patient/p1", body: pat, status: 201},
			{do: "POST /", status: 400, body: bundleOf("transaction", entryOf("", "PATCH", "Patient/p1", fhirMale, "")), has: []string{"needs If-Match"}},
			{do: "POST /", status: 200, body: bundleOf("transaction", entryOf("", "PATCH", "Patient/p1", fhirMale, `,"ifMatch":"W/\"1\""`))},
		}},
	})
}
