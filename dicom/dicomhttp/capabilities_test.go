package dicomhttp_test

import (
	"encoding/xml"
	"slices"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomhttp"
)

// TestCapabilities reads the description and compares it with the routes that
// there are, and asks for each parameter of each search.
func TestCapabilities(t *testing.T) {
	w, one := newWorld(t, dicom.Config{Partitions: true}), newWorld(t, dicom.Config{})
	var app struct {
		Resources struct {
			Base string `xml:"base,attr"`
			List []struct {
				Path    string `xml:"path,attr"`
				Methods []struct {
					Name    string `xml:"name,attr"`
					Request struct {
						Params []struct {
							Name string `xml:"name,attr"`
						} `xml:"param"`
						In []struct {
							Type string `xml:"mediaType,attr"`
						} `xml:"representation"`
					} `xml:"request"`
				} `xml:"method"`
			} `xml:"resource"`
		} `xml:"resources"`
	}
	rec := w.do("OPTIONS", "/v2/", nil)
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/vnd.sun.wadl+xml" || xml.Unmarshal(rec.Body.Bytes(), &app) != nil {
		t.Fatal(rec.Code, rec.Header(), rec.Body)
	}
	if app.Resources.Base != "http://pacs.test:8080/w/s/v2" {
		t.Error(app.Resources.Base)
	}
	var got, want []string
	for _, r := range app.Resources.List {
		for _, m := range r.Methods {
			got = append(got, m.Name+" /v2/"+r.Path)
			for _, p := range m.Request.Params {
				value := map[string]string{"limit": "1", "offset": "0", "fuzzymatching": "true", "includefield": "all", "cursor": "LjE"}[p.Name]
				if strings.Contains(p.Name, "Date") {
					value = "20240101"
				}
				if value == "" {
					value = "1"
				}
				if strings.Contains(p.Name, "Time") {
					value = "10"
				}
				path := "/v2/" + strings.NewReplacer("{study}", "1.2", "{series}", "1.3").Replace(r.Path)
				if m.Name == "GET" && !strings.Contains(r.Path, "{instance}") && !strings.HasSuffix(r.Path, "rendered") && !strings.HasSuffix(r.Path, "thumbnail") {
					if rec := one.do("GET", path+"?"+p.Name+"="+value, nil); rec.Code != 200 && rec.Code != 204 {
						t.Errorf("%s?%s=%s: %d %s", path, p.Name, value, rec.Code, rec.Body)
					}
				}
			}
		}
	}
	for _, r := range dicomhttp.Routes() {
		if r.Path != "/health/check" {
			want = append(want, r.Method+" "+r.Path)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("described:\n%s\nthere:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if body := w.do("OPTIONS", "/v1/partitions/p", nil).Body.String(); !strings.Contains(body, `base="http://pacs.test:8080/w/s/v1/partitions/p"`) || strings.Contains(body, "changefeed") || strings.Contains(body, "bulkUpdate") {
		t.Error(body)
	}
	if rec := w.do("OPTIONS", "/v2", nil, "Accept", "image/png"); rec.Code != 406 {
		t.Error(rec.Code)
	}
	w.want(404, "GET", "/v2")
}
