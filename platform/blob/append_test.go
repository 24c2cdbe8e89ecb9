package blob_test

import (
	"io"
	"testing"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
)

func TestAppend(t *testing.T) {
	f, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, ok := blob.Sub(f, "default/dicom").(blob.Appender)
	if !ok {
		t.Fatal("a part of a folder does not append")
	}
	g, err := s.Append(t.Context(), "0/1.dcm")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		pieces []string
		at     int64
	}{{[]string{"ab", "c"}, 0}, {nil, 3}, {[]string{"defg"}, 3}} {
		var pieces [][]byte
		for _, p := range tt.pieces {
			pieces = append(pieces, []byte(p))
		}
		if at, err := g.Append(pieces); err != nil || at != tt.at {
			t.Errorf("%v at %d, %v", tt.pieces, at, err)
		}
	}
	r, info, err := f.Open(t.Context(), "default/dicom/0/1.dcm", 2, 3)
	if err != nil || info.Size != 7 {
		t.Fatal(info, err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "cde" {
		t.Errorf("%q, %v", b, err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := g.Append([][]byte{{1}}); err == nil {
		t.Error("a closed blob grows")
	}
	if _, err := s.Append(t.Context(), "0/1.dcm"); !fault.Is(err, fault.Conflict) {
		t.Errorf("taken: %v", err)
	}
	if _, err := s.Append(t.Context(), "../x"); !fault.Is(err, fault.Invalid) {
		t.Errorf("bad key: %v", err)
	}
}
