package server_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/loader/sample"
)

// TestImagingStudies stores, updates and deletes images, with the option switched on
// before, while they are there and after.
func TestImagingStudies(t *testing.T) {
	dir := t.TempDir()
	p := open(t, dir, nil)
	files, err := sample.Study()
	if err != nil {
		t.Fatal(err)
	}
	const study = "1.2.826.0.1.3680043.10.1499.1.1"
	store := func(f []byte) {
		t.Helper()
		if rec := p.do("POST", "/default/dicom/v2/studies", string(f), "Content-Type", "application/dicom"); rec.Code != 200 {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	store(files[0])
	option := func(o string, want int) {
		t.Helper()
		if rec := p.do("PUT", "/manage/v1/workspaces/default/dicomservices/dicom", `{"imagingStudy":`+o+`}`); rec.Code != want {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	for _, bad := range []string{`{}`, `{"destination":"fhir","patients":"all"}`, `{"destination":"fhir","address":"ftp://x"}`, `{"destination":"fhir","issuers":{"A":"b"}}`} {
		option(bad, 400)
	}
	option(`{"destination":"fhir","address":"https://images.example.org/dicom"}`, 200)
	// find waits until exactly one ImagingStudy meets a condition.
	type found struct {
		ID       string
		Subject  struct{ Reference string }
		Endpoint []struct{ Reference string }
		Modality []struct{ Code string }
		N        int `json:"numberOfInstances"`
	}
	find := func(ok func([]found) bool) []found {
		t.Helper()
		var list []found
		var body string
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			var page struct {
				Entry []struct{ Resource found }
			}
			rec := p.do("GET", "/default/fhir/ImagingStudy?identifier=urn:dicom:uid|urn:oid:"+study, "")
			if body = rec.Body.String(); json.Unmarshal([]byte(body), &page) != nil {
				t.Fatal(body)
			}
			list = nil
			for _, e := range page.Entry {
				list = append(list, e.Resource)
			}
			if ok(list) {
				return list
			}
		}
		t.Fatalf("the ImagingStudies are not as they should be: %s\n%s", body, p.log)
		return nil
	}
	one := find(func(l []found) bool { return len(l) == 1 && l[0].N == 1 })[0]
	if one.Subject.Reference != "" || len(one.Endpoint) != 1 {
		t.Errorf("%+v", one)
	}
	if rec := p.do("GET", "/default/fhir/"+one.Endpoint[0].Reference, ""); rec.Code != 200 || !strings.Contains(rec.Body.String(), `"address":"https://images.example.org/dicom/v2"`) {
		t.Error(rec.Code, rec.Body)
	}
	// Patients are found by the identifier with the system that the settings name.
	var page struct {
		Entry []struct {
			Resource struct {
				Subject struct{ Identifier struct{ Value string } }
			}
		}
	}
	if err := json.Unmarshal(p.do("GET", "/default/fhir/ImagingStudy", "").Body.Bytes(), &page); err != nil {
		t.Fatal(err)
	}
	id := page.Entry[0].Resource.Subject.Identifier.Value
	for name, system := range map[string]string{"none": "", "theirs": `"system":"https://other.example.org",`, "ours": `"system":"https://h.example.org/a|b",`} {
		if rec := p.do("PUT", "/default/fhir/Patient/"+name, `{"resourceType":"Patient","id":"`+name+`","identifier":[{`+system+`"value":"`+id+`"}]}`); rec.Code != 201 {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	option(`{"destination":"fhir","patientSystem":"https://h.example.org/a|b"}`, 200)
	find(func(l []found) bool { return len(l) == 1 && l[0].Subject.Reference == "Patient/ours" })
	option(`{"destination":"fhir"}`, 200)
	find(func(l []found) bool { return len(l) == 1 && l[0].Subject.Reference == "Patient/none" })
	// Another setting makes the Patient, and what came meanwhile is there.
	option(`null`, 200)
	store(files[1])
	option(`{"destination":"fhir","patients":"create","patientSystem":"https://hospital.example.org/mrn"}`, 200)
	one = find(func(l []found) bool { return len(l) == 1 && l[0].N == 2 && l[0].Subject.Reference != "Patient/none" })[0]
	if rec := p.do("GET", "/default/fhir/"+one.Subject.Reference, ""); rec.Code != 200 || !strings.Contains(rec.Body.String(), `"system":"https://hospital.example.org/mrn"`) {
		t.Error(rec.Code, rec.Body)
	}
	for _, f := range files[2:] {
		store(f)
	}
	find(func(l []found) bool { return len(l) == 1 && l[0].N == len(files) })
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		body := p.do("GET", "/metrics", "").Body.String()
		if strings.Contains(body, `hygeia_dicom_imagingstudy_total{outcome="updated",service="default/dicom"}`) && strings.Contains(body, `hygeia_dicom_imagingstudy_pending{service="default/dicom"} 0`) {
			break
		}
		if time.Now().After(end) {
			t.Fatal(body)
		}
	}
	if rec := p.do("DELETE", "/default/dicom/v2/studies/"+study, ""); rec.Code != 204 {
		t.Fatal(rec.Code)
	}
	find(func(l []found) bool { return len(l) == 0 })
	if rec := p.do("GET", "/default/fhir/ImagingStudy/"+one.ID, ""); rec.Code != 410 {
		t.Error(rec.Code)
	}
}
