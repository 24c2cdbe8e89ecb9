package dicomhttp_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// The tests of this file are facts that the end-to-end tests of the server which
// AHDS was made of check, where this service was found to differ from them.

// TestNothingAtAll has the multipart bodies that clients send when they have no
// file: none is there, which is not the same as an empty file.
func TestNothingAtAll(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	whole := string(made(t, "1.2", "1.2.1", "1.2.1.1"))
	for _, tt := range []struct {
		name, body string
		code       int
	}{
		{"the end alone", "--B--\r\n", 204},
		{"a part that is nothing", "--B\r\n\r\n--B--\r\n", 204},
		{"two of them", "--B\r\n\r\n--B\r\n\r\n--B--\r\n", 204},
		{"a part with headers and no body", "--B\r\nContent-Type: application/dicom\r\n\r\n--B--\r\n", 409},
		{"a part without headers with an empty body", "--B\r\n\r\n\r\n--B--\r\n", 409},
		{"nothing, then a file without headers", "--B\r\n\r\n--B\r\n\r\n" + whole + "\r\n--B--\r\n", 200},
	} {
		rec := w.do("POST", "/v2/studies", []byte(tt.body), "Content-Type", `multipart/related; type="application/dicom"; boundary=B`)
		if rec.Code != tt.code {
			t.Errorf("%s: %d, want %d: %s", tt.name, rec.Code, tt.code, rec.Body)
		}
	}
}

// TestPadding: blanks and nulls behind a UID of the path or a value that is
// looked for are padding.
func TestPadding(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1", dcm.NewText(dcm.TagModality, dcm.CS, "X\x00")))
	for _, path := range []string{
		"/v2/studies/1.2%20/metadata", "/v2/studies/1.2%20%20%20/series/1.2.1%20/metadata", "/v2/studies/1.2%00/series/1.2.1/instances/1.2.1.1%00",
		"/v2/instances?Modality=X", "/v2/instances?Modality=X%00", "/v2/studies?PatientID=P1%00",
	} {
		w.want(200, "GET", path)
	}
	w.want(400, "GET", "/v2/studies/%20/metadata")
	w.stow(200, "/v2/studies/1.2%20", made(t, "1.2", "1.2.1", "1.2.1.2"))
}

// TestOptionsInAnyCase: AHDS reads the names of parameters without regard to case.
func TestOptionsInAnyCase(t *testing.T) {
	w := searchable(t)
	if got := strings.Join(w.find("/v2/studies?PatientName=joh&FuzzyMatching=True", "0020000D"), " "); got != "1.1" {
		t.Error(got)
	}
	if got := strings.Join(w.find("/v2/studies?Limit=1&Offset=1&IncludeField=00081030", "0020000D"), " "); got != "1.3" {
		t.Error(got)
	}
	rec := w.do("GET", "/v2/studies?Limit=1&Offset=1", nil)
	next, err := url.Parse(strings.Trim(strings.Split(rec.Header().Get("Link"), ";")[0], "<>"))
	if err != nil || next.Query().Get("limit") != "1" || next.Query().Has("Offset") || next.Query().Has("offset") {
		t.Error(next, err)
	}
	for _, q := range []string{"limit=1&Limit=2", "fuzzymatching=1", "fuzzymatching=", "fuzzymatching=true&FuzzyMatching=true"} {
		w.want(400, "GET", "/v2/studies?"+q)
	}
	w.want(200, "GET", "/v2/changefeed?includeMetadata=FALSE")
	w.want(400, "GET", "/v2/changefeed?includeMetadata=0")
}

// TestLevelsKeepValues: what a later instance of a study or series has no value
// for stays as an earlier one has it, in the index and in what a search shows.
func TestLevelsKeepValues(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	with := func(sop, patient, name, accession, model string) []byte {
		more := []dcm.Element{dcm.NewText(dcm.TagPatientID, dcm.LO, patient)}
		for _, e := range []dcm.Element{
			dcm.NewText(dcm.TagPatientName, dcm.PN, name), dcm.NewText(dcm.TagAccessionNumber, dcm.SH, accession), dcm.NewText(dcm.TagManufacturerModelName, dcm.LO, model),
		} {
			if len(e.Value) > 0 {
				more = append(more, e)
			}
		}
		return made(t, "1.2", "1.2.1", sop, more...)
	}
	show := func() string {
		w.t.Helper()
		var out []string
		for _, tag := range []string{"00100020", "00100010", "00080050"} {
			out = append(out, strings.Join(w.find("/v2/studies", tag), " "))
		}
		return strings.Join(append(out, w.find("/v2/series", "00081090")...), "|")
	}
	for i, tt := range []struct {
		code                             int
		patient, name, accession, model  string
		want, found, another, fuzzyFound string // the attributes, and what finds the study and does not
	}{
		{202, "", "Doe^Jane", "", "", "-|map[Alphabetic:Doe^Jane]|-|-", "PatientName=Doe*", "PatientID=1*", "doe"},
		{200, "123", "", "A7", "M1", "123|map[Alphabetic:Doe^Jane]|A7|M1", "PatientID=123&AccessionNumber=A7", "PatientID=4*", "jane"},
		{202, "", "", "", "", "123|map[Alphabetic:Doe^Jane]|A7|M1", "PatientID=123&PatientName=Doe*", "AccessionNumber=A8", "jane"},
		{200, "124", "Roe^Jane", "", "M2", "124|map[Alphabetic:Roe^Jane]|A7|M2", "PatientID=124&AccessionNumber=A7", "PatientID=123", "roe"},
	} {
		w.stow(tt.code, "/v2/studies", with(fmt.Sprintf("1.2.1.%d", i), tt.patient, tt.name, tt.accession, tt.model))
		if got := show(); got != tt.want {
			t.Errorf("after %v: %s, want %s", tt, got, tt.want)
		}
		w.want(200, "GET", "/v2/studies?"+tt.found)
		w.want(204, "GET", "/v2/studies?"+tt.another)
		w.want(200, "GET", "/v2/studies?fuzzymatching=true&PatientName="+tt.fuzzyFound)
	}
	w.want(204, "GET", "/v2/studies?fuzzymatching=true&PatientName=doe")
	// The same in one request.
	w.stow(202, "/v2/studies", made(t, "1.3", "1.3.1", "1.3.1.1", dcm.NewText(dcm.TagAccessionNumber, dcm.SH, "A9")),
		made(t, "1.3", "1.3.1", "1.3.1.2", dcm.NewText(dcm.TagPatientID, dcm.LO, "")))
	if got := w.find("/v2/studies?AccessionNumber=A9&PatientID=P1", "00100020"); len(got) != 1 || got[0] != "P1" {
		t.Error(got)
	}
}

// TestPatientIDMustBeValid: v2 stores an instance without a patient ID, but none
// with one that is not valid.
func TestPatientIDMustBeValid(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	for i, tt := range []struct {
		id   string
		code int
	}{{"123\x00", 200}, {"", 202}, {"\x00123\x00", 409}, {strings.Repeat("1", 65), 409}} {
		sop := "1.2.1." + string(rune('1'+i))
		got := w.stow(tt.code, "/v2/studies", made(t, "1.2", "1.2.1", sop, dcm.NewText(dcm.TagPatientID, dcm.LO, tt.id)))
		if refused := strings.Contains(got, `"00081197":{"vr":"US","Value":[43264]}`) && strings.Contains(got, "DICOM100: (0010,0020)"); refused != (tt.code == 409) {
			t.Errorf("%q: %s", tt.id, got)
		}
	}
}

// TestV1WantsTags: v1 refuses what is not valid in an attribute that an extended
// query tag makes searchable, v2 leaves it out.
func TestV1WantsTags(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	stage := dcm.NewText(0x00082122, dcm.IS, "InvalidISValue")
	w.stow(200, "/v1/studies", made(t, "1.2", "1.2.1", "1.2.1.1", stage))
	w.operation(w.post(202, "/v2/extendedquerytags", `[{"Path":"00082122","Level":"Instance"}]`))
	w.stow(409, "/v1/studies", made(t, "1.2", "1.2.1", "1.2.1.2", stage))
	w.stow(202, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.2", stage))
}

// TestBulkUpdateAnswers: v1 has no bulk update; a study that is not there is
// processed, and the description of a study may change.
func TestBulkUpdateAnswers(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	const change = `"changeDataset":{"00081030":{"vr":"LO","Value":["Knee"]}}}`
	w.want(404, "POST", "/v1/studies/$bulkUpdate")
	w.want(404, "PUT", "/v2/studies/$bulkupdate")
	count := func(body string) float64 {
		t.Helper()
		_, results := w.operation(w.post(202, "/v2/studies/$bulkUpdate", body))
		n, _ := results["studyProcessed"].(float64)
		return n
	}
	if n := count(`{"studyInstanceUids":["9.9"],` + change); n != 1 {
		t.Error(n)
	}
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1"))
	if n := count(`{"studyInstanceUids":["1.2","9.9"],` + change); n != 2 {
		t.Error(n)
	}
	if got := w.find("/v2/studies?StudyDescription=knee", "0020000D"); len(got) != 1 {
		t.Error(got)
	}
}
