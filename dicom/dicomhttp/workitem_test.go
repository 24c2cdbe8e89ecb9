package dicomhttp_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// attr is an attribute of DICOM JSON.
type attr struct {
	VR    string `json:"vr"`
	Value []any  `json:"Value,omitempty"`
}

type dataset map[string]attr

// ds makes a data set of keywords and values, with the VRs of the dictionary.
// Items of sequences are datasets.
func ds(t *testing.T, pairs ...any) dataset {
	t.Helper()
	d := dataset{}
	for i := 0; i < len(pairs); i += 2 {
		tag, ok := dcm.Keyword(pairs[i].(string))
		if !ok {
			t.Fatal(pairs[i])
		}
		e, _ := dcm.Lookup(tag)
		a := attr{VR: e.VR.String()}
		switch v := pairs[i+1].(type) {
		case nil:
		case string:
			a.Value = []any{v}
			if e.VR == dcm.PN {
				a.Value = []any{map[string]string{"Alphabetic": v}}
			}
		case dataset:
			a.Value = []any{v}
		case []dataset:
			for _, item := range v {
				a.Value = append(a.Value, item)
			}
		}
		d[tag.Hex()] = a
	}
	return d
}

// with returns a copy with other attributes; without drops some.
func (d dataset) with(more dataset) dataset {
	c := maps.Clone(d)
	maps.Copy(c, more)
	return c
}

func (d dataset) without(t *testing.T, keyword string) dataset {
	tag, ok := dcm.Keyword(keyword)
	if !ok {
		t.Fatal(keyword)
	}
	c := maps.Clone(d)
	delete(c, tag.Hex())
	return c
}

func (d dataset) body(t *testing.T) []byte {
	b, err := json.Marshal([]dataset{d})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func code(t *testing.T, value string) dataset {
	return ds(t, "CodeValue", value, "CodingSchemeDesignator", "99LOCAL", "CodeMeaning", "Room "+value)
}

// step is a work item that can be created.
func step(t *testing.T) dataset {
	return ds(t, "TransactionUID", nil, "ScheduledProcedureStepPriority", "MEDIUM", "ProcedureStepLabel", "Head CT",
		"WorklistLabel", nil, "ScheduledProcessingParametersSequence", nil, "ScheduledStationNameCodeSequence", code(t, "CT1"),
		"ScheduledStationClassCodeSequence", code(t, "CT"), "ScheduledStationGeographicLocationCodeSequence", code(t, "R7"),
		"ScheduledProcedureStepStartDateTime", "20260301093000", "ScheduledWorkitemCodeSequence", nil,
		"CommentsOnTheScheduledProcedureStep", nil, "InputReadinessState", "READY", "InputInformationSequence", nil,
		"StudyInstanceUID", "1.2.3", "PatientName", "Müller^Jörg", "PatientID", "P1", "IssuerOfPatientID", nil,
		"IssuerOfPatientIDQualifiersSequence", nil, "OtherPatientIDsSequence", nil, "PatientBirthDate", "19700102", "PatientSex", "M",
		"AdmissionID", nil, "IssuerOfAdmissionIDSequence", nil, "AdmittingDiagnosesDescription", nil, "AdmittingDiagnosesCodeSequence", nil,
		"ReferencedRequestSequence", ds(t, "StudyInstanceUID", "1.2.3", "AccessionNumber", "A17", "IssuerOfAccessionNumberSequence", nil,
			"OrderPlacerIdentifierSequence", nil, "OrderFillerIdentifierSequence", nil, "RequestedProcedureID", "RP1",
			"RequestedProcedureDescription", nil, "RequestedProcedureCodeSequence", nil),
		"ProcedureStepState", "SCHEDULED", "ProcedureStepProgressInformationSequence", nil, "UnifiedProcedureStepPerformedProcedureSequence", nil)
}

const dicomJSON = "application/dicom+json"

func (w *world) ups(code int, method, path string, body []byte) *httptest.ResponseRecorder {
	w.t.Helper()
	rec := w.do(method, "/v2/workitems"+path, body, "Content-Type", dicomJSON, "Accept", dicomJSON)
	if rec.Code != code {
		w.t.Fatalf("%s %s: %d, want %d: %s", method, path, rec.Code, code, rec.Body)
	}
	return rec
}

func change(t *testing.T, state, transaction string) []byte {
	return ds(t, "ProcedureStepState", state, "TransactionUID", transaction).body(t)
}

// TestWorkitemCreate checks what a new work item must and must not have.
func TestWorkitemCreate(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	good := step(t)
	for i, c := range []struct {
		name string
		d    dataset
		want string // of the message; "" when it is created
	}{
		{"complete", good, ""},
		{"a label of its own", good.with(ds(t, "WorklistLabel", "CT worklist")), ""},
		{"conditional attributes left out", good.without(t, "StudyInstanceUID").without(t, "PatientID"), ""},
		{"state left out", good.without(t, "ProcedureStepState"), ""},
		{"private attributes", good.with(dataset{"00110010": {"LO", []any{"ACME"}}, "00111001": {"LO", []any{"x"}}}), ""},
		{"no priority", good.without(t, "ScheduledProcedureStepPriority"), "The required tag '(0074,1200)' is missing."},
		{"an empty priority", good.with(ds(t, "ScheduledProcedureStepPriority", nil)), "The value for tag '(0074,1200)' is missing."},
		{"no name at all", good.without(t, "PatientName"), "The required tag '(0010,0010)' is missing."},
		{"an empty name", good.with(ds(t, "PatientName", nil)), ""},
		{"an empty conditional patient id", good.with(ds(t, "PatientID", nil)), "The value for tag '(0010,0020)' is missing."},
		{"no transaction UID", good.without(t, "TransactionUID"), "The required tag '(0008,1195)' is missing."},
		{"a transaction UID with a value", good.with(ds(t, "TransactionUID", "1.2")), "The attribute with tag '(0008,1195)' must be empty."},
		{"a code without a meaning", good.with(ds(t, "ScheduledStationNameCodeSequence", ds(t, "CodeValue", "X"))), "The required tag '(0008,0104)' is missing."},
		{"a request without a study", good.with(ds(t, "ReferencedRequestSequence", ds(t, "AccessionNumber", "A"))), "The required tag '(0020,000D)' is missing."},
		{"progress", good.with(ds(t, "ProcedureStepProgressInformationSequence", ds(t, "ProcedureStepProgress", "10"))), "The attribute with tag '(0074,1004)' cannot be present."},
		{"in progress", good.with(ds(t, "ProcedureStepState", "IN PROGRESS")), "C309"},
		{"a start that is none", good.with(ds(t, "ScheduledProcedureStepStartDateTime", "tomorrow")), "The attribute with tag '(0040,4005)' is not valid"},
		{"a name of another VR", good.with(dataset{"00100010": {"LO", []any{"x"}}}), "The attribute with tag '(0010,0010)' has the VR LO; it is PN."},
		{"another UID inside", good.with(ds(t, "SOPInstanceUID", "9.9")), "SOPInstanceUID in the payload does not match"},
	} {
		t.Run(c.name, func(t *testing.T) {
			uid := fmt.Sprintf("1.2.%d", i+1)
			code := 201
			if c.want != "" {
				code = 400
			}
			rec := w.ups(code, "POST", "?"+uid, c.d.body(t))
			if c.want != "" {
				if !strings.Contains(rec.Body.String(), c.want) || strings.Contains(rec.Body.String(), "tomorrow") {
					t.Error(rec.Body)
				}
				w.ups(404, "GET", "/"+uid, nil)
				return
			}
			if loc := rec.Header().Get("Location"); loc != "http://pacs.test:8080/w/s/v2/workitems/"+uid || loc != rec.Header().Get("Content-Location") || rec.Body.Len() > 0 {
				t.Error(rec.Header(), rec.Body)
			}
			got := w.item(uid)
			if got["00741000"].Value[0] != "SCHEDULED" || got["00080018"].Value[0] != uid || got["00080016"].Value[0] != "1.2.840.10008.5.1.4.34.6.1" || len(got["00404010"].Value) != 1 || len(got["00741202"].Value) != 1 {
				t.Error(got)
			}
			if _, ok := got["00081195"]; ok {
				t.Error("the Transaction UID is shown")
			}
		})
	}
}

func (w *world) item(uid string) dataset {
	w.t.Helper()
	var d dataset
	if err := json.Unmarshal(w.ups(200, "GET", "/"+uid, nil).Body.Bytes(), &d); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// TestWorkitemRequests covers what is wrong with requests as a whole.
func TestWorkitemRequests(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	body := step(t).body(t)
	w.ups(201, "POST", "?1.2.3", body)
	inside := step(t).with(ds(t, "SOPInstanceUID", "1.2.4"))
	one, err := json.Marshal(inside)
	if err != nil {
		t.Fatal(err)
	}
	w.ups(201, "POST", "", one) // the object alone
	for _, c := range []struct {
		code               int
		method, path, body string
		typ                string
	}{
		{409, "POST", "?1.2.3", string(body), dicomJSON},
		{201, "POST", "?workitem=1.2.5", string(body), dicomJSON + "; charset=utf-8"},
		{201, "POST", "?AffectedSOPInstanceUID=1.2.6", string(body), "application/json"},
		{400, "POST", "", string(body), dicomJSON},
		{400, "POST", "?x", string(body), dicomJSON},
		{400, "POST", "?1.2.7&1.2.8", string(body), dicomJSON},
		{400, "POST", "?foo=1.2.7", string(body), dicomJSON},
		{400, "POST", "?1.2.7", "", dicomJSON},
		{400, "POST", "?1.2.7", "[]", dicomJSON},
		{400, "POST", "?1.2.7", "[{},{}]", dicomJSON},
		{400, "POST", "?1.2.7", `{"zz":1}`, dicomJSON},
		{400, "POST", "?1.2.7", string(body), "application/dicom+xml"},
		{400, "POST", "?1.2.7", "", "application/dicom+xml"},
		{415, "POST", "?1.2.7", string(body), dicomJSON + "; charset=latin1"},
		{415, "POST", "?1.2.7", string(body), ""},
		{404, "GET", "/9.9", "", ""},
		{400, "GET", "/x", "", ""},
		{404, "POST", "/9.9", `{}`, dicomJSON},
		{404, "PUT", "/9.9/state", string(change(t, "IN PROGRESS", "1.1")), dicomJSON},
		{404, "POST", "/9.9/cancelrequest", "", ""},
		{415, "PUT", "/1.2.3/state", string(change(t, "IN PROGRESS", "1.1")), "text/plain"},
		{405, "DELETE", "/1.2.3", "", ""},
		{405, "GET", "/1.2.3/state", "", ""},
		{404, "GET", "/1.2.3/other", "", ""},
	} {
		args := []string{"Accept", dicomJSON}
		if c.typ != "" {
			args = append(args, "Content-Type", c.typ)
		}
		if rec := w.do(c.method, "/v1/workitems"+c.path, []byte(c.body), args...); rec.Code != c.code {
			t.Errorf("%s %s: %d, want %d: %s", c.method, c.path, rec.Code, c.code, rec.Body)
		}
	}
	if rec := w.do("GET", "/v2/workitems/1.2.3", nil, "Accept", "image/png"); rec.Code != 406 {
		t.Error(rec.Code)
	}
	if rec := w.do("GET", "/v2/workitems/1.2.3", nil, "Accept", `multipart/related; type="application/dicom+xml"`); rec.Code != 200 || !strings.Contains(rec.Body.String(), "NativeDicomModel") {
		t.Error(rec.Code, rec.Body)
	}
}

// TestWorkitemXML leads a work item through its life in XML, alone and as a part.
func TestWorkitemXML(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.ups(201, "POST", "?1.2.3", step(t).body(t))
	native := string(onlyPartOf(t, w.do("GET", "/v2/workitems/1.2.3", nil, "Accept", `multipart/related; type="application/dicom+xml"`)))
	for _, gone := range []string{"00080016", "00080018", "00404010"} { // set by the service
		from := strings.Index(native, `<DicomAttribute tag="`+gone)
		to := from + strings.Index(native[from:], "</DicomAttribute>") + len("</DicomAttribute>")
		native = native[:from] + native[to:]
	}
	native = strings.Replace(native, "<DicomAttribute", `<DicomAttribute tag="00081195" vr="UI"/><DicomAttribute`, 1) // which is never shown
	set := func(more string) string {
		return `<NativeDicomModel><DicomAttribute tag="00081195" vr="UI"><Value number="1">1.1</Value></DicomAttribute>` + more + `</NativeDicomModel>`
	}
	part := func(s string) string {
		return "--b\r\nContent-Type: application/dicom+xml\r\n\r\n" + s + "\r\n--b--\r\n"
	}
	const one, related = "application/dicom+xml", `multipart/related; type="application/dicom+xml"; boundary=b`
	progress := set(`<DicomAttribute tag="00741000" vr="CS"><Value number="1">IN PROGRESS</Value></DicomAttribute>`)
	for _, c := range []struct {
		code                    int
		method, path, typ, body string
	}{
		{201, "POST", "?1.2.4", one, native},
		{201, "POST", "?1.2.5", related, part(native)},
		{400, "POST", "?1.2.6", related, strings.Replace(part(native), "--b--", "--b\r\n\r\nx\r\n--b--", 1)},
		{415, "POST", "?1.2.6", related, strings.Replace(part(native), "dicom+xml", "dicom+json", 1)},
		{400, "PUT", "/1.2.4/state", one, set("<Value/>")},
		{200, "PUT", "/1.2.4/state", one, progress},
		{200, "PUT", "/1.2.5/state", related, part(progress)},
		{200, "POST", "/1.2.4?1.1", one, `<NativeDicomModel><DicomAttribute tag="00741204" vr="LO"><Value>changed</Value></DicomAttribute></NativeDicomModel>`},
	} {
		if rec := w.do(c.method, "/v2/workitems"+c.path, []byte(c.body), "Content-Type", c.typ); rec.Code != c.code {
			t.Errorf("%s %s: %d, want %d: %s", c.method, c.path, rec.Code, c.code, rec.Body)
		}
	}
	if body := w.want(200, "GET", "/v2/workitems/1.2.4", "Accept", dicomJSON); !strings.Contains(body, "IN PROGRESS") || !strings.Contains(body, "changed") || !strings.Contains(body, "Müller^Jörg") {
		t.Error(body)
	}
}

// done is what a work item needs to be completed, stopped what it needs to be cancelled.
func done(t *testing.T) dataset {
	out := ds(t, "TypeOfInstances", "DICOM", "StudyInstanceUID", "1.2.3", "SeriesInstanceUID", "1.2.3.4",
		"ReferencedSOPSequence", ds(t, "ReferencedSOPClassUID", "1.2", "ReferencedSOPInstanceUID", "1.3"))
	return ds(t, "UnifiedProcedureStepPerformedProcedureSequence", ds(t, "PerformedStationNameCodeSequence", code(t, "CT1"),
		"PerformedProcedureStepStartDateTime", "20260301093100", "PerformedWorkitemCodeSequence", code(t, "W"),
		"PerformedProcedureStepEndDateTime", "20260301094000", "OutputInformationSequence", out))
}

func stopped(t *testing.T) dataset {
	return ds(t, "ProcedureStepProgressInformationSequence", ds(t, "ProcedureStepDiscontinuationReasonCodeSequence", code(t, "NOSHOW")))
}

// TestWorkitemStates walks the table of states (PS3.4 table CC.1.1-2): every
// change from every state, by the owner and by somebody else.
func TestWorkitemStates(t *testing.T) {
	const mine, other = "1.7.1", "1.7.2"
	// What comes of a change: the status, and the code of the message.
	table := map[string]map[string]string{
		"SCHEDULED": {
			"IN PROGRESS " + mine: "200", "COMPLETED " + mine: "400 C301", "CANCELED " + mine: "400 C301", "cancel": "202", "SCHEDULED " + mine: "400 C303",
		},
		"IN PROGRESS": {
			"IN PROGRESS " + mine: "400 C302", "IN PROGRESS " + other: "400 C301", "COMPLETED " + mine: "200", "COMPLETED " + other: "400 C301",
			"CANCELED " + mine: "200", "CANCELED " + other: "400 C301", "cancel": "409 C312",
		},
		"COMPLETED": {
			"IN PROGRESS " + mine: "400 C300", "IN PROGRESS " + other: "400 C301", "COMPLETED " + mine: "200 B306", "COMPLETED " + other: "400 C301",
			"CANCELED " + mine: "400 C300", "CANCELED " + other: "400 C301", "cancel": "409 C311",
		},
		"CANCELED": {
			"IN PROGRESS " + mine: "400 C300", "IN PROGRESS " + other: "400 C301", "COMPLETED " + mine: "400 C300", "COMPLETED " + other: "400 C301",
			"CANCELED " + mine: "200 B304", "CANCELED " + other: "400 C301", "cancel": "409 already",
		},
	}
	w := newWorld(t, dicom.Config{})
	n := 0
	for from, row := range table {
		for to, want := range row {
			t.Run(from+" to "+to, func(t *testing.T) {
				n++
				item := fmt.Sprintf("1.2.%d", n)
				w.ups(201, "POST", "?"+item, step(t).body(t))
				if from != "SCHEDULED" {
					w.ups(200, "PUT", "/"+item+"/state", change(t, "IN PROGRESS", mine))
					w.ups(200, "POST", "/"+item+"?"+mine, done(t).with(stopped(t)).body(t))
				}
				if from == "COMPLETED" || from == "CANCELED" {
					w.ups(200, "PUT", "/"+item+"/state", change(t, from, mine))
				}
				status, text, _ := strings.Cut(want, " ")
				state, uid := to, ""
				path, method, body := "/"+item+"/cancelrequest", "POST", []byte(nil)
				if to != "cancel" {
					cut := strings.LastIndexByte(to, ' ')
					state, uid = to[:cut], to[cut+1:]
					path, method, body = "/"+item+"/state", "PUT", change(t, state, uid)
				}
				rec := w.do(method, "/v2/workitems"+path, body, "Content-Type", dicomJSON)
				said := rec.Header().Get("Warning") + rec.Body.String()
				if fmt.Sprint(rec.Code) != status || !strings.Contains(said, text) || text != "" && !strings.HasPrefix(rec.Header().Get("Warning"), `299 pacs.test:8080 "`) {
					t.Errorf("%d %q, want %s", rec.Code, said, want)
				}
				after := from
				if text == "" {
					after = strings.Replace(state, "cancel", "CANCELED", 1)
				}
				if got := w.item(item)["00741000"].Value[0]; got != after {
					t.Errorf("the state is %v, want %s", got, after)
				}
			})
		}
	}
}

func TestWorkitemStateRefused(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.ups(201, "POST", "?1.2", step(t).body(t))
	for _, c := range []struct {
		d    dataset
		want string
	}{
		{ds(t, "ProcedureStepState", "IN PROGRESS"), "The required tag '(0008,1195)' is missing."},
		{ds(t, "TransactionUID", "1.7"), "The required tag '(0074,1000)' is missing."},
		{ds(t, "TransactionUID", nil, "ProcedureStepState", "IN PROGRESS"), "The value for tag '(0008,1195)' is missing."},
		{ds(t, "TransactionUID", "x", "ProcedureStepState", "IN PROGRESS"), "The Transaction UID is not valid."},
		{ds(t, "TransactionUID", "1.7", "ProcedureStepState", "DONE"), "Expected value '(0074,1000)' to be one of"},
		{ds(t, "TransactionUID", "1.7", "ProcedureStepState", "IN PROGRESS", "PatientID", "x"), "alone"},
	} {
		if rec := w.ups(400, "PUT", "/1.2/state", c.d.body(t)); !strings.Contains(rec.Body.String(), c.want) {
			t.Error(rec.Body, c.want)
		}
	}
	// The final states want more than a new work item has.
	w.ups(200, "PUT", "/1.2/state", change(t, "IN PROGRESS", "1.7"))
	if rec := w.ups(400, "PUT", "/1.2/state", change(t, "COMPLETED", "1.7")); !strings.Contains(rec.Body.String(), "C304") || !strings.Contains(rec.Body.String(), "(0074,1216)") {
		t.Error(rec.Body)
	}
	if rec := w.ups(400, "PUT", "/1.2/state", change(t, "CANCELED", "1.7")); !strings.Contains(rec.Body.String(), "(0074,1002)") {
		t.Error(rec.Body)
	}
	w.ups(200, "POST", "/1.2?transaction-uid=1.7", stopped(t).body(t))
	w.ups(200, "PUT", "/1.2/state", change(t, "CANCELED", "1.7"))
	progress := w.item("1.2")["00741002"].Value[0].(map[string]any)
	if progress["00404052"] == nil {
		t.Error("the time of the cancellation is missing")
	}
}

func TestWorkitemUpdate(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.ups(201, "POST", "?1.2", step(t).body(t))
	label := ds(t, "WorklistLabel", "Night shift")
	rec := w.ups(200, "POST", "/1.2", label.body(t))
	if rec.Header().Get("Content-Location") != "http://pacs.test:8080/w/s/v2/workitems/1.2" {
		t.Error(rec.Header())
	}
	got := w.item("1.2")
	if got["00741202"].Value[0] != "Night shift" || got["00741204"].Value[0] != "Head CT" || got["00100010"].Value[0].(map[string]any)["Alphabetic"] != "Müller^Jörg" {
		t.Error(got)
	}
	refused := func(path string, d dataset, want string) {
		t.Helper()
		rec := w.ups(400, "POST", "/1.2"+path, d.body(t))
		if !strings.Contains(rec.Body.String(), want) || !strings.Contains(rec.Header().Get("Warning"), want) {
			t.Error(rec.Body, rec.Header().Get("Warning"))
		}
	}
	refused("?1.7", label, "Invalid TransactionUID")
	refused("", ds(t, "PatientName", "x"), "The attribute with tag '(0010,0010)' cannot be present.")
	refused("", ds(t, "ProcedureStepState", "COMPLETED"), "(0074,1000)' cannot be present.")
	refused("", ds(t, "ProcedureStepLabel", nil), "The value for tag '(0074,1204)' is missing.")
	refused("", ds(t, "UnifiedProcedureStepPerformedProcedureSequence", ds(t, "PerformedProcedureStepDescription", "x")), "(0040,4033)")
	w.ups(200, "PUT", "/1.2/state", change(t, "IN PROGRESS", "1.7"))
	refused("", label, "did not reference a claimed Workitem")
	refused("?1.8", label, "did not reference a claimed Workitem")
	w.ups(200, "POST", "/1.2?1.7", done(t).body(t))
	w.ups(200, "POST", "/1.2", label.with(ds(t, "TransactionUID", "1.7")).body(t))
	w.ups(200, "PUT", "/1.2/state", change(t, "COMPLETED", "1.7"))
	refused("?1.7", label, "already COMPLETED")
}

func TestWorkitemCancel(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.ups(201, "POST", "?1.2", step(t).body(t))
	w.ups(400, "POST", "/1.2/cancelrequest", ds(t, "PatientID", "x").body(t))
	w.ups(400, "POST", "/1.2/cancelrequest", ds(t, "ContactDisplayName", "x").body(t))
	rec := w.ups(202, "POST", "/1.2/cancelrequest", ds(t, "ReasonForCancellation", "no show", "ContactURI", "tel:+49", "ContactDisplayName", "Desk").body(t))
	if rec.Body.Len() > 0 {
		t.Error(rec.Body)
	}
	p, err := json.Marshal(w.item("1.2")["00741002"])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"no show", "tel:+49", "Desk", "110513", "00404052"} {
		if !strings.Contains(string(p), want) {
			t.Errorf("%s is missing in %s", want, p)
		}
	}
}

// TestWorkitemSearch looks for work items by every attribute and in every way.
func TestWorkitemSearch(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	base := step(t)
	w.ups(201, "POST", "?1.1", base.body(t))
	w.ups(201, "POST", "?1.2", base.with(ds(t, "PatientName", "Doe^John", "PatientID", "P2", "StudyInstanceUID", "1.2.4",
		"ScheduledProcedureStepStartDateTime", "20260302", "ScheduledStationNameCodeSequence", []dataset{code(t, "MR1"), code(t, "MR2")},
		"ReferencedRequestSequence", nil)).body(t))
	w.ups(201, "POST", "?1.3", base.with(ds(t, "PatientName", "Doe^Jane", "PatientID", "p2", "ScheduledStationClassCodeSequence", nil,
		"ScheduledStationGeographicLocationCodeSequence", nil)).body(t))
	w.ups(200, "PUT", "/1.3/state", change(t, "IN PROGRESS", "1.7"))
	for query, want := range map[string]string{
		"":                                     "1.3 1.2 1.1",
		"PatientID=P2":                         "1.3 1.2", // without regard to case
		"00100020=P1":                          "1.1",
		"PatientName=doe^john":                 "1.2",
		"PatientName=muller^jorg":              "1.1", // nor accents
		"PatientName=jo&fuzzymatching=true":    "1.2 1.1",
		"PatientName=jo do&fuzzymatching=true": "1.2",
		"PatientName=doe*":                     "1.3 1.2",
		"ReferencedRequestSequence.AccessionNumber=A17":                            "1.3 1.1",
		"0040A370.00080050=a17&ReferencedRequestSequence.RequestedProcedureID=RP1": "1.3 1.1",
		"ScheduledProcedureStepStartDateTime=20260301":                             "1.3 1.1",
		"ScheduledProcedureStepStartDateTime=202603011000-":                        "1.2",
		"ScheduledProcedureStepStartDateTime=-20260301":                            "1.3 1.1",
		"ScheduledProcedureStepStartDateTime=20260301-20260302":                    "1.3 1.2 1.1",
		"ScheduledStationNameCodeSequence.CodeValue=MR2":                           "1.2",
		"ScheduledStationNameCodeSequence.CodeValue=CT1&PatientID=P1":              "1.1",
		"ScheduledStationClassCodeSequence.CodeValue=CT":                           "1.2 1.1",
		"ScheduledStationGeographicLocationCodeSequence.CodeValue=R7":              "1.2 1.1",
		"ProcedureStepState=SCHEDULED":                                             "1.2 1.1",
		"ProcedureStepState=IN PROGRESS":                                           "1.3",
		"StudyInstanceUID=1.2.4":                                                   "1.2",
		"StudyInstanceUID=1.2.4,1.2.3":                                             "1.3 1.2 1.1",
		"limit=2":                                                                  "1.3 1.2",
		"limit=1&offset=1":                                                         "1.2",
		"offset=3":                                                                 "",
		"PatientID=nobody":                                                         "",
	} {
		got := w.find("/v2/workitems?"+strings.ReplaceAll(query, " ", "%20"), "00080018")
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
	for _, query := range []string{
		"foo=1", "SOPInstanceUID=1.1", "patientid=P1", "PatientID=", "PatientID=a&PatientID=b", "PatientID=a&00100020=b", "limit=0", "limit=201",
		"offset=-1", "fuzzymatching=x", "includefield=zz", "ScheduledProcedureStepStartDateTime=-", "ScheduledProcedureStepStartDateTime=x",
		"StudyInstanceUID=x", "cursor=x", "0040A370.00080050.00080100=1",
	} {
		w.ups(400, "GET", "?"+query, nil)
	}
	// The pages of the cursor are the whole list, whatever comes in between.
	rec := w.ups(200, "GET", "?limit=1", nil)
	var all []string
	for n := 0; ; n++ {
		var list []dataset
		if err := json.Unmarshal(rec.Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		all = append(all, list[0]["00080018"].Value[0].(string))
		link := rec.Header().Get("Link")
		if link == "" {
			break
		}
		w.ups(201, "POST", fmt.Sprintf("?1.9.%d", n), base.body(t))
		next := strings.TrimPrefix(link, "<http://pacs.test:8080/w/s/v2/workitems")
		rec = w.ups(200, "GET", next[:strings.IndexByte(next, '>')], nil)
	}
	if !slices.Equal(all, []string{"1.3", "1.2", "1.1"}) {
		t.Error(all)
	}
}

// TestWorkitemFields checks which attributes a search returns.
func TestWorkitemFields(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.ups(201, "POST", "?1.1", step(t).with(ds(t, "PatientComments", "c", "Occupation", "o")).body(t))
	for query, want := range map[string]string{
		"":                                 "no no",
		"includefield=PatientComments":     "yes no",
		"includefield=00104000,Occupation": "yes yes",
		"includefield=all":                 "yes yes",
		"includefield=all&includefield=Occupation": "yes yes",
	} {
		var list []dataset
		if err := json.Unmarshal(w.ups(200, "GET", "?"+query, nil).Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		_, comments := list[0]["00104000"]
		_, occupation := list[0]["00102180"]
		yes := map[bool]string{true: "yes", false: "no"}
		if got := yes[comments] + " " + yes[occupation]; got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
		if _, ok := list[0]["00081195"]; ok || len(list[0]["00741000"].Value) != 1 {
			t.Error(list[0])
		}
	}
}

func TestWorkitemPartitions(t *testing.T) {
	w := newWorld(t, dicom.Config{Partitions: true})
	post := func(code int, part string) {
		t.Helper()
		if rec := w.do("POST", "/v2"+part+"/workitems?1.2", step(t).body(t), "Content-Type", dicomJSON); rec.Code != code {
			t.Error(rec.Code, rec.Body)
		}
	}
	post(400, "")
	post(201, "/partitions/a")
	post(201, "/partitions/b")
	post(409, "/partitions/a")
	if got := w.find("/v2/partitions/a/workitems", "00080018"); len(got) != 1 {
		t.Error(got)
	}
	w.want(400, "GET", "/v2/partitions/nobody/workitems")
	if rec := w.do("PUT", "/v2/partitions/a/workitems/1.2/state", change(t, "IN PROGRESS", "1.7"), "Content-Type", dicomJSON); rec.Code != 200 {
		t.Error(rec.Code, rec.Body)
	}
	if got := w.want(200, "GET", "/v2/partitions/b/workitems/1.2"); !strings.Contains(got, "SCHEDULED") {
		t.Error(got)
	}
}
