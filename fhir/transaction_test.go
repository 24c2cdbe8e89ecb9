package fhir_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// entry is one entry of a Bundle in a test.
type entry struct {
	method, target, full, body string
	ifNoneExist, ifMatch       string
}

// bundle makes interactions whose bodies are nodes of one document.
func bundle(t testing.TB, entries []entry) []*fhir.Interaction {
	t.Helper()
	var b strings.Builder
	b.WriteString(`{"resourceType":"Bundle","type":"transaction","entry":[`)
	for i, e := range entries {
		if i > 0 {
			b.WriteByte(',')
		}
		body := e.body
		if body == "" {
			body = "null"
		}
		fmt.Fprintf(&b, `{"fullUrl":%q,"resource":%s,"request":{"method":%q,"url":%q}}`, e.full, body, e.method, e.target)
	}
	b.WriteString("]}")
	root := node(t, b.String())
	ins := make([]*fhir.Interaction, len(entries))
	for i, e := range entries {
		ins[i] = request(t, e.method, e.target, "")
		ins[i].FullURL, ins[i].IfMatch = e.full, e.ifMatch
		ins[i].IfNoneExist, ins[i].HasIfNoneExist = e.ifNoneExist, e.ifNoneExist != ""
		if e.body != "" {
			ins[i].Body = root.Get("entry").At(i).Get("resource")
		}
	}
	return ins
}

func (r *rig) tx(entries ...entry) []*fhir.Response {
	r.Helper()
	resp, err := r.svc.Transaction(r.Context(), bundle(r, entries))
	if err != nil {
		r.Fatalf("transaction: %v", err)
	}
	if len(resp) != len(entries) {
		r.Fatalf("%d answers to %d entries", len(resp), len(entries))
	}
	return resp
}

func (r *rig) txFails(kind fault.Kind, entries ...entry) *fault.Error {
	r.Helper()
	resp, err := r.svc.Transaction(r.Context(), bundle(r, entries))
	return wantFault(r, kind, err, "transaction", resp)
}

func statuses(resp []*fhir.Response) (out []int) {
	for _, r := range resp {
		out = append(out, r.Status)
	}
	return out
}

func observation(ref string) string {
	return `{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"` + ref + `"}}`
}

func (r *rig) stored(rec *fhir.Record) string {
	return string(resource.AppendResource(nil, resource.Header{Type: rec.Type, ID: rec.ID, Version: rec.Version, LastUpdated: rec.Seq.Time()}, rec.Stored))
}

func TestTransactionOrder(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.do(201, "PUT", "Patient/old", patient("old", "Old"))
	resp := r.tx(
		entry{method: "GET", target: "Patient?_sort=family"},
		entry{method: "PUT", target: "Patient/put", body: patient("put", "Put")},
		entry{method: "GET", target: "Patient/put"},
		entry{method: "POST", target: "Patient", body: patient("", "Post")},
		entry{method: "DELETE", target: "Patient/old"},
		entry{method: "GET", target: "Patient/old/_history"},
	)
	if got := fmt.Sprint(statuses(resp)); got != "[200 201 200 201 204 200]" {
		t.Fatalf("statuses %s", got)
	}
	if n := len(resp[0].Page.Records); n != 2 {
		t.Errorf("the search sees %d, want 2", n)
	}
	if resp[2].Record.ID != "put" || len(resp[5].Page.Records) != 2 {
		t.Errorf("reads: %+v %+v", resp[2], resp[5])
	}
	if d, c, u := resp[4].Seq, resp[3].Seq, resp[1].Seq; d >= c || c >= u {
		t.Errorf("delete %d, create %d, update %d: wrong order", d, c, u)
	}
}

func TestTransactionReferences(t *testing.T) {
	r := newRig(t, fhir.Config{})
	pat, org, abs, doc := "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9", "urn:oid:1.2.3", "http://other.test/fhir/Practitioner/7", "urn:uuid:3f1b3a60-0000-4000-8000-000000000001"
	body := `{"resourceType":"Observation","status":"final","code":{"text":"` + pat + `"},
		"contained":[{"resourceType":"Device","id":"d","patient":{"reference":"` + pat + `"}}],
		"extension":[{"url":"http://x.test/e","valueReference":{"reference":"` + org + `"}},{"url":"http://x.test/u","valueUri":"` + pat + `"},{"url":"http://x.test/s","valueString":"` + pat + `"},{"url":"http://x.test/c","valueCanonical":"` + pat + `"}],
		"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><a href=\"` + pat + `#x\">` + pat + `</a></div>"},
		"identifier":[{"system":"` + pat + `","value":"` + pat + `"}],
		"subject":{"reference":"` + pat + `"},
		"performer":[{"reference":"` + abs + `"},{"reference":"Practitioner/7"},{"reference":"urn:uuid:00000000-0000-0000-0000-000000000000"},{"reference":"http://foreign.test/Patient/1"}],
		"device":{"reference":"#d"}}`
	resp := r.tx(
		entry{"POST", "Observation", doc, body, "", ""},
		entry{"POST", "Patient", pat, `{"resourceType":"Patient","managingOrganization":{"reference":"` + org + `"},"link":[{"other":{"reference":"` + pat + `"},"type":"seealso"}]}`, "", ""},
		entry{"PUT", "Organization/o1", org, `{"resourceType":"Organization","id":"o1","partOf":{"reference":"` + org + `"},"name":"x"}`, "", ""},
		entry{"POST", "Practitioner", abs, `{"resourceType":"Practitioner"}`, "", ""},
	)
	p, q := "Patient/"+resp[1].Record.ID, "Practitioner/"+resp[3].Record.ID
	var got map[string]any
	if err := json.Unmarshal([]byte(r.stored(resp[0].Record)), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"subject.reference": p, "contained.0.patient.reference": p, "extension.0.valueReference.reference": "Organization/o1",
		"extension.1.valueUri": p, "extension.2.valueString": pat, "extension.3.valueCanonical": pat,
		"text.div":            `<div xmlns="http://www.w3.org/1999/xhtml"><a href="` + p + `#x">` + pat + `</a></div>`,
		"identifier.0.system": p, "identifier.0.value": pat, "code.text": pat,
		"performer.0.reference": q, "performer.1.reference": q,
		"performer.2.reference": "urn:uuid:00000000-0000-0000-0000-000000000000", "performer.3.reference": "http://foreign.test/Patient/1",
		"device.reference": "#d",
	}
	for path, w := range want {
		if g := dig(got, path); g != w {
			t.Errorf("%s: %v, want %s", path, g, w)
		}
	}
	for target, n := range map[string]int{
		"Observation?subject=" + p: 1, "Patient?organization=Organization/o1": 1, "Organization?partof=Organization/o1": 1, "Observation?performer=" + q: 1,
		"Patient?link=" + p: 1, "Observation?identifier=" + p + "|": 1,
	} {
		if g := r.count(target); g != n {
			t.Errorf("%s: %d found, want %d", target, g, n)
		}
	}
}

// TestTransactionOfDefinitions: a fullUrl that is the canonical url of its
// resource stays what it is wherever it stands for the definition.
func TestTransactionOfDefinitions(t *testing.T) {
	r := newRig(t, fhir.Config{})
	const u = "http://x.test/fhir/CodeSystem/c1"
	set := `{"resourceType":"ValueSet","url":"http://x.test/fhir/ValueSet/v1","status":"active","compose":{"include":[{"system":"` + u + `"}]},` +
		`"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><a href=\"` + u + `\">c</a></div>"}}`
	resp := r.tx(
		entry{"PUT", "CodeSystem/c1", u, `{"resourceType":"CodeSystem","id":"c1","url":"` + u + `","status":"active","content":"complete"}`, "", ""},
		entry{"POST", "ValueSet", "http://x.test/fhir/ValueSet/v1", set, "", ""},
		entry{"POST", "Basic", "", `{"resourceType":"Basic","code":{"coding":[{"system":"` + u + `","code":"a"}]},"subject":{"reference":"` + u + `"}}`, "", ""},
	)
	if got := r.stored(resp[1].Record); !strings.HasSuffix(got, set[len(`{"resourceType":"ValueSet",`):]) {
		t.Errorf("the value set became %s", got)
	}
	for target, n := range map[string]int{"CodeSystem?url=" + u: 1, "Basic?code=" + u + "|a": 1, "Basic?subject=CodeSystem/c1": 1} {
		if g := r.count(target); g != n {
			t.Errorf("%s: %d found, want %d", target, g, n)
		}
	}
}

// TestTransactionSearchesAfterItsWrites: a reference that is a search finds what
// the transaction leaves behind, R4 section 3.1.0.11.2.
func TestTransactionSearchesAfterItsWrites(t *testing.T) {
	r := newRig(t, fhir.Config{})
	org := func(id, value string) string {
		if id != "" {
			id = `"id":"` + id + `",`
		}
		return `{"resourceType":"Organization",` + id + `"name":"x","identifier":[{"system":"s","value":"` + value + `"}]}`
	}
	pat := entry{"POST", "Patient", "", `{"resourceType":"Patient","managingOrganization":{"reference":"Organization?identifier=s|1"}}`, "", ""}
	const u = "urn:uuid:00000000-0000-4000-8000-000000000001"
	new1 := entry{"POST", "Organization", u, org("", "1"), "", ""}
	check := func(name string, resp []*fhir.Response, i int, want string) {
		t.Helper()
		if got := r.stored(resp[i].Record); !strings.Contains(got, `"reference":"`+want+`"`) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if n := r.count("Patient?_id=" + resp[i].Record.ID + "&organization=" + want); n != 1 {
			t.Errorf("%s: %d found", name, n)
		}
	}
	r.txFails(fault.Invalid, pat)
	r.txFails(fault.Invalid, pat, new1, entry{"PUT", "Organization/o2", "", org("o2", "1"), "", ""})
	resp := r.tx(pat, entry{"PUT", "Organization/o1", "", org("o1", "1"), "", ""})
	check("created", resp, 0, "Organization/o1")
	check("as before", r.tx(pat), 0, "Organization/o1")
	resp = r.tx(pat, entry{"POST", "Organization", u, org("", "1"), "identifier=s|1", ""})
	check("conditional create that finds it", resp, 0, "Organization/o1")
	r.txFails(fault.Invalid, pat, new1)
	r.txFails(fault.Invalid, pat, entry{"PUT", "Organization/o1", "", org("o1", "2"), "", ""})
	r.txFails(fault.Invalid, pat, entry{"DELETE", "Organization/o1", "", "", "", ""})
	resp = r.tx(pat, new1, entry{"DELETE", "Organization/o1", "", "", "", ""})
	check("another in its place", resp, 0, "Organization/"+resp[1].Record.ID)
	// Between each other: a reference of what is searched may itself be a search.
	resp = r.tx(entry{"POST", "Patient", "", `{"resourceType":"Patient","managingOrganization":{"reference":"Organization?partof=Organization/top"}}`, "", ""},
		entry{"PUT", "Organization/sub", "", `{"resourceType":"Organization","id":"sub","name":"x","partOf":{"reference":"` + u + `"}}`, "", ""},
		entry{"PUT", "Organization/top", u, `{"resourceType":"Organization","id":"top","name":"x"}`, "", ""})
	check("by a reference of the transaction", resp, 0, "Organization/sub")
	// What follows references finds what it found before the writes.
	for _, by := range []string{"partof.name=x&_id=sub", "_filter=partof.name+eq+x+and+_id+eq+sub", "_has:Organization:partof:name=x&_id=top"} {
		id := by[len(by)-3:]
		resp = r.tx(entry{"POST", "Patient", "", `{"resourceType":"Patient","managingOrganization":{"reference":"Organization?` + by + `"}}`, "", ""},
			entry{"PUT", "Organization/" + id, "", `{"resourceType":"Organization","id":"` + id + `","name":"x","partOf":{"reference":"Organization/top"}}`, "", ""})
		check(by, resp, 0, "Organization/"+id)
	}
}

func dig(v any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			v = x[int(part[0]-'0')]
		}
	}
	return v
}

// TestTransactionKeepsWrittenName: the relative form of a fullUrl is not used
// when a resource of that name is written in the same transaction.
func TestTransactionKeepsWrittenName(t *testing.T) {
	r := newRig(t, fhir.Config{})
	resp := r.tx(
		entry{"POST", "Patient", "http://other.test/Patient/7", patient("", "New"), "", ""},
		entry{"PUT", "Patient/7", "urn:uuid:1", patient("7", "Seven"), "", ""},
		entry{"POST", "Observation", "", observation("Patient/7"), "", ""},
	)
	if text := r.stored(resp[2].Record); !strings.Contains(text, `"Patient/7"`) {
		t.Errorf("%s", text)
	}
}

func TestTransactionRepeatsToTheSameIDs(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.do(201, "PUT", "Practitioner/doc", `{"resourceType":"Practitioner","id":"doc","identifier":[{"system":"urn:npi","value":"9"}]}`)
	entries := []entry{
		{"POST", "Patient", "urn:uuid:p", identified("", "1"), "identifier=urn:mrn|1", ""},
		{"PUT", "Organization?identifier=urn:org|1", "urn:uuid:o", `{"resourceType":"Organization","identifier":[{"system":"urn:org","value":"1"}]}`, "", ""},
		{"PUT", "Observation/o", "", `{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"subject":{"reference":"urn:uuid:p"},"performer":[{"reference":"urn:uuid:o"},{"reference":"Practitioner?identifier=urn:npi|9"}]}`, "", ""},
	}
	first := r.tx(entries...)
	second := r.tx(entries...)
	if got := fmt.Sprint(statuses(first), statuses(second)); got != "[201 201 201] [200 200 200]" {
		t.Fatalf("statuses %s", got)
	}
	for i := range first {
		if first[i].Record.Key != second[i].Record.Key || second[i].Outcome != fhir.Unchanged {
			t.Errorf("entry %d: %+v, then %+v", i, first[i].Record, second[i])
		}
	}
	if text := r.stored(first[2].Record); !strings.Contains(text, `"Practitioner/doc"`) {
		t.Errorf("%s", text)
	}
}

func TestTransactionFailures(t *testing.T) {
	good := entry{"POST", "Patient", "urn:uuid:p", patient("", "Good"), "", ""}
	for _, c := range []struct {
		name string
		kind fault.Kind
		at   int
		bad  []entry
	}{
		{"invalid resource", fault.Invalid, 1, []entry{{"POST", "Patient", "", `{"resourceType":"Patient","birthDate":"x"}`, "", ""}}},
		{"type of the body", fault.Invalid, 1, []entry{{"POST", "Patient", "", observation("x"), "", ""}}},
		{"unknown type", fault.NotFound, 1, []entry{{"POST", "Foo", "", patient("", "X"), "", ""}}},
		{"stale if-match", fault.Precondition, 1, []entry{{"PUT", "Patient/old", "", patient("old", "X"), "", `W/"9"`}}},
		{"if-match on nothing", fault.NotFound, 1, []entry{{"PUT", "Patient/none", "", patient("none", "X"), "", `W/"9"`}}},
		{"delete with stale if-match", fault.Precondition, 1, []entry{{"DELETE", "Patient/old", "", "", "", `W/"9"`}}},
		{"same resource twice", fault.Invalid, 2, []entry{{"PUT", "Patient/x", "", patient("x", "X"), "", ""}, {"DELETE", "Patient/x", "", "", "", ""}}},
		{"same condition twice", fault.Invalid, 2, []entry{{"POST", "Patient", "", identified("", "5"), "identifier=5", ""}, {"POST", "Patient", "", identified("", "5"), "identifier=5", ""}}},
		{"same fullUrl twice", fault.Invalid, 1, []entry{good}},
		{"several matches", fault.Precondition, 1, []entry{{"POST", "Patient", "", identified("", "2"), "identifier=urn:mrn|2", ""}}},
		{"unknown criterion", fault.Invalid, 1, []entry{{"DELETE", "Patient?foo=1", "", "", "", ""}}},
		{"reference matches none", fault.Invalid, 1, []entry{{"POST", "Observation", "", observation("Patient?identifier=urn:mrn|77"), "", ""}}},
		{"reference matches many", fault.Invalid, 1, []entry{{"POST", "Observation", "", observation("Patient?identifier=urn:mrn|2"), "", ""}}},
		{"read of nothing", fault.NotFound, 1, []entry{{"GET", "Patient/none", "", "", "", ""}}},
		{"bad search", fault.Invalid, 1, []entry{{"GET", "Patient?birthdate=***", "", "", "", ""}}},
		{"history of nothing", fault.NotFound, 1, []entry{{"GET", "Patient/none/_history", "", "", "", ""}}},
		{"operation", fault.Invalid, 1, []entry{{"DELETE", "Patient/old/$purge-history", "", "", "", ""}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, fhir.Config{})
			r.do(201, "PUT", "Patient/old", patient("old", "Old"))
			r.do(201, "PUT", "Patient/m1", identified("m1", "2"))
			r.do(201, "PUT", "Patient/m2", identified("m2", "2"))
			e := r.txFails(c.kind, append([]entry{good}, c.bad...)...)
			bad := c.bad[c.at-1]
			name := fmt.Sprintf("Bundle.entry[%d]", c.at)
			if !strings.Contains(e.Msg, name) || !strings.Contains(e.Msg, bad.method+" "+bad.target) {
				t.Errorf("message %q does not name %s and %s %s", e.Msg, name, bad.method, bad.target)
			}
			if len(e.Issues) == 0 || !strings.HasPrefix(e.Issues[0].Expression, name) || !strings.Contains(e.Issues[0].Diagnostics, bad.method+" ") {
				t.Errorf("issues %+v", e.Issues)
			}
			if n := r.count("_history?_count=100"); n != 3 {
				t.Errorf("%d versions, want the 3 from before", n)
			}
		})
	}
}

func TestTransactionSameIDOnTwoTypes(t *testing.T) {
	r := newRig(t, fhir.Config{})
	resp := r.tx(
		entry{method: "PUT", target: "Patient/1", body: patient("1", "A")},
		entry{method: "PUT", target: "Practitioner/1", body: `{"resourceType":"Practitioner","id":"1"}`},
	)
	if got := fmt.Sprint(statuses(resp)); got != "[201 201]" {
		t.Errorf("statuses %s", got)
	}
}

func TestTransactionConditionalDelete(t *testing.T) {
	r := newRig(t, fhir.Config{})
	for i := range 3 {
		r.do(201, "PUT", fmt.Sprint("Patient/p", i), patient(fmt.Sprint("p", i), "Doe"))
	}
	resp := r.tx(
		entry{method: "DELETE", target: "Patient?family=Doe&_count=10"},
		entry{method: "DELETE", target: "Patient?family=Nobody"},
		entry{method: "POST", target: "Patient", body: patient("", "Doe")},
	)
	if resp[0].Deleted != 3 || resp[1].Deleted != 0 || r.count("Patient?family=Doe") != 1 {
		t.Errorf("%+v %+v", resp[0], resp[1])
	}
}

func TestTransactionLimit(t *testing.T) {
	r := newRig(t, fhir.Config{MaxBundleEntries: 2})
	e := entry{method: "POST", target: "Patient", body: patient("", "X")}
	if f := r.txFails(fault.TooLarge, e, e, e); !strings.Contains(f.Msg, "2") {
		t.Errorf("%q does not name the limit", f.Msg)
	}
	if len(r.tx()) != 0 {
		t.Error("an empty transaction has answers")
	}
}

// TestTransactionOfLooseBodies is how X-Provenance is written: two documents,
// no Bundle, and errors that do not speak of one.
func TestTransactionOfLooseBodies(t *testing.T) {
	r := newRig(t, fhir.Config{})
	provenance := func(agent string) *fhir.Interaction {
		return request(t, "POST", "Provenance", `{"resourceType":"Provenance","target":[{"reference":"urn:uuid:t"}],"recorded":"2026-01-01T00:00:00Z","agent":[`+agent+`]}`)
	}
	pat := request(t, "POST", "Patient", patient("", "X"))
	pat.FullURL = "urn:uuid:t"
	resp, err := r.svc.Transaction(t.Context(), []*fhir.Interaction{pat, provenance(`{"who":{"display":"me"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.count("Provenance?target=Patient/" + resp[0].Record.ID); n != 1 {
		t.Errorf("%d provenances", n)
	}
	_, err = r.svc.Transaction(t.Context(), []*fhir.Interaction{pat, provenance("")})
	if e := wantFault(t, fault.Invalid, err, "bad provenance", nil); strings.Contains(e.Msg, "Bundle") {
		t.Errorf("message %q", e.Msg)
	}
	if n := r.count("Patient"); n != 1 {
		t.Errorf("%d patients, want 1", n)
	}
}

// TestTransactionLarge takes the parallel path.
func TestTransactionLarge(t *testing.T) {
	r := newRig(t, fhir.Config{})
	entries := []entry{{"POST", "Patient", "urn:uuid:p", patient("", "Big"), "", ""}}
	for range 300 {
		entries = append(entries, entry{"POST", "Observation", "", observation("urn:uuid:p"), "", ""})
	}
	resp := r.tx(entries...)
	for i, got := range resp {
		if got.Status != 201 || i > 0 && got.Seq <= resp[i-1].Seq {
			t.Fatalf("entry %d: %+v", i, got)
		}
	}
	want := `"subject":{"reference":"Patient/` + resp[0].Record.ID + `"}`
	for _, got := range resp[1:] {
		if !strings.Contains(string(got.Record.Stored), want) {
			t.Fatalf("stored %s", got.Record.Stored)
		}
	}
	if n := r.count("Observation?subject=Patient/" + resp[0].Record.ID + "&_count=1000"); n != 300 {
		t.Errorf("%d found", n)
	}
	bad := append(entries[:200:200], entry{"POST", "Patient", "", `{"resourceType":"Patient","x":1}`, "", ""})
	if e := r.txFails(fault.Invalid, append(bad, entries[200:]...)...); !strings.Contains(e.Msg, "Bundle.entry[200]") {
		t.Errorf("message %q", e.Msg)
	}
}

func TestBatch(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.do(201, "PUT", "Patient/old", patient("old", "Old"))
	entries := []entry{
		{method: "POST", target: "Patient", body: patient("", "New")},
		{method: "PUT", target: "Patient/x", body: patient("x", "One")},
		{method: "PUT", target: "Patient/x", body: patient("x", "Two")},
		{method: "GET", target: "Patient/x"},
		{method: "GET", target: "Patient/none"},
		{method: "POST", target: "Foo", body: patient("", "Foo")},
		{method: "POST", target: "Patient", body: identified("", "1"), ifNoneExist: "identifier=urn:mrn|1"},
		{method: "POST", target: "Patient", body: identified("", "1"), ifNoneExist: "identifier=urn:mrn|1"},
		{method: "DELETE", target: "Patient/old"},
		{method: "GET", target: "Patient?_summary=count"},
		{method: "PATCH", target: "Patient/x"},
	}
	resp := r.svc.Batch(t.Context(), bundle(t, entries))
	want := []string{"201", "201", "200", "200", "not found", "not found", "201", "200", "204", "200", "invalid"}
	kinds := map[fault.Kind]string{fault.NotFound: "not found", fault.Invalid: "invalid"}
	for i, got := range resp {
		g := fmt.Sprint(got.Status)
		if got.Err != nil {
			g = kinds[fault.From(got.Err).Kind]
		}
		if g != want[i] {
			t.Errorf("entry %d: %s (%v), want %s", i, g, got.Err, want[i])
		}
	}
	if resp[3].Record.Version != 2 {
		t.Errorf("the read came before the second update: %+v", resp[3].Record)
	}
}

func TestBatchManyWrites(t *testing.T) {
	r := newRig(t, fhir.Config{MaxBundleEntries: 300})
	var entries []entry
	for i := range 300 {
		id := fmt.Sprint("p", i%100)
		entries = append(entries, entry{method: "PUT", target: "Patient/" + id, body: patient(id, fmt.Sprint("N", i/100))})
	}
	for i, resp := range r.svc.Batch(t.Context(), bundle(t, entries)) {
		if resp.Err != nil || resp.Record.Version != int64(i/100+1) {
			t.Fatalf("entry %d: %+v", i, resp)
		}
	}
	for _, resp := range r.svc.Batch(t.Context(), bundle(t, append(entries, entries[0]))) {
		if !fault.Is(resp.Err, fault.TooLarge) {
			t.Fatalf("over the limit: %+v", resp)
		}
	}
}
