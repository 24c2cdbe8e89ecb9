package fhirhttp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
)

const form = "application/x-www-form-urlencoded"

// seed stores two patients and three observations.
func seed() []step {
	obs := func(id, patient, date string) step {
		return step{do: "PUT /Observation/" + id, status: 201, body: fmt.Sprintf(`{"resourceType":"Observation","id":%q,"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"1-1"}]},"subject":{"reference":"Patient/%s"},"effectiveDateTime":%q}`, id, patient, date)}
	}
	return []step{
		{do: "PUT /Patient/p1", body: pat, status: 201},
		{do: "PUT /Patient/p2", body: `{"resourceType":"Patient","id":"p2","name":[{"family":"Smith"}],"gender":"male"}`, status: 201},
		obs("o1", "p1", "2026-01-01"), obs("o2", "p1", "2026-01-02"), obs("o3", "p2", "2026-01-03"),
	}
}

// TestSearch covers searches of every level.
func TestSearch(t *testing.T) {
	play(t, []scenario{{name: "search", steps: append(seed(), []step{
		{
			do: "GET /Patient?family=meyer", status: 200,
			want: map[string]string{
				"resourceType": "Bundle", "type": "searchset", "total": "", "entry.#": "1", "entry.0.resource.id": "p1",
				"entry.0.search.mode": "match", "entry.0.fullUrl": base + "/Patient/p1",
				"link.0.relation": "self", "link.0.url": base + "/Patient?family=meyer", "link.1": "",
			},
		},
		{do: "HEAD /Patient?family=meyer", status: 200, header: map[string]string{"Content-Type": "application/fhir+json; charset=utf-8"}},
		{do: "GET /Patient?family=nobody", status: 200, want: map[string]string{"entry": "", "link.#": "1"}},
		{do: "POST /Patient/_search?gender=female", body: "family=meyer", headers: []string{"Content-Type", form}, status: 200, want: map[string]string{"entry.#": "1", "link.0.url": base + "/Patient?gender=female&family=meyer"}},
		{do: "POST /Patient/_search", body: "family=meyer&_pretty=true", headers: []string{"Content-Type", form + "; charset=utf-8"}, status: 200, has: []string{"\n  \"type\": \"searchset\""}},
		{do: "POST /Patient/_search", body: "family=meyer&_format=ttl", headers: []string{"Content-Type", form}, status: 406},
		{do: "POST /Patient/_search", body: "{}", status: 415},
		{do: "POST /Patient/_search", status: 200, want: map[string]string{"entry.#": "2"}},
		{do: "POST /Patient/_search", body: "a=%zz", headers: []string{"Content-Type", form}, status: 400},
		{do: "POST /Patient/_search", body: strings.Repeat("family=a&", 1200), headers: []string{"Content-Type", form}, status: 400},
		{do: "GET /Patient?" + strings.Repeat("family=a&", 1200), status: 400},
		{do: "GET /Patient/_search?family=meyer", status: 200, want: map[string]string{"entry.#": "1"}},
		{do: "GET /?_type=Patient,Observation&_count=50", status: 200, want: map[string]string{"entry.#": "5"}},
		{do: "GET ?_type=Patient", status: 200, want: map[string]string{"entry.#": "2"}},
		{do: "GET /_search?_type=Patient", status: 200, want: map[string]string{"entry.#": "2"}},
		{do: "POST /_search", body: "_type=Observation", headers: []string{"Content-Type", form}, status: 200, want: map[string]string{"entry.#": "3"}},
		{do: "GET /Patient?_summary=count", status: 200, want: map[string]string{"total": "2", "entry": ""}},
		{do: "GET /Patient?_count=0", status: 200, want: map[string]string{"total": "2", "entry": ""}},
		{do: "GET /Patient?_total=accurate", status: 200, want: map[string]string{"total": "2", "entry.#": "2"}},
		{do: "GET /Patient?_total=x", status: 400},
		{do: "GET /Patient?birthdate=***", status: 400},
		{do: "GET /Patient?ct=nonsense", status: 400},
		{do: "GET /Patient?_summary=true&_id=p1", status: 200, want: map[string]string{"entry.0.resource.meta.tag.0.code": "SUBSETTED"}},
		{do: "GET /Patient?_summary=x", status: 400},
		{do: "GET /Patient?_elements=gender&_id=p1", status: 200, want: map[string]string{"entry.0.resource.gender": "female", "entry.0.resource.name": ""}},
	}...)}, {name: "unknown parameters", steps: append(seed(), []step{
		{
			do: "GET /Patient?family=meyer&foo=bar", status: 200,
			want: map[string]string{"entry.#": "2", "entry.1.search.mode": "outcome", "entry.1.resource.issue.0.severity": "warning", "link.0.url": base + "/Patient?family=meyer"},
		},
		{do: "GET /Patient?foo=bar", headers: []string{"Prefer", "handling=strict"}, status: 400, has: []string{"foo"}},
		{do: "GET /Patient?foo=bar", headers: []string{"Prefer", "handling=odd"}, status: 400},
		{do: "GET /Patient?_count=5000", status: 200, want: map[string]string{"entry.2.search.mode": "outcome"}},
	}...)}, {name: "strict by default", opt: fhirhttp.Options{Strict: true}, steps: []step{
		{do: "GET /Patient?foo=bar", status: 400},
		{do: "GET /Patient?foo=bar", headers: []string{"Prefer", "handling=lenient"}, status: 200},
	}}, {name: "compartment", steps: append(seed(), []step{
		{do: "GET /Patient/p1/Observation", status: 200, want: map[string]string{"entry.#": "2", "link.0.url": base + "/Patient/p1/Observation"}},
		{do: "GET /Patient/p1/Observation?date=2026-01-02", status: 200, want: map[string]string{"entry.#": "1", "entry.0.resource.id": "o2"}},
		{do: "POST /Patient/p1/Observation/_search", body: "date=2026-01-02", headers: []string{"Content-Type", form}, status: 200, want: map[string]string{"entry.#": "1"}},
		{do: "GET /Patient/p1/*?_count=50", status: 200, has: []string{`"id":"o1"`, `"id":"o2"`}, not: []string{`"id":"o3"`}},
		{do: "GET /Patient/p1/%2A?_type=Observation", status: 200, want: map[string]string{"entry.#": "2"}},
		{do: "GET /Organization/x/Observation", status: 404},
		{do: "GET /Patient/p1/observation", status: 404},
		{do: "POST /Patient/p1/Observation", body: pat, status: 405},
	}...)}})
}

// TestPaging follows the next links to the end.
func TestPaging(t *testing.T) {
	s := newServer(t, cfg(), fhirhttp.Options{})
	for i := range 25 {
		w := s.call("PUT", fmt.Sprintf("/Patient/p%d", i), fmt.Sprintf(`{"resourceType":"Patient","id":"p%d","gender":"male"}`, i))
		if w.Code != 201 {
			t.Fatal(w.Body)
		}
	}
	for _, first := range []string{"/Patient?gender=male&_count=10", "/Patient?_count=7&_sort=-_lastUpdated", "/Patient/_history?_count=10", "/_history?_count=4"} {
		seen, pages := map[string]bool{}, 0
		for url := first; url != ""; pages++ {
			w := s.call("GET", url, "")
			body := w.Body.String()
			if w.Code != 200 || pages > 25 {
				t.Fatalf("%s: %d %s", url, w.Code, body)
			}
			for i := 0; ; i++ {
				id := lookup(t, body, fmt.Sprintf("entry.%d.resource.id", i))
				if id == "" {
					break
				}
				if seen[id] {
					t.Errorf("%s: %s twice", first, id)
				}
				seen[id] = true
			}
			url = ""
			if lookup(t, body, "link.1.relation") == "next" {
				url = strings.TrimPrefix(lookup(t, body, "link.1.url"), base)
			}
		}
		if len(seen) != 25 {
			t.Errorf("%s: %d resources in %d pages, want 25", first, len(seen), pages)
		}
	}
}

// TestContained shows the resource around a contained one, or that alone.
func TestContained(t *testing.T) {
	play(t, []scenario{{name: "contained", steps: append(seed(), []step{
		{do: "PUT /Observation/c", status: 201, body: `{"resourceType":"Observation","id":"c","status":"final","code":{"text":"x"},"subject":{"reference":"#p"},"contained":[{"resourceType":"Patient","id":"p","gender":"male","name":[{"family":"Inner"}]},{"resourceType":"Patient","id":"q","gender":"female"}]}`},
		{do: "GET /Patient?gender=male", status: 200, want: map[string]string{"entry.#": "1", "entry.0.resource.id": "p2"}},
		{do: "GET /Patient?gender=male&_contained=true", status: 200, want: map[string]string{
			"entry.#": "1", "entry.0.resource.id": "c", "entry.0.fullUrl": base + "/Observation/c", "entry.0.search.mode": "match",
			"link.0.url": base + "/Patient?gender=male&_contained=true",
		}},
		{do: "GET /Patient?gender=male&_contained=both&_total=accurate", status: 200, want: map[string]string{"entry.#": "2", "total": "2"}},
		{do: "GET /Patient?gender=male&_contained=true&_containedType=contained", status: 200, want: map[string]string{
			"entry.#": "1", "entry.0.resource.resourceType": "Patient", "entry.0.resource.id": "p", "entry.0.resource.name.0.family": "Inner",
			"entry.0.resource.meta": "", "entry.0.fullUrl": base + "/Observation/c#p", "entry.0.search.mode": "match", "total": "",
		}},
		{do: "GET /Patient?_contained=true&_containedType=contained&_elements=gender", status: 200, want: map[string]string{"entry.#": "2", "entry.1.fullUrl": base + "/Observation/c#q", "entry.1.resource.gender": "female", "entry.0.resource.name": "", "entry.0.resource.meta.tag.0.code": "SUBSETTED"}},
		{do: "GET /Patient?gender=male&_contained=both&_containedType=contained", status: 200, want: map[string]string{"entry.#": "2"}},
		{do: "GET /Patient?gender=none&_contained=both&_containedType=contained", status: 200, want: map[string]string{"entry": ""}},
		{do: "GET /Patient?gender=male&_contained=true&_containedType=contained", status: 200, headers: []string{"Accept", "application/fhir+xml"}, has: []string{`<family value="Inner"/>`, "/Observation/c#p"}},
		{do: "GET /Observation?subject:Patient.name=inner", status: 200, want: map[string]string{"entry.#": "1", "entry.0.resource.id": "c"}},
		{do: "GET /Patient?_contained=maybe", status: 400},
		{do: "GET /Patient?organization.name=x&_contained=true", status: 400, has: []string{"organization.name cannot be asked of a contained resource"}},
		{do: "DELETE /Patient?gender=male&_contained=true", status: 400},
	}...)}})
}

// TestHistory covers histories of every level.
func TestHistory(t *testing.T) {
	play(t, []scenario{{name: "history", steps: []step{
		{do: "POST /Patient", body: pat, status: 201},
		{do: "PUT /Patient/n1", body: `{"resourceType":"Patient","id":"n1"}`, status: 200},
		{do: "DELETE /Patient/n1", status: 204},
		{do: "PUT /Practitioner/x", body: `{"resourceType":"Practitioner","id":"x"}`, status: 201},
		{
			do: "GET /Patient/n1/_history", status: 200,
			want: map[string]string{
				"type": "history", "entry.#": "3",
				"entry.0.request.method": "DELETE", "entry.0.request.url": "Patient/n1", "entry.0.resource": "", "entry.0.response.status": "204", "entry.0.response.etag": `W/"3"`,
				"entry.1.request.method": "PUT", "entry.1.request.url": "Patient/n1", "entry.1.response.status": "200", "entry.1.resource.meta.versionId": "2",
				"entry.2.request.method": "POST", "entry.2.request.url": "Patient", "entry.2.response.status": "201", "entry.2.fullUrl": base + "/Patient/n1",
				"link.0.url": base + "/Patient/n1/_history",
			},
		},
		{do: "GET /Patient/_history", status: 200, want: map[string]string{"entry.#": "3"}},
		{do: "GET /_history", status: 200, want: map[string]string{"entry.#": "4", "link.0.url": base + "/_history"}},
		{do: "GET /_history?_summary=count", status: 200, want: map[string]string{"total": "4", "entry": ""}},
		{do: "GET /Patient/unknown/_history", status: 404},
		{do: "GET /_history?_sort=name", status: 400},
		{do: "GET /_history?_before=2100-01-01", status: 400},
		{do: "GET /_history?_since=2100-01-01", status: 200, want: map[string]string{"entry": ""}},
		{do: "GET /_history?_at=2020&_count=2", status: 200, want: map[string]string{"link.0.url": base + "/_history?_count=2", "entry.2.resource": "", "entry.2.request.method": "GET", "entry.2.request.url": "_history", "entry.2.response.status": "200", "entry.2.response.outcome.issue.0.severity": "warning"}},
		{do: "GET /_history?_elements=id&_count=1", status: 200, has: []string{"_elements=id"}},
		{do: "GET /Patient/n1/_history?_sort=_lastUpdated", status: 200, want: map[string]string{"entry.0.request.method": "POST"}},
		{do: "POST /Patient/n1/_history", status: 405},
	}}})
}

// TestConditional covers interactions by criteria.
func TestConditional(t *testing.T) {
	play(t, []scenario{{name: "create", steps: append(seed(), []step{
		{do: "POST /Patient", body: pat, headers: []string{"If-None-Exist", "family=Nobody"}, status: 201},
		{do: "POST /Patient", body: pat, headers: []string{"If-None-Exist", "family=Smith"}, status: 200, want: map[string]string{"id": "p2"}, header: map[string]string{"ETag": `W/"1"`}},
		{do: "POST /Patient", body: pat, headers: []string{"If-None-Exist", "family=Smith", "Prefer", "return=minimal"}, status: 200, header: map[string]string{"Content-Length": "0"}},
		{do: "POST /Patient", body: pat, headers: []string{"If-None-Exist", "family=Smith", "Prefer", "return=OperationOutcome"}, status: 200, want: map[string]string{"resourceType": "OperationOutcome"}},
		{do: "POST /Patient", body: pat, headers: []string{"If-None-Exist", "family=Meyer"}, status: 412},
		{do: "POST /Patient", body: pat, headers: []string{"If-None-Exist", ""}, status: 400},
		{do: "POST /Patient", body: pat, headers: []string{"If-None-Exist", "foo=bar"}, status: 400},
	}...)}, {name: "update", steps: append(seed(), []step{
		{do: "PUT /Patient?family=Nobody", body: `{"resourceType":"Patient"}`, status: 201, want: map[string]string{"id": "n1"}},
		{do: "PUT /Patient?family=Nobody", body: `{"resourceType":"Patient","id":"mine"}`, status: 201, want: map[string]string{"id": "mine"}},
		{do: "PUT /Patient?family=Smith", body: `{"resourceType":"Patient","name":[{"family":"Smith"}],"active":true}`, status: 200, want: map[string]string{"id": "p2", "meta.versionId": "2"}},
		{do: "PUT /Patient?family=Smith&_format=json&_pretty=true", body: `{"resourceType":"Patient","id":"p2","name":[{"family":"Smith"}]}`, status: 200},
		{do: "PUT /Patient?family=Smith", body: `{"resourceType":"Patient","id":"p1"}`, status: 400},
		{do: "PUT /Patient", body: `{"resourceType":"Patient"}`, status: 400},
		{do: "PUT /Observation?code=1-1", body: `{"resourceType":"Observation","status":"final","code":{"text":"x"}}`, status: 412},
	}...)}, {name: "delete", steps: append(seed(), []step{
		{do: "DELETE /Patient?family=Nobody", status: 204, header: map[string]string{"Items-Deleted": "0"}},
		{do: "DELETE /Observation?code=1-1", status: 412},
		{do: "DELETE /Observation?code=1-1&_count=0", status: 400},
		{do: "DELETE /Observation?code=1-1&_count=2", status: 204, header: map[string]string{"Items-Deleted": "2"}},
		{do: "DELETE /Patient", status: 400},
		{do: "DELETE /Patient?_hardDelete=true", status: 400},
		{do: "DELETE /Patient?family=Smith&_hardDelete=true", status: 204, header: map[string]string{"Items-Deleted": "1"}},
		{do: "GET /Patient/p2", status: 404},
		{do: "GET /Patient/p1", status: 200},
		{do: "DELETE /Patient?family=Meyer", headers: []string{"If-Match", `W/"1"`}, status: 400},
		{do: "PUT /Patient/p1", body: pat, headers: []string{"If-None-Match", "*"}, status: 400},
		{do: "PUT /Patient/p1", body: pat, headers: []string{"If-None-Exist", "family=x"}, status: 400},
		{do: "POST /", body: bundleOf("transaction", entryOf("", "PUT", "Patient/p1", pat, `,"ifNoneMatch":"*"`)), status: 400, has: []string{"PUT Patient/p1"}},
	}...)}})
}

// TestMetadata covers the descriptions of the service.
func TestMetadata(t *testing.T) {
	play(t, []scenario{{name: "metadata", opt: fhirhttp.Options{Version: "1.2.3", Versioning: func(typ string) string {
		if typ == "Account" {
			return "no-version"
		}
		return "versioned"
	}}, steps: []step{
		{
			do: "GET /metadata", status: 200,
			want: map[string]string{
				"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "kind": "instance", "status": "active",
				"software.version": "1.2.3", "implementation.url": base, "rest.0.mode": "server", "rest.0.resource.#": "146",
				"rest.0.resource.0.type": "Account", "rest.0.resource.0.versioning": "no-version", "rest.0.resource.0.readHistory": "false",
				"rest.0.resource.1.versioning": "versioned", "rest.0.resource.1.operation.0.name": "purge-history",
				"rest.0.compartment.#": "5", "rest.0.operation.0.name": "versions", "rest.0.interaction.#": "4",
			},
			has: []string{`{"name":"birthdate","definition":"http://hl7.org/fhir/SearchParameter/individual-birthdate","type":"date"}`, `{"name":"_tag"`},
		},
		{do: "GET /metadata?mode=normative", status: 200, want: map[string]string{"rest.0.resource.#": "11"}},
		{do: "GET /metadata?mode=terminology", status: 501},
		{do: "GET /metadata?mode=x", status: 400},
		{do: "GET /metadata?_format=ttl", status: 406},
		{do: "GET /metadata?_summary=x", status: 400},
		{do: "GET /metadata?_elements=foo", status: 400},
		{do: "GET /metadata?_elements=", status: 400},
		{do: "GET /metadata?_elements=fhirVersion", status: 200, want: map[string]string{"fhirVersion": "4.0.1", "software": "", "kind": "instance"}},
		{do: "GET /metadata?_summary=true", status: 200, want: map[string]string{"fhirVersion": "4.0.1"}},
		{do: "HEAD /metadata", status: 200},
		{do: "GET /SearchParameter/$status?code=gender&resourcetype=Patient", status: 200, want: map[string]string{"parameter.#": "1", "parameter.0.part.1.valueString": "Enabled"}},
		{
			do: "POST /SearchParameter/$status/_search?resourcetype=Patient", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, body: "code=gender,birthdate", status: 200,
			want: map[string]string{"resourceType": "Parameters", "parameter.#": "2", "parameter.0.name": "searchParameterStatus"},
		},
		{do: "POST /SearchParameter/$status/_search", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, body: "name=gender", status: 400},
		{do: "POST /SearchParameter/$status/_search", body: "{}", status: 415},
		{do: "GET /SearchParameter/$status/_search", status: 405},
		{do: "POST /Patient/$status/_search", body: "{}", status: 400},
		{do: "GET /$versions", status: 200, want: map[string]string{"versions.0": "4.0", "default": "4.0"}},
		{do: "GET /$versions", headers: []string{"Accept", "application/fhir+json"}, status: 200, want: map[string]string{"resourceType": "Parameters"}},
		{do: "GET /$versions", headers: []string{"Accept", "text/css"}, status: 406},
		{do: "POST /$versions", body: "{}", status: 405},
	}}})
}
