package dicomhttp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomhttp"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// TestStoreAndRetrieve stores every fixture that can be stored and reads back
// the same bytes, metadata and frames.
func TestStoreAndRetrieve(t *testing.T) {
	for _, small := range []int64{0, 500} { // all in memory; most as streams
		t.Run(fmt.Sprint(small), func(t *testing.T) { storeAndRetrieve(t, small) })
	}
}

func storeAndRetrieve(t *testing.T, small int64) {
	w := newWorld(t, dicom.Config{SmallFile: small})
	names, err := filepath.Glob(filepath.Join("..", "..", "spec", "dcm", "testdata", "*.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	for _, name := range names {
		b := file(t, filepath.Base(name))
		rec := w.do("PUT", "/v2/studies", b, "Content-Type", "application/dicom")
		if rec.Code != 200 && rec.Code != 202 {
			if rec.Code != 409 {
				t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
			}
			continue
		}
		stored++
		f, err := dcm.Parse(b, dcm.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		path := fmt.Sprintf("/v2/studies/%s/series/%s/instances/%s", f.Data.String(dcm.TagStudyInstanceUID), f.Data.String(dcm.TagSeriesInstanceUID), f.Data.String(dcm.TagSOPInstanceUID))
		got := w.do("GET", path, nil, "Accept", "application/dicom; transfer-syntax=*")
		if f.Preamble && !bytes.Equal(got.Body.Bytes()[128:], b[128:]) {
			t.Errorf("%s: other bytes came back", name)
		}
		if g, err := dcm.Parse(got.Body.Bytes(), dcm.Limits{}); err != nil || !g.Preamble || bytes.Count(got.Body.Bytes()[:128], []byte{0}) != 128 {
			t.Errorf("%s: what came back is no Part 10 file with an empty preamble: %v", name, err)
		}
		var list []map[string]struct{ Value []any }
		if err := json.Unmarshal(w.do("GET", path+"/metadata", nil).Body.Bytes(), &list); err != nil || len(list) != 1 || list[0]["00080018"].Value[0] != f.Data.String(dcm.TagSOPInstanceUID) {
			t.Errorf("%s: metadata %v %v", name, err, list)
		}
		if ft, err := f.Frames(); err == nil && !f.Syntax.Deflated && !f.Syntax.BigEndian {
			fr := w.do("GET", path+fmt.Sprintf("/frames/%d", ft.Count), nil, "Accept", "application/octet-stream; transfer-syntax=*").Body.Bytes()
			r := ft.Frame(ft.Count - 1)[0]
			shift := int64(len(got.Body.Bytes()) - len(b)) // a preamble that was added
			if want := got.Body.Bytes()[r.Offset+shift : r.Offset+shift+r.Length]; !bytes.Equal(fr, want) {
				t.Errorf("%s: another frame: %d bytes, want %d", name, len(fr), len(want))
			}
		}
	}
	if stored < 25 {
		t.Errorf("only %d of %d fixtures were stored", stored, len(names))
	}
}

func TestStoreAnswers(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	a, b := made(t, "1.1", "1.1.1", "1.1.1.1"), made(t, "1.2", "1.2.1", "1.2.1.1")
	got := w.stow(200, "/v2/studies", a)
	if !strings.Contains(got, `"00081190":{"vr":"UR","Value":["http://pacs.test:8080/w/s/v2/studies/1.1/series/1.1.1/instances/1.1.1.1"]}`) ||
		!strings.Contains(got, `"00741048":{"vr":"SQ"}`) || strings.Contains(got, "00081198") {
		t.Error(got)
	}
	if got := w.stow(409, "/v2/studies", a); !strings.Contains(got, `"00081197":{"vr":"US","Value":[45070]}`) {
		t.Error(got)
	}
	if got := w.stow(202, "/v2/studies/1.2", a, b, []byte("nonsense, not DICOM")); !strings.Contains(got, "[43265]") || !strings.Contains(got, "[272]") ||
		!strings.HasPrefix(got, `{"00081190":{"vr":"UR","Value":["http://pacs.test:8080/w/s/v2/studies/1.2"]}`) {
		t.Error(got)
	}
	bad := made(t, "1.3", "1.3.1", "1.3.1.1", dcm.NewText(dcm.TagStudyDate, dcm.DA, "tomorrow"), dcm.NewText(0x00081030, dcm.LO, "kept"))
	if got := w.stow(409, "/v1/studies", bad); !strings.Contains(got, "DICOM100: (0008,0020)") || strings.Contains(got, "tomorrow") {
		t.Error(got)
	}
	if got := w.stow(202, "/v2/studies", bad); !strings.Contains(got, `"00081196":{"vr":"US","Value":[1]}`) {
		t.Error(got)
	}
	if got := w.want(200, "GET", "/v2/studies/1.3/metadata"); strings.Contains(got, "00080020") || !strings.Contains(got, "kept") {
		t.Error(got)
	}
	if got := w.do("GET", "/v2/studies/1.3", nil, "Accept", `multipart/related; type=application/dicom; transfer-syntax=*`).Body.String(); !strings.Contains(got, "tomorrow") {
		t.Error("the file was changed")
	}
	// PUT replaces.
	body, typ := related(made(t, "1.1", "1.1.1", "1.1.1.1", dcm.NewText(dcm.TagStudyDescription, dcm.LO, "second")))
	if rec := w.do("PUT", "/v2/studies", body, "Content-Type", typ); rec.Code != 200 {
		t.Error(rec.Code, rec.Body)
	}
	if got := w.want(200, "GET", "/v2/studies?StudyInstanceUID=1.1"); !strings.Contains(got, "second") || !strings.Contains(got, `"00201208":{"vr":"IS","Value":[1]}`) {
		t.Error(got)
	}
	if got := w.want(200, "GET", "/v1/changefeed?includemetadata=false"); strings.Count(got, `"State":"replaced"`) != 1 || strings.Count(got, `"State":"current"`) != 3 {
		t.Error(got)
	}
}

func TestStoreRequests(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	a := string(made(t, "1.1", "1.1.1", "1.1.1.1"))
	tests := []struct {
		name, path, typ, accept, body string
		code                          int
	}{
		{"no content", "/v2/studies", `multipart/related; type="application/dicom"; boundary=b`, "", "--b--", 204},
		{"no content with a preamble", "/v2/studies", `multipart/related; type="application/dicom"; boundary=b`, "", "hello\r\n--b--\r\n", 204},
		{"an empty part", "/v2/studies", `multipart/related; type="application/dicom"; boundary=b`, "", "--b\r\n\r\n\r\n--b--", 409},
		{"a part that is nothing", "/v2/studies", `multipart/related; type="application/dicom"; boundary=b`, "", "--b\r\n\r\n--b--", 204},
		{"first part without type, unquoted type", "/v2/studies", `multipart/related; type=application/dicom; boundary=b`, "", "--b\r\n\r\n" + a + "\r\n--b--", 200},
		{"single part", "/v2/studies", "application/dicom", "", a, 409},
		{"cut off", "/v2/studies", `multipart/related; type="application/dicom"; boundary=b`, "", "--b\r\n\r\n" + a[:200], 400},
		{"cut off in headers", "/v2/studies", `multipart/related; type="application/dicom"; boundary=b`, "", "--b\r\nContent-Type: appl", 400},
		{"no boundary", "/v2/studies", `multipart/related; type="application/dicom"`, "", "", 400},
		{"another type", "/v2/studies", "application/json", "", "{}", 415},
		{"another root type", "/v2/studies", `multipart/related; type="image/jpeg"; boundary=b`, "", "--b--", 415},
		{"another part type", "/v2/studies", `multipart/related; type="application/dicom"; boundary=b`, "", "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--", 415},
		{"start", "/v2/studies", `multipart/related; type="application/dicom"; boundary=b; start=x`, "", "--b--", 400},
		{"accept xml only", "/v2/studies", "application/dicom", "application/dicom+xml", a, 406},
		{"accept among others", "/v2/studies", "application/dicom", "application/dicom+xml, application/dicom+json;q=0.5", a, 409},
		{"bad study", "/v2/studies/abc", "application/dicom", "", a, 400},
		{"no version", "/studies", "application/dicom", "", a, 404},
		{"no partitions", "/v2/partitions/x/studies", "application/dicom", "", a, 400},
	}
	for _, tt := range tests {
		h := []string{"Content-Type", tt.typ}
		if tt.accept != "" {
			h = append(h, "Accept", tt.accept)
		}
		if rec := w.do("POST", tt.path, []byte(tt.body), h...); rec.Code != tt.code {
			t.Errorf("%s: %d, want %d: %s", tt.name, rec.Code, tt.code, rec.Body)
		}
	}
}

func TestRetrieve(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	b := file(t, "MR_small.dcm")
	w.stow(200, "/v2/studies", b)
	rle := "/v2/studies/1.2"
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1"), made(t, "1.2", "1.2.1", "1.2.1.2"))

	for _, tt := range []struct {
		path, accept string
		code         int
		typ          string
	}{
		{ctPath, "", 200, "multipart/related"},
		{ctPath, "*/*", 200, "multipart/related"},
		{ctPath, "application/dicom", 200, "application/dicom"},
		{ctPath, `multipart/related; type="application/dicom"`, 200, "multipart/related"},
		{ctPath, `multipart/related;type=application/dicom;transfer-syntax=1.2.840.10008.1.2`, 200, "multipart/related"},
		{ctPath, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90", 406, ""},
		{ctPath, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90, application/dicom;q=0.1", 200, "application/dicom"},
		{ctPath, "text/html", 406, ""},
		{rle, "application/dicom", 406, ""},
		{rle, `multipart/related; type="application/dicom"`, 200, "multipart/related"},
		{"/v2/studies/9.9", "", 404, ""},
		{"/v2/studies/9.x", "", 400, ""},
		{ctPath + "/frames/1", "application/octet-stream", 200, "application/octet-stream"},
		{ctPath + "/frames/1", "multipart/related; type=application/octet-stream; transfer-syntax=*", 200, "multipart/related"},
		{ctPath + "/frames/1,1", "application/octet-stream", 400, ""},
		{ctPath + "/frames/2", "", 404, ""},
		{ctPath + "/frames/0", "", 400, ""},
		{ctPath + "/frames/a", "", 400, ""},
		{ctPath + "/frames/1", "image/jp2", 406, ""},
		{ctPath + "/bulkdata/7FE00010", "", 200, "application/octet-stream"},
		{ctPath + "/bulkdata/7FE00010", "multipart/related; type=\"application/octet-stream\"", 200, "multipart/related"},
		{ctPath + "/bulkdata/00420011", "", 404, ""},
		{ctPath + "/bulkdata/7FE00010/1", "", 400, ""},
		{ctPath + "/metadata", "application/dicom+xml", 200, "multipart/related"},
		{ctPath + "/metadata", "text/html", 406, ""},
		{ctPath + "/metadata", `multipart/related; type="application/dicom+xml", application/dicom+json;q=0.5`, 200, "multipart/related"},
		{ctPath + "/metadata", "application/dicom+xml;q=0.5, application/dicom+json", 200, "application/dicom+json"},
		{ctPath + "/metadata", "application/json", 200, "application/dicom+json"},
	} {
		rec := w.do("GET", tt.path, nil, "Accept", tt.accept)
		typ, _, _ := strings.Cut(rec.Header().Get("Content-Type"), ";")
		if rec.Code != tt.code || tt.typ != "" && typ != tt.typ {
			t.Errorf("%s, %q: %d %s, want %d %s: %.80s", tt.path, tt.accept, rec.Code, typ, tt.code, tt.typ, rec.Body)
		}
	}
	want := bytes.Clone(b)
	clear(want[:128])
	parts := w.parts(w.do("GET", ctPath, nil, "Accept", "*/*"))
	if len(parts) != 1 || !bytes.Equal(parts[0], want) {
		t.Error("the part is another file")
	}
	if parts := w.parts(w.do("GET", rle, nil, "Accept", `multipart/related; type="application/dicom"; transfer-syntax=*`)); len(parts) != 2 {
		t.Errorf("%d parts", len(parts))
	}
	if r := w.do("GET", ctPath, nil, "Accept", "application/dicom", "Range", "bytes=128-131"); r.Code != 206 || r.Body.String() != "DICM" || r.Header().Get("Content-Range") != fmt.Sprintf("bytes 128-131/%d", len(b)) {
		t.Error(r.Code, r.Body, r.Header())
	}
	if r := w.do("GET", ctPath, nil, "Accept", "application/dicom", "Range", "bytes=99999999-"); r.Code != 416 {
		t.Error(r.Code)
	}
	// Transcoded to implicit, the data are the same.
	implicit := w.do("GET", ctPath, nil, "Accept", "application/dicom; transfer-syntax=1.2.840.10008.1.2")
	f, err := dcm.Parse(implicit.Body.Bytes(), dcm.Limits{})
	if err != nil || f.Syntax.UID != dcm.ImplicitLittle || f.Data.String(dcm.TagPatientName) != "CompressedSamples^MR1" || f.Data.Get(dcm.TagPixelData).Length != 8192 {
		t.Error(err)
	}
}

func (w *world) parts(rec *httptest.ResponseRecorder) (out [][]byte) {
	w.t.Helper()
	_, params, err := mime.ParseMediaType(rec.Header().Get("Content-Type"))
	if err != nil {
		w.t.Fatal(err)
	}
	if n := rec.Header().Get("Content-Length"); n != "" && n != fmt.Sprint(rec.Body.Len()) {
		w.t.Errorf("Content-Length %s of %d bytes", n, rec.Body.Len())
	}
	mr := multipart.NewReader(rec.Body, params["boundary"])
	for {
		p, err := mr.NextRawPart()
		if err == io.EOF {
			return out
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if !strings.Contains(p.Header.Get("Content-Type"), "transfer-syntax=") {
			w.t.Errorf("part of type %s", p.Header.Get("Content-Type"))
		}
		b, err := io.ReadAll(p)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, b)
	}
}

func TestXML(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	item := &dcm.Dataset{}
	item.Put(dcm.NewText(0x00080100, dcm.SH, "a<b"))
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1",
		dcm.NewText(dcm.TagSpecificCharacterSet, dcm.CS, "ISO_IR 192"), dcm.NewText(dcm.TagPatientName, dcm.PN, "Doe^Jane=山田"),
		dcm.NewText(0x00090010, dcm.LO, "ACME"), dcm.NewText(0x00091001, dcm.LO, "x"),
		dcm.Element{Tag: 0x00081032, VR: dcm.SQ, Items: []*dcm.Dataset{item}},
		dcm.Element{Tag: 0x00420011, VR: dcm.OB, Value: []byte("%PDF")}))
	got := w.do("GET", "/v2/studies/1.2/metadata", nil, "Accept", `multipart/related; type="application/dicom+xml"`).Body.String()
	for _, want := range []string{
		`<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1"><Alphabetic><FamilyName>Doe</FamilyName><GivenName>Jane</GivenName></Alphabetic><Ideographic><FamilyName>山田</FamilyName></Ideographic></PersonName></DicomAttribute>`,
		`<DicomAttribute tag="00091001" vr="LO" privateCreator="ACME"><Value number="1">x</Value></DicomAttribute>`,
		`<DicomAttribute tag="00081032" vr="SQ" keyword="ProcedureCodeSequence"><Item number="1"><DicomAttribute tag="00080100" vr="SH" keyword="CodeValue"><Value number="1">a&lt;b</Value></DicomAttribute></Item></DicomAttribute>`,
		`<BulkData uri="http://pacs.test:8080/w/s/v2/studies/1.2/series/1.2.1/instances/1.2.1.1/bulkdata/00420011"/>`,
		"Content-Type: application/dicom+xml\r\n\r\n<?xml",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if got := w.do("GET", "/v2/studies", nil, "Accept", "application/dicom+xml").Body.String(); strings.Count(got, "<NativeDicomModel") != 1 {
		t.Error(got)
	}
}

// TestETagOfForms: the same metadata as JSON and as XML are two representations.
func TestETagOfForms(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1"))
	tag := func(accept string) string {
		return w.do("GET", "/v2/studies/1.2/metadata", nil, "Accept", accept).Header().Get("ETag")
	}
	const xml = `multipart/related; type="application/dicom+xml"`
	if a, b := tag(dicomJSON), tag(xml); a == b || a == "" || b == "" {
		t.Error(a, b)
	}
	for accept, other := range map[string]string{dicomJSON: xml, xml: dicomJSON} {
		w.want(304, "GET", "/v2/studies/1.2/metadata", "Accept", accept, "If-None-Match", tag(accept))
		w.want(200, "GET", "/v2/studies/1.2/metadata", "Accept", other, "If-None-Match", tag(accept))
	}
}

func TestMetadata(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1"), made(t, "1.2", "1.2.1", "1.2.1.2"))
	first := w.do("GET", "/v2/studies/1.2/metadata", nil)
	tag := first.Header().Get("ETag")
	if tag != `"2-2"` || first.Header().Get("Content-Type") != "application/dicom+json" {
		t.Error(first.Header())
	}
	for _, h := range []string{tag, "2-2", `"1-1", ` + tag, "W/" + tag} {
		if r := w.do("GET", "/v2/studies/1.2/metadata", nil, "If-None-Match", h); r.Code != 304 || r.Body.Len() > 0 {
			t.Errorf("If-None-Match %s: %d", h, r.Code)
		}
	}
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.2", "1.2.2.1", dcm.Element{Tag: 0x00420011, VR: dcm.OB, Value: []byte("%PDF-1.4")}))
	second := w.do("GET", "/v2/studies/1.2/metadata", nil, "If-None-Match", tag)
	if second.Code != 200 || !strings.Contains(second.Body.String(), `"00420011":{"vr":"OB","BulkDataURI":"http://pacs.test:8080/w/s/v2/studies/1.2/series/1.2.2/instances/1.2.2.1/bulkdata/00420011"}`) {
		t.Error(second.Code, second.Body)
	}
	if got := w.want(200, "GET", "/v2/studies/1.2/series/1.2.2/instances/1.2.2.1/bulkdata/00420011"); got != "%PDF-1.4" {
		t.Error(got)
	}
	w.want(204, "DELETE", "/v2/studies/1.2/series/1.2.2")
	if got := w.want(200, "GET", "/v2/studies/1.2/metadata"); got != first.Body.String() {
		t.Error("the metadata are not those of before")
	}
}

func TestDeleteAndChangeFeed(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	if got := w.want(204, "GET", "/v2/changefeed/latest"); got != "" {
		t.Error(got)
	}
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1"), made(t, "1.2", "1.2.1", "1.2.1.2"), made(t, "1.2", "1.2.2", "1.2.2.1", dcm.NewText(dcm.TagModality, dcm.CS, "MR")))
	if got := w.want(200, "GET", "/v2/studies"); !strings.Contains(got, `"00080061":{"vr":"CS","Value":["CT","MR"]}`) || !strings.Contains(got, `"00201206":{"vr":"IS","Value":[2]}`) {
		t.Error(got)
	}
	w.want(204, "DELETE", "/v2/studies/1.2/series/1.2.1/instances/1.2.1.1")
	w.want(404, "DELETE", "/v2/studies/1.2/series/1.2.1/instances/1.2.1.1")
	w.want(204, "DELETE", "/v2/studies/1.2/series/1.2.2")
	w.want(400, "DELETE", "/v2/studies/x")
	if got := w.want(200, "GET", "/v2/studies"); !strings.Contains(got, `"00080061":{"vr":"CS","Value":["CT"]}`) || !strings.Contains(got, `"00201208":{"vr":"IS","Value":[1]}`) {
		t.Error(got)
	}
	got := w.want(200, "GET", "/v2/changefeed?includemetadata=false")
	if strings.Count(got, `"Action":"create"`) != 3 || strings.Count(got, `"Action":"delete"`) != 2 || strings.Count(got, `"State":"deleted"`) != 4 || strings.Count(got, `"State":"current"`) != 1 {
		t.Error(got)
	}
	if got := w.want(200, "GET", "/v1/changefeed?offset=1&limit=2"); !strings.Contains(got, `"Sequence":2,`) || !strings.Contains(got, `"Sequence":3,`) || strings.Contains(got, `"Sequence":4,`) || !strings.Contains(got, `"Metadata":{`) {
		t.Error(got)
	}
	if got := w.want(200, "GET", "/v2/changefeed/latest"); !strings.Contains(got, `"Sequence":5,`) || strings.Contains(got, "Metadata") {
		t.Error(got)
	}
	for _, q := range []string{"limit=0", "limit=201", "limit=x", "offset=-1", "startTime=2024-01-01", "startTime=2024-01-02T00:00:00Z&endTime=2024-01-01T00:00:00Z", "foo=1", "includemetadata=2x"} {
		w.want(400, "GET", "/v2/changefeed?"+q)
	}
	if got := w.want(200, "GET", "/v2/changefeed?endTime=2000-01-01T00:00:00Z"); got != "[]" {
		t.Error(got)
	}
	w.want(204, "DELETE", "/v2/studies/1.2")
	w.want(204, "GET", "/v2/studies")
	w.want(204, "GET", "/v2/instances")
	w.close() // the blob does not grow any more
	w.open(dicom.Config{}, nil)
	if n, err := w.room.Clean(t.Context()); err != nil || n > 1 {
		t.Errorf("%d blobs were removed, %v", n, err)
	}
	if left, err := filepath.Glob(filepath.Join(w.dir, "blobs", "0*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}

func TestPartitions(t *testing.T) {
	w := newWorld(t, dicom.Config{Partitions: true})
	w.want(204, "GET", "/v2/partitions")
	w.stow(200, "/v2/partitions/a/studies", made(t, "1.2", "1.2.1", "1.2.1.1"))
	if got := w.stow(200, "/v2/partitions/b/studies", made(t, "1.2", "1.2.1", "1.2.1.1")); !strings.Contains(got, "/w/s/v2/partitions/b/studies/1.2/series") {
		t.Error(got)
	}
	if got := w.want(200, "GET", "/v2/partitions"); !strings.Contains(got, `"partitionName":"a"`) || !strings.Contains(got, `"partitionName":"b"`) {
		t.Error(got)
	}
	w.want(400, "GET", "/v2/studies")
	w.want(400, "GET", "/v2/partitions/c/studies")
	w.want(400, "GET", "/v2/partitions/a%20b/studies")
	w.want(204, "DELETE", "/v2/partitions/a/studies/1.2")
	w.want(200, "GET", "/v2/partitions/b/studies/1.2/metadata")
	if got := w.want(200, "GET", "/v2/changefeed"); !strings.Contains(got, `"PartitionName":"b"`) {
		t.Error(got)
	}
}

func TestRoles(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.close()
	w.open(dicom.Config{}, auth.NewGuard("/w/s"))
	if rec := w.do("GET", "/v2/studies", nil); rec.Code != 401 || rec.Header().Get("WWW-Authenticate") == "" {
		t.Error(rec.Code, rec.Header())
	}
	as := func(role string, method, path string, body []byte, headers ...string) int {
		actions, ok := auth.BuiltinRole(role)
		if !ok {
			t.Fatal(role)
		}
		r := httptest.NewRequest(method, "/w/s"+path, bytes.NewReader(body))
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		p := &auth.Principal{ID: "x", Grants: []auth.Grant{{Scope: "/w", Actions: actions}}}
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r.WithContext(auth.WithPrincipal(r.Context(), p)))
		return rec.Code
	}
	b := made(t, "1.2", "1.2.1", "1.2.1.1")
	for _, tt := range []struct {
		role, method, path string
		code               int
	}{
		{"DICOM Data Reader", "POST", "/v2/studies", 403},
		{"FHIR Data Contributor", "POST", "/v2/studies", 403},
		{"DICOM Data Owner", "POST", "/v2/studies", 200},
		{"DICOM Data Reader", "GET", "/v2/studies", 200},
		{"DICOM Data Reader", "GET", "/v2/studies/1.2", 200},
		{"DICOM Data Reader", "GET", "/v2/changefeed", 200},
		{"DICOM Data Reader", "GET", "/v2/extendedquerytags", 200},
		{"DICOM Data Reader", "GET", "/v2/extendedquerytags/PatientAge", 404},
		{"DICOM Data Reader", "GET", "/v2/extendedquerytags/PatientAge/errors", 404},
		{"DICOM Data Reader", "DELETE", "/v2/extendedquerytags/PatientAge", 403},
		{"DICOM Data Reader", "PATCH", "/v2/extendedquerytags/PatientAge", 403},
		{"DICOM Data Reader", "POST", "/v2/extendedquerytags", 403},
		{"DICOM Data Owner", "DELETE", "/v2/extendedquerytags/PatientAge", 404},
		{"FHIR Data Contributor", "GET", "/v2/extendedquerytags", 403},
		{"DICOM Data Reader", "GET", "/v2/workitems", 204},
		{"DICOM Data Reader", "GET", "/v2/workitems/1.2", 404},
		{"DICOM Data Reader", "POST", "/v2/workitems?1.2", 403},
		{"DICOM Data Reader", "POST", "/v2/workitems/1.2", 403},
		{"DICOM Data Reader", "PUT", "/v2/workitems/1.2/state", 403},
		{"DICOM Data Reader", "POST", "/v2/workitems/1.2/cancelrequest", 403},
		{"FHIR Data Contributor", "GET", "/v2/workitems", 403},
		{"FHIR Data Contributor", "GET", "/v2/workitems/1.2", 403},
		{"DICOM Data Reader", "DELETE", "/v2/studies/1.2", 403},
		{"FHIR Data Contributor", "GET", "/v2/studies/1.2/metadata", 403},
		{"DICOM Data Owner", "DELETE", "/v2/studies/1.2", 204},
	} {
		body, typ := b, "application/dicom"
		if strings.Contains(tt.path, "/workitems") {
			body, typ = step(t).body(t), dicomJSON
		}
		if strings.Contains(tt.path, "/extendedquerytags") {
			body, typ = []byte(`{"QueryStatus":"Enabled"}`), "application/json"
			if tt.method == "POST" {
				body = []byte(`[{"Path":"PatientAge","Level":"Study"}]`)
			}
		}
		if got := as(tt.role, tt.method, tt.path, body, "Content-Type", typ); got != tt.code {
			t.Errorf("%s %s %s: %d, want %d", tt.role, tt.method, tt.path, got, tt.code)
		}
	}
}

// TestReopen finds everything again, also what a crash left.
func TestReopen(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1"))
	n, err := w.store.Object()
	if err != nil {
		t.Fatal(err)
	}
	w.close()
	w.open(dicom.Config{}, nil)
	m, err := w.store.Object()
	if err != nil || m <= n {
		t.Errorf("number %d after %d, %v", m, n, err)
	}
	w.want(200, "GET", "/v2/studies/1.2/metadata")
}

// TestConcurrentStores sends the same and other instances at once: each is
// stored once, and all counts are right.
func TestConcurrentStores(t *testing.T) {
	w := newWorld(t, dicom.Config{Buffer: 1 << 20})
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for i := range 16 {
		wg.Go(func() {
			for k := range 8 {
				b := made(t, "1.2", fmt.Sprintf("1.2.%d", k%3), fmt.Sprintf("1.2.%d.%d", k, i/2))
				rec := w.do("POST", "/v2/studies", b, "Content-Type", "application/dicom")
				mu.Lock()
				codes[rec.Code]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if codes[200] != 64 || codes[409] != 64 {
		t.Errorf("codes %v", codes)
	}
	if got := w.want(200, "GET", "/v2/studies"); !strings.Contains(got, `"00201208":{"vr":"IS","Value":[64]}`) || !strings.Contains(got, `"00201206":{"vr":"IS","Value":[3]}`) {
		t.Error(got)
	}
	if got := strings.Count(w.want(200, "GET", "/v2/changefeed?includemetadata=false"), "create"); got != 64 {
		t.Errorf("%d changes", got)
	}
}

// TestRefuse: what is refused before it comes here has a body, too.
func TestRefuse(t *testing.T) {
	rec := httptest.NewRecorder()
	dicomhttp.Refuse(rec, httptest.NewRequest("GET", "/w/s/v2/studies", nil), fault.New(fault.Forbidden, "not you"))
	if rec.Code != 403 || rec.Body.String() != "not you" || rec.Header().Get("Content-Length") != "7" {
		t.Error(rec.Code, rec.Body, rec.Header())
	}
}

func TestMethods(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	rec := w.do("PATCH", "/v2/studies", nil)
	if rec.Code != 405 || rec.Header().Get("Allow") != "GET, HEAD, POST, PUT, OPTIONS" {
		t.Error(rec.Code, rec.Header())
	}
	if rec := w.do("OPTIONS", "/v2/studies/1.2", nil); rec.Code != 204 || rec.Header().Get("Allow") == "" {
		t.Error(rec.Code)
	}
	w.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1"))
	if rec := w.do("HEAD", "/v2/studies/1.2/metadata", nil); rec.Code != 200 || rec.Body.Len() > 0 || rec.Header().Get("Content-Length") == "" {
		t.Error(rec.Code, rec.Body.Len(), rec.Header())
	}
	if rec := w.do("HEAD", "/v2/studies/1.2", nil); rec.Code != 200 || rec.Body.Len() > 0 {
		t.Error(rec.Code, rec.Body.Len())
	}
	if got := w.want(200, "GET", "/health/check"); !strings.Contains(got, `"overallStatus":"Healthy"`) {
		t.Error(got)
	}
}
