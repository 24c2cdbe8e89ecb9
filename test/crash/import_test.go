package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKillImport kills the server several times while it imports a file with
// some broken lines, with encryption. The import ends by itself: every resource
// is there with one version, every broken line is reported once.
func TestKillImport(t *testing.T) {
	bin, _, rnd := campaign(t, 10)
	const lines, bad = 30_000, 100 // every 300th line is broken
	dir := t.TempDir()
	var b strings.Builder
	for i := range lines {
		if i%(lines/bad) == 7 {
			b.WriteString(`{"resourceType":"Patient","id":"broken","birthDate":"yesterday"}` + "\n")
			continue
		}
		fmt.Fprintf(&b, `{"resourceType":"Patient","id":"p%05d","name":[{"family":"F%d","given":["G%d"]}],"birthDate":"19%02d-01-02"}`+"\n", i, i%977, i%31, i%100)
	}
	keys := filepath.Join(dir, "keys")
	for name, text := range map[string]string{filepath.Join(dir, "in.ndjson"): b.String(), keys: "k " + strings.Repeat("A", 43) + "=\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(t.TempDir(), "data")
	im := &importer{t: t}
	for round := range 4 {
		p := start(t, bin, data, "HYGEIA_IMPORT_FOLDER="+dir, "HYGEIA_ENCRYPTION_KEYS=file:"+keys)
		im.base = p.base
		if round == 0 {
			im.begin()
		}
		if round < 3 {
			time.Sleep(time.Duration(100+rnd.IntN(500)) * time.Millisecond)
			p.kill()
			continue
		}
		var m struct{ Output, Error []struct{ Count int } }
		im.wait(&m)
		if len(m.Output) != 1 || m.Output[0].Count != lines-bad || len(m.Error) != 1 || m.Error[0].Count != bad {
			t.Errorf("the result of the import: %+v", m)
		}
		for _, query := range []string{"Patient", "Patient/_history"} {
			var bundle struct{ Total int }
			im.get(p.base+"/"+query+"?_summary=count", &bundle)
			if bundle.Total != lines-bad {
				t.Errorf("%s: %d, want %d", query, bundle.Total, lines-bad)
			}
		}
		p.stop(t)
	}
}

// importer is the client of one import.
type importer struct {
	t            *testing.T
	base, status string // status is a path
}

func (im *importer) begin() {
	im.t.Helper()
	body := `{"resourceType":"Parameters","parameter":[{"name":"inputFormat","valueString":"application/fhir+ndjson"},{"name":"mode","valueString":"IncrementalLoad"},
{"name":"processingUnitBytesToRead","valueInteger":1048576},{"name":"input","part":[{"name":"url","valueUri":"in.ndjson"}]}]}`
	req, err := http.NewRequestWithContext(im.t.Context(), "POST", im.base+"/$import", strings.NewReader(body))
	if err != nil {
		im.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/fhir+json")
	req.Header.Set("Prefer", "respond-async")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		im.t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != 202 {
		im.t.Fatalf("%d %s", res.StatusCode, text)
	}
	_, im.status, _ = strings.Cut(res.Header.Get("Content-Location"), "/_operations/")
}

// wait polls until the import has ended.
func (im *importer) wait(result any) {
	im.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if im.get(im.base+"/_operations/"+im.status, result) == 200 {
			return
		}
	}
	im.t.Fatal("the import does not end")
}

// get reads a JSON answer, if there is one.
func (im *importer) get(url string, into any) int {
	im.t.Helper()
	res, err := http.Get(url)
	if err != nil {
		im.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode == 200 {
		err = json.Unmarshal(text, into)
	}
	if err != nil || res.StatusCode > 202 {
		im.t.Fatalf("%s: %d %s %v", url, res.StatusCode, text, err)
	}
	return res.StatusCode
}
