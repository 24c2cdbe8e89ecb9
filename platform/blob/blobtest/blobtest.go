// Package blobtest is the suite that every blob.Store passes.
//
// A backend calls Run from its own test with a function that opens an empty
// store.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Run checks the contract of blob.Store on empty stores.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range []struct {
		name string
		f    func(*testing.T, blob.Store)
	}{
		{"put and read", putAndRead},
		{"ranges", ranges},
		{"replace", replace},
		{"if absent", ifAbsent},
		{"promises", promises},
		{"a failed put leaves nothing", failedPut},
		{"list", list},
		{"delete", remove},
		{"bad keys", badKeys},
		{"large", large},
		{"sub", subStore},
		{"many at once", concurrent},
		{"given up", givenUp},
	} {
		t.Run(c.name, func(t *testing.T) { c.f(t, open(t)) })
	}
}

func put(t *testing.T, s blob.Store, key, content string) {
	t.Helper()
	i, err := s.Put(t.Context(), key, strings.NewReader(content), blob.PutOptions{})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	sum := sha256.Sum256([]byte(content))
	if i.Key != key || i.Size != int64(len(content)) || !bytes.Equal(i.SHA256, sum[:]) {
		t.Fatalf("put %s: info %+v", key, i)
	}
}

func read(t *testing.T, s blob.Store, key string, offset, n int64) string {
	t.Helper()
	r, _, err := s.Open(t.Context(), key, offset, n)
	if err != nil {
		t.Fatalf("open %s: %v", key, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return string(b)
}

func keys(t *testing.T, s blob.Store, prefix string) []string {
	t.Helper()
	var out []string
	for i, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("list %q: %v", prefix, err)
		}
		out = append(out, i.Key)
	}
	return out
}

func wantKind(t *testing.T, what string, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Errorf("%s: %v, want kind %d", what, err, k)
	}
}

func putAndRead(t *testing.T, s blob.Store) {
	begin := time.Now().Add(-time.Minute)
	for _, key := range []string{"a", "b/c/d.ndjson", "with space/ü-ñ.txt", "x/" + strings.Repeat("k", 200)} {
		put(t, s, key, "content of "+key)
		if got := read(t, s, key, 0, -1); got != "content of "+key {
			t.Errorf("%s holds %q", key, got)
		}
		i, err := s.Stat(t.Context(), key)
		if err != nil || i.Key != key || i.Size != int64(len("content of "+key)) || i.Modified.Before(begin) {
			t.Errorf("stat %s: %+v, %v", key, i, err)
		}
	}
	put(t, s, "empty", "")
	if got := read(t, s, "empty", 0, -1); got != "" {
		t.Errorf("the empty blob holds %q", got)
	}
	_, err := s.Stat(t.Context(), "b")
	wantKind(t, "stat of a folder", err, fault.NotFound)
	_, _, err = s.Open(t.Context(), "none", 0, -1)
	wantKind(t, "open of nothing", err, fault.NotFound)
	_, _, err = s.Open(t.Context(), "a/none", 0, -1)
	wantKind(t, "open below a blob", err, fault.NotFound)
}

func ranges(t *testing.T, s blob.Store) {
	put(t, s, "digits", "0123456789")
	for _, c := range []struct {
		offset, n int64
		want      string
	}{
		{0, 4, "0123"}, {3, 4, "3456"}, {8, 10, "89"}, {10, 1, ""}, {12, -1, ""}, {7, -1, "789"}, {2, 0, ""},
	} {
		if got := read(t, s, "digits", c.offset, c.n); got != c.want {
			t.Errorf("%d bytes from %d: %q, want %q", c.n, c.offset, got, c.want)
		}
	}
	r, i, err := s.Open(t.Context(), "digits", 3, 2)
	if err != nil || i.Size != 10 {
		t.Fatalf("info of a range: %+v, %v", i, err)
	}
	_ = r.Close()
	_, _, err = s.Open(t.Context(), "digits", -1, 2)
	wantKind(t, "negative offset", err, fault.Invalid)
}

func replace(t *testing.T, s blob.Store) {
	put(t, s, "a/b", "first, and longer")
	r, _, err := s.Open(t.Context(), "a/b", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	put(t, s, "a/b", "second")
	if got := read(t, s, "a/b", 0, -1); got != "second" {
		t.Errorf("after the second put: %q", got)
	}
}

func ifAbsent(t *testing.T, s blob.Store) {
	for i, want := range []bool{true, false} {
		_, err := s.Put(t.Context(), "once", strings.NewReader(fmt.Sprint(i)), blob.PutOptions{IfAbsent: true})
		if want != (err == nil) {
			t.Fatalf("put %d: %v", i, err)
		}
		if err != nil {
			wantKind(t, "second put", err, fault.Conflict)
		}
	}
	if got := read(t, s, "once", 0, -1); got != "0" {
		t.Errorf("holds %q", got)
	}
}

func promises(t *testing.T, s blob.Store) {
	sum := sha256.Sum256([]byte("content"))
	other := sha256.Sum256([]byte("other"))
	for name, c := range map[string]struct {
		opt blob.PutOptions
		ok  bool
	}{
		"right":     {blob.PutOptions{SHA256: sum[:], Size: 7, ContentType: "text/plain"}, true},
		"wrong sum": {blob.PutOptions{SHA256: other[:]}, false},
		"too short": {blob.PutOptions{Size: 8}, false},
		"too long":  {blob.PutOptions{Size: 6}, false},
	} {
		_, err := s.Put(t.Context(), "p/"+name, strings.NewReader("content"), c.opt)
		if c.ok {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantKind(t, name, err, fault.Unprocessable)
		_, err = s.Stat(t.Context(), "p/"+name)
		wantKind(t, name+" stored", err, fault.NotFound)
	}
}

var errBroken = errors.New("the sender broke off")

// brokenReader gives n bytes and then fails.
type brokenReader struct{ n int }

func (b *brokenReader) Read(p []byte) (int, error) {
	if b.n <= 0 {
		return 0, errBroken
	}
	n := min(len(p), b.n)
	b.n -= n
	return n, nil
}

func failedPut(t *testing.T, s blob.Store) {
	put(t, s, "kept", "old")
	for _, n := range []int{0, 10, 1 << 20} {
		for _, key := range []string{"kept", "fresh/x"} {
			if _, err := s.Put(t.Context(), key, &brokenReader{n}, blob.PutOptions{}); !errors.Is(err, errBroken) {
				t.Errorf("put of a broken reader: %v", err)
			}
		}
	}
	if got := read(t, s, "kept", 0, -1); got != "old" {
		t.Errorf("the earlier content became %q", got)
	}
	if got := keys(t, s, ""); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("left: %q", got)
	}
}

func list(t *testing.T, s blob.Store) {
	all := []string{"a-b", "a/b", "a/b-c/1", "a/c", "a0", "b/1", "b/10", "b/2"}
	for _, k := range slices.Backward(all) {
		put(t, s, k, k)
	}
	for prefix, want := range map[string][]string{
		"":      all,
		"a/":    {"a/b", "a/b-c/1", "a/c"},
		"a":     {"a-b", "a/b", "a/b-c/1", "a/c", "a0"},
		"a/b-c": {"a/b-c/1"},
		"b/1":   {"b/1", "b/10"},
		"c":     nil,
		"b/1/x": nil,
	} {
		if got := keys(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("list %q: %q, want %q", prefix, got, want)
		}
	}
	for i := range s.List(t.Context(), "") { // a caller that has enough
		if i.Size != int64(len(i.Key)) && i.Size != -1 {
			t.Errorf("%s: size %d", i.Key, i.Size)
		}
		break
	}
}

func remove(t *testing.T, s blob.Store) {
	put(t, s, "d/e/f", "x")
	put(t, s, "d/g", "y")
	for range 2 {
		if err := s.Delete(t.Context(), "d/e/f"); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []string{"d", "d/e", "d/g/h", "none"} {
		if err := s.Delete(t.Context(), k); err != nil {
			t.Errorf("delete %s: %v", k, err)
		}
	}
	if got := keys(t, s, ""); !slices.Equal(got, []string{"d/g"}) {
		t.Errorf("left: %q", got)
	}
	put(t, s, "d/e/f", "again")
	put(t, s, "d/e/f2", "again")
	if err := blob.DeleteAll(t.Context(), s, "d/e/"); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, s, ""); !slices.Equal(got, []string{"d/g"}) {
		t.Errorf("left after DeleteAll: %q", got)
	}
}

func badKeys(t *testing.T, s blob.Store) {
	bad := []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../../b", "a/./b", ".tmp/x", ".hidden", "a\x00b", "a\nb",
		`a\b`, "c:d", "a*", "a?", "\xff", strings.Repeat("a", 201), strings.Repeat("a/", 600) + "a",
	}
	for _, k := range bad {
		_, err := s.Put(t.Context(), k, strings.NewReader("x"), blob.PutOptions{})
		wantKind(t, fmt.Sprintf("put %q", k), err, fault.Invalid)
		_, _, err = s.Open(t.Context(), k, 0, -1)
		wantKind(t, fmt.Sprintf("open %q", k), err, fault.Invalid)
		_, err = s.Stat(t.Context(), k)
		wantKind(t, fmt.Sprintf("stat %q", k), err, fault.Invalid)
		wantKind(t, fmt.Sprintf("delete %q", k), s.Delete(t.Context(), k), fault.Invalid)
	}
	for _, err := range s.List(t.Context(), "../") {
		wantKind(t, "list outside", err, fault.Invalid)
	}
}

// pattern is n bytes that do not repeat at a power of two.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func large(t *testing.T, s blob.Store) {
	want := pattern(17<<20 + 5)
	i, err := s.Put(t.Context(), "large", bytes.NewReader(want), blob.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Open(t.Context(), "large", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil || n != int64(len(want)) || !bytes.Equal(sum.Sum(nil), i.SHA256) {
		t.Errorf("read %d bytes: %v", n, err)
	}
	_ = r.Close()
	if got := read(t, s, "large", 9<<20, 1000); got != string(want[9<<20:9<<20+1000]) {
		t.Error("a range in the middle differs")
	}
}

func subStore(t *testing.T, s blob.Store) {
	a, b := blob.Sub(s, "one"), blob.Sub(blob.Sub(s, "two"), "deep")
	put(t, a, "x", "a")
	put(t, b, "x", "b")
	if got := read(t, a, "x", 0, -1) + read(t, b, "x", 0, -1); got != "ab" {
		t.Errorf("read %q", got)
	}
	if got := keys(t, s, ""); !slices.Equal(got, []string{"one/x", "two/deep/x"}) {
		t.Errorf("all: %q", got)
	}
	if got := keys(t, b, ""); !slices.Equal(got, []string{"x"}) {
		t.Errorf("in the part: %q", got)
	}
	if _, err := a.Stat(t.Context(), "../two/deep/x"); !fault.Is(err, fault.Invalid) {
		t.Errorf("stat of the neighbour: %v", err)
	}
}

func concurrent(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 6 {
				own := fmt.Sprintf("c/%d/%d", i, j)
				if _, err := s.Put(t.Context(), own, strings.NewReader(own), blob.PutOptions{}); err != nil {
					t.Errorf("put %s: %v", own, err)
				}
				shared := strings.Repeat(fmt.Sprint(i), 5000)
				if _, err := s.Put(t.Context(), "c/shared", strings.NewReader(shared), blob.PutOptions{}); err != nil {
					t.Errorf("put shared: %v", err)
				}
				if err := s.Delete(t.Context(), own); err != nil {
					t.Errorf("delete %s: %v", own, err)
				}
			}
		})
	}
	wg.Wait()
	got := read(t, s, "c/shared", 0, -1)
	if len(got) != 5000 || strings.Trim(got, got[:1]) != "" {
		t.Errorf("a mixture of %d bytes is left", len(got))
	}
	if got := keys(t, s, ""); !slices.Equal(got, []string{"c/shared"}) {
		t.Errorf("left: %q", got)
	}
}

func givenUp(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, "k", strings.NewReader("x"), blob.PutOptions{}); err == nil {
		t.Error("a put that was given up succeeded")
	}
	if got := keys(t, s, ""); got != nil {
		t.Errorf("left: %q", got)
	}
}
