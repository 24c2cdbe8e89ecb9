package blob_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/blob/blobtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

func openFolder(t *testing.T, dir string) *blob.Folder {
	t.Helper()
	f, err := blob.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestFolder(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return openFolder(t, filepath.Join(t.TempDir(), "blobs")) })
}

func TestFolderFiles(t *testing.T) {
	dir := t.TempDir()
	f := openFolder(t, dir)
	if _, err := f.Put(t.Context(), "a/b.txt", strings.NewReader("hello"), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "a", "b.txt"))
	if err != nil || string(b) != "hello" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	for p, want := range map[string]os.FileMode{"a": 0o700, "a/b.txt": 0o600} {
		if i, err := os.Stat(filepath.Join(dir, p)); err != nil || i.Mode().Perm() != want {
			t.Errorf("mode of %s: %v, %v", p, i.Mode(), err)
		}
	}
	_, err = f.Put(t.Context(), "a/b.txt/c", strings.NewReader("x"), blob.PutOptions{})
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("a blob below a blob: %v", err)
	}
	_, err = f.Put(t.Context(), "a", strings.NewReader("x"), blob.PutOptions{})
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("a blob in place of a folder: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, ".tmp")); len(left) != 0 {
		t.Errorf("%d temporary files are left", len(left))
	}
}

// A link that somebody put into the folder does not lead out of it.
func TestFolderLinks(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := openFolder(t, dir)
	if err := os.Symlink(outside, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Open(t.Context(), "out/secret", 0, -1); err == nil {
		t.Error("a file outside was read")
	}
	if _, err := f.Put(t.Context(), "out/new", strings.NewReader("x"), blob.PutOptions{}); err == nil {
		t.Error("a file outside was written")
	}
	for i, err := range f.List(t.Context(), "") {
		t.Errorf("listed %+v, %v", i, err)
	}
}

func TestFolderSweep(t *testing.T) {
	dir := t.TempDir()
	openFolder(t, dir)
	old, fresh := filepath.Join(dir, ".tmp", "old"), filepath.Join(dir, ".tmp", "fresh")
	for _, p := range []string{old, fresh} {
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	openFolder(t, dir)
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the old temporary file: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("the fresh temporary file: %v", err)
	}
}

func TestFolderDiskFull(t *testing.T) {
	dir := t.TempDir()
	f := openFolder(t, dir)
	blob.SetSync(f, func(*os.File) error { return syscall.ENOSPC })
	_, err := f.Put(t.Context(), "k", strings.NewReader("x"), blob.PutOptions{})
	if !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("a full disk: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "k")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the blob is there: %v", err)
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, s := range []string{"a", "a/b", "../x", "a/..", ".tmp/x", "a\\b", "\xff", ""} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, key string) {
		if blob.CheckKey(key) != nil {
			return
		}
		rel, err := filepath.Rel(dir, filepath.Join(dir, key))
		if err != nil || !filepath.IsLocal(key) || filepath.ToSlash(rel) != key {
			t.Errorf("%q leads to %q", key, rel)
		}
	})
}
