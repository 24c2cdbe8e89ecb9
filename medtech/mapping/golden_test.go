package mapping_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/profile"
	"github.com/hygeia-health/hygeia/spec/resource"
)

var update = flag.Bool("update", false, "write the expected.json of the golden tests")

// golden is what an expected.json holds.
type golden struct {
	Template []mapping.Exception
	Results  []goldenResult
}

type goldenResult struct {
	Measurements []mapping.Measurement
	Observations []json.RawMessage
	Exceptions   []mapping.Exception
}

// TestGolden runs each folder of testdata/golden: device.json, fhir.json,
// message.json or messages.ndjson, and options.json.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/golden/*")
	if err != nil || len(dirs) < 10 {
		t.Fatalf("%d folders, error %v", len(dirs), err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			out := mapping.Validate(trial(t, dir))
			got := golden{Template: out.TemplateResult.Exceptions}
			for _, r := range out.DeviceResults {
				got.Results = append(got.Results, goldenResult{r.Measurements, r.Observations, r.Exceptions})
				for _, o := range r.Observations {
					validObservation(t, o)
				}
			}
			text, err := json.MarshalIndent(got, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "expected.json")
			if *update {
				if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(bytes.TrimSpace(want)), string(text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func trial(t *testing.T, dir string) mapping.Trial {
	t.Helper()
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return text
	}
	var opt struct {
		Compat    string
		Aggregate bool
	}
	if text := read("options.json"); text != nil {
		if err := json.Unmarshal(text, &opt); err != nil {
			t.Fatal(err)
		}
	}
	in := mapping.Trial{
		Device: read("device.json"), FHIR: read("fhir.json"), Aggregate: opt.Aggregate,
		Options: mapping.Options{MS: opt.Compat == "ms"}, Arrived: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
	}
	texts := [][]byte{read("message.json")}
	if texts[0] == nil {
		texts = bytes.Split(bytes.TrimSpace(read("messages.ndjson")), []byte("\n"))
	}
	for _, text := range texts {
		v, err := jsonvalue.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		in.Events = append(in.Events, v)
	}
	return in
}

// validObservation checks an Observation against the definitions of R4.
func validObservation(t *testing.T, text []byte) {
	t.Helper()
	var doc resource.Doc
	if err := doc.Parse(text, resource.Options{}); err != nil {
		t.Errorf("%s: %v", text, err)
		return
	}
	for _, issue := range profile.Check(doc.Root(), "Observation") {
		t.Errorf("%s: %+v", text, issue)
	}
}
