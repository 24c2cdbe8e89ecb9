package fhirhttp_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/fhirxml"
	"github.com/hygeia-health/hygeia/spec/resource"
)

const (
	xmlType = "application/fhir+xml"
	patXML  = `<?xml version="1.0" encoding="UTF-8"?>
<Patient xmlns="http://hl7.org/fhir">
  <id value="p1"/>
  <extension url="http://example.org/score"><valueDecimal value="0.10"/></extension>
  <name><family value="Meyer"/><given value="Ann"/></name>
  <birthDate value="1980-02-03"/>
</Patient>`
)

// asJSON turns an answer in XML into one in JSON, so that it can be checked like any other.
func asJSON(t *testing.T, name string, w *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	t.Helper()
	if ct := w.Header().Get("Content-Type"); ct != "application/fhir+xml; charset=utf-8" && ct != "application/xml; charset=utf-8" && ct != "text/xml; charset=utf-8" {
		t.Fatalf("%s: Content-Type %q\n%s", name, ct, w.Body)
	}
	js, err := fhirxml.AppendJSON(nil, w.Body.Bytes(), resource.Options{})
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, w.Body)
	}
	w.Body.Reset()
	w.Body.Write(js)
	w.Header().Set("Content-Type", "application/fhir+json")
	w.Header().Del("Content-Length")
	return w
}

// TestXML plays steps whose answers must be XML.
func TestXML(t *testing.T) {
	s := newServer(t, cfg(), fhirhttp.Options{})
	in := func(more ...string) []string {
		return append([]string{"Content-Type", xmlType, "Accept", xmlType}, more...)
	}
	accept := []string{"Accept", xmlType}
	const ns = ` xmlns="http://hl7.org/fhir"`
	steps := []step{
		{do: "PUT /Patient/p1", body: patXML, headers: in(), status: 201, header: map[string]string{"ETag": `W/"1"`}, want: map[string]string{"id": "p1", "extension.0.valueDecimal": "0.10", "name.0.family": "Meyer"}},
		{do: "PUT /Patient/p1", body: strings.Replace(patXML, "Ann", "Eve", 1), headers: []string{"Content-Type", "text/xml", "Accept", "application/xml"}, status: 200, want: map[string]string{"name.0.given.0": "Eve"}},
		{do: "POST /Patient", body: patXML, headers: in("Prefer", "return=OperationOutcome"), status: 201, want: map[string]string{"resourceType": "OperationOutcome"}},
		{do: "GET /Patient/p1", headers: accept, status: 200, want: map[string]string{"meta.versionId": "2"}},
		{do: "GET /Patient/p1?_format=xml", headers: []string{"Accept", "application/fhir+json"}, status: 200, want: map[string]string{"id": "p1"}},
		{do: "GET /Patient/p1?_format=application/fhir+xml&_pretty=true", status: 200, want: map[string]string{"id": "p1"}},
		{do: "GET /Patient/p1?_format=text/xml&_elements=name", status: 200, want: map[string]string{"birthDate": "", "meta.tag.0.code": "SUBSETTED"}},
		{do: "GET /Patient/p1/_history", headers: accept, status: 200, want: map[string]string{"type": "history", "entry.#": "2"}},
		{do: "GET /Patient?family=meyer", headers: []string{"Accept", "application/fhir+json;q=0.1, application/fhir+xml"}, status: 200, want: map[string]string{"type": "searchset", "entry.#": "2"}},
		{do: "GET /metadata", headers: accept, status: 200, want: map[string]string{"format.1": "xml", "format.3": xmlType, "patchFormat.2": xmlType}},
		{do: "GET /$versions", headers: accept, status: 200, want: map[string]string{"parameter.1.valueCode": "4.0"}},
		{do: "PATCH /Patient/p1", headers: in(), status: 200, want: map[string]string{"gender": "male", "meta.versionId": "3"},
			body: `<Parameters` + ns + `><parameter><name value="operation"/><part><name value="type"/><valueCode value="add"/></part><part><name value="path"/><valueString value="Patient"/></part><part><name value="name"/><valueString value="gender"/></part><part><name value="value"/><valueCode value="male"/></part></parameter></Parameters>`},
		{do: "POST /", headers: in("Prefer", "return=representation"), status: 200, want: map[string]string{"type": "transaction-response", "entry.0.resource.name.0.text": "New", "entry.1.resource.type": "searchset"},
			body: `<Bundle` + ns + `><type value="transaction"/><entry><resource><Patient><name><text value="New"/></name></Patient></resource><request><method value="POST"/><url value="Patient"/></request></entry><entry><request><method value="GET"/><url value="Patient?family=meyer"/></request></entry></Bundle>`},
		// Errors come in XML, too, wherever they arise.
		{do: "GET /Patient/none", headers: accept, status: 404, want: map[string]string{"issue.0.code": "not-found"}},
		{do: "GET /patient", headers: accept, status: 404, has: []string{"case-sensitive"}},
		{do: "GET /nothing/here/at/all?_format=xml", status: 404},
		{do: "DELETE /metadata", headers: accept, status: 405},
		{do: "GET /Patient/p1?_pretty=maybe", headers: accept, status: 400},
		{do: "GET /Patient/p1", headers: append(accept, "Prefer", "handling=harsh"), status: 400},
		{do: "PUT /Patient/p1", body: strings.Replace(patXML, "</name>", "</nam>", 1), headers: in(), status: 400, has: []string{"not well-formed XML", "(line 5, column "}, want: map[string]string{"issue.0.expression.0": "Patient.name[0]"}},
		{do: "PUT /Patient/p1", body: strings.Replace(patXML, "birthDate", "birthday", 1), headers: in(), status: 400, want: map[string]string{"issue.0.expression.0": "Patient"}, has: []string{`Patient has no element \"birthday\"`}},
		{do: "PUT /Patient/p1", body: strings.Replace(patXML, "1980-02-03", "1980-02-33", 1), headers: in(), status: 400, want: map[string]string{"issue.0.expression.0": "Patient.birthDate"}},
		{do: "PUT /Patient/p1", body: strings.Replace(patXML, "</name>", "</name><active value=\"true\"/><active value=\"true\"/>", 1), headers: in(), status: 400, want: map[string]string{"issue.0.expression.0": "Patient.active"}},
		{do: "PUT /Patient/p1", body: `<!DOCTYPE Patient [<!ENTITY x SYSTEM "file:///etc/passwd">]><Patient` + ns + `><id value="p1"/><language value="&x;"/></Patient>`, headers: in(), status: 400, has: []string{"document type declaration"}},
		{do: "PUT /Patient/p1", body: pat, headers: in(), status: 400, has: []string{"not XML"}},
	}
	for _, st := range steps {
		method, url, _ := strings.Cut(st.do, " ")
		w := s.call(method, url, st.body, st.headers...)
		s.check(st.do, &st, asJSON(t, st.do, w))
	}
	if w := s.call("GET", "/Patient/p1?_format=xml&_pretty=true", ""); !strings.Contains(w.Body.String(), "\n  <name>\n    <family value=\"Meyer\"/>\n") {
		t.Errorf("_pretty: %s", w.Body)
	}
	if w := s.call("HEAD", "/Patient/p1", "", accept...); w.Body.Len() != 0 || !strings.HasPrefix(w.Header().Get("Content-Type"), xmlType) {
		t.Errorf("HEAD: %v", w.Header())
	}
}

// TestRenderXML: what stands before the handler answers in XML, too.
func TestRenderXML(t *testing.T) {
	r := httptest.NewRequest("GET", "/Patient/1", nil)
	r.Header.Set("Accept", xmlType)
	w := httptest.NewRecorder()
	fhirhttp.Render(w, r, fault.New(fault.Unauthenticated, "no <token>"))
	if w.Code != 401 || !strings.Contains(w.Body.String(), `<diagnostics value="no &lt;token&gt;"/>`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestXMLChoice covers the cases in which the answer is not XML.
func TestXMLChoice(t *testing.T) {
	const raw = "application/xml"
	play(t, []scenario{
		{name: "browser", steps: []step{
			{do: "PUT /Patient/p1", body: pat, status: 201},
			{do: "GET /Patient/p1", headers: []string{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, status: 200, want: map[string]string{"id": "p1"}},
			{do: "GET /Patient/p1", headers: []string{"Accept", "application/fhir+turtle"}, status: 406, has: []string{"application/fhir+json and application/fhir+xml"}},
		}},
		{name: "what XML cannot hold", steps: []step{
			{do: "PUT /Patient/p1", body: `{"resourceType":"Patient","id":"p1","name":[{"text":"a\uffff"}]}`, headers: []string{"Accept", xmlType}, status: 201, header: map[string]string{"Content-Type": "application/fhir+json; charset=utf-8"}, want: map[string]string{"id": "p1"}},
		}},
		{name: "binary", steps: []step{
			{do: "PUT /Binary/b1", body: "<ClinicalDocument/>", headers: []string{"Content-Type", raw}, status: 201, want: map[string]string{"contentType": raw}},
			{do: "PUT /Binary/b2", body: `<Binary xmlns="http://hl7.org/fhir"><id value="b2"/><contentType value="text/plain"/><data value="QQ=="/></Binary>`, headers: []string{"Content-Type", xmlType}, status: 201, want: map[string]string{"contentType": "text/plain", "data": "QQ=="}},
		}},
	})
	s := newServer(t, cfg(), fhirhttp.Options{})
	s.play([]step{{do: "PUT /Binary/b1", body: "<ClinicalDocument/>", headers: []string{"Content-Type", raw}, status: 201}})
	if w := s.call("GET", "/Binary/b1", "", "Accept", raw); w.Body.String() != "<ClinicalDocument/>" || w.Header().Get("Content-Type") != raw {
		t.Errorf("raw: %v %s", w.Header(), w.Body)
	}
	if w := s.call("GET", "/Binary/b1", "", "Accept", xmlType); !strings.Contains(w.Body.String(), `<Binary xmlns="http://hl7.org/fhir"><id value="b1"/>`) {
		t.Errorf("as a resource: %s", w.Body)
	}
}
