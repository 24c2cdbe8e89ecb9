package dicomhttp_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

func TestBulkUpdate(t *testing.T) {
	for _, small := range []int64{0, 300} { // in memory, and as streams
		t.Run(fmt.Sprint(small), func(t *testing.T) { bulkUpdate(t, small) })
	}
}

func bulkUpdate(t *testing.T, small int64) {
	w := newWorld(t, dicom.Config{SmallFile: small})
	mr := file(t, "MR_small_RLE.dcm")
	w.do("PUT", "/v2/studies", mr, "Content-Type", "application/dicom")
	h31 := file(t, "chrH31.dcm")
	w.do("PUT", "/v2/studies", h31, "Content-Type", "application/dicom")
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1"), made(t, "1.2", "1.2.1", "1.2.1.2"))
	path := pathOf(t, "MR_small_RLE.dcm")
	study := strings.Split(path, "/")[3]
	before := w.do("GET", path, nil, "Accept", "application/dicom; transfer-syntax=*").Body.Bytes()
	frame := w.do("GET", path+"/frames/1", nil, "Accept", "application/octet-stream; transfer-syntax=*").Body.Bytes()
	meta := w.want(200, "GET", path+"/metadata")

	got := w.post(202, "/v2/studies/$bulkUpdate", `{"studyInstanceUids":["`+study+`","1.2","9.9.9"],"changeDataset":{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Änderung^Neu"}]},"00100020":{"vr":"LO","Value":["NEW1"]}}}`)
	status, results := w.operation(got)
	if status != "succeeded" || results["instanceUpdated"] != 3.0 || results["studyUpdated"] != 2.0 || results["studyFailed"] != 0.0 {
		t.Error(status, results)
	}
	if got := strings.Join(w.find("/v2/studies?PatientID=NEW1", "0020000D"), " "); got != "1.2 "+study {
		t.Error(got)
	}
	if got := w.want(200, "GET", path+"/metadata"); !strings.Contains(got, "Änderung^Neu") || !strings.Contains(got, `"00080005":{"vr":"CS","Value":["ISO_IR 192"]}`) {
		t.Error(got)
	}
	if got := w.do("GET", path+"/frames/1", nil, "Accept", "application/octet-stream; transfer-syntax=*").Body.Bytes(); !bytes.Equal(got, frame) {
		t.Error("the pixels have changed")
	}
	f, err := dcm.Parse(w.do("GET", path, nil, "Accept", "application/dicom; transfer-syntax=*").Body.Bytes(), dcm.Limits{})
	if err != nil || len(f.Notes) > 0 || f.Syntax.UID != dcm.RLELossless || f.Data.String(dcm.TagPatientName) != "Änderung^Neu" || f.Meta.String(dcm.TagImplementationClassUID) != dcm.ImplementationClassUID {
		t.Error(err, f.Notes)
	}
	// The original can still be had, also after a second update.
	w.operation(w.post(202, "/v2/studies/$bulkUpdate", `{"studyInstanceUids":["`+study+`"],"changeDataset":{"00100020":{"vr":"LO","Value":["NEW2"]}}}`))
	if got := w.do("GET", path, nil, "Accept", "application/dicom; transfer-syntax=*", "msdicom-request-original", "true").Body.Bytes(); !bytes.Equal(got, before) {
		t.Error("the original is another file")
	}
	rec := w.do("GET", path+"/metadata", nil, "msdicom-request-original", "true")
	if rec.Body.String() != meta {
		t.Error("the original metadata are others")
	}
	if got := w.want(200, "GET", "/v2/changefeed?includemetadata=false"); strings.Count(got, `"Action":"update"`) != 4 || strings.Count(got, `"State":"current"`) != 4 || strings.Count(got, `"State":"replaced"`) != 4 {
		t.Error(got)
	}
	// Text in another character set stays readable.
	jp := pathOf(t, "chrH31.dcm")
	w.operation(w.post(202, "/v2/studies/$bulkUpdate", `{"studyInstanceUids":["`+strings.Split(jp, "/")[3]+`"],"changeDataset":{"00100020":{"vr":"LO","Value":["JP"]}}}`))
	if got := w.want(200, "GET", jp+"/metadata"); !strings.Contains(got, `"Ideographic":"山田^太郎"`) {
		t.Error(got)
	}
	w.want(204, "DELETE", "/v2/studies/"+study)
	w.want(204, "DELETE", "/v2/studies/1.2")
	w.want(204, "DELETE", "/v2/studies/"+strings.Split(jp, "/")[3])
	w.close()
	w.open(dicom.Config{}, nil)
	if _, err := w.room.Clean(t.Context()); err != nil {
		t.Error(err)
	}
	if list, err := w.store.Unused(t.Context(), func(int64) bool { return false }); err != nil || len(list) > 0 {
		t.Errorf("left over: %v %v", list, err)
	}
}

func TestBulkUpdateRefused(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	name := `{"00100010":{"vr":"PN","Value":[{"Alphabetic":"a"}]}}`
	for _, body := range []string{
		`{}`, `{"studyInstanceUids":[],"changeDataset":` + name + `}`, `{"studyInstanceUids":["x"],"changeDataset":` + name + `}`,
		`{"studyInstanceUids":["1.2","1.2"],"changeDataset":` + name + `}`, `{"studyInstanceUids":["1.2"],"changeDataset":{}}`,
		`{"studyInstanceUids":["1.2"],"changeDataset":{"zz":{}}}`, `{"studyInstanceUids":["1.2"],"foo":1,"changeDataset":` + name + `}`,
	} {
		w.post(400, "/v2/studies/$bulkUpdate", body)
	}
	got := w.post(400, "/v2/studies/$bulkUpdate", `{"studyInstanceUids":["1.2"],"changeDataset":{"0020000D":{"vr":"UI","Value":["1.3"]},"00100030":{"vr":"DA","Value":["tomorrow"]},"00100040":{"vr":"CS"}}}`)
	if strings.Count(got, "DICOM100: ") != 3 || !strings.HasPrefix(got, `{"00741048":`) || strings.Contains(got, "tomorrow") {
		t.Error(got)
	}
	if rec := w.do("POST", "/v1/studies/$bulkUpdate", []byte(`{}`)); rec.Code == 202 {
		t.Error(rec.Code)
	}
	status, results := w.operation(w.post(202, "/v2/studies/$bulkUpdate", `{"studyInstanceUids":["1.2"],"changeDataset":`+name+`}`))
	if status != "succeeded" || results["studyUpdated"] != 0.0 || results["instanceUpdated"] != 0.0 {
		t.Error(status, results)
	}
}
