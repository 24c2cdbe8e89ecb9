package blob_test

import (
	"errors"
	"io"
	"os"
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
		if err := g.Sync(); err != nil {
			t.Error(err)
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

// TestAppendBroken has a blob that could not be brought to disk: nothing can be
// appended to it any more, for nobody knows what it holds.
func TestAppendBroken(t *testing.T) {
	f, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	g, err := f.Append(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := g.Append([][]byte{{1}}); err != nil {
		t.Fatal(err)
	}
	blob.SetSync(f, func(*os.File) error { return errors.New("disk error") })
	if err := g.Sync(); err == nil {
		t.Error("a sync that failed is none")
	}
	blob.SetSync(f, (*os.File).Sync)
	if _, err := g.Append([][]byte{{2}}); !fault.Is(err, fault.Conflict) {
		t.Errorf("append after it: %v", err)
	}
	if err := g.Sync(); !fault.Is(err, fault.Conflict) {
		t.Errorf("sync after it: %v", err)
	}
}
