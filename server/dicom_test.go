package server_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/loader/sample"
	"github.com/hygeia-health/hygeia/server"
)

// TestDICOM stores an image by path, finds it by host name, and sees the events.
func TestDICOM(t *testing.T) {
	p := open(t, t.TempDir(), func(c *server.Config) { c.Domain = "example.org" })
	if rec := p.do("GET", "/default/events?after=0", ""); rec.Code != 200 {
		t.Fatal(rec.Code, rec.Body)
	}
	files, err := sample.Study()
	if err != nil {
		t.Fatal(err)
	}
	if rec := p.do("POST", "/default/dicom/v2/studies", string(files[0]), "Content-Type", "application/dicom"); rec.Code != 200 {
		t.Fatal(rec.Code, rec.Body)
	}
	rec := p.do("GET", "http://default-dicom.dicom.example.org/v2/studies", "")
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), `"http://default-dicom.dicom.example.org/v2/studies/`) {
		t.Error(rec.Code, rec.Body)
	}
	if rec := p.do("GET", "http://default-fhir.dicom.example.org/v2/studies", ""); rec.Code != 404 {
		t.Error(rec.Code)
	}
	if rec := p.do("DELETE", "/default/dicom/v2/studies/1.2.826.0.1.3680043.10.1499.1.1", ""); rec.Code != 204 {
		t.Error(rec.Code, rec.Body)
	}
	var body string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		body = p.do("GET", "/default/events?after=0", "").Body.String()
		if strings.Contains(body, "DicomImageDeleted") {
			break
		}
	}
	if !strings.Contains(body, "DicomImageCreated") || !strings.Contains(body, `"serviceHostName":"default-dicom.dicom.example.org"`) {
		t.Error(body)
	}
}

// TestContainers exports into a folder and imports from it again, as jobs.
func TestContainers(t *testing.T) {
	dir := t.TempDir()
	p := open(t, t.TempDir(), func(c *server.Config) {
		c.Containers = []server.ContainerConfig{
			{Name: "shelf", URL: "file://" + dir, Export: true, Import: true, Services: []string{"default/dicom"}},
			{Name: "other", URL: "file://" + dir, Export: true, Services: []string{"default/images"}},
			{Name: "inbox", URL: "file://" + dir, Import: true},
		}
	})
	files, err := sample.Study()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if rec := p.do("POST", "/default/dicom/v2/studies", string(f), "Content-Type", "application/dicom"); rec.Code != 200 {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	const study = "1.2.826.0.1.3680043.10.1499.1.1"
	export := func(to string) string {
		return `{"source":{"type":"identifiers","settings":{"values":["` + study + `"]}},"destination":{"type":"container","settings":{"name":"` + to + `"}}}`
	}
	for _, to := range []string{"other", "inbox", "nowhere", dir, "file://" + dir + "/.."} {
		if rec := p.do("POST", "/default/dicom/v2/export", export(to), "Content-Type", "application/json"); rec.Code != 400 {
			t.Error(to, rec.Code, rec.Body)
		}
	}
	// run asks for an operation and returns its results.
	run := func(path, body string) map[string]any {
		rec := p.do("POST", "/default/dicom/v2/"+path, body, "Content-Type", "application/json")
		if rec.Code != 202 {
			t.Fatal(rec.Code, rec.Body)
		}
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			got := p.do("GET", rec.Header().Get("Location"), "")
			if got.Code == 200 {
				var op struct{ Results map[string]any }
				if err := json.Unmarshal(got.Body.Bytes(), &op); err != nil || !strings.Contains(got.Body.String(), `"status":"succeeded"`) {
					t.Fatal(err, got.Body)
				}
				return op.Results
			}
		}
		t.Fatal("the operation does not end")
		return nil
	}
	if got := run("export", export("shelf")); got["exported"] != float64(len(files)) || !strings.HasPrefix(got["errorHref"].(string), "file://"+dir+"/") {
		t.Error(got)
	}
	out, err := filepath.Glob(filepath.Join(dir, "*", "results", study, "*", "*.dcm"))
	if err != nil || len(out) != len(files) {
		t.Fatal(err, out)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "link.dcm")); err != nil {
		t.Fatal(err)
	}
	if rec := p.do("DELETE", "/default/dicom/v2/studies/"+study, ""); rec.Code != 204 {
		t.Fatal(rec.Code)
	}
	// errors.log is no image; links are not followed.
	got := run("import", `{"source":{"type":"container","settings":{"name":"inbox"}}}`)
	if got["imported"] != float64(len(files)) || got["failed"] != 1.0 {
		t.Error(got)
	}
	if rec := p.do("GET", "/default/dicom/v2/studies/"+study+"/metadata", ""); rec.Code != 200 {
		t.Error(rec.Code)
	}
}
