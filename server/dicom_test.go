package server_test

import (
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
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		body = p.do("GET", "/default/events?after=0", "").Body.String()
		if strings.Contains(body, "DicomImageDeleted") {
			break
		}
	}
	if !strings.Contains(body, "DicomImageCreated") || !strings.Contains(body, `"serviceHostName":"default-dicom.dicom.example.org"`) {
		t.Error(body)
	}
}
