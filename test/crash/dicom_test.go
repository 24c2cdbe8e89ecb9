package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// TestKillDICOM kills the server while images are stored, small ones in shared
// blobs and large ones in their own, and studies are deleted. Every instance that was
// acknowledged must come back byte for byte, and when all are deleted no blob is left.
// The ImagingStudies of the FHIR service are in step with the studies each time.
func TestKillDICOM(t *testing.T) {
	bin, _, rnd := campaign(t, 10)
	data := filepath.Join(t.TempDir(), "data")
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	m := &modality{t: t, client: client, there: map[string][]byte{}, gone: map[string]bool{}}
	for round := range 5 {
		p := start(t, bin, data)
		m.base = strings.TrimSuffix(p.base, "fhir") + "dicom"
		if round == 0 {
			m.keepStudies()
		}
		var wg sync.WaitGroup
		for w, size := range []int{2 << 10, 2 << 10, 40 << 10, 3 << 19} {
			wg.Go(func() { m.store(round, w, size) })
		}
		if round < 4 { // what is stored in the last round stays
			wg.Go(func() { m.remove(round) })
		}
		time.Sleep(time.Duration(100+rnd.IntN(500)) * time.Millisecond)
		until(t, "images are acknowledged", func() bool { return m.stored(round) })
		p.kill()
		wg.Wait()
		client.CloseIdleConnections()
	}
	p := start(t, bin, data)
	m.base = strings.TrimSuffix(p.base, "fhir") + "dicom"
	m.check()
	m.feed()
	m.inStep()
	m.removeAll()
	p.stop(t)
	p = start(t, bin, data)
	m.base = strings.TrimSuffix(p.base, "fhir") + "dicom"
	m.empty(filepath.Join(data, "_blobs", "default", "dicom"))
	m.inStep()
	p.stop(t)
}

// modality remembers what was acknowledged.
type modality struct {
	t      *testing.T
	client *http.Client
	base   string

	mu    sync.Mutex
	there map[string][]byte // by study/series/instance: what must come back
	gone  map[string]bool   // studies whose deletion was asked for
}

// do sends a request; 0 when the server is gone.
func (m *modality) do(method, path, contentType string, body []byte) (int, []byte) {
	req, err := http.NewRequestWithContext(m.t.Context(), method, m.base+path, bytes.NewReader(body))
	if err != nil {
		m.t.Error(err)
		return 0, nil
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", "application/dicom; transfer-syntax=*, application/dicom+json")
	res, err := m.client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil
	}
	return res.StatusCode, b
}

// file makes an image of a size.
func (m *modality) file(study, series, sop string, size int) []byte {
	d := &dcm.Dataset{}
	for t, v := range map[dcm.Tag]string{
		dcm.TagSOPClassUID: "1.2.840.10008.5.1.4.1.1.7", dcm.TagSOPInstanceUID: sop, dcm.TagStudyInstanceUID: study, dcm.TagSeriesInstanceUID: series,
	} {
		d.Put(dcm.NewText(t, dcm.UI, v))
	}
	d.Put(dcm.NewText(dcm.TagPatientID, dcm.LO, "P"))
	pixels := bytes.Repeat([]byte(fmt.Sprintf("%-16.16s", sop)), size/16)
	d.Put(dcm.Element{Tag: dcm.TagPixelData, VR: dcm.OB, Value: pixels, Length: int64(len(pixels))})
	var b bytes.Buffer
	if err := dcm.Write(&b, &dcm.File{Meta: &dcm.Dataset{}, Data: d}, dcm.ExplicitLittle, dcm.WriteOptions{}); err != nil {
		m.t.Error(err)
	}
	return b.Bytes()
}

// store stores until the server is gone, a study of five instances in each request.
func (m *modality) store(round, writer, size int) {
	for i := 0; ; i++ {
		study := fmt.Sprintf("1.2.%d.%d.%d", round, writer, i)
		files := map[string][]byte{}
		var body bytes.Buffer
		for k := range 5 {
			series, sop := fmt.Sprintf("%s.%d", study, k%2), fmt.Sprintf("%s.9.%d", study, k)
			b := m.file(study, series, sop, size)
			files[study+"/"+series+"/"+sop] = b
			body.WriteString("--b\r\nContent-Type: application/dicom\r\n\r\n")
			body.Write(b)
			body.WriteString("\r\n")
		}
		body.WriteString("--b--\r\n")
		status, text := m.do("POST", "/v2/studies", `multipart/related; type="application/dicom"; boundary=b`, body.Bytes())
		if status == 0 {
			return
		}
		if status != 200 {
			m.t.Errorf("store: %d %s", status, text)
			return
		}
		m.mu.Lock()
		for k, b := range files {
			m.there[k] = b
		}
		m.mu.Unlock()
	}
}

// stored reports whether anything was acknowledged in a round.
func (m *modality) stored(round int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.there {
		if strings.HasPrefix(k, fmt.Sprintf("1.2.%d.", round)) {
			return true
		}
	}
	return false
}

// remove deletes studies until the server is gone.
func (m *modality) remove(round int) {
	for {
		study := ""
		m.mu.Lock()
		for k := range m.there {
			if s, _, _ := strings.Cut(k, "/"); !m.gone[s] {
				study = s
				break
			}
		}
		if study != "" {
			m.gone[study] = true
		}
		m.mu.Unlock()
		if study == "" {
			time.Sleep(time.Millisecond)
			if status, _ := m.do("GET", "/v2/changefeed/latest", "", nil); status == 0 {
				return
			}
			continue
		}
		status, text := m.do("DELETE", "/v2/studies/"+study, "", nil)
		if status == 0 {
			return // it may be deleted or not
		}
		if status != 204 {
			m.t.Errorf("delete in round %d: %d %s", round, status, text)
			return
		}
		m.mu.Lock()
		for k := range m.there {
			if strings.HasPrefix(k, study+"/") {
				m.there[k] = nil // acknowledged as deleted
			}
		}
		m.mu.Unlock()
	}
}

// check reads every instance that was acknowledged.
func (m *modality) check() {
	m.t.Helper()
	kept := 0
	for k, want := range m.there {
		uids := strings.Split(k, "/")
		status, got := m.do("GET", "/v2/studies/"+uids[0]+"/series/"+uids[1]+"/instances/"+uids[2], "", nil)
		switch {
		case want == nil && status != 404:
			m.t.Errorf("%s is deleted, but the answer is %d", k, status)
		case want == nil:
		case status == 404 && m.gone[uids[0]]: // the deletion was done, its answer lost
		case status != 200 || !bytes.Equal(got, want):
			m.t.Errorf("%s was acknowledged, but the answer is %d with %d bytes of %d", k, status, len(got), len(want))
		default:
			kept++
		}
	}
	m.t.Logf("%d instances were acknowledged, %d are there", len(m.there), kept)
	if kept == 0 {
		m.t.Error("nothing is left to compare")
	}
}

// feed reads the change feed: it has no gap, and every instance that was acknowledged is in it.
func (m *modality) feed() {
	m.t.Helper()
	created := map[string]bool{}
	for last := int64(0); ; {
		status, b := m.do("GET", fmt.Sprintf("/v1/changefeed?offset=%d&limit=100&includemetadata=false", last), "", nil)
		var list []struct {
			Sequence                                                    int64
			StudyInstanceUid, SeriesInstanceUid, SopInstanceUid, Action string
		}
		if err := json.Unmarshal(b, &list); err != nil || status != 200 {
			m.t.Fatalf("change feed: %d %v", status, err)
		}
		if len(list) == 0 {
			break
		}
		for _, c := range list {
			if c.Sequence != last+1 {
				m.t.Fatalf("the change feed goes from %d to %d", last, c.Sequence)
			}
			last = c.Sequence
			if c.Action == "create" {
				created[c.StudyInstanceUid+"/"+c.SeriesInstanceUid+"/"+c.SopInstanceUid] = true
			}
		}
	}
	for k := range m.there {
		if !created[k] {
			m.t.Errorf("%s is not in the change feed", k)
		}
	}
}

// removeAll deletes every study.
func (m *modality) removeAll() {
	m.t.Helper()
	for {
		status, b := m.do("GET", "/v2/studies?limit=200", "", nil)
		if status == 204 {
			return
		}
		var list []map[string]struct{ Value []any }
		if err := json.Unmarshal(b, &list); err != nil || status != 200 {
			m.t.Fatalf("%d %v", status, err)
		}
		for _, s := range list {
			if status, text := m.do("DELETE", fmt.Sprint("/v2/studies/", s["0020000D"].Value[0]), "", nil); status != 204 {
				m.t.Fatalf("%d %s", status, text)
			}
		}
	}
}

// empty waits until no blob of an image is left.
func (m *modality) empty(dir string) {
	m.t.Helper()
	var left []string
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(20 * time.Millisecond) {
		if status, text := m.do("GET", "/v2/studies", "", nil); status != 204 {
			m.t.Fatalf("%d %s", status, text)
		}
		left = nil
		err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(name, ".dcm") {
				left = append(left, name)
			}
			return nil // folders go meanwhile
		})
		if err == nil && len(left) == 0 {
			return
		}
	}
	m.t.Errorf("%d blobs belong to nobody: %v", len(left), left[:min(len(left), 5)])
}
