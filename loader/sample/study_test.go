package sample_test

import (
	"testing"

	"github.com/hygeia-health/hygeia/loader/sample"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

func TestStudy(t *testing.T) {
	files, err := sample.Study()
	if err != nil || len(files) != 12 {
		t.Fatal(len(files), err)
	}
	seen := map[string]bool{}
	for i, b := range files {
		f, err := dcm.Parse(b, dcm.Limits{})
		if err != nil || len(f.Notes) > 0 {
			t.Fatal(i, err, f.Notes)
		}
		if ft, err := f.Frames(); err != nil || ft.Count != 1 || ft.Size != 128*128*2 {
			t.Errorf("slice %d: %+v %v", i, ft, err)
		}
		for k := range f.Data.Elements {
			if err := f.Data.Check(&f.Data.Elements[k]); err != nil {
				t.Errorf("slice %d: %s: %v", i, f.Data.Elements[k].Tag, err)
			}
		}
		seen[f.Data.String(dcm.TagSOPInstanceUID)] = true
	}
	if len(seen) != len(files) {
		t.Errorf("%d identifiers of %d files", len(seen), len(files))
	}
}
