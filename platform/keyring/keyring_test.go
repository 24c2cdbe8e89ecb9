package keyring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func line(t testing.TB, id string) string {
	t.Helper()
	l, err := Generate(id)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func cipherOf(t testing.TB, text, purpose string) *Cipher {
	t.Helper()
	r, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Cipher(purpose)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The examples of the specification of XAES-256-GCM (C2SP, "Test vectors").
func TestXAES(t *testing.T) {
	for _, v := range []struct {
		key      byte
		ad, want string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		x, err := newXAES(bytes.Repeat([]byte{v.key}, Size))
		if err != nil {
			t.Fatal(err)
		}
		nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
		got, err := x.seal(nil, nonce, []byte("XAES-256-GCM"), []byte(v.ad))
		if err != nil || hex.EncodeToString(got) != v.want {
			t.Errorf("key %d: %x %v, want %s", v.key, got, err, v.want)
		}
		if back, err := x.open(nil, nonce, got, []byte(v.ad)); err != nil || string(back) != "XAES-256-GCM" {
			t.Errorf("key %d: opened %q %v", v.key, back, err)
		}
	}
}

func TestParse(t *testing.T) {
	a, b := line(t, "2026-11"), line(t, "old.1")
	r, err := Parse("# keys\n\n" + strings.Replace(a, " ", "   ", 1) + "\r\n" + b)
	if err != nil || len(r.keys) != 2 || r.keys[0].id != "2026-11" || r.keys[1].id != "old.1" {
		t.Fatalf("%v %v", r, err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":  {"# none\n", "no key"},
		"twice":    {a + "\n" + a, "line 2: the id 2026-11 is there twice"},
		"short":    {"x QUJD", "line 1: key x must be 32 bytes"},
		"no key":   {"x", "line 1: key x must be 32 bytes"},
		"id":       {strings.Replace(a, "2026-11", "20/26", 1), "line 1: the id of a key"},
		"long id":  {strings.Replace(a, "2026-11", strings.Repeat("a", MaxID+1), 1), "line 1: the id of a key"},
		"only key": {strings.Fields(a)[1], "line 1"},
	} {
		_, err := Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), strings.Fields(a)[1]) {
			t.Errorf("%s: the error shows a key", name)
		}
	}
	if _, err := Generate("a b"); err == nil {
		t.Error("an id with a blank is taken")
	}
}

func TestSeal(t *testing.T) {
	a, b := line(t, "a"), line(t, "b")
	first := cipherOf(t, a, "blobs")
	plain, place := []byte("some text"), []byte("here")
	sealed, err := first.Seal([]byte("before "), plain, place)
	if err != nil || !bytes.HasPrefix(sealed, []byte("before ")) || bytes.Contains(sealed, plain) {
		t.Fatalf("%q %v", sealed, err)
	}
	sealed = sealed[len("before "):]
	id, head, ok := first.head(sealed)
	if n := head + nonceSize + len(plain) + tagSize; len(sealed) != n || id != "a" || !ok {
		t.Errorf("%d bytes with key %q, want %d with a", len(sealed), id, n)
	}
	rotated := cipherOf(t, b+"\n"+a, "blobs")
	if rotated.Current() != "b" {
		t.Errorf("current %s", rotated.Current())
	}
	for name, c := range map[string]*Cipher{"the same": first, "rotated": rotated} {
		if got, err := c.Open([]byte("x"), sealed, place); err != nil || string(got) != "xsome text" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	var unknown *UnknownKey
	if _, err := cipherOf(t, b, "blobs").Open(nil, sealed, place); !errors.As(err, &unknown) || unknown.ID != "a" {
		t.Errorf("without the key: %v", err)
	}
	for name, f := range map[string]func() error{
		"another purpose":         func() error { _, err := cipherOf(t, a, "bodies").Open(nil, sealed, place); return err },
		"another place":           func() error { _, err := first.Open(nil, sealed, []byte("there")); return err },
		"another key of the name": func() error { _, err := cipherOf(t, line(t, "a"), "blobs").Open(nil, sealed, place); return err },
	} {
		if err := f(); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := first.Open(nil, bad, place); err == nil {
			t.Errorf("byte %d changed: opened", i)
		}
		if _, err := first.Open(nil, sealed[:i], place); err == nil {
			t.Errorf("cut to %d bytes: opened", i)
		}
	}
	if again, _ := first.Seal(nil, plain, place); bytes.Equal(again, sealed) {
		t.Error("two envelopes of one text are equal")
	}
}

func TestStream(t *testing.T) {
	a, b := line(t, "a"), line(t, "b")
	c := cipherOf(t, b+"\n"+a, "blobs")
	id, x, err := c.Stream("", []byte("salt"), "here")
	if id != "b" || err != nil || len(x) != Size {
		t.Fatalf("%s %v", id, err)
	}
	if _, y, _ := c.Stream("b", []byte("salt"), "here"); !bytes.Equal(x, y) {
		t.Error("the key is another one")
	}
	for _, o := range [][2]string{{"salt2", "here"}, {"salt", "there"}} {
		if _, y, _ := c.Stream("b", []byte(o[0]), o[1]); bytes.Equal(x, y) {
			t.Errorf("%v: the same key", o)
		}
	}
	var unknown *UnknownKey
	if _, _, err := c.Stream("z", nil, ""); !errors.As(err, &unknown) {
		t.Errorf("%v", err)
	}
}

func FuzzOpen(f *testing.F) {
	c := cipherOf(f, line(f, "a"), "fuzz")
	good, _ := c.Seal(nil, []byte("x"), nil)
	f.Add(good)
	f.Add([]byte{1, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, err := c.Open(nil, b, nil); err == nil && !bytes.Equal(b, good) {
			t.Errorf("opened %x to %x", b, out)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	c := cipherOf(b, line(b, "2026-11"), "bodies")
	plain := make([]byte, 400)
	var dst []byte
	for b.Loop() {
		dst, _ = c.Seal(dst[:0], plain, nil)
	}
}

func BenchmarkOpen(b *testing.B) {
	c := cipherOf(b, line(b, "2026-11"), "bodies")
	sealed, _ := c.Seal(nil, make([]byte, 400), nil)
	var dst []byte
	for b.Loop() {
		dst, _ = c.Open(dst[:0], sealed, nil)
	}
}
