package crash

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// keepStudies switches on that ImagingStudies are kept.
func (m *modality) keepStudies() {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPut, strings.TrimSuffix(m.base, "default/dicom")+"manage/v1/workspaces/default/dicomservices/dicom",
		strings.NewReader(`{"imagingStudy":{"destination":"fhir","patients":"create"}}`))
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := m.client.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		m.t.Fatal(res.Status, err)
	}
}

// inStep waits until there is an ImagingStudy for each study, with as many
// instances, and no other.
func (m *modality) inStep() {
	m.t.Helper()
	var have, want map[string]int
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if have, want = m.imagingStudies(), m.studies(); maps.Equal(have, want) {
			m.t.Logf("%d ImagingStudies are in step", len(have))
			return
		}
	}
	m.t.Errorf("there are %d ImagingStudies of %d studies", len(have), len(want))
	for uid, n := range want {
		if have[uid] != n {
			m.t.Errorf("study %s has %d instances, its ImagingStudy %d", uid, n, have[uid])
		}
	}
}

// studies are the numbers of instances by study.
func (m *modality) studies() map[string]int {
	out := map[string]int{}
	for offset := 0; ; offset += 200 {
		status, text := m.do("GET", fmt.Sprintf("/v2/studies?limit=200&offset=%d", offset), "", nil)
		if status == http.StatusNoContent {
			return out
		}
		var list []map[string]struct{ Value []any }
		if err := json.Unmarshal(text, &list); err != nil {
			m.t.Fatal(status, err)
		}
		for _, s := range list {
			uid, _ := s["0020000D"].Value[0].(string)
			n, _ := s["00201208"].Value[0].(float64)
			out[uid] = int(n)
		}
	}
}

// imagingStudies are the same from the FHIR service; one that is there twice counts twice.
func (m *modality) imagingStudies() map[string]int {
	out := map[string]int{}
	next := strings.TrimSuffix(m.base, "dicom") + "fhir/ImagingStudy?_count=500"
	for next != "" {
		res, err := m.client.Get(next)
		if err != nil {
			m.t.Fatal(err)
		}
		var page struct {
			Link  []struct{ Relation, URL string }
			Entry []struct {
				Resource struct {
					Identifier []struct{ Value string }
					N          int `json:"numberOfInstances"`
				}
			}
		}
		err = json.NewDecoder(res.Body).Decode(&page)
		_ = res.Body.Close()
		if err != nil {
			m.t.Fatal(err)
		}
		for _, e := range page.Entry {
			out[strings.TrimPrefix(e.Resource.Identifier[0].Value, "urn:oid:")] += e.Resource.N
		}
		next = ""
		for _, l := range page.Link {
			if l.Relation == "next" {
				next = l.URL
			}
		}
	}
	return out
}
