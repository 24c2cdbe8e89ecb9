package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// secret stands in everything of the other patient.
const secret = "Zzyzx"

// leakData is a record of two patients who share what can be shared.
var leakData = []string{
	`{"resourceType":"Organization","id":"org","name":"Clinic"}`,
	`{"resourceType":"Practitioner","id":"doc","name":[{"family":"Who"}]}`,
	`{"resourceType":"Patient","id":"p1","name":[{"family":"Quux"}],"managingOrganization":{"reference":"Organization/org"},"generalPractitioner":[{"reference":"Practitioner/doc"}]}`,
	`{"resourceType":"Patient","id":"p2","name":[{"family":"Zzyzx"}],"managingOrganization":{"reference":"Organization/org"},"generalPractitioner":[{"reference":"Practitioner/doc"}],"link":[{"other":{"reference":"Patient/p1"},"type":"seealso"}]}`,
	`{"resourceType":"Encounter","id":"e1","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/p1"},"participant":[{"individual":{"reference":"Practitioner/doc"}}]}`,
	`{"resourceType":"Encounter","id":"e2","status":"finished","class":{"code":"AMB","display":"Zzyzx"},"subject":{"reference":"Patient/p2"},"participant":[{"individual":{"reference":"Practitioner/doc"}}]}`,
	`{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"Quux","coding":[{"code":"hr"}]},"subject":{"reference":"Patient/p1"},"encounter":{"reference":"Encounter/e1"},"performer":[{"reference":"Practitioner/doc"}],"hasMember":[{"reference":"Observation/o2"}]}`,
	`{"resourceType":"Observation","id":"o2","status":"final","code":{"text":"Zzyzx","coding":[{"code":"hr"}]},"subject":{"reference":"Patient/p2"},"encounter":{"reference":"Encounter/e2"},"performer":[{"reference":"Practitioner/doc"}],"derivedFrom":[{"reference":"Observation/o1"}]}`,
	`{"resourceType":"Condition","id":"c2","code":{"text":"Zzyzx"},"subject":{"reference":"#p"},"contained":[{"resourceType":"Patient","id":"p","name":[{"family":"Zzyzx"}]}],"recorder":{"reference":"Practitioner/doc"}}`,
	`{"resourceType":"Device","id":"d2","deviceName":[{"name":"Zzyzx","type":"other"}],"patient":{"reference":"Patient/p2"}}`,
	`{"resourceType":"Provenance","id":"v2","recorded":"2026-01-01T00:00:00Z","reason":[{"text":"Zzyzx"}],"target":[{"reference":"Patient/p2"}],"agent":[{"who":{"reference":"Practitioner/doc"}}]}`,
	`{"resourceType":"List","id":"l1","title":"Quux","status":"current","mode":"working","subject":{"reference":"Patient/p1"},"entry":[{"item":{"reference":"Observation/o2"}}]}`,
	`{"resourceType":"List","id":"l2","title":"Zzyzx","status":"current","mode":"working","entry":[{"item":{"reference":"Observation/o1"}}]}`,
	`{"resourceType":"Group","id":"g12","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/p1"}},{"entity":{"reference":"Patient/p2","display":"Zzyzx"}}]}`,
	`{"resourceType":"Binary","id":"b1","contentType":"text/plain","securityContext":{"reference":"Patient/p1"},"data":"UXV1eA=="}`,
	`{"resourceType":"Binary","id":"b2","contentType":"text/plain","securityContext":{"reference":"Patient/p2"},"data":"Wnp5eng="}`,
	`{"resourceType":"Binary","id":"b0","contentType":"text/plain","data":"Wnp5eng="}`,
	`{"resourceType":"DocumentReference","id":"r1","status":"current","description":"Quux","subject":{"reference":"Patient/p1"},"content":[{"attachment":{"url":"Binary/b0"}}]}`,
	`{"resourceType":"Basic","id":"x2","code":{"text":"Zzyzx"}}`,
	`{"resourceType":"Person","id":"n2","name":[{"family":"Zzyzx"}],"link":[{"target":{"reference":"Patient/p2"}}]}`,
	`{"resourceType":"Appointment","id":"a2","status":"booked","description":"Zzyzx","participant":[{"actor":{"reference":"Patient/p2"},"status":"accepted"}]}`,
}

// attempt is one way to see, change or learn of the other patient.
type attempt struct {
	method, path, body string
	status             string // those that are right, by their first digits
	headers            []string
}

// patientToken logs in as the patient p1 and returns what the application gets.
func (x *secured) patientToken(scope string) map[string]any {
	x.t.Helper()
	back := x.authorize(newBrowser(x.t), "pat", "correct horse", url.Values{"scope": {scope}}, nil)
	if back.Get("code") == "" {
		x.t.Fatalf("no code: %v", back)
	}
	return x.exchange(200, back.Get("code"), nil)
}

func openLeaks(t *testing.T) *secured {
	x := openSMART(t)
	for _, text := range leakData {
		var r struct{ ResourceType, ID string }
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		if res := x.do("PUT", "/default/fhir/"+r.ResourceType+"/"+r.ID, x.owner, text); res.StatusCode > 201 {
			t.Fatalf("%s/%s: %s", r.ResourceType, r.ID, res.Status)
		}
	}
	x.json(200, "PUT", "/default/fhir/Observation/o2", x.owner, strings.Replace(leakData[7], `"final"`, `"amended"`, 1))
	x.json(201, "PUT", "/default/fhir/Condition/gone2", x.owner, `{"resourceType":"Condition","id":"gone2","code":{"text":"Zzyzx"},"subject":{"reference":"Patient/p2"}}`)
	x.json(204, "DELETE", "/default/fhir/Condition/gone2", x.owner, "")
	x.json(201, "PUT", "/manage/v1/workspaces/default/users/pat", x.owner, `{"password":"correct horse","fhirUser":"Patient/p1"}`)
	x.json(201, "PUT", "/manage/v1/workspaces/default/roleassignments/pat", x.owner, `{"principal":"pat","role":"FHIR SMART User","scope":"/default/fhir"}`)
	return x
}

// TestPatientLeaks has an application of one patient try every known way to see
// another one. Whatever the answer is, nothing of the other patient may stand in
// it, and nothing of the other patient may have changed afterwards.
func TestPatientLeaks(t *testing.T) {
	x := openLeaks(t)
	const scope = "openid fhirUser launch/patient offline_access patient/*.cruds"
	answer := x.patientToken(scope)
	token := answer["access_token"].(string)
	if answer["patient"] != "p1" {
		t.Fatalf("got %v", answer)
	}
	for path, want := range map[string]string{"Patient/p1": "Quux", "Observation/o1": "Quux", "Binary/b1": "Quux", "List/l1": "Quux"} { // or the rest would prove nothing
		res := x.do("GET", "/default/fhir/"+path, token, "", "Accept", "text/plain, application/fhir+json;q=0.5")
		if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || !strings.Contains(string(text), want) {
			t.Errorf("%s: %s %s", path, res.Status, text)
		}
	}
	before := x.everything()
	attempts := readAttempts()
	attempts = append(attempts, writeAttempts()...)
	attempts = append(attempts, x.jobAttempts()...)
	attempts = append(attempts, x.pagingAttempts()...)
	for _, a := range attempts {
		res := x.do(a.method, a.path, token, a.body, a.headers...)
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("%s %s: %v", a.method, a.path, err)
		}
		told := strings.NewReplacer("="+secret, "", "%3D"+secret, "").Replace(string(text)) // an answer repeats what it was asked
		if strings.Contains(told, secret) || strings.Contains(told, "Wnp5eng") {
			t.Errorf("%s %s shows the other patient: %s %s", a.method, a.path, res.Status, text)
		}
		right := false
		for s := range strings.SplitSeq(a.status, " ") {
			right = right || strings.HasPrefix(res.Status, s)
		}
		if !right {
			t.Errorf("%s %s: got %s, want %s: %.300s", a.method, a.path, res.Status, a.status, text)
		}
	}
	if after := x.everything(); before != after {
		t.Errorf("the other patient was changed:\n%s\n%s", before, after)
	}
	t.Logf("%d attempts", len(attempts))
}

// everything returns what there is of the other patient, as its owner sees it.
func (x *secured) everything() string {
	var out strings.Builder
	for _, path := range []string{"Patient/p2", "Observation/o2", "Encounter/e2", "Device/d2", "Condition/c2", "Provenance/v2", "List/l2", "Group/g12", "Binary/b2", "Binary/b0", "Basic/x2", "Person/n2", "Appointment/a2"} {
		res := x.do("GET", "/default/fhir/"+path, x.owner, "", "Accept", "application/fhir+json")
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 {
			x.t.Fatalf("%s: %s %v", path, res.Status, err)
		}
		out.Write(text)
	}
	return out.String()
}

// readAttempts look at one resource, at many, and around corners.
func readAttempts() []attempt {
	var out []attempt
	get := func(status string, paths ...string) {
		for _, p := range paths {
			out = append(out, attempt{method: "GET", path: "/default/fhir/" + p, status: status})
		}
	}
	for _, k := range []string{"Patient/p2", "Observation/o2", "Encounter/e2", "Device/d2", "Condition/c2", "Provenance/v2", "List/l2", "Binary/b2", "Binary/b0", "Basic/x2", "Person/n2", "Appointment/a2", "Condition/gone2"} {
		get("404", k, k+"/_history", k+"/_history/1", k+"/_history/2", k+"?_format=xml", k+"?_elements=name,code", k+"?_summary=true")
		out = append(out, attempt{method: "HEAD", path: "/default/fhir/" + k, status: "404"},
			attempt{method: "GET", path: "/default/fhir/" + k, status: "404", headers: []string{"If-None-Match", `W/"1"`}},
			attempt{method: "GET", path: "/default/fhir/" + k, status: "404", headers: []string{"If-Modified-Since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}},
			attempt{method: "GET", path: "/default/fhir/" + k, status: "404", headers: []string{"Accept", "text/plain, application/fhir+json;q=0.5"}})
	}
	get("403", "Group/g12", "Group/g12/_history", "Group", "Binary", "Group?member=Patient/p1")
	get("200", "", "_history", "_history?_count=1000", "Observation/_history", "Patient/_history", "?_type=Patient,Observation,Group,Basic", "?_id=p2,o2,b2,o1", "?_count=1000&_sort=_lastUpdated",
		"Patient", "Patient?_id=p2", "Patient?name=Zzyzx", "Patient?name:contains=z", "Patient?link=Patient/p1", "Patient?_content=Zzyzx", "Patient?_text=Zzyzx",
		"Patient?_contained=true", "Patient?_contained=both&name=Zzyzx", "Patient?_contained=both&_containedType=contained", "Observation?_contained=both&_total=accurate",
		"Observation?subject=Patient/p2", "Observation?patient=p2", "Observation?patient=p1,p2", "Observation?code:not=hr", "Basic", "Observation?code=hr&_sort=-date", "Observation?code:text=Zzyzx",
		"Observation?_total=accurate", "Observation?_summary=count", "Observation?performer=Practitioner/doc", "Observation?encounter=Encounter/e2",
		"Condition?_contained=false", "Condition?recorder=Practitioner/doc", "Appointment?actor=Patient/p2",
		"Observation?_include=Observation:has-member", "Observation?_include=*", "Observation?_include:iterate=*&_revinclude:iterate=*", "Observation?_revinclude=Observation:derived-from", "Observation?_revinclude=*",
		"Observation?_include=Observation:subject&_include:iterate=Patient:organization&_revinclude:iterate=Patient:organization", "Observation?_include=Observation:performer&_revinclude:iterate=Observation:performer",
		"Organization?_revinclude=Patient:organization", "Practitioner?_revinclude=*", "Practitioner?_revinclude=Patient:general-practitioner&_revinclude=Observation:performer&_revinclude=Encounter:practitioner&_revinclude=Provenance:agent",
		"Patient?_revinclude=Patient:link", "Patient?_revinclude=Group:member", "List?_include=List:item", "DocumentReference?_include=*", "Encounter?_revinclude=*", "List/l1", "DocumentReference/r1",
		"Patient/p2/Observation", "Patient/p2/*", "Practitioner/doc/Observation", "Practitioner/doc/*", "Encounter/e2/Observation", "Device/d2/*", "Patient/p1/*", "Patient/p1/Observation?_include=*")
	get("403", "Observation?subject:Patient.name=Zzyzx", "Observation?derived-from.subject:Patient.name=Zzyzx", "Observation?_has:Observation:derived-from:code=hr", "Organization?_has:Patient:organization:name=Zzyzx",
		"Practitioner?_has:Patient:general-practitioner:name=Zzyzx", "Patient?_has:Observation:patient:_has:Observation:derived-from:code=hr", "Patient?_has:Group:member:_id=g12", "Observation?_list=l2", "Observation?_list=l1",
		"Observation?_sort=subject:Patient.name", "Patient?_explain=true", "Observation?_not-referenced=*:*", "_history?_summary=count", "SearchParameter/$status", "Observation/o2/$reindex", "Patient/p2/$reindex")
	for _, path := range []string{"$export", "Patient/$export", "Group/g12/$export"} {
		out = append(out, attempt{method: "GET", path: "/default/fhir/" + path, status: "403", headers: []string{"Prefer", "respond-async", "Accept", "application/fhir+json"}})
	}
	get("404", "Patient/p2/$everything", "Patient/$match", "$graphql?query=x")
	for _, path := range []string{"Observation/_search?subject=Patient/p2", "_search", "Patient/p2/Observation/_search"} {
		out = append(out, attempt{method: "POST", path: "/default/fhir/" + path, body: "_id=p2,o2,o1&_include=*", status: "200", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}})
	}
	// The token is for the FHIR service alone.
	for _, path := range []string{"/default/dicom/v2/studies", "/default/dicom/v2/studies/1.2/metadata", "/default/dicom/v2/changefeed", "/default/medtech/deadletters", "/default/medtech/fhirmapping", "/default/events?after=0",
		"/manage/v1/audit?id=p2", "/manage/v1/workspaces/default/audit", "/manage/v1/workspaces/default", "/manage/v1/workspaces/default/users", "/manage/v1/workspaces/default/eventsubscriptions"} {
		out = append(out, attempt{method: "GET", path: path, status: "401"})
	}
	return out
}

// writeAttempts write into the record of the other patient, or have an answer
// or an error tell what stands in it.
func writeAttempts() []attempt {
	const o2 = `{"resourceType":"Observation","id":"o2","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p1"}}`
	bundle := func(kind, method, u, more string) string {
		return `{"resourceType":"Bundle","type":"` + kind + `","entry":[{` + more + `"request":{"method":"` + method + `","url":"` + u + `"}}]}`
	}
	patch := func(typ string) []string { return []string{"Content-Type", typ} }
	own := `"resource":{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p1"},"performer":[{"reference":"Patient?name=Zzyzx"}]},`
	out := []attempt{
		{"PUT", "/default/fhir/Observation/o2", o2, "403", nil},
		{"PUT", "/default/fhir/Observation/o2", o2, "403", []string{"If-Match", `W/"2"`}},
		{"PUT", "/default/fhir/Observation/o2", o2, "403", []string{"Prefer", "return=representation"}},
		{"PUT", "/default/fhir/Patient/p2", `{"resourceType":"Patient","id":"p2"}`, "403", nil},
		{"PUT", "/default/fhir/Observation?subject=Patient/p2", strings.Replace(o2, `"id":"o2",`, "", 1), "201", nil}, // finds nothing
		{"POST", "/default/fhir/Observation", strings.Replace(o2, "Patient/p1", "Patient/p2", 1), "403", nil},
		{"POST", "/default/fhir/Observation", strings.Replace(o2, `"id":"o2",`, "", 1), "201", []string{"If-None-Exist", "subject=Patient/p2"}},
		{"POST", "/default/fhir/Observation", strings.Replace(o2, `"id":"o2",`, "", 1), "400 403", []string{"X-Provenance", `{"resourceType":"Provenance","recorded":"2026-01-01T00:00:00Z","target":[{"reference":"Patient/p2"}],"agent":[{"who":{"reference":"Patient/p1"}}]}`}},
		{"POST", "/default/fhir/Group", `{"resourceType":"Group","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/p2"}}]}`, "403", nil},
		{"POST", "/default/fhir/Binary", "hello", "403", []string{"Content-Type", "text/plain", "X-Security-Context", "Patient/p2"}},
		{"PUT", "/default/fhir/Binary/b2", `{"resourceType":"Binary","id":"b2","contentType":"text/plain","securityContext":{"reference":"Patient/p1"}}`, "403", nil},
		{"DELETE", "/default/fhir/Observation/o2", "", "403", nil},
		{"DELETE", "/default/fhir/Observation/never", "", "403", nil},
		{"DELETE", "/default/fhir/Condition/gone2", "", "403", nil},
		{"DELETE", "/default/fhir/Observation?subject=Patient/p2", "", "204", nil},
		{"DELETE", "/default/fhir/Observation/o2?_hardDelete=true", "", "403", nil},
		{"DELETE", "/default/fhir/Observation/o2/$purge-history", "", "403", nil},
		{"PATCH", "/default/fhir/Observation/o2", `[{"op":"test","path":"/status","value":"amended"}]`, "404", patch("application/json-patch+json")},
		{"PATCH", "/default/fhir/Observation/o2", `[{"op":"copy","from":"/code","path":"/method"}]`, "404", patch("application/json-patch+json")},
		{"PATCH", "/default/fhir/Observation?subject=Patient/p2", `[{"op":"test","path":"/status","value":"amended"}]`, "404", patch("application/json-patch+json")},
		{"POST", "/default/fhir/$import", `{"resourceType":"Parameters"}`, "403", []string{"Prefer", "respond-async"}},
		{"POST", "/default/fhir/$reindex", `{"resourceType":"Parameters"}`, "403", nil},
		{"PUT", "/default/fhir/SearchParameter/$status", `{"resourceType":"Parameters","parameter":[{"name":"searchParameterStatus","part":[{"name":"url","valueUrl":"http://hl7.org/fhir/SearchParameter/Patient-name"},{"name":"status","valueString":"Disabled"}]}]}`, "403", nil},
		{"POST", "/default/fhir", bundle("transaction", "POST", "Observation", own), "4", nil},
	}
	for _, kind := range []string{"batch", "transaction"} {
		for _, u := range []string{"Patient/p2", "Observation/o2", "Observation/o2/_history", "Binary/b0", "Observation?subject=Patient/p2", "Observation?_include=*", "Patient/p2/Observation", "_history", "Group/g12", "Practitioner?_revinclude=*", "Observation?subject:Patient.name=Zzyzx"} {
			out = append(out, attempt{"POST", "/default/fhir", bundle(kind, "GET", u, ""), "200 4", nil})
		}
		out = append(out, attempt{"POST", "/default/fhir", bundle(kind, "DELETE", "Observation/o2", ""), "200 403", nil},
			attempt{"POST", "/default/fhir", bundle(kind, "PUT", "Observation/o2", `"resource":`+o2+`,`), "200 403", nil})
	}
	return out
}

// jobAttempts look at the jobs and files of an export that somebody else made.
func (x *secured) jobAttempts() []attempt {
	x.t.Helper()
	res := x.do("GET", "/default/fhir/$export?_type=Patient,Observation", x.owner, "", "Prefer", "respond-async", "Accept", "application/fhir+json")
	at, err := url.Parse(res.Header.Get("Content-Location"))
	if err != nil || res.StatusCode != 202 {
		x.t.Fatalf("export: %s %v", res.Status, err)
	}
	out := []attempt{{"GET", at.Path, "", "403", nil}, {"DELETE", at.Path, "", "403", nil}, {"GET", strings.Replace(at.Path, "/export/", "/import/", 1), "", "403", nil}, {"GET", strings.Replace(at.Path, "/export/", "/reindex/", 1), "", "403", nil}}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if res = x.do("GET", at.Path, x.owner, ""); res.StatusCode == 200 {
			break
		}
		if time.Now().After(end) {
			x.t.Fatalf("the export does not end: %s", res.Status)
		}
	}
	var manifest struct{ Output []struct{ URL string } }
	if err := json.NewDecoder(res.Body).Decode(&manifest); err != nil || len(manifest.Output) == 0 {
		x.t.Fatalf("manifest: %v %v", manifest, err)
	}
	for _, f := range manifest.Output {
		u, err := url.Parse(f.URL)
		if err != nil {
			x.t.Fatal(err)
		}
		out = append(out, attempt{"GET", u.Path, "", "403", nil}, attempt{"HEAD", u.Path, "", "403", nil})
	}
	return out
}

// pagingAttempts go on with the pages of somebody who sees more.
func (x *secured) pagingAttempts() []attempt {
	x.t.Helper()
	var out []attempt
	for _, path := range []string{"/default/fhir/Observation?_count=1", "/default/fhir?_count=2", "/default/fhir/_history?_count=3", "/default/fhir/Practitioner?_revinclude=*&_count=1&_includesCount=2", "/default/fhir/Observation?_count=1&_sort=-_lastUpdated"} {
		var page struct {
			Link []struct{ Relation, URL string }
		}
		res := x.do("GET", path, x.owner, "")
		if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
			x.t.Fatal(err)
		}
		more := 0
		for _, l := range page.Link {
			if l.Relation != "self" {
				u, err := url.Parse(l.URL)
				if err != nil {
					x.t.Fatal(err)
				}
				out = append(out, attempt{"GET", u.RequestURI(), "", "200 400 403", nil})
				more++
			}
		}
		if more == 0 {
			x.t.Fatalf("%s has no second page", path)
		}
	}
	return out
}

// TestPatientContext tries to get a token for another patient.
func TestPatientContext(t *testing.T) {
	x := openLeaks(t)
	const scope = "openid launch launch/patient offline_access patient/*.rs"
	// The consent page takes no patient from somebody who is one.
	back := x.authorize(newBrowser(t), "pat", "correct horse", url.Values{"scope": {scope}}, url.Values{"patient": {"p2"}})
	a := x.exchange(200, back.Get("code"), url.Values{"patient": {"p2"}})
	if a["patient"] != "p1" {
		t.Errorf("the patient in context is %v", a["patient"])
	}
	// Nor does a refresh.
	b := x.form(200, "/auth/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"growth"}, "refresh_token": {a["refresh_token"].(string)}, "patient": {"p2"}})
	if b["patient"] != "p1" {
		t.Errorf("after a refresh the patient in context is %v", b["patient"])
	}
	x.form(400, "/auth/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"growth"}, "refresh_token": {b["refresh_token"].(string)}, "scope": {scope + " user/*.rs"}})
	// The handle of an EHR for another patient, in the wrong hands.
	clinician, _ := x.client("ehr", "FHIR Data Reader", "/default/fhir")
	open := func(token, patient string, status int) string {
		handle, _ := x.json(status, "POST", "/auth/launch", token, `{"aud":"`+x.url+`/default/fhir","patient":"`+patient+`"}`)["launch"].(string)
		return handle
	}
	back = x.authorize(newBrowser(t), "pat", "correct horse", url.Values{"scope": {scope}, "launch": {open(clinician, "p2", 200)}}, nil)
	if back.Get("code") != "" || !strings.Contains(back.Get("page"), "may see") {
		t.Errorf("a patient gets the context of another: %v", back)
	}
	back = x.authorize(newBrowser(t), "pat", "correct horse", url.Values{"scope": {scope}, "launch": {open(clinician, "p1", 200)}}, nil)
	if got := x.exchange(200, back.Get("code"), nil); got["patient"] != "p1" {
		t.Errorf("got %v", got)
	}
	open(a["access_token"].(string), "p2", 403)
}
