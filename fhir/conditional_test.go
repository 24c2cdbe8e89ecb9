package fhir_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
)

func TestConditionalCreate(t *testing.T) {
	r := newRig(t, fhir.Config{})
	first := r.do(201, "POST", "Patient", identified("", "1"), ifNoneExist("identifier=urn:mrn|1")).Record
	again := r.do(200, "POST", "Patient", identified("", "1"), ifNoneExist("identifier=urn:mrn|1"))
	if again.Record.Key != first.Key || again.Outcome != fhir.Unchanged {
		t.Errorf("found %+v, want %v", again, first.Key)
	}
	r.do(200, "POST", "Patient", identified("", "1"), ifNoneExist("Patient?identifier=urn:mrn|1"))
	r.do(201, "POST", "Patient", identified("", "1"))
	r.fail(fault.Precondition, "POST", "Patient", identified("", "1"), ifNoneExist("identifier=urn:mrn|1"))
	for _, bad := range []string{"", " ", "foo=bar", "identifier=", "identifier=urn:mrn|1&foo=bar", "_sort=name", "_count=1", "Group?identifier=1", "%zz", "birthdate=***"} {
		r.fail(fault.Invalid, "POST", "Patient", identified("", "2"), ifNoneExist(bad))
	}
	if e := r.fail(fault.Invalid, "POST", "Patient", identified("", "2"), ifNoneExist("identifier=")); !strings.Contains(e.Msg, "identifier") {
		t.Errorf("%q does not name the parameter", e.Msg)
	}
	if n := r.count("Patient"); n != 2 {
		t.Errorf("%d patients, want 2", n)
	}
}

func TestConditionalCreateIgnoresDeleted(t *testing.T) {
	r := newRig(t, fhir.Config{})
	first := r.do(201, "POST", "Patient", identified("", "1"), ifNoneExist("identifier=urn:mrn|1")).Record
	r.do(204, "DELETE", "Patient/"+first.ID, "")
	if next := r.do(201, "POST", "Patient", identified("", "1"), ifNoneExist("identifier=urn:mrn|1")).Record; next.ID == first.ID {
		t.Error("the deleted resource came back")
	}
}

func TestConditionalCreateRace(t *testing.T) {
	r := newRig(t, fhir.Config{})
	var mu sync.Mutex
	status := map[int]int{}
	var wg sync.WaitGroup
	for range 20 {
		in := request(t, "POST", "Patient", identified("", "1"))
		ifNoneExist("identifier=urn:mrn|1")(in)
		wg.Go(func() {
			resp, err := r.svc.Do(t.Context(), in)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			status[resp.Status]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if status[201] != 1 || status[200] != 19 || r.count("Patient") != 1 {
		t.Errorf("statuses %v, %d patients", status, r.count("Patient"))
	}
}

func TestConditionalUpdate(t *testing.T) {
	r := newRig(t, fhir.Config{})
	where := "Patient?identifier=urn:mrn|"
	made := r.do(201, "PUT", where+"1", identified("", "1")).Record
	if rec := r.do(201, "PUT", where+"2", identified("two", "2")).Record; rec.ID != "two" {
		t.Errorf("no match with an id: %s", rec.ID)
	}
	changed := strings.Replace(identified("", "1"), `"identifier"`, `"active":true,"identifier"`, 1)
	if rec := r.do(200, "PUT", where+"1", changed).Record; rec.ID != made.ID || rec.Version != 2 {
		t.Errorf("one match: %+v", rec)
	}
	if rec := r.do(200, "PUT", where+"2", identified("two", "2")).Record; rec.Version != 1 {
		t.Errorf("one match, same id: %+v", rec)
	}
	r.fail(fault.Invalid, "PUT", where+"2", identified("other", "2"))
	r.fail(fault.Conflict, "PUT", where+"3", identified("two", "3")) // the id is taken by one that does not match
	r.do(201, "POST", "Patient", identified("", "2"))
	r.fail(fault.Precondition, "PUT", where+"2", identified("", "2"))
	for _, target := range []string{"Patient", "Patient?foo=bar", "Patient?identifier=", "Patient?_format=json"} {
		r.fail(fault.Invalid, "PUT", target, identified("", "9"))
	}
	r.fail(fault.Precondition, "PUT", where+"1", changed, ifMatch(`W/"1"`))
	r.do(200, "PUT", where+"1", changed, ifMatch(`W/"2"`))
	r.fail(fault.NotFound, "PUT", where+"77", identified("", "77"), ifMatch(`W/"1"`))
}

func TestConditionalDelete(t *testing.T) {
	r := newRig(t, fhir.Config{})
	for i := range 5 {
		r.do(201, "PUT", fmt.Sprintf("Patient/p%d", i), patient(fmt.Sprintf("p%d", i), "Doe"))
	}
	r.do(201, "PUT", "Patient/x", patient("x", "Roe"))
	if resp := r.do(204, "DELETE", "Patient?family=Nobody", ""); resp.Deleted != 0 || resp.Outcome != fhir.Absent {
		t.Errorf("no match: %+v", resp)
	}
	if resp := r.do(204, "DELETE", "Patient?family=Roe", ""); resp.Deleted != 1 || resp.Version != 2 {
		t.Errorf("one match: %+v", resp)
	}
	r.fail(fault.Gone, "GET", "Patient/x", "")
	r.fail(fault.Precondition, "DELETE", "Patient?family=Doe", "")
	for _, bad := range []string{"family=Doe&_count=0", "family=Doe&_count=101", "family=Doe&_count=x", "_count=3", "", "foo=1", "family=Doe&foo=1", "family=", "family=Doe&_sort=family"} {
		r.fail(fault.Invalid, "DELETE", "Patient?"+bad, "")
	}
	if resp := r.do(204, "DELETE", "Patient?family=Doe&_count=3", ""); resp.Deleted != 3 {
		t.Errorf("_count=3: %+v", resp)
	}
	if resp := r.do(204, "DELETE", "Patient?_lastUpdated=gt2020-01-01&_count=100&_hardDelete=true", "", hardDelete); resp.Deleted != 2 {
		t.Errorf("the rest: %+v", resp)
	}
	if n := r.count("Patient"); n != 0 {
		t.Errorf("%d patients are left", n)
	}
	if n := r.count("_history?_count=100"); n != 8 {
		t.Errorf("%d versions, want 8: four soft deletions of four", n)
	}
}

func TestSearchReferences(t *testing.T) {
	r := newRig(t, fhir.Config{})
	obs := func(ref string) string {
		return `{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"subject":{"reference":"` + ref + `"}}`
	}
	r.do(201, "PUT", "Patient/a", identified("a", "1"))
	for _, ref := range []string{"Patient?identifier=urn:mrn|1", base + "/Patient?identifier=urn:mrn|1"} {
		id := r.do(201, "POST", "Observation", obs(ref)).Record.ID
		if text := r.text("Observation/" + id); !strings.Contains(text, `"reference":"Patient/a"`) {
			t.Errorf("%s became %s", ref, text)
		}
	}
	if n := r.count("Observation?subject=Patient/a"); n != 2 {
		t.Errorf("the index knows %d of 2", n)
	}
	for ref, want := range map[string]string{
		base + "/Patient/a": "Patient/a", base + "/Patient/a/_history/1": "Patient/a/_history/1",
		base + "/Foo/a": base + "/Foo/a", base + "/Patient/a/b": base + "/Patient/a/b", "http://other.test/Patient/a": "http://other.test/Patient/a",
	} {
		id := r.do(201, "POST", "Observation", obs(ref)).Record.ID
		if text := r.text("Observation/" + id); !strings.Contains(text, `"reference":"`+want+`"`) {
			t.Errorf("%s became %s", ref, text)
		}
	}
	r.do(201, "PUT", "Observation/o", obs("Patient?identifier=urn:mrn|1"))
	e := r.fail(fault.Invalid, "POST", "Observation", obs("Patient?identifier=urn:mrn|2"))
	if len(e.Issues) != 1 || e.Issues[0].Expression != "Observation.subject.reference" {
		t.Errorf("issues %+v", e.Issues)
	}
	r.do(201, "PUT", "Patient/b", identified("b", "1"))
	r.fail(fault.Invalid, "POST", "Observation", obs("Patient?identifier=urn:mrn|1"))
	r.fail(fault.Invalid, "POST", "Observation", obs("Patient?foo=1"))
	// What only looks like a search stays as it is.
	id := r.do(201, "POST", "Observation", obs("http://other.test/Patient?identifier=1")).Record.ID
	if text := r.text("Observation/" + id); !strings.Contains(text, `"http://other.test/Patient?identifier=1"`) {
		t.Errorf("foreign reference became %s", text)
	}
}
