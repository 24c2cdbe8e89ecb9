package sealed

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/blob/blobtest"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/keyring"
)

func line(t testing.TB, id string) string {
	t.Helper()
	l, err := keyring.Generate(id)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func folder(t testing.TB) *blob.Folder {
	t.Helper()
	f, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func over(t testing.TB, s blob.Store, keys ...string) *Store {
	t.Helper()
	ring, err := keyring.Parse(strings.Join(keys, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := New(s, ring)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func content(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	_, _ = r.Read(b)
	return b
}

func put(t testing.TB, s blob.Store, key string, b []byte) {
	t.Helper()
	i, err := s.Put(context.Background(), key, bytes.NewReader(b), blob.PutOptions{Size: int64(len(b))})
	if err != nil || i.Size != int64(len(b)) {
		t.Fatalf("put %d bytes: %+v %v", len(b), i, err)
	}
}

func get(s blob.Store, key string, offset, n int64) ([]byte, blob.Info, error) {
	r, i, err := s.Open(context.Background(), key, offset, n)
	if err != nil {
		return nil, i, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return b, i, err
}

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s := over(t, folder(t), line(t, "a"))
		if err := s.Prove(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// TestRanges compares ranges of blobs around the sizes of pieces with the content.
func TestRanges(t *testing.T) {
	below := folder(t)
	s := over(t, below, line(t, "a"))
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, headSize, pieceSize - 1, pieceSize, pieceSize + 1, 2 * pieceSize, 3*pieceSize + 77} {
		want := content(size)
		put(t, s, "x", want)
		stored, err := below.Stat(t.Context(), "x")
		if err != nil || stored.Size != sealedSize(int64(size)) {
			t.Fatalf("%d bytes: stored as %d, want %d (%v)", size, stored.Size, sealedSize(int64(size)), err)
		}
		if i, err := s.Stat(t.Context(), "x"); err != nil || i.Size != int64(size) {
			t.Errorf("%d bytes: stat %+v %v", size, i, err)
		}
		check := func(offset, n int64) {
			t.Helper()
			from := min(offset, int64(size))
			to := int64(size)
			if n >= 0 {
				to = min(from+n, to)
			}
			got, i, err := get(s, "x", offset, n)
			if err != nil || !bytes.Equal(got, want[from:to]) || i.Size != int64(size) {
				t.Fatalf("%d bytes, %d from %d: %d bytes, info %+v, %v", size, n, offset, len(got), i, err)
			}
		}
		for _, at := range []int64{0, 1, pieceSize - 1, pieceSize, pieceSize + 1, 2 * pieceSize, int64(size)} {
			for _, n := range []int64{-1, 0, 1, pieceSize, pieceSize + 1, 1 << 62} {
				check(at, n)
			}
		}
		for range 40 {
			check(r.Int64N(int64(size)+100), r.Int64N(int64(size)+100))
		}
	}
}

// TestTampering changes what is stored in all ways; nothing wrong may come out.
func TestTampering(t *testing.T) {
	below := folder(t)
	s := over(t, below, line(t, "a"))
	want := content(2*pieceSize + 500)
	put(t, s, "x", want)
	put(t, s, "y", content(2*pieceSize+500))
	sealed, _, err := get(below, "x", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	other, _, _ := get(below, "y", 0, -1)
	piece := func(b []byte, i int) []byte { return b[headSize+i*fullPiece : min(headSize+(i+1)*fullPiece, len(b))] }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	flip := func(at int) []byte {
		b := bytes.Clone(sealed)
		b[at] ^= 0x40
		return b
	}
	head := sealed[:headSize]
	for name, b := range map[string][]byte{
		"id":            flip(len(magic) + 1),
		"length of id":  flip(len(magic)),
		"salt":          flip(headSize - 1),
		"first piece":   flip(headSize + 5),
		"a tag":         flip(headSize + fullPiece - 1),
		"last piece":    flip(len(sealed) - 20),
		"cut":           sealed[:len(sealed)-1],
		"cut at piece":  sealed[:headSize+2*fullPiece],
		"only the head": head,
		"exchanged":     join(head, piece(sealed, 1), piece(sealed, 0), piece(sealed, 2)),
		"repeated":      join(head, piece(sealed, 0), piece(sealed, 0), piece(sealed, 2)),
		"longer":        join(sealed, piece(sealed, 2)),
		"another blob":  other,
		"another piece": join(head, piece(sealed, 0), piece(other, 1), piece(sealed, 2)),
	} {
		put(t, below, "x", b)
		for _, offset := range []int64{0, pieceSize + 1, 2 * pieceSize} {
			got, _, err := get(s, "x", offset, -1)
			if err == nil || !fault.Is(err, fault.Internal) {
				// What was changed elsewhere needs not be seen by a range, but the range must be right.
				if err != nil || offset == 0 || !bytes.Equal(got, want[offset:]) {
					t.Errorf("%s from %d: %d bytes, %v", name, offset, len(got), err)
				}
			} else if !bytes.HasPrefix(want[offset:], got) {
				t.Errorf("%s from %d: wrong bytes before the error", name, offset)
			}
		}
	}
}

func TestPlainBefore(t *testing.T) {
	below := folder(t)
	s := over(t, below, line(t, "a"))
	for _, size := range []int{0, 10, headSize, 3 * pieceSize} {
		want := content(size)
		put(t, below, "x", want)
		for _, offset := range []int64{0, 5, pieceSize + 3} {
			got, i, err := get(s, "x", offset, -1)
			if err != nil || !bytes.Equal(got, want[min(int(offset), size):]) || i.Size != int64(size) {
				t.Errorf("%d bytes from %d: %d bytes %+v %v", size, offset, len(got), i, err)
			}
		}
		if i, err := s.Stat(t.Context(), "x"); err != nil || i.Size != int64(size) {
			t.Errorf("stat: %+v %v", i, err)
		}
	}
}

func TestKeys(t *testing.T) {
	below := folder(t)
	a, b := line(t, "a"), line(t, "b")
	first := over(t, below, a)
	if ids, err := Needs(t.Context(), below); err != nil || ids != nil {
		t.Fatalf("%v %v", ids, err)
	}
	for range 2 {
		if err := first.Prove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	put(t, first, "x", []byte("old"))
	second := over(t, below, b, a)
	if err := second.Prove(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, second, "y", []byte("new"))
	for key, want := range map[string]string{"x": "old", "y": "new"} {
		if got, _, err := get(second, key, 0, -1); err != nil || string(got) != want {
			t.Errorf("%s: %q %v", key, got, err)
		}
	}
	for i := range second.List(t.Context(), "") {
		if i.Key != "x" && i.Key != "y" {
			t.Errorf("the list shows %s", i.Key)
		}
	}
	if ids, err := Needs(t.Context(), below); err != nil || strings.Join(ids, " ") != "a b" {
		t.Errorf("%v %v", ids, err)
	}
	for name, c := range map[string]struct {
		keys []string
		want string
	}{
		"missing":       {[]string{b}, `key "a"`},
		"another one":   {[]string{b, line(t, "a")}, `key "a"`},
		"only a new":    {[]string{line(t, "c")}, `key "a"`},
		"none was lost": {[]string{line(t, "c"), a, b}, ""},
	} {
		err := over(t, below, c.keys...).Prove(t.Context())
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var unknown *keyring.UnknownKey
	if _, _, err := get(over(t, below, a), "y", 0, -1); !errors.As(err, &unknown) || unknown.ID != "b" || !fault.Is(err, fault.Internal) {
		t.Errorf("a blob of another key: %v", err)
	}
}
