package blackbox

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestAnswersAreResources stores what the server answers: its Bundles, its
// OperationOutcomes and its CapabilityStatement have to be valid themselves.
func TestAnswersAreResources(t *testing.T) {
	p := start(t, t.TempDir())
	base := p.url + "/default/fhir"
	for i := range 15 {
		request{method: "PUT", url: base + "/Patient/" + fmt.Sprint(i), body: fmt.Appendf(nil,
			`{"resourceType":"Patient","id":"%d","name":[{"family":"Meyer"}],"managingOrganization":{"reference":"Organization/1"}}`, i)}.do(t)
	}
	request{method: "PUT", url: base + "/Organization/1", body: []byte(`{"resourceType":"Organization","id":"1","name":"O"}`)}.do(t)
	request{method: "DELETE", url: base + "/Patient/3"}.do(t)
	const entries = `[{"resource":{"resourceType":"Patient","id":"b"},"request":{"method":"PUT","url":"Patient/b"}},{"request":{"method":"GET","url":"Patient?_count=2"}},
		{"request":{"method":"DELETE","url":"Patient/nobody"}},{"request":{"method":"GET","url":"Patient/b/_history"}}%s]`
	failing := fmt.Sprintf(entries, `,{"request":{"method":"GET","url":"Patient/nobody"}},{"resource":{"resourceType":"Patient","gender":"x"},"request":{"method":"POST","url":"Patient"}}`)
	whole := fmt.Sprintf(entries, "")
	for _, tt := range []struct {
		name, method, path, body string
		prefer                   string
		typ                      string
	}{
		{"capabilities", "GET", "/metadata", "", "", "CapabilityStatement"},
		{"capabilities, normative", "GET", "/metadata?mode=normative", "", "", "CapabilityStatement"},
		{"capabilities, in short", "GET", "/metadata?_summary=true", "", "", "CapabilityStatement"},
		{"a search", "GET", "/Patient?name=meyer", "", "", "Bundle"},
		{"a search without a hit", "GET", "/Patient?name=nobody", "", "", "Bundle"},
		{"a search with a total", "GET", "/Patient?_total=accurate&_sort=-_id&_count=3", "", "", "Bundle"},
		{"a count", "GET", "/Patient?_summary=count", "", "", "Bundle"},
		{"a search with a warning", "GET", "/Patient?nothing=1", "", "", "Bundle"},
		{"a search with includes", "GET", "/Patient?_include=Patient:organization", "", "", "Bundle"},
		{"a search of everything", "GET", "/?_type=Patient,Organization", "", "", "Bundle"},
		{"parts", "GET", "/Patient?_elements=name", "", "", "Bundle"},
		{"a history", "GET", "/Patient/_history?_count=5", "", "", "Bundle"},
		{"the history of a deleted resource", "GET", "/Patient/3/_history", "", "", "Bundle"},
		{"the history of everything", "GET", "/_history?nothing=1", "", "", "Bundle"},
		{"a batch", "POST", "", `{"resourceType":"Bundle","type":"batch","entry":` + failing + "}", "", "Bundle"},
		{"a batch with its resources", "POST", "", `{"resourceType":"Bundle","type":"batch","entry":` + failing + "}", "return=representation", "Bundle"},
		{"a batch with outcomes", "POST", "", `{"resourceType":"Bundle","type":"batch","entry":` + failing + "}", "return=OperationOutcome", "Bundle"},
		{"a transaction", "POST", "", `{"resourceType":"Bundle","type":"transaction","entry":` + whole + "}", "", "Bundle"},
		{"a transaction without entries", "POST", "", `{"resourceType":"Bundle","type":"transaction"}`, "", "Bundle"},
		{"an outcome of a create", "POST", "/Patient", `{"resourceType":"Patient"}`, "return=OperationOutcome", "OperationOutcome"},
		{"not found", "GET", "/Patient/nobody", "", "", "OperationOutcome"},
		{"gone", "GET", "/Patient/3", "", "", "OperationOutcome"},
		{"several mistakes", "POST", "/Patient", `{"resourceType":"Patient","gender":"x","birthDate":"y","nothing":1}`, "", "OperationOutcome"},
		{"no JSON", "POST", "/Patient", `{`, "", "OperationOutcome"},
		{"no such method", "PUT", "/metadata", `{}`, "", "OperationOutcome"},
		{"no such format", "GET", "/Patient?_format=x", "", "", "OperationOutcome"},
		{"$versions", "GET", "/$versions?_format=application/fhir%2Bjson", "", "", "Parameters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request{method: tt.method, url: base + tt.path, header: http.Header{}}
			if tt.body != "" {
				r.body = []byte(tt.body)
			}
			if tt.prefer != "" {
				r.header.Set("Prefer", tt.prefer)
			}
			a := r.do(t)
			invariants(t, r, a)
			if got, _ := a.value(".resourceType"); got != tt.typ {
				t.Fatalf("status %d, %s, want %s\n%.500s", a.status, got, tt.typ, a.body)
			}
			if tt.typ == "Bundle" {
				links(t, a)
			}
			if b := (request{method: "POST", url: base + "/" + tt.typ, body: a.body}).do(t); b.status != 201 && tt.typ != "Parameters" {
				t.Errorf("it is no valid %s: %s\n%.2000s", tt.typ, b.body, a.body)
			}
			checkAgain(t, r)
		})
	}
	p.stop(t)
}

// links demands that every link of a Bundle is absolute and works.
func links(t *testing.T, a answer) {
	t.Helper()
	for i := 0; ; i++ {
		url, err := a.value(fmt.Sprintf(".link[%d].url", i))
		if err != nil {
			return
		}
		if !strings.HasPrefix(url, "http://127.0.0.1:") {
			t.Errorf("the link %s is not absolute", url)
		} else if b := (request{method: "GET", url: url}).do(t); b.status != 200 {
			t.Errorf("the link %s: status %d\n%s", url, b.status, b.body)
		}
	}
}

// checkAgain asks for the same with HEAD and compares.
func checkAgain(t *testing.T, r request) {
	t.Helper()
	if r.method != "GET" {
		return
	}
	get := r.do(t)
	r.method = "HEAD"
	head := r.do(t)
	if head.status != get.status || len(head.body) > 0 || head.header.Get("Content-Type") != get.header.Get("Content-Type") || head.header.Get("Etag") != get.header.Get("Etag") {
		t.Errorf("HEAD: status %d and %v, GET: status %d and %v", head.status, head.header, get.status, get.header)
	}
}
