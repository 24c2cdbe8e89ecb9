package loader

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/loader/sample"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// pacs is a DICOM service as far as the loader sees it.
type pacs struct {
	t        *testing.T
	mu       sync.Mutex
	there    map[string]int // bytes by instance UID
	requests int
	parts    []int
}

func (p *pacs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.requests++; p.requests == 1 {
		w.WriteHeader(http.StatusServiceUnavailable) // it comes again
		return
	}
	if r.Header.Get("Authorization") != "Bearer t" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || r.URL.Path != "/pacs/v2/studies" {
		p.t.Error(r.URL, err)
	}
	item := func(uid string, reason int) map[string]any {
		m := map[string]any{}
		if uid != "" {
			m["00081155"] = map[string]any{"vr": "UI", "Value": []string{uid}}
		}
		if reason > 0 {
			m["00081197"] = map[string]any{"vr": "US", "Value": []int{reason}}
			m["00741048"] = map[string]any{"vr": "SQ", "Value": []any{map[string]any{"00000902": map[string]any{"vr": "LO", "Value": []string{"DICOM100: why"}}}}}
		}
		return m
	}
	var stored, failed []any
	n := 0
	for mr := multipart.NewReader(r.Body, params["boundary"]); ; n++ {
		part, err := mr.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			p.t.Error(err)
			return
		}
		b, err := io.ReadAll(part)
		if err != nil {
			p.t.Error(err)
		}
		f, err := dcm.Parse(b, dcm.Limits{})
		switch {
		case err != nil:
			failed = append(failed, item("", 272))
		case p.there[f.Data.String(dcm.TagSOPInstanceUID)] > 0:
			failed = append(failed, item(f.Data.String(dcm.TagSOPInstanceUID), 45070))
		case f.Data.String(dcm.TagPatientID) == "":
			failed = append(failed, item(f.Data.String(dcm.TagSOPInstanceUID), 43264))
		default:
			p.there[f.Data.String(dcm.TagSOPInstanceUID)] = len(b)
			stored = append(stored, item(f.Data.String(dcm.TagSOPInstanceUID), 0))
		}
	}
	p.parts = append(p.parts, n)
	answer := map[string]any{}
	if stored != nil {
		answer["00081199"] = map[string]any{"vr": "SQ", "Value": stored}
	}
	if failed != nil {
		answer["00081198"] = map[string]any{"vr": "SQ", "Value": failed}
		w.WriteHeader(map[bool]int{true: http.StatusConflict, false: http.StatusAccepted}[stored == nil])
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		p.t.Error(err)
	}
}

// TestImages stores the DICOM files of a folder, once.
func TestImages(t *testing.T) {
	p := &pacs{t: t, there: map[string]int{}}
	srv := httptest.NewServer(p)
	defer srv.Close()
	files, err := sample.Study()
	if err != nil {
		t.Fatal(err)
	}
	f, err := dcm.Parse(files[0], dcm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	file := func(uid, patient string) []byte {
		f.Data.Put(dcm.NewText(dcm.TagSOPInstanceUID, dcm.UI, uid))
		f.Data.Put(dcm.NewText(dcm.TagPatientID, dcm.LO, patient))
		f.Data.Remove(dcm.TagPixelData)
		var b bytes.Buffer
		if err := dcm.Write(&b, f, dcm.ExplicitLittle, dcm.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for i := range 60 {
		write(fmt.Sprintf("a/%03d.dcm", i), file(fmt.Sprintf("1.2.%d", i), "P"))
	}
	write("b/again.DCM", file("1.2.7", "P"))
	write("b/nobody.dcm", file("1.3.1", ""))
	write("b/broken.dcm", []byte("no image"))
	write("b/readme.txt", []byte("not loaded"))
	write("b/noname", file("1.3.2", "P")) // in a folder the ending decides
	named := filepath.Join(t.TempDir(), "IM000001")
	if err := os.WriteFile(named, file("1.3.4", "P"), 0o600); err != nil {
		t.Fatal(err)
	}
	errs := filepath.Join(t.TempDir(), "errors")
	opt := Options{To: srv.URL + "/fhir", Images: srv.URL + "/pacs/v2/", Token: "t", ErrorFile: errs, Backoff: time.Microsecond, Concurrency: 1}
	got, err := Run(t.Context(), opt, []string{dir, named})
	if err != nil {
		t.Fatal(err)
	}
	if got.Files != 64 || got.Created != 61 || got.Unchanged != 1 || got.Failed != 2 || p.parts[0] != maxImages {
		t.Errorf("%+v %v", got, p.parts)
	}
	text, err := os.ReadFile(errs)
	if err != nil || !strings.Contains(string(text), "nobody.dcm\",\"status\":") || !strings.Contains(string(text), "reason 43264; DICOM100: why") || !strings.Contains(string(text), "broken.dcm\",\"status\":409,\"diagnostics\":\"reason 272") {
		t.Errorf("%v %s", err, text)
	}
	got, err = Run(t.Context(), opt, []string{dir, named})
	if err != nil || got.Created != 0 || got.Unchanged != 62 || got.Failed != 2 {
		t.Errorf("%v %+v", err, got)
	}
	opt.Token = ""
	if _, err := Run(t.Context(), opt, []string{named}); err == nil || !strings.Contains(err.Error(), "refuses the login") {
		t.Error(err)
	}
	opt.Images = ""
	if _, err := Run(t.Context(), opt, []string{filepath.Join(dir, "a/000.dcm")}); err == nil || !strings.Contains(err.Error(), "the name ends in none") {
		t.Error(err)
	}
	opt.Images = "nowhere"
	if _, err := Run(t.Context(), opt, []string{dir}); err == nil || !strings.Contains(err.Error(), "is not the URL of a DICOM service") {
		t.Error(err)
	}
}

// TestImagesTwice counts every file of a request once, although two have one UID and
// the answer does not say which file cannot be read.
func TestImagesTwice(t *testing.T) {
	p := &pacs{t: t, there: map[string]int{}, requests: 1}
	srv := httptest.NewServer(p)
	defer srv.Close()
	files, err := sample.Study()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"1.dcm": files[0], "2.dcm": files[0], "3.dcm": []byte("no image"), "4.dcm": files[1], "5.dcm": files[0], "6.dcm": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opt := Options{To: srv.URL + "/fhir", Images: srv.URL + "/pacs/v2", Token: "t", ErrorFile: filepath.Join(t.TempDir(), "errors")}
	for _, want := range []Report{{Created: 2, Unchanged: 2}, {Unchanged: 4}} {
		got, err := Run(t.Context(), opt, []string{dir})
		if err != nil || got.Files != 6 || got.Resources != 6 || got.Created != want.Created || got.Unchanged != want.Unchanged || got.Failed != 2 {
			t.Errorf("%v %+v", err, got)
		}
	}
}

// TestImagesOfArchive loads images from an archive beside resources.
func TestImagesOfArchive(t *testing.T) {
	p := &pacs{t: t, there: map[string]int{}, requests: 1}
	srv := httptest.NewServer(p)
	defer srv.Close()
	fhir := serve(t)
	files, err := sample.Study()
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	zw := zip.NewWriter(&z)
	for name, b := range map[string][]byte{"scan/1.dcm": files[0], "p.json": []byte(`{"resourceType":"Patient","id":"a"}`)} {
		m, err := zw.Create(name)
		if err == nil {
			_, err = m.Write(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "all.zip")
	if err := os.WriteFile(name, z.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Run(t.Context(), Options{To: fhir.URL + "/fhir", Images: srv.URL + "/pacs/v2", Token: "t"}, []string{name})
	if err != nil || got.Files != 2 || got.Created != 2 {
		t.Errorf("%v %+v", err, got)
	}
}
