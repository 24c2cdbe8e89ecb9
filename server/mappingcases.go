package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/jsonvalue"
)

// MappingCase is the outcome of one test case of mappings.
type MappingCase struct {
	Folder      string   `json:"folder"`
	OK          bool     `json:"ok"`
	Updated     bool     `json:"updated,omitempty"`
	Differences []string `json:"differences,omitempty"`
}

// mappingOutcome is what expected.json holds.
type mappingOutcome struct {
	Template []mapping.Exception
	Results  []mappingResult
}

type mappingResult struct {
	Measurements []mapping.Measurement
	Observations []json.RawMessage
	Exceptions   []mapping.Exception
}

// TestMappings runs the test case in a folder or, when it has no device.json,
// those in the folders below it. update writes expected.json.
func TestMappings(folder string, update bool) ([]MappingCase, error) {
	var folders []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == "device.json" {
			folders = append(folders, filepath.Dir(path))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(folders) == 0 {
		return nil, fmt.Errorf("%s: no test cases there: none of its folders has a device.json", folder)
	}
	var out []MappingCase
	for _, f := range folders {
		c, err := testMapping(f, update)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func testMapping(folder string, update bool) (MappingCase, error) {
	c := MappingCase{Folder: folder}
	in, err := readTrial(folder)
	if err != nil {
		return c, err
	}
	res := mapping.Validate(in)
	got := mappingOutcome{Template: res.TemplateResult.Exceptions}
	for _, r := range res.DeviceResults {
		got.Results = append(got.Results, mappingResult{r.Measurements, r.Observations, r.Exceptions})
	}
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		return c, err
	}
	file := filepath.Join(folder, "expected.json")
	want, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if bytes.Equal(bytes.TrimSpace(want), text) {
		c.OK = true
		return c, nil
	}
	if update {
		c.OK, c.Updated = true, true
		return c, os.WriteFile(file, append(text, '\n'), 0o644)
	}
	if want == nil {
		c.Differences = []string{"there is no expected.json; --update writes it"}
		return c, nil
	}
	c.Differences = differences(string(want), string(text))
	c.OK = len(c.Differences) == 0
	return c, nil
}

// differences compares two JSON texts line by line once both have the same
// layout; at most 20 lines are told.
func differences(want, got string) []string {
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		return []string{"expected.json is no JSON: " + err.Error()}
	}
	a, b := strings.Split(indented(want), "\n"), strings.Split(indented(got), "\n")
	var out []string
	for i := 0; i < max(len(a), len(b)) && len(out) < 20; i++ {
		x, y := "", ""
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			out = append(out, fmt.Sprintf("line %d: want %s", i+1, strings.TrimSpace(x)), fmt.Sprintf("line %d: got  %s", i+1, strings.TrimSpace(y)))
		}
	}
	return out
}

func indented(text string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(text), "", "  ") != nil {
		return text
	}
	return strings.TrimSpace(b.String())
}

// readTrial reads the files of a test case.
func readTrial(folder string) (mapping.Trial, error) {
	var in mapping.Trial
	read := func(name string, to *[]byte) error {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		*to = bytes.TrimPrefix(text, []byte("\ufeff"))
		return nil
	}
	var options, one, many []byte
	err := errors.Join(read("device.json", &in.Device), read("fhir.json", &in.FHIR), read("options.json", &options), read("message.json", &one), read("messages.ndjson", &many))
	if err != nil {
		return in, err
	}
	if len(options) > 0 {
		var opt struct {
			Compat       string `json:"compat"`
			Aggregate    bool   `json:"aggregate"`
			IgnorePeriod bool   `json:"ignorePeriod"`
		}
		d := json.NewDecoder(bytes.NewReader(options))
		d.DisallowUnknownFields()
		if err := d.Decode(&opt); err != nil {
			return in, fmt.Errorf("options.json: %w", err)
		}
		if opt.Compat != "" && opt.Compat != medtech.CompatMS {
			return in, fault.New(fault.Invalid, `options.json: compat is "" or "ms"`)
		}
		in.Aggregate, in.Options = opt.Aggregate, mapping.Options{MS: opt.Compat == medtech.CompatMS, IgnorePeriod: opt.IgnorePeriod}
	}
	texts := bytes.Split(many, []byte("\n"))
	if one != nil {
		texts = append([][]byte{one}, texts...)
	}
	for i, text := range texts {
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		v, err := jsonvalue.Parse(text)
		if err != nil {
			return in, fmt.Errorf("message %d is no JSON: %w", i+1, err)
		}
		in.Events = append(in.Events, v)
	}
	if len(in.Events) == 0 {
		return in, errors.New("there is neither a message.json nor a messages.ndjson")
	}
	return in, nil
}
