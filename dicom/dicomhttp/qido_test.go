package dicomhttp_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// searchable fills a service with four studies; the second has two series.
func searchable(t *testing.T) *world {
	w := newWorld(t, dicom.Config{})
	utf8 := dcm.NewText(dcm.TagSpecificCharacterSet, dcm.CS, "ISO_IR 192")
	study := func(n int, name, id, date, acc string, more ...dcm.Element) []byte {
		u := fmt.Sprintf("1.%d", n)
		return made(t, u, u+".1", u+".1.1", append([]dcm.Element{
			utf8, dcm.NewText(dcm.TagPatientName, dcm.PN, name), dcm.NewText(dcm.TagPatientID, dcm.LO, id),
			dcm.NewText(dcm.TagStudyDate, dcm.DA, date), dcm.NewText(dcm.TagAccessionNumber, dcm.SH, acc),
		}, more...)...)
	}
	request := dcm.Element{Tag: dcm.TagRequestAttributesSequence, VR: dcm.SQ, Items: []*dcm.Dataset{{}}}
	request.Items[0].Put(dcm.NewText(dcm.TagScheduledProcedureStepID, dcm.SH, "SPS7"))
	w.stow(200, "/v2/studies",
		study(1, "Doe^John", "A1", "20200101", "X1", dcm.NewText(dcm.TagStudyDescription, dcm.LO, "CHEST 50%")),
		study(2, "Müller^Ännchen", "A2", "20210615", "X2", request),
		study(3, "Doe^Jane=山田^太郎", "B1", "20220101", "X3", dcm.NewText(dcm.TagModality, dcm.CS, "MR"), dcm.NewText(dcm.TagSeriesNumber, dcm.IS, "007")),
		study(4, "Smith-Jones^Joe", "B_1", "", "X4"),
		made(t, "1.2", "1.2.2", "1.2.2.1", utf8, dcm.NewText(dcm.TagPatientName, dcm.PN, "Müller^Ännchen"), dcm.NewText(dcm.TagPatientID, dcm.LO, "A2"),
			dcm.NewText(dcm.TagStudyDate, dcm.DA, "20210615"), dcm.NewText(dcm.TagAccessionNumber, dcm.SH, "X2"), dcm.NewText(dcm.TagModality, dcm.CS, "SR"),
			dcm.NewText(dcm.TagInstanceNumber, dcm.IS, "5")),
	)
	return w
}

type match map[string]struct {
	VR    string
	Value []any
}

// uids returns the value of an attribute of each match.
func (w *world) find(path, tag string) []string {
	w.t.Helper()
	rec := w.do("GET", path, nil)
	if rec.Code == 204 {
		return nil
	}
	var list []match
	if err := json.Unmarshal(rec.Body.Bytes(), &list); rec.Code != 200 || err != nil {
		w.t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
	}
	var out []string
	for _, m := range list {
		v := "-"
		if len(m[tag].Value) > 0 {
			v = fmt.Sprint(m[tag].Value[0])
		}
		out = append(out, v)
	}
	return out
}

// TestClearedValues: a value that a newer instance takes away is not found any more.
func TestClearedValues(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	instance := func(n int, name string, item dcm.Element) []byte {
		request := dcm.Element{Tag: dcm.TagRequestAttributesSequence, VR: dcm.SQ, Items: []*dcm.Dataset{{}}}
		request.Items[0].Put(item)
		return made(t, "1.1", "1.1.1", fmt.Sprintf("1.1.1.%d", n), dcm.NewText(dcm.TagPatientName, dcm.PN, name), request)
	}
	step, procedure := dcm.NewText(dcm.TagScheduledProcedureStepID, dcm.SH, "SPS7"), dcm.NewText(dcm.TagRequestedProcedureID, dcm.SH, "RP7")
	names, steps, procedures := "/v2/studies?PatientName=Doe^John", "/v2/series?RequestAttributesSequence.ScheduledProcedureStepID=SPS7", "/v2/series?RequestAttributesSequence.RequestedProcedureID=RP7"
	check := func(path string, n int) {
		t.Helper()
		if got := w.find(path, "0020000D"); len(got) != n {
			t.Errorf("%s finds %v", path, got)
		}
	}
	w.stow(200, "/v2/studies", instance(1, "Doe^John", step))
	check(names, 1)
	check(steps, 1)
	check(procedures, 0)
	w.stow(200, "/v2/studies", instance(2, "^^", procedure))
	check(names, 0)
	check("/v2/studies?PatientName=doe&fuzzymatching=true", 0)
	check(steps, 0)
	check(procedures, 1)
	check("/v2/studies?PatientName=%3F", 0)
	w.stow(200, "/v2/studies", instance(3, "Doe^John", step))
	check(names, 1)
	check(steps, 1)
	w.operation(w.post(202, "/v2/studies/$bulkUpdate", `{"studyInstanceUids":["1.1"],"changeDataset":{"00100010":{"vr":"PN","Value":[{"Alphabetic":"^^"}]}}}`))
	check(names, 0)
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1", dcm.NewText(dcm.TagPatientName, dcm.PN, "^"))) // new and without a name
	check("/v2/studies?PatientName=%3F", 0)
	check("/v2/studies", 2)
}

func TestSearch(t *testing.T) {
	w := searchable(t)
	const study, series, sop = "0020000D", "0020000E", "00080018"
	for _, tt := range []struct{ path, query, tag, want string }{
		{"/studies", "", study, "1.4 1.3 1.2 1.1"}, // newest first
		{"/studies", "PatientID=A1", study, "1.1"},
		{"/studies", "00100020=a1", study, "1.1"},
		{"/studies", "PatientID=A*", study, "1.2 1.1"},
		{"/studies", "PatientID=?1", study, "1.3 1.1"},
		{"/studies", "PatientID=B_1", study, "1.4"},
		{"/studies", "StudyDescription=*50%25*", study, "1.1"},
		{"/studies", "StudyDescription=*5%25%25*", study, ""},
		{"/studies", "PatientName=doe^john", study, "1.1"},
		{"/studies", "PatientName=MULLER^annchen", study, "1.2"},
		{"/studies", "PatientName=Doe^Jane", study, "1.3"},
		{"/studies", "PatientName=*太郎*", study, "1.3"},
		{"/studies", "PatientName=Doe*", study, "1.3 1.1"},
		{"/studies", "PatientName=jo&fuzzymatching=true", study, "1.4 1.1"},
		{"/studies", "PatientName=jo+do&fuzzymatching=true", study, "1.1"},
		{"/studies", "PatientName=ohn&fuzzymatching=true", study, ""},
		{"/studies", "StudyDate=20210615", study, "1.2"},
		{"/studies", "StudyDate=20200101-20211231", study, "1.2 1.1"},
		{"/studies", "StudyDate=20210101-", study, "1.3 1.2"},
		{"/studies", "StudyDate=-20201231", study, "1.1"},
		{"/studies", "StudyInstanceUID=1.1,1.3", study, "1.3 1.1"},
		{"/studies", `StudyInstanceUID=1.1\1.4`, study, "1.4 1.1"},
		{"/studies", "ModalitiesInStudy=SR", study, "1.2"},
		{"/studies", "ModalitiesInStudy=SR,MR", study, "1.3 1.2"},
		{"/studies", "AccessionNumber=X3&PatientID=B1", study, "1.3"},
		{"/studies", "AccessionNumber=X3&PatientID=A1", study, ""},
		{"/studies", "limit=2", study, "1.4 1.3"},
		{"/studies", "limit=2&offset=3", study, "1.1"},
		{"/studies", "offset=4", study, ""},
		{"/series", "", series, "1.2.2 1.4.1 1.3.1 1.2.1 1.1.1"},
		{"/series", "Modality=ct", series, "1.4.1 1.2.1 1.1.1"},
		{"/series", "Modality=CT&PatientID=A2", series, "1.2.1"},
		{"/series", "SeriesNumber=7", series, "1.3.1"},
		{"/series", "00400275.00400009=SPS7", series, "1.2.1"},
		{"/series", "RequestAttributesSequence.ScheduledProcedureStepID=SPS7", study, "1.2"},
		{"/studies/1.2/series", "", series, "1.2.2 1.2.1"},
		{"/studies/1.2/series", "Modality=SR", series, "1.2.2"},
		{"/instances", "PatientID=A2", sop, "1.2.2.1 1.2.1.1"},
		{"/instances", "Modality=SR", sop, "1.2.2.1"},
		{"/instances", "Modality=CT&PatientID=A*", sop, "1.2.1.1 1.1.1.1"},
		{"/instances", "SOPInstanceUID=1.3.1.1&PatientID=B1", sop, "1.3.1.1"},
		{"/instances", "InstanceNumber=5", sop, "1.2.2.1"},
		{"/studies/1.2/instances", "", sop, "1.2.2.1 1.2.1.1"},
		{"/studies/1.2/instances", "SeriesInstanceUID=1.2.1", sop, "1.2.1.1"},
		{"/studies/1.2/series/1.2.2/instances", "", sop, "1.2.2.1"},
		{"/studies/1.9/series", "", series, ""},
		{"/studies", "PatientID=A2&includefield=00200013", "00200013", "5"},
		{"/studies", "PatientID=A2&includefield=all", "0020000D", "1.2"},
	} {
		path := "/v2" + tt.path
		if tt.query != "" {
			// Go's client would send the same.
			path += "?" + strings.NewReplacer("^", "%5E", `\`, "%5C", "太郎", url.QueryEscape("太郎")).Replace(tt.query)
		}
		if got := strings.Join(w.find(path, tt.tag), " "); got != tt.want {
			t.Errorf("%s: %s, want %s", path, got, tt.want)
		}
	}
}

// TestSearchMany checks searches that lists of values decide.
func TestSearchPages(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	var files [][]byte
	for i := range 25 {
		u := fmt.Sprintf("1.%d", i+1)
		files = append(files, made(t, u, u+".1", u+".1.1", dcm.NewText(dcm.TagStudyDate, dcm.DA, fmt.Sprintf("202001%02d", i%5+1))))
	}
	w.stow(200, "/v2/studies", files...)
	for _, query := range []string{"limit=7", "limit=7&StudyDate=20200101-20201231", "limit=25"} {
		var seen []string
		path := "/v2/studies?" + query
		for path != "" {
			rec := w.do("GET", path, nil)
			seen = append(seen, w.find(path, "0020000D")...)
			link := rec.Header().Get("Link")
			path = ""
			if _, after, ok := strings.Cut(link, "/w/s"); ok {
				path, _, _ = strings.Cut(after, ">")
			}
			// What is stored meanwhile does not shift the pages.
			n := len(seen) + 1000
			w.stow(200, "/v2/studies", made(t, fmt.Sprintf("9.%s.%d", strings.Map(func(r rune) rune {
				if r >= '0' && r <= '9' {
					return r
				}
				return -1
			}, query), n), "9.1", fmt.Sprintf("9.%d", n), dcm.NewText(dcm.TagStudyDate, dcm.DA, "20300101")))
		}
		old := slices.DeleteFunc(slices.Clone(seen), func(s string) bool { return strings.HasPrefix(s, "9.") })
		slices.Sort(old)
		if n := len(old); n != 25 || len(slices.Compact(old)) != 25 {
			t.Errorf("%s: %d studies, %d different: %v", query, n, len(slices.Compact(old)), seen)
		}
	}
}

func TestSearchRefuses(t *testing.T) {
	w := searchable(t)
	for _, q := range []string{
		"studies?limit=0", "studies?limit=201", "studies?limit=x", "studies?offset=-1", "studies?cursor=x", "studies?fuzzymatching=maybe",
		"studies?NoSuchTag=1", "studies?patientid=A1", "studies?PatientID=", "studies?PatientID=A1&00100020=A1", "studies?PatientID=A&PatientID=B",
		"studies?StudyDate=yesterday", "studies?StudyDate=20210101-20200101", "studies?StudyDate=-", "studies?StudyDate=2021",
		"studies?Modality=CT", "studies?SOPInstanceUID=1.2", "studies?StudyInstanceUID=1.a", "studies?includefield=nothing",
		"studies?PixelData=x", "series?SeriesNumber=x", "studies/1.2/series?StudyInstanceUID=1.2", "studies/x/series",
		"studies?PatientName=%22a&fuzzymatching=true", "studies?PatientName=%zz",
	} {
		if rec := w.do("GET", "/v2/"+q, nil); rec.Code != 400 || rec.Body.Len() == 0 {
			t.Errorf("%s: %d %s", q, rec.Code, rec.Body)
		}
	}
	if rec := w.do("GET", "/v2/studies", nil, "Accept", "text/html"); rec.Code != 406 {
		t.Error(rec.Code)
	}
}
