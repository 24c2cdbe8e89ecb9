package fhirhttp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
)

// bundleOf builds a Bundle from entries.
func bundleOf(typ string, entries ...string) string {
	return `{"resourceType":"Bundle","type":"` + typ + `","entry":[` + strings.Join(entries, ",") + `]}`
}

// entryOf builds one entry; extra holds further members of the request.
func entryOf(fullURL, method, url, res, extra string) string {
	var b strings.Builder
	b.WriteByte('{')
	if fullURL != "" {
		fmt.Fprintf(&b, `"fullUrl":%q,`, fullURL)
	}
	if res != "" {
		fmt.Fprintf(&b, `"resource":%s,`, res)
	}
	fmt.Fprintf(&b, `"request":{"method":%q,"url":%q%s}}`, method, url, extra)
	return b.String()
}

const obsOf = `{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"%s"}}`

// TestBundleEnvelope covers what makes a Bundle acceptable at all.
func TestBundleEnvelope(t *testing.T) {
	play(t, []scenario{{name: "envelope", opt: fhirhttp.Options{MaxBundleEntries: 2}, steps: []step{
		{do: "POST /", body: `{"resourceType":"Bundle","entry":[]}`, status: 405, header: map[string]string{"Allow": "GET, HEAD, POST, OPTIONS"}},
		{do: "POST /", body: `{"resourceType":"Bundle","type":"searchset"}`, status: 400},
		{do: "POST /", body: `{"resourceType":"Bundle","type":7}`, status: 400},
		{do: "POST /", body: pat, status: 400},
		{do: "POST /", body: `{"resourceType":"Bundle","type":"batch","entry":{}}`, status: 400, want: map[string]string{"issue.0.expression.0": "Bundle.entry"}},
		{do: "POST /", body: `{"resourceType":"Bundle","type":"batch"}`, status: 200, want: map[string]string{"type": "batch-response", "entry": ""}},
		{do: "POST /", body: `{"resourceType":"Bundle","type":"batch","entries":[]}`, status: 400, want: map[string]string{"issue.0.expression.0": "Bundle.entries"}},
		{do: "POST /", body: `{"resourceType":"Bundle","type":"batch","id":"x","meta":{},"_type":{"id":"t"},"entry":[{"id":"e","link":[],"request":{"method":"GET","url":"Patient","_url":{"id":"u"}}}]}`, status: 200, want: map[string]string{"entry.0.response.status": "200"}},
		{do: "POST /", body: bundleOf("transaction", entryOf("", "POST", "Patient", pat, `,"ifNonExist":"family=Meyer"`)), status: 400, want: map[string]string{"issue.0.expression.0": "Bundle.entry[0].request.ifNonExist"}},
		{do: "POST /", body: bundleOf("batch", `{"fullurl":"urn:uuid:1","request":{"method":"GET","url":"Patient"}}`, entryOf("", "POST", "Patient", pat, `,"ifMatch":"W/\"1\""`)), status: 200, want: map[string]string{"entry.0.response.outcome.issue.0.expression.0": "Bundle.entry[0].fullurl", "entry.1.response.status": "400"}},
		{do: "POST ", body: `{"resourceType":"Bundle","type":"transaction"}`, status: 200, want: map[string]string{"type": "transaction-response"}},
		{do: "POST /", body: bundleOf("batch", "1", "2", "3"), status: 413, has: []string{"limit is 2"}},
		{do: "POST /", body: bundleOf("batch", "1"), headers: []string{"Content-Type", "text/plain"}, status: 415},
		{do: "POST /", body: bundleOf("batch", "1"), headers: []string{"X-Provenance", "{}"}, status: 400},
	}}, {name: "limit of the service", cfg: fhir.Config{MaxBundleEntries: 1}, steps: []step{
		{do: "POST /", body: bundleOf("transaction", entryOf("", "GET", "Patient", "", ""), entryOf("", "GET", "Patient", "", "")), status: 413, has: []string{"limit is 1"}},
	}}})
}

// TestBatch covers independent entries.
func TestBatch(t *testing.T) {
	play(t, []scenario{{name: "mixed", steps: []step{
		{do: "PUT /Patient/p1", body: pat, status: 201},
		{do: "POST /", status: 200, body: bundleOf("batch",
			entryOf("", "POST", "Patient", `{"resourceType":"Patient","name":[{"family":"New"}]}`, ""),
			entryOf("", "PUT", "Patient/p1", pat, ""),
			entryOf("", "GET", "Patient/p1", "", ""),
			entryOf("", "GET", "Patient/none", "", ""),
			entryOf("", "GET", "Foo/1", "", ""),
			entryOf("", "GET", base+"/Patient?family=meyer&_elements=gender", "", ""),
			entryOf("", "GET", "/Patient/p1/_history", "", ""),
			entryOf("", "GET", "Patient/p1", "", `,"ifNoneMatch":"W/\"1\""`),
			entryOf("", "PUT", "Patient/p1", `{"resourceType":"Patient","id":"p1"}`, `,"ifMatch":"W/\"9\""`),
			entryOf("", "POST", "Patient", pat, `,"ifNoneExist":"family=Meyer"`),
			entryOf("", "POST", "Patient", "", ""),
			entryOf("", "DELETE", "Patient/p3", "", ""),
			entryOf("", "GET", "http://elsewhere.org/Patient/1", "", ""),
			entryOf("", "GET", "metadata", "", ""),
			entryOf("", "BREW", "Patient", "", ""),
			entryOf("", "GET", "Patient/p1#x", "", ""),
			`{"resource":{"resourceType":"Patient"}}`,
			`7`,
			entryOf("", "GET", "Patient/p1", "", `,"ifModifiedSince":"nonsense"`),
			`{"request":{"url":"Patient"}}`,
			`{"request":{"method":"GET"}}`,
			`{"request":{"method":1,"url":"Patient"}}`,
		), want: map[string]string{
			"type": "batch-response", "entry.#": "22",
			"entry.0.response.status": "201", "entry.0.response.location": base + "/Patient/n1/_history/1", "entry.0.response.etag": `W/"1"`, "entry.0.resource": "",
			"entry.1.response.status": "200", "entry.1.response.etag": `W/"1"`,
			"entry.2.response.status": "200", "entry.2.resource.id": "p1", "entry.2.fullUrl": base + "/Patient/p1",
			"entry.3.response.status": "404", "entry.3.response.outcome.issue.0.code": "not-found",
			"entry.4.response.status": "404",
			"entry.5.response.status": "200", "entry.5.resource.type": "searchset", "entry.5.resource.entry.0.resource.gender": "female", "entry.5.resource.entry.0.resource.name": "",
			"entry.6.response.status": "200", "entry.6.resource.type": "history",
			"entry.7.response.status": "304", "entry.7.resource": "",
			"entry.8.response.status":  "412",
			"entry.9.response.status":  "200",
			"entry.10.response.status": "400", "entry.10.response.outcome.issue.0.expression.0": "Bundle.entry[10].resource",
			"entry.11.response.status": "204",
			"entry.12.response.status": "400",
			"entry.13.response.status": "400",
			"entry.14.response.status": "405",
			"entry.15.response.status": "400",
			"entry.16.response.status": "400",
			"entry.17.response.status": "400",
			"entry.18.response.status": "400",
			"entry.19.response.status": "400",
			"entry.20.response.status": "400",
			"entry.21.response.status": "400",
		}},
	}}, {name: "prefer", steps: []step{
		{do: "POST /", headers: []string{"Prefer", "return=representation"}, status: 200, body: bundleOf("batch", entryOf("", "POST", "Patient", pat, "")), want: map[string]string{"entry.0.resource.id": "n1"}},
		{do: "POST /", headers: []string{"Prefer", "return=OperationOutcome"}, status: 200, body: bundleOf("batch", entryOf("", "POST", "Patient", pat, ""), entryOf("", "DELETE", "Patient/n1", "", "")), want: map[string]string{"entry.0.response.outcome.issue.0.severity": "information", "entry.1.response.outcome.issue.0.severity": "information"}},
		{do: "POST /", headers: []string{"Prefer", "handling=strict"}, status: 200, body: bundleOf("batch", entryOf("", "GET", "Patient?foo=bar", "", "")), want: map[string]string{"entry.0.response.status": "400"}},
	}}, {name: "bodies by default", opt: fhirhttp.Options{AHDS: true}, steps: []step{
		{do: "POST /", status: 200, body: bundleOf("batch", entryOf("", "POST", "Patient", pat, "")), want: map[string]string{"entry.0.resource.id": "n1"}},
		{do: "POST /", headers: []string{"Prefer", "return=minimal"}, status: 200, body: bundleOf("batch", entryOf("", "POST", "Patient", pat, "")), want: map[string]string{"entry.0.resource": ""}},
	}}})
}

// TestTransaction covers all-or-nothing.
func TestTransaction(t *testing.T) {
	const urn = "urn:uuid:c4a8a0b1-5b7e-4a2e-9c52-1c1f9b6f1a01"
	play(t, []scenario{{name: "references", steps: []step{
		{do: "POST /", status: 200, body: bundleOf("transaction",
			entryOf("", "GET", "Observation?subject=Patient/n2", "", ""),
			entryOf("", "POST", "Observation", fmt.Sprintf(obsOf, urn), ""),
			entryOf(urn, "POST", "Patient", pat, `,"ifNoneExist":"family=Meyer"`),
		), want: map[string]string{
			"type": "transaction-response", "entry.#": "3", "entry.0.resource.entry.#": "1",
			"entry.1.response.status": "201", "entry.2.response.status": "201",
		}},
		{do: "GET /Observation?_count=1", status: 200, want: map[string]string{"entry.#": "1"}, not: []string{"urn:uuid"}, has: []string{`"reference":"Patient/n`}},
		{do: "POST /", status: 200, body: bundleOf("transaction", entryOf(urn, "POST", "Patient", pat, `,"ifNoneExist":"family=Meyer"`)), want: map[string]string{"entry.0.response.status": "200"}},
	}}, {name: "what is wrong with a read is found before anything is written", steps: []step{
		{do: "POST /", status: 400, body: bundleOf("transaction", entryOf("", "PUT", "Patient/p1", pat, ""), entryOf("", "GET", "Patient/p1?_summary=odd", "", "")), has: []string{"Bundle.entry[1].request.url"}},
		{do: "GET /Patient/p1", status: 404},
		{do: "POST /", status: 400, headers: []string{"Prefer", "handling=strict"}, body: bundleOf("transaction", entryOf("", "PUT", "Patient/p1", pat, ""), entryOf("", "GET", "Patient/p1?foo=bar", "", ""))},
		{do: "GET /Patient/p1", status: 404},
	}}, {name: "failure", steps: []step{
		{do: "PUT /Patient/p9", body: `{"resourceType":"Patient","id":"p9"}`, status: 201},
		{do: "POST /", status: 400, has: []string{"Bundle.entry[1]"}, body: bundleOf("transaction",
			entryOf("", "DELETE", "Patient/p9", "", ""),
			entryOf("", "POST", "Patient", `{"resourceType":"Patient","birthDate":"x"}`, ""))},
		{do: "GET /Patient/p9", status: 200},
		{do: "POST /", status: 412, body: bundleOf("transaction",
			entryOf("", "POST", "Patient", pat, ""),
			entryOf("", "PUT", "Patient/p9", `{"resourceType":"Patient","id":"p9","active":true}`, `,"ifMatch":"W/\"7\""`)), has: []string{"PUT", "Patient/p9"}},
		{do: "POST /", status: 404, has: []string{"POST Foo"}, body: bundleOf("transaction", entryOf("", "POST", "Foo", pat, ""))},
		{do: "POST /", status: 405, has: []string{"PUT Patient/1/_history"}, body: bundleOf("transaction", entryOf("", "PUT", "Patient/1/_history", pat, ""))},
		{do: "POST /", status: 400, body: bundleOf("transaction",
			entryOf("", "PUT", "Patient/p1", pat, ""), entryOf("", "PUT", "Patient/p1", pat, ""))},
		{do: "GET /Patient?_summary=count", status: 200, want: map[string]string{"total": "1"}},
	}}})
}
