package bulk

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestImportLarge imports lines that are large: what is in memory is bounded by
// their bytes, not by their number.
func TestImportLarge(t *testing.T) {
	const lines, size = 50, 400_000
	var b strings.Builder
	for i := range lines {
		fmt.Fprintf(&b, `{"resourceType":"Binary","id":"b%d","contentType":"text/plain","data":"%s"}`+"\n", i, strings.Repeat("AAAA", size/4))
	}
	k := open(t, func(d *Deps) { d.Sources = &shelf{files: map[string]string{"large.ndjson": b.String()}} })
	id, err := k.importOf(params("IncrementalLoad", "large.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := summary(k.waitImport(id)), fmt.Sprintf("large.ndjson Binary %d", lines); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if top := k.store.top.Load(); top < bytesAhead || top > bytesAhead+2*(batchBytes+size) {
		t.Errorf("%d bytes were in memory, want about %d", top, bytesAhead)
	}
}

// TestImportLargeAlone imports lines that are very large, from two files at a time:
// each is alone in memory, and one that is larger than a request may be is refused.
func TestImportLargeAlone(t *testing.T) {
	const lines, size = 3, largeLine + 100_000
	large := func(id string, size int) string {
		return fmt.Sprintf(`{"resourceType":"Binary","id":"%s","contentType":"text/plain","data":"%s"}`+"\n", id, strings.Repeat("AAAA", size/4))
	}
	files := map[string]string{}
	for _, name := range []string{"a", "b"} {
		for i := range lines {
			files[name] += fmt.Sprintf(`{"resourceType":"Patient","id":"%s%d"}`+"\n", name, i) + large(fmt.Sprint(name, i), size)
		}
		files[name] += large("long", size+100_000)
	}
	k := open(t, func(d *Deps) {
		d.Sources, d.LineSize = &shelf{files: files}, size+1000
	})
	k.store.late = true
	id, err := k.importOf(params("IncrementalLoad", "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	m := k.waitImport(id)
	if got, want := summary(m), "a Binary 3, a Patient 3, b Binary 3, b Patient 3, a errors 1, b errors 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, e := range m.Error {
		k.checkErrors(id, e)
	}
	if top := k.store.top.Load(); top < size || top > size+100_000 {
		t.Errorf("%d bytes were in memory, want one line of %d", top, size)
	}
	if k.s.d.Large.turn <- struct{}{}; len(k.s.d.Large.turn) != 1 || tidy.users != 0 {
		t.Error("a large line still has the turn")
	}
}

// TestImportLongApart lets other imports have their large lines while the rest of one
// that is refused is skipped: its source may take hours for that.
func TestImportLongApart(t *testing.T) {
	const size = largeLine + 100_000
	large, held := NewLarge(), make(chan int, 1)
	src := &halting{shelf: shelf{files: map[string]string{"a": `{"data":"` + strings.Repeat("A", 4*size) + "\"}\n"}}, at: 3 * size, halt: func() { held <- len(large.turn) }}
	k := open(t, func(d *Deps) { d.Sources, d.Large, d.LineSize = src, large, 2*size })
	id, err := k.importOf(params("IncrementalLoad", "a"))
	if err != nil {
		t.Fatal(err)
	}
	if n := <-held; n != 0 {
		t.Error("who skips a line has the turn")
	}
	if got := summary(k.waitImport(id)); got != "a errors 1" {
		t.Error(got)
	}
}

// TestImportStall goes on with a source that gave nothing any more in the middle of a large line.
func TestImportStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &stalling{shelf: shelf{files: map[string]string{"a": fmt.Sprintf(`{"resourceType":"Binary","id":"b","contentType":"text/plain","data":"%s"}`+"\n", strings.Repeat("AAAA", largeLine/2))}}}
		k := open(t, func(d *Deps) { d.Sources = src })
		id, err := k.importOf(params("IncrementalLoad", "a"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if st, err := k.s.Import(t.Context(), id, base); err != nil || st.Running || summary(st.Manifest.(*ImportManifest)) != "a Binary 1" {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// stalling is a shelf whose first file stalls behind its middle.
type stalling struct{ shelf }

func (s *stalling) Open(ctx context.Context, url, tag string, offset int64) (io.ReadCloser, error) {
	r, err := s.shelf.Open(ctx, url, tag, offset)
	if err != nil || s.reads.Load() > 1 {
		return r, err
	}
	stall := readerFunc(func([]byte) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
	return io.NopCloser(io.MultiReader(io.LimitReader(r, 3*largeLine/2), stall)), nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// halting is a shelf that calls halt when so much of a file was read.
type halting struct {
	shelf
	at   int64
	halt func()
}

func (h *halting) Open(ctx context.Context, url, tag string, offset int64) (io.ReadCloser, error) {
	r, err := h.shelf.Open(ctx, url, tag, offset)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.MultiReader(io.LimitReader(r, h.at), h, r)), nil
}

// Read stands between what was read and the rest.
func (h *halting) Read([]byte) (int, error) {
	h.halt()
	return 0, io.EOF
}

// A long line is read by the part that it begins in, not by every part that it reaches.
func TestImportLongLine(t *testing.T) {
	long := `{"resourceType":"Binary","id":"long","contentType":"text/plain","data":"` + strings.Repeat("QUJD", 2<<20) + `"}` + "\n"
	src := &shelf{files: map[string]string{"f": many(10) + long + strings.ReplaceAll(many(10), `"p`, `"q`)}}
	k := open(t, func(d *Deps) { d.Sources = src })
	id, err := k.importOf(params("IncrementalLoad", `{"name":"processingUnitBytesToRead","valueInteger":1}`, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if got := summary(k.waitImport(id)); got != "f Binary 1, f Patient 20" {
		t.Error(got)
	}
	if n := src.bytes.Load(); n > 10*int64(len(src.files["f"])) {
		t.Errorf("%d bytes were read of %d", n, len(src.files["f"]))
	}
}
