package fhirhttp_test

import (
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
)

func newGzip(w io.Writer) *gzip.Writer { return gzip.NewWriter(w) }

// TestInstance covers create, read, vread, update and delete.
func TestInstance(t *testing.T) {
	play(t, []scenario{
		{name: "create", steps: []step{
			{
				do: "POST /Patient", body: `{"resourceType":"Patient","id":"mine","meta":{"versionId":"7","tag":[{"code":"x"}]},"active":true}`, status: 201,
				header: map[string]string{"Location": base + "/Patient/n1/_history/1", "ETag": `W/"1"`, "Content-Type": "application/fhir+json; charset=utf-8"},
				want:   map[string]string{"id": "n1", "meta.versionId": "1", "meta.tag.0.code": "x", "active": "true"},
			},
			{do: "GET /Patient/n1", status: 200, header: map[string]string{"ETag": `W/"1"`}, want: map[string]string{"id": "n1"}},
			{do: "HEAD /Patient/n1", status: 200, header: map[string]string{"ETag": `W/"1"`}},
			{do: "GET /Patient/n1/", status: 200},
			{do: "GET /Patient/mine", status: 404},
		}},
		{name: "decimals keep their text", steps: []step{
			{do: "POST /Observation", status: 201, has: []string{`"value":0.10`, `"value":3.14159265358979323846264338327`},
				body: `{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":0.10},"component":[{"code":{"text":"y"},"valueQuantity":{"value":3.14159265358979323846264338327}}]}`},
			{do: "POST /Observation", status: 400, body: `{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":00.1}}`},
			{do: "POST /Observation", status: 400, body: `{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":"0.1"}}`},
		}},
		{name: "bad date", steps: []step{
			{do: "POST /Patient", body: `{"resourceType":"Patient","birthDate":"2020-13-45"}`, status: 400, want: map[string]string{"issue.0.expression.0": "Patient.birthDate"}},
		}},
		{name: "content types", steps: []step{
			{do: "POST /Patient", body: pat, headers: []string{"Content-Type", "(none)"}, status: 415},
			{do: "POST /Patient", body: pat, headers: []string{"Content-Type", "text/plain"}, status: 415},
			{do: "POST /Patient", body: pat, headers: []string{"Content-Type", "application/fhir+xml"}, status: 400, has: []string{"the text is not XML"}},
			{do: "POST /Patient", body: pat, headers: []string{"Content-Type", "application/fhir+turtle"}, status: 415},
			{do: "POST /Patient", body: pat, headers: []string{"Content-Type", "application/fhir+json; charset=latin1"}, status: 415},
			{do: "POST /Patient", body: pat, headers: []string{"Content-Type", "application/fhir+json; fhirVersion=5.0"}, status: 415},
			{do: "POST /Patient", body: pat, headers: []string{"Content-Type", "application/json; charset=UTF-8"}, status: 201},
			{do: "POST /Patient", body: pat, headers: []string{"Content-Encoding", "br"}, status: 415},
			{do: "POST /Patient", body: pat, headers: []string{"Content-Encoding", "gzip"}, status: 400},
		}},
		{name: "unknown and miscased types", steps: []step{
			{do: "POST /Foo", body: `{"resourceType":"Foo"}`, status: 404},
			{do: "POST /patient", body: pat, status: 404, has: []string{"Patient"}},
			{do: "GET /patient/1", status: 404},
			{do: "GET /a/b/c/d/e/f/g/h", status: 404},
			{do: "GET /Patient/1/foo", status: 404},
			{do: "GET /DomainResource", status: 404},
			{do: "POST /Patient", body: `{"resourceType":"Observation","status":"final","code":{"text":"x"}}`, status: 400},
		}},
		{name: "malicious ids", steps: []step{
			{do: "GET /Patient/%00", status: 400},
			{do: "GET /Patient/a%2Fb", status: 400},
			{do: "GET /Patient/..%2f..%2fetc", status: 400},
			{do: "GET /Patient/" + strings.Repeat("a", 65), status: 400},
			{do: "GET /Patient/%3Cscript%3E", status: 400},
			{do: "GET /Patient//x", status: 404},
			{do: "GET /%3Cscript%3E", status: 404, not: []string{"<script>"}},
			{do: "GET /Patient/%ff", status: 400},
		}},
		{name: "methods", steps: []step{
			{do: "PATCH /metadata", status: 405, header: map[string]string{"Allow": "GET, HEAD, OPTIONS"}},
			{do: "POST /Patient/1", body: pat, status: 405},
			{do: "DELETE /Patient/1/_history/1", status: 405},
			{do: "PUT /", body: pat, status: 405},
			{do: "BREW /Patient", status: 405},
			{do: "OPTIONS /Patient", status: 204, header: map[string]string{"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", "Accept-Patch": "application/json-patch+json, application/fhir+json, application/fhir+xml"}},
			{do: "OPTIONS /", status: 200, want: map[string]string{"resourceType": "CapabilityStatement"}},
		}},
		{name: "prefer", steps: []step{
			{do: "POST /Patient", body: pat, headers: []string{"Prefer", "return=minimal"}, status: 201, header: map[string]string{"Content-Length": "0", "Content-Type": "", "ETag": `W/"1"`}},
			{do: "POST /Patient", body: pat, headers: []string{"Prefer", "return=representation"}, status: 201, want: map[string]string{"resourceType": "Patient"}},
			{do: "POST /Patient", body: pat, headers: []string{"Prefer", "return=OperationOutcome; handling=strict"}, status: 201, want: map[string]string{"resourceType": "OperationOutcome", "issue.0.severity": "information"}},
			{do: "POST /Patient", body: pat, headers: []string{"Prefer", "return=everything"}, status: 201, want: map[string]string{"resourceType": "Patient"}},
			{do: "POST /Patient", body: pat, headers: []string{"Prefer", "handling=harsh"}, status: 400},
			{do: "POST /Patient", body: pat, headers: []string{"Prefer", "return=minimal, return=representation"}, status: 201, header: map[string]string{"Content-Length": "0"}},
			{do: "POST /Patient", body: pat, headers: []string{"Prefer", "return=minimal", "Prefer", "return=representation"}, status: 201, header: map[string]string{"Content-Length": "0"}},
			{do: "POST /Patient", body: pat, headers: []string{"Prefer", `foo="a,handling=harsh", RETURN="minimal"`}, status: 201, header: map[string]string{"Content-Length": "0"}},
			{do: "POST /Patient", body: pat, headers: []string{"x-ms-profile-validation", "true"}, status: 400, has: []string{"profiles is not offered"}},
			{do: "PUT /Patient/p1", body: pat, headers: []string{"x-ms-profile-validation", "True"}, status: 400},
			{do: "PUT /Patient/p1", body: pat, headers: []string{"x-ms-profile-validation", "yes"}, status: 400, has: []string{"true or false"}},
			{do: "PUT /Patient/p1", body: pat, headers: []string{"x-ms-profile-validation", "false"}, status: 201},
			{do: "POST /", body: `{"resourceType":"Bundle","type":"batch"}`, headers: []string{"x-ms-profile-validation", "true"}, status: 400},
			{do: "POST /", body: `{"resourceType":"Bundle","type":"batch"}`, headers: []string{"x-ms-profile-validation", "false"}, status: 200},
			{do: "GET /Patient/p1", headers: []string{"x-ms-profile-validation", "true"}, status: 200},
			{do: "GET /Patient?foo=bar", headers: []string{"Prefer", "handling=strict, handling=lenient"}, status: 400},
			{do: "GET /Patient?foo=bar", headers: []string{"Prefer", "handling=lenient, handling=strict"}, status: 200},
			{do: "POST /Patient", body: pat, headers: []string{"Prefer", "respond-async"}, status: 201},
		}},
		{name: "read", steps: []step{
			{do: "PUT /Patient/p1", body: pat, status: 201},
			{do: "GET /Patient/p2", status: 404, want: map[string]string{"issue.0.code": "not-found"}},
			{do: "DELETE /Patient/p1", headers: []string{"X-Provenance", "{}"}, status: 400},
			{do: "DELETE /Patient/p1", status: 204, header: map[string]string{"ETag": `W/"2"`, "Content-Type": ""}},
			{do: "GET /Patient/p1", status: 410, header: map[string]string{"ETag": `W/"2"`}, want: map[string]string{"issue.0.code": "deleted"}},
			{do: "GET /Patient/p1/_history/1", status: 200, header: map[string]string{"ETag": `W/"1"`}},
			{do: "GET /Patient/p1/_history/2", status: 410},
			{do: "GET /Patient/p1/_history/9", status: 404},
			{do: "GET /Patient/p9/_history/1", status: 404},
			{do: "PUT /Patient/p1", body: pat, status: 201, header: map[string]string{"ETag": `W/"3"`}},
		}},
		{name: "conditional read", steps: []step{
			{do: "PUT /Patient/p1", body: pat, status: 201},
			{do: "GET /Patient/p1", headers: []string{"If-None-Match", `W/"1"`}, status: 304, header: map[string]string{"ETag": `W/"1"`, "Content-Length": "", "Cache-Control": "private, no-cache"}},
			{do: "GET /Patient/p1", headers: []string{"If-None-Match", `W/"2"`}, status: 200},
			{do: "GET /Patient/p1", headers: []string{"If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"}, status: 304},
			{do: "GET /Patient/p1", headers: []string{"If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"}, status: 200},
			{do: "GET /Patient/p1", headers: []string{"If-Modified-Since", "yesterday"}, status: 200},
			{do: "GET /Patient/p1?_format=application/fhir+xml;fhirVersion=4.0", status: 200, header: map[string]string{"Content-Type": "application/fhir+xml; charset=utf-8"}},
			{do: "GET /Patient?identifier=http://x.test/a;b|1", status: 200, has: []string{"a%3Bb"}},
			{do: "GET /Patient/p1", headers: []string{"If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"}, status: 412},
			{do: "GET /Patient/p1", headers: []string{"If-Unmodified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"}, status: 200},
			{do: "GET /Patient/p1", headers: []string{"If-Unmodified-Since", "yesterday"}, status: 200},
			{do: "GET /Patient/p1", headers: []string{"If-Match", `W/"2"`}, status: 412},
			{do: "HEAD /Patient/p1", headers: []string{"If-Match", `W/"2"`}, status: 412},
			{do: "GET /Patient/p1/_history/1", headers: []string{"If-Match", `W/"2"`}, status: 412},
			{do: "GET /Patient/p1", headers: []string{"If-Match", `W/"2", W/"1"`}, status: 200},
			{do: "GET /Patient/p1", headers: []string{"If-Match", `W/"2"`, "If-Match", `"1"`}, status: 200},
			{do: "GET /Patient/p1", headers: []string{"If-Match", "*"}, status: 200},
			{do: "GET /Patient/p1", headers: []string{"If-Match", `W/"1"`, "If-None-Match", `W/"1"`}, status: 304},
			{do: "PUT /Patient/p1", body: pat, headers: []string{"Content-Range", "bytes 0-9/100"}, status: 400, has: []string{"as a whole"}},
			{do: "PUT /Patient/p1", body: pat, headers: []string{"If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"}, status: 400},
			{do: "POST /Patient", body: pat, headers: []string{"If-Match", `W/"1"`}, status: 400},
		}},
		{name: "update", steps: []step{
			{do: "PUT /Patient/p1", body: pat, status: 201, header: map[string]string{"Location": base + "/Patient/p1/_history/1"}},
			{do: "PUT /Patient/p1", body: pat, status: 200, header: map[string]string{"ETag": `W/"1"`}},
			{do: "PUT /Patient/p1", body: `{"resourceType":"Patient","id":"p1","active":false}`, status: 200, header: map[string]string{"ETag": `W/"2"`}},
			{do: "PUT /Patient/p1", body: `{"resourceType":"Patient","active":false}`, status: 400},
			{do: "PUT /Patient/p1", body: `{"resourceType":"Patient","id":"p2"}`, status: 400},
			{do: "PUT /Patient/p1", body: pat, headers: []string{"If-Match", `W/"1"`}, status: 412},
			{do: "PUT /Patient/p1", body: pat, headers: []string{"If-Match", `one`}, status: 400},
			{do: "PUT /Patient/p1", body: pat, headers: []string{"If-Match", `W/"2"`}, status: 200, header: map[string]string{"ETag": `W/"3"`}},
			{do: "PUT /Patient/px", body: `{"resourceType":"Patient","id":"px"}`, headers: []string{"If-Match", `W/"2"`}, status: 404},
			{do: "PUT /Patient/p1?_meta-history=maybe", body: pat, status: 400},
		}},
		{name: "delete", steps: []step{
			{do: "PUT /Patient/p1", body: pat, status: 201},
			{do: "DELETE /Patient/p1?_hardDelete=x", status: 400},
			{do: "DELETE /Patient/p1?_remove-references=true", status: 400},
			{do: "DELETE /Patient/p1", status: 204},
			{do: "DELETE /Patient/p1", status: 204, header: map[string]string{"ETag": `W/"2"`}},
			{do: "DELETE /Patient/never", status: 204},
			{do: "DELETE /Patient/p1?_hardDelete=true", status: 204},
			{do: "GET /Patient/p1", status: 404},
			{do: "GET /Patient/p1/_history/1", status: 404},
			{do: "DELETE /Patient/p1", headers: []string{"Prefer", "return=OperationOutcome"}, status: 200, want: map[string]string{"issue.0.severity": "information"}},
		}},
		{name: "purge-history", steps: []step{
			{do: "PUT /Patient/p1", body: pat, status: 201},
			{do: "PUT /Patient/p1", body: `{"resourceType":"Patient","id":"p1"}`, status: 200},
			{do: "DELETE /Patient/p1/$purge-history", status: 204},
			{do: "GET /Patient/p1/_history/1", status: 404},
			{do: "GET /Patient/p1", status: 200},
			{do: "GET /Patient/p1/$purge-history", status: 405},
			{do: "POST /Patient/p1/$everything", status: 404, want: map[string]string{"issue.0.code": "not-supported"}},
			{do: "GET /$export", status: 404},
			{do: "GET /Patient/$validate", status: 404},
		}},
		{name: "provenance", steps: []step{
			{do: "POST /Patient", body: pat, headers: []string{"X-Provenance", `{"resourceType":"Provenance","recorded":"2026-11-21T10:00:00Z","agent":[{"who":{"display":"me"}}]}`}, status: 201, want: map[string]string{"resourceType": "Patient", "id": "n1"}},
			{do: "GET /Provenance/n2", status: 200, want: map[string]string{"target.0.reference": "Patient/n1"}},
			{do: "POST /Patient", body: pat, headers: []string{"X-Provenance", `{"resourceType":"Provenance"`}, status: 400},
			{do: "POST /Patient", body: pat, headers: []string{"X-Provenance", `{"resourceType":"Provenance","target":[{"reference":"Patient/1"}],"recorded":"2026-11-21T10:00:00Z","agent":[{"who":{"display":"me"}}]}`}, status: 400},
			{do: "POST /Patient", body: pat, headers: []string{"X-Provenance", `{"resourceType":"Patient"}`}, status: 400},
			{do: "GET /Patient?_summary=count", status: 200, want: map[string]string{"total": "1"}},
		}},
	})
}

// TestFormats covers _format, Accept, _pretty, _summary and _elements.
func TestFormats(t *testing.T) {
	create := step{do: "PUT /Patient/p1", status: 201, body: `{"resourceType":"Patient","id":"p1","meta":{"tag":[{"code":"t"}]},"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"},"active":true,"name":[{"family":"Meyer"}],"contact":[{"name":{"family":"B"}}],"communication":[{"language":{"text":"de"}}]}`}
	get := func(url string, status int, headers ...string) step {
		return step{do: "GET " + url, status: status, headers: headers}
	}
	as := func(accept, answer string) step {
		return step{do: "GET /Patient/p1", headers: []string{"Accept", accept}, status: 200, header: map[string]string{"Content-Type": answer + "; charset=utf-8"}}
	}
	play(t, []scenario{{name: "negotiation", steps: []step{
		create,
		get("/Patient/p1?_format=json", 200),
		get("/Patient/p1?_format=application/fhir+json", 200, "Accept", "application/xml"),
		get("/Patient/p1?_format=html", 406),
		get("/Patient/p1?_format=application/fhir%2Bturtle", 406),
		get("/Patient/p1?_format=foo", 406),
		get("/Patient/p1", 406, "Accept", "application/fhir+turtle"),
		get("/Patient/p1", 406, "Accept", "text/html"),
		get("/Patient/p1", 406, "Accept", "application/fhir+json; fhirVersion=5.0"),
		get("/Patient/p1", 406, "Accept", "application/fhir+json;q=0"),
		get("/Patient/p1", 200, "Accept", "application/fhir+turtle, application/fhir+json;q=0.5"),
		get("/Patient/p1", 200, "Accept", "text/html, */*;q=0.1"),
		{do: "GET /Patient/p1", headers: []string{"Accept", "application/json"}, status: 200, header: map[string]string{"Content-Type": "application/json; charset=utf-8"}},
		{do: "GET /Patient/p1", headers: []string{"Accept", "text/json"}, status: 200, header: map[string]string{"Content-Type": "text/json; charset=utf-8"}},
		get("/Patient/p1?_pretty=x", 400),
		{do: "GET /Patient/p1?_pretty=true", status: 200, has: []string{"\n  \"id\": \"p1\""}},
		{do: "GET /Patient/p2?_pretty=true", status: 404, has: []string{"\n  \"issue\": ["}},
		get("/Patient/p1?_summary=x", 400),
		get("/Patient/p1?_summary=count", 400),
		get("/Patient/p1?_elements=name&_summary=text", 400),
		get("/Patient/p1?_elements=name&_summary=false", 200),
		get("/Patient/p1?%zz=1", 400),
	}}, {name: "the range that is closer counts", steps: []step{
		create,
		as("application/fhir+json;q=0, */*", "application/fhir+xml"),
		as("application/fhir+json;q=0.1, */*;q=0.2", "application/fhir+xml"),
		as("application/*;q=0, */*", "text/json"),
		as("application/fhir+json;q=0, application/fhir+xml;q=0, application/*", "application/json"),
		as("*/*, application/fhir+xml", "application/fhir+json"),
		as("*/*, application/fhir+json", "application/fhir+json"),
		as("application/*, application/fhir+json", "application/fhir+json"),
		as("*/*;q=0.5, application/fhir+json;q=0.5", "application/fhir+json"),
		as("application/json, text/plain, */*", "application/json"),
		as("application/fhir+json;q=0.9, */*;q=0.8", "application/fhir+json"),
		as("application/fhir+xml;q=0.5, */*;q=0.1", "application/fhir+xml"),
		as("application/xml, text/html;q=0.1", "application/xml"),
		as("application/fhir+json; fhirVersion=3.0, application/fhir+json; fhirVersion=4.0", "application/fhir+json"),
		as("application/fhir+json; fhirVersion=5.0, */*", "application/fhir+json"),
		get("/Patient/p1", 406, "Accept", "application/fhir+json; fhirVersion=5.0; q=0.9"),
		get("/Patient/p1", 406, "Accept", "*/*;q=0"),
	}}, {name: "given twice", steps: []step{
		create,
		get("/Patient/p1?_format=json&_format=xml", 400),
		get("/Patient/p1?_format=json&_format=json", 200),
		get("/Patient/p1?_format=json;fhirVersion=3.0", 406),
		get("/Patient/p1?_format=JSON;fhirVersion=4.0", 200),
		get("/Patient/p1?_pretty=true&_pretty=false", 400),
		get("/Patient/p1?_pretty=", 400),
		get("/Patient/p1?_summary=true&_summary=data", 400),
		get("/Patient?_format=json&_format=xml", 400),
		{do: "POST /Patient/_search?_format=json", body: "_format=xml", headers: []string{"Content-Type", form}, status: 400},
		{do: "POST /Patient/_search", body: "name=x", headers: []string{"Content-Type", form + "; charset=iso-8859-1"}, status: 415},
		{do: "POST /Patient", body: pat, headers: []string{"Content-Type", "application/fhir+json"}, status: 201},
		{do: "POST /Patient", body: pat, headers: []string{"content-type", "application/fhir+json"}, status: 201}, // beside the one of call
		{do: "POST /Patient", body: pat, headers: []string{"content-type", "application/json"}, status: 415},
	}}, {name: "reads with handling=strict", steps: []step{
		create,
		get("/Patient/p1?foo=bar", 200),
		get("/Patient/p1?foo=bar", 400, "Prefer", "handling=strict"),
		get("/Patient/p1/_history/1?foo=bar", 400, "Prefer", "handling=strict"),
		get("/metadata?foo=bar", 400, "Prefer", "handling=strict"),
		get("/metadata?mode=full&_format=json", 200, "Prefer", "handling=strict"),
		get("/$versions?foo=bar", 400, "Prefer", "handling=strict"),
		get("/Patient/p1?_pretty=true&_summary=text", 200, "Prefer", "handling=strict"),
	}}, {name: "subsets", steps: []step{
		create,
		{do: "GET /Patient/p1?_summary=true", status: 200, want: map[string]string{"text": "", "contact": "", "active": "true", "name.0.family": "Meyer", "meta.tag.0.code": "t", "meta.tag.1.code": "SUBSETTED"}},
		{do: "GET /Patient/p1?_summary=text", status: 200, want: map[string]string{"text.status": "generated", "name": "", "id": "p1", "meta.versionId": "1"}},
		{do: "GET /Patient/p1?_summary=data", status: 200, want: map[string]string{"text": "", "contact.0.name.family": "B"}},
		{do: "GET /Patient/p1?_summary=false", status: 200, want: map[string]string{"text.status": "generated", "meta.tag.#": "1"}},
		{do: "GET /Patient/p1?_elements=active,nothing", status: 200, want: map[string]string{"active": "true", "name": "", "id": "p1", "meta.tag.1.code": "SUBSETTED"}},
		{do: "GET /Patient/p1?_elements=active,nothing", headers: []string{"Prefer", "handling=strict"}, status: 400, has: []string{"nothing"}},
		{do: "GET /Patient/p1/_history?_elements=status", headers: []string{"Prefer", "handling=strict"}, status: 400, has: []string{"status"}},
		{do: "GET /_history?_elements=status", headers: []string{"Prefer", "handling=strict"}, status: 200},
		{do: "GET /Patient?_elements=active,nothing", headers: []string{"Prefer", "handling=strict"}, status: 400, has: []string{"nothing"}},
		{do: "GET /Patient?_elements=active,nothing", status: 200, want: map[string]string{"entry.0.resource.active": "true", "entry.0.resource.name": "", "entry.1.search.mode": "outcome", "entry.1.resource.issue.0.severity": "warning"}},
		{do: "GET /Patient?_elements=active,status&_include=Patient:organization", status: 200, want: map[string]string{"entry.#": "1"}},
		{do: "PUT /Observation/o1", status: 201, body: `{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"x"},"note":[{"text":"n"}],"valueQuantity":{"value":1.50}}`},
		{do: "GET /Observation/o1?_elements=value", status: 200, want: map[string]string{"status": "final", "code.text": "x", "valueQuantity.value": "1.50", "note": ""}},
		{do: "GET /Observation?_elements=value&_id=o1", status: 200, want: map[string]string{"entry.0.resource.status": "final", "entry.0.resource.note": "", "entry.0.resource.valueQuantity.value": "1.50"}},
	}}})
}

// TestBodies covers limits and compression.
func TestBodies(t *testing.T) {
	big := `{"resourceType":"Patient","name":[{"text":"` + strings.Repeat("x", 3000) + `"}]}`
	play(t, []scenario{{name: "limits", opt: fhirhttp.Options{MaxBody: 2000}, steps: []step{
		{do: "POST /Patient", body: big, status: 413, header: map[string]string{"Connection": "close"}},
		{do: "POST /Patient", body: gzipped(t, big), headers: []string{"Content-Encoding", "gzip"}, status: 413},
		{do: "POST /Patient", body: gzipped(t, pat), headers: []string{"Content-Encoding", "gzip"}, status: 201},
		{do: "POST /Patient", body: gzipped(t, pat), headers: []string{"Content-Encoding", "gzip", "Content-Encoding", "gzip"}, status: 415, header: map[string]string{"Accept-Encoding": "gzip"}},
		{do: "POST /Patient", body: pat, headers: []string{"Content-Encoding", "br"}, status: 415, header: map[string]string{"Accept-Encoding": "gzip"}},
		{do: "POST /Patient/_search", body: strings.Repeat("a", 3000), headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 413},
	}}, {name: "depth and nodes", opt: fhirhttp.Options{MaxDepth: 10, MaxNodes: 100}, steps: []step{
		{do: "POST /Patient", body: `{"resourceType":"Patient","x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`, status: 400},
		{do: "POST /Patient", body: `{"resourceType":"Patient","x":[` + strings.Repeat("1,", 200) + `1]}`, status: 400},
	}}})
}

// TestBadInput sends what must never be accepted nor break anything.
func TestBadInput(t *testing.T) {
	s := newServer(t, cfg(), fhirhttp.Options{})
	for name, body := range map[string]string{
		"empty":          " ",
		"not json":       "hello",
		"cut":            `{"resourceType":"Patient","name":[{"fam`,
		"array":          `[]`,
		"string":         `"Patient"`,
		"null":           `null`,
		"no type":        `{"id":"1"}`,
		"type number":    `{"resourceType":1}`,
		"trailing":       `{"resourceType":"Patient"}{}`,
		"duplicate":      `{"resourceType":"Patient","active":true,"active":false}`,
		"unknown":        `{"resourceType":"Patient","foo":1}`,
		"invalid utf-8":  "{\"resourceType\":\"Patient\",\"name\":[{\"family\":\"\xff\xfe\"}]}",
		"lone surrogate": `{"resourceType":"Patient","name":[{"family":"\ud800"}]}`,
		"deep":           `{"resourceType":"Patient","x":` + strings.Repeat(`{"x":`, 5000) + `1` + strings.Repeat(`}`, 5000) + `}`,
		"very deep":      strings.Repeat("[", 1_000_000),
		"huge number":    `{"resourceType":"Patient","multipleBirthInteger":` + strings.Repeat("9", 400) + `}`,
		"huge exponent":  `{"resourceType":"Patient","multipleBirthInteger":1e999999999}`,
		"wrong type":     `{"resourceType":"Patient","active":"yes"}`,
		"object":         `{"resourceType":"Patient","name":"Meyer"}`,
		"empty array":    `{"resourceType":"Patient","name":[]}`,
		"null member":    `{"resourceType":"Patient","active":null}`,
		"control":        "{\"resourceType\":\"Patient\",\"language\":\"a\x01b\"}",
		"comment":        `{"resourceType":"Patient"/* */}`,
		"nan":            `{"resourceType":"Patient","multipleBirthInteger":NaN}`,
		"contained deep": `{"resourceType":"Patient","contained":[{"resourceType":"Foo"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			for _, do := range []string{"POST /Patient", "PUT /Patient/p1", "POST /"} {
				method, url, _ := strings.Cut(do, " ")
				w := s.call(method, url, body, "Content-Type", "application/fhir+json")
				if w.Code < 400 || w.Code >= 500 {
					t.Errorf("%s: status %d, want 4xx\n%.300s", do, w.Code, w.Body)
				}
				if got := lookup(t, w.Body.String(), "issue.0.severity"); got != "error" && got != "fatal" {
					t.Errorf("%s: no issue: %.300s", do, w.Body)
				}
				if w.Body.Len() > 4000 {
					t.Errorf("%s: the answer has %d bytes", do, w.Body.Len())
				}
			}
		})
	}
	s.t = t
	s.play([]step{
		{do: "POST /Patient", body: "{\n  \"resourceType\": \"Patient\",\n  \"name\": [{\"family\": tru}]\n}", status: 400, has: []string{"line 3", "Patient.name[0].family"}},
		{do: "GET /Patient?_summary=count", status: 200, want: map[string]string{"total": "0"}},
	})
}

// TestBinary covers the raw form of Binary.
func TestBinary(t *testing.T) {
	play(t, []scenario{{name: "raw", steps: []step{
		{do: "POST /Binary", body: "\x00\x01PDF", headers: []string{"Content-Type", "application/pdf"}, status: 201, want: map[string]string{"contentType": "application/pdf", "data": "AAFQREY="}},
		{do: "GET /Binary/n1", headers: []string{"Accept", "application/pdf"}, status: 200, has: []string{"\x00\x01PDF"}, header: map[string]string{"Content-Type": "application/pdf", "Content-Security-Policy": "sandbox; frame-ancestors 'none'", "Cache-Control": "private, no-cache", "ETag": `W/"1"`, "Content-Length": "5"}},
		{do: "GET /Binary/n1", headers: []string{"Accept", "text/html, */*;q=0.8"}, status: 200, has: []string{"PDF"}},
		{do: "GET /Binary/n1", status: 200, want: map[string]string{"resourceType": "Binary"}},
		{do: "GET /Binary/n1", headers: []string{"Accept", "application/fhir+json"}, status: 200, want: map[string]string{"data": "AAFQREY="}},
		{do: "GET /Binary/n1", headers: []string{"Accept", ", application/fhir+json"}, status: 200, want: map[string]string{"data": "AAFQREY="}},
		{do: "PUT /Binary/b1", body: "hello", headers: []string{"Content-Type", "text/plain; charset=utf-8", "X-Security-Context", "Patient/1"}, status: 201, want: map[string]string{"id": "b1", "contentType": "text/plain; charset=utf-8", "securityContext.reference": "Patient/1"}},
		{do: "POST /Binary", body: "x", headers: []string{"Content-Type", "(none)"}, status: 415},
		{do: "POST /Binary", body: "<Binary/>", headers: []string{"Content-Type", "application/fhir+turtle"}, status: 415},
		{do: "POST /Binary", body: `{"resourceType":"Binary","contentType":"text/plain","data":"aGk="}`, status: 201},
	}}})
}
