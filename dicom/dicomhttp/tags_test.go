package dicomhttp_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/jobs"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// operation waits for an operation and returns how it ended.
func (w *world) operation(body string) (status string, results map[string]any) {
	w.t.Helper()
	var loc struct{ ID, Href string }
	if err := json.Unmarshal([]byte(body), &loc); err != nil || !strings.HasSuffix(loc.Href, "/w/s/v2/operations/"+loc.ID) {
		w.t.Fatalf("%v %s", err, body)
	}
	for range 20_000 {
		rec := w.do("GET", "/v2/operations/"+loc.ID, nil)
		var op struct {
			Status  string
			Results map[string]any
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &op); err != nil {
			w.t.Fatal(err, rec.Body)
		}
		if rec.Code == 200 {
			return op.Status, op.Results
		}
		if rec.Code != 202 || rec.Header().Get("Location") == "" {
			w.t.Fatal(rec.Code, rec.Body)
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatal("the operation does not end")
	return "", nil
}

func (w *world) post(code int, path, body string) string {
	w.t.Helper()
	rec := w.do("POST", path, []byte(body), "Content-Type", "application/json")
	if rec.Code != code {
		w.t.Fatalf("POST %s %s: %d, want %d: %s", path, body, rec.Code, code, rec.Body)
	}
	return rec.Body.String()
}

func TestExtendedQueryTags(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	private := func(v string) []dcm.Element {
		return []dcm.Element{dcm.NewText(0x00090010, dcm.LO, "ACME"), dcm.NewText(0x00091001, dcm.LO, v)}
	}
	w.stow(200, "/v2/studies",
		made(t, "1.1", "1.1.1", "1.1.1.1", append(private("red"), dcm.NewText(0x00080070, dcm.LO, "Philips"), dcm.NewText(0x00101020, dcm.DS, "1.80"))...),
		made(t, "1.2", "1.2.1", "1.2.1.1", append(private("blue"), dcm.NewText(0x00080070, dcm.LO, "GE"), dcm.NewText(0x00181030, dcm.LO, "Head"))...),
		made(t, "1.3", "1.3.1", "1.3.1.1", dcm.NewText(0x00080070, dcm.SH, "wrong VR")))
	w.want(400, "GET", "/v2/studies?PatientSize=1.8")
	got := w.post(202, "/v2/extendedquerytags", `[{"path":"00101020","level":"Study"},{"path":"Manufacturer","vr":"LO","level":"series"},`+
		`{"path":"00091001","vr":"LO","privateCreator":"ACME","level":"Instance"}]`)
	if status, _ := w.operation(got); status != "succeeded" {
		t.Error(status)
	}
	if got := w.want(200, "GET", "/v2/extendedquerytags"); strings.Count(got, `"status":"Ready"`) != 3 || strings.Count(got, `"queryStatus":"Disabled"`) != 1 {
		t.Error(got)
	}
	if got := w.want(200, "GET", "/v2/extendedquerytags/00080070"); !strings.Contains(got, `"errors":{"count":1,"href":"http://pacs.test:8080/w/s/v2/extendedquerytags/00080070/errors"}`) {
		t.Error(got)
	}
	if got := w.want(200, "GET", "/v2/extendedquerytags/00080070/errors"); !strings.Contains(got, `"sopInstanceUid":"1.3.1.1"`) || !strings.Contains(got, "The value is of VR SH") {
		t.Error(got)
	}
	w.want(400, "GET", "/v2/series?Manufacturer=GE") // disabled until somebody looked
	if rec := w.do("PATCH", "/v2/extendedquerytags/Manufacturer", []byte(`{"QueryStatus":"Enabled"}`)); rec.Code != 200 {
		t.Error(rec.Code, rec.Body)
	}
	if rec := w.do("GET", "/v2/series?Manufacturer=GE", nil); rec.Header().Get("erroneous-dicom-attributes") != "00080070" {
		t.Error(rec.Header())
	}
	// What comes later is indexed at once.
	w.stow(200, "/v2/studies", made(t, "1.4", "1.4.1", "1.4.1.1", append(private("red"), dcm.NewText(0x00080070, dcm.LO, "GE"))...))
	for _, tt := range []struct{ path, tag, want string }{
		{"/v2/studies?PatientSize=1.8", "0020000D", "1.1"},
		{"/v2/studies?00101020=1.80", "00101020", "1.8"},
		{"/v2/series?Manufacturer=ge", "0020000E", "1.4.1 1.2.1"},
		{"/v2/series?Manufacturer=P*", "00080070", "Philips"},
		{"/v2/instances?00091001=red", "00080018", "1.4.1.1 1.1.1.1"},
		{"/v2/instances?00091001=red&Manufacturer=GE", "00080018", "1.4.1.1"},
		{"/v2/studies/1.2/instances?00091001=blue", "00080018", "1.2.1.1"},
	} {
		if got := strings.Join(w.find(tt.path, tt.tag), " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.path, got, tt.want)
		}
	}
	w.want(204, "DELETE", "/v2/studies/1.4")
	if got := strings.Join(w.find("/v2/instances?00091001=red", "00080018"), " "); got != "1.1.1.1" {
		t.Error(got)
	}
	w.want(204, "DELETE", "/v2/extendedquerytags/00091001")
	w.want(404, "GET", "/v2/extendedquerytags/00091001")
	w.want(400, "GET", "/v2/instances?00091001=red")
	w.want(404, "GET", "/v2/operations/0123456789abcdef0123456789abcdef")
}

func TestExtendedQueryTagsRefused(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	for _, body := range []string{
		``, `{}`, `[]`, `[{"path":"00080070","level":"Series","foo":1}]`, `[{"path":"zz","level":"Study"}]`, `[{"path":"00080070","level":"Planet"}]`,
		`[{"path":"00080070","vr":"SH","level":"Series"}]`, `[{"path":"00100020","level":"Study"}]`, `[{"path":"00081140","level":"Instance"}]`,
		`[{"path":"00091001","level":"Study","vr":"LO"}]`, `[{"path":"00091001","level":"Study","privateCreator":"x"}]`, `[{"path":"7FE00010","level":"Instance"}]`,
		`[{"path":"00080070","level":"Series"},{"path":"Manufacturer","level":"Study"}]`, `[{"path":"12345678","level":"Series"}]`,
		`[{"path":"00080070","level":"Series","privateCreator":"x"}]`,
	} {
		w.post(400, "/v2/extendedquerytags", body)
	}
	w.operation(w.post(202, "/v2/extendedquerytags", `[{"path":"00080070","level":"Series"}]`))
	w.post(409, "/v2/extendedquerytags", `[{"path":"00080070","level":"Series"}]`)
	for _, tt := range []struct {
		method, path, body string
		code               int
	}{
		{"PATCH", "/v2/extendedquerytags/00080070", `{"QueryStatus":"Maybe"}`, 400},
		{"PATCH", "/v2/extendedquerytags/00080071", `{"QueryStatus":"Enabled"}`, 404},
		{"DELETE", "/v2/extendedquerytags/00080071", ``, 404},
		{"DELETE", "/v2/extendedquerytags/x", ``, 400},
		{"GET", "/v2/extendedquerytags?limit=0", ``, 400},
		{"GET", "/v2/extendedquerytags?foo=0", ``, 400},
	} {
		if rec := w.do(tt.method, tt.path, []byte(tt.body)); rec.Code != tt.code {
			t.Errorf("%s %s: %d, want %d: %s", tt.method, tt.path, rec.Code, tt.code, rec.Body)
		}
	}
}

// TestOperationCancelled takes back what a cancelled operation had begun.
func TestOperationCancelled(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.jobs.idle = true
	w.post(202, "/v2/extendedquerytags", `[{"path":"StationName","level":"Series"}]`)
	w.post(409, "/v2/extendedquerytags", `[{"path":"InstitutionName","level":"Series"}]`)
	id := w.jobs.waiting[0]
	clean := dicom.Handlers(func(context.Context, string) (*dicom.Service, func(), error) { return w.room, func() {}, nil })["dicom-operation"].Clean
	for range 2 {
		if err := clean(t.Context(), jobs.Job{Definition: []byte(`{"operation":"` + id + `"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.want(200, "GET", "/v2/operations/"+id); !strings.Contains(got, `"status":"canceled"`) {
		t.Error(got)
	}
	if got := w.want(200, "GET", "/v2/extendedquerytags"); got != "[]" {
		t.Error(got)
	}
	w.post(202, "/v2/extendedquerytags", `[{"path":"StationName","level":"Series"}]`)
}
