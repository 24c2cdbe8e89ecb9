package dicomhttp_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// TestCompact gives back the space of deleted instances that lay beside others.
func TestCompact(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	text := func(i int) dcm.Element {
		return dcm.NewText(0x00104000, dcm.LT, fmt.Sprintf("%d %0*d", i, 5000, i))
	}
	var files [][]byte
	for i := range 40 {
		files = append(files, made(t, "1.2", fmt.Sprintf("1.2.%d", i%2), fmt.Sprintf("1.2.9.%d", i), text(i)))
	}
	w.stow(200, "/v2/studies", files...)
	// The original that an update replaced lies there too.
	w.stow(200, "/v2/studies", made(t, "1.3", "1.3.1", "1.3.1.1", text(99)))
	w.operation(w.post(202, "/v2/studies/$bulkUpdate", `{"studyInstanceUids":["1.3"],"changeDataset":{"00100020":{"vr":"LO","Value":["NEW"]}}}`))
	before := func() map[string][]byte {
		all := map[string][]byte{}
		for _, path := range []string{"/v2/studies/1.2/series/1.2.0/instances/1.2.9.0", "/v2/studies/1.2/series/1.2.1/instances/1.2.9.1", "/v2/studies/1.3/series/1.3.1/instances/1.3.1.1"} {
			for _, original := range []string{"true", "false"} {
				all[path+original] = w.do("GET", path, nil, "Accept", "application/dicom; transfer-syntax=*", "msdicom-request-original", original).Body.Bytes()
			}
		}
		return all
	}
	want := before()
	if bytes.Equal(want["/v2/studies/1.3/series/1.3.1/instances/1.3.1.1true"], want["/v2/studies/1.3/series/1.3.1/instances/1.3.1.1false"]) {
		t.Fatal("the original is not another file")
	}
	stale, err := w.room.Instance(t.Context(), dicom.Target{UIDs: dicom.UIDs{Study: "1.2", Series: "1.2.1", SOP: "1.2.9.1"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i < 40; i++ {
		w.want(204, "DELETE", fmt.Sprintf("/v2/studies/1.2/series/1.2.%d/instances/1.2.9.%d", i%2, i))
	}
	if n, err := w.room.Compact(t.Context()); err != nil || n != 0 {
		t.Errorf("%d files of a blob that grows were moved: %v", n, err)
	}
	size := w.bytes()
	w.close() // the blobs do not grow any more
	w.open(dicom.Config{}, nil)
	for end := time.Now().Add(time.Minute); w.bytes() > size/3; time.Sleep(time.Millisecond) { // the service does it at its start, too
		if _, err := w.room.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.room.Clean(t.Context()); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes of %d are left", w.bytes(), size)
		}
	}
	for k, b := range before() {
		if !bytes.Equal(b, want[k]) {
			t.Errorf("%s: other bytes", k)
		}
	}
	// Who looked the instance up before reads it at its new place.
	r, _, err := w.room.File(t.Context(), stale, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, files[1]) {
		t.Error("another file", err)
	}
	if n, err := w.room.Compact(t.Context()); err != nil || n != 0 {
		t.Error("compacted twice", n, err)
	}
	w.want(204, "DELETE", "/v2/studies/1.2")
	w.want(204, "DELETE", "/v2/studies/1.3")
	w.close()
	w.open(dicom.Config{}, nil)
	if _, err := w.room.Clean(t.Context()); err != nil || w.bytes() > 100 { // but for the name of the place
		t.Errorf("%d bytes are left: %v", w.bytes(), err)
	}
}

// TestCompactBesideLost: a blob that is lost does not keep others from being compacted.
func TestCompactBesideLost(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	for blob := range 2 {
		var files [][]byte
		for i := range 20 {
			files = append(files, made(t, "1.2", "1.2.0", fmt.Sprintf("1.2.9.%d.%d", blob, i), dcm.NewText(0x00104000, dcm.LT, fmt.Sprintf("%d %0*d", i, 5000, i))))
		}
		w.stow(200, "/v2/studies", files...)
		for i := range 19 {
			w.want(204, "DELETE", fmt.Sprintf("/v2/studies/1.2/series/1.2.0/instances/1.2.9.%d.%d", blob, i))
		}
		w.close() // the blob does not grow any more
		if blob == 0 {
			names, err := filepath.Glob(filepath.Join(w.dir, "blobs", "*", "*"))
			if err != nil || len(names) == 0 {
				t.Fatal(names, err)
			}
			for _, name := range names {
				if err := os.Truncate(name, 10); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.open(dicom.Config{}, nil)
	}
	for end := time.Now().Add(time.Minute); w.bytes() > 20_000; time.Sleep(time.Millisecond) {
		_, _ = w.room.Compact(t.Context()) // the lost one fails each time
		if _, err := w.room.Clean(t.Context()); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes are left", w.bytes())
		}
	}
}

// bytes is how much room the blobs take.
func (w *world) bytes() (n int64) {
	w.t.Helper()
	names, err := filepath.Glob(filepath.Join(w.dir, "blobs", "*", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range names {
		i, err := os.Stat(name)
		if err != nil {
			w.t.Fatal(err)
		}
		n += i.Size()
	}
	return n
}
