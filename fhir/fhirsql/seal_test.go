package fhirsql_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirsql"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/keyring"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

func key(t testing.TB, id string) string {
	t.Helper()
	k, err := keyring.Generate(id)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// ring returns the ring of some keys, nil without any.
func ring(t testing.TB, keys ...string) *keyring.Ring {
	t.Helper()
	if len(keys) == 0 {
		return nil
	}
	r, err := keyring.Parse(strings.Join(keys, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// note stores a Basic whose author says something that no index has.
func note(t *testing.T, s fhir.Store, id, text string) fhir.Outcome {
	t.Helper()
	var d resource.Doc
	if err := d.Parse(fmt.Appendf(nil, `{"resourceType":"Basic","id":%q,"code":{"text":%q}}`, id, text), resource.Options{}); err != nil {
		t.Fatal(err)
	}
	op := fhir.Op{Kind: fhir.OpPut, Key: fhir.Key{Type: "Basic", ID: id}, Method: "PUT", Values: new(search.Values), Stored: d.Root().AppendStored(nil, nil)}
	done, err := s.Apply(t.Context(), &fhir.Change{Ops: []fhir.Op{op}})
	if err != nil {
		t.Fatal(err)
	}
	return done[0].Outcome
}

func says(t *testing.T, s fhir.Store, id, text string) {
	t.Helper()
	rec, err := s.Read(t.Context(), fhir.Key{Type: "Basic", ID: id})
	if err != nil || !bytes.Contains(rec.Stored, []byte(text)) {
		t.Errorf("%s: %q %v, want %q", id, rec.Stored, err, text)
	}
}

func TestEncryption(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fhir.db")
	a, b := key(t, "2025"), key(t, "2026")
	session := func(keys []string, f func(s fhir.Store)) {
		t.Helper()
		s, err := fhirsql.Open(t.Context(), path, search.Default(), fhirsql.Options{Keys: ring(t, keys...)})
		if err != nil {
			t.Fatal(err)
		}
		f(s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	session(nil, func(s fhir.Store) { note(t, s, "plain", "said in the clear") })
	session([]string{a}, func(s fhir.Store) {
		says(t, s, "plain", "in the clear")
		note(t, s, "old", "whispered in 2025")
		note(t, s, "changed", "whispered first")
		if got := note(t, s, "old", "whispered in 2025"); got != fhir.Unchanged {
			t.Errorf("the same again: %v", got)
		}
	})
	session([]string{b, a}, func(s fhir.Store) {
		says(t, s, "old", "in 2025")
		note(t, s, "new", "whispered in 2026")
		note(t, s, "changed", "whispered second")
		if got := note(t, s, "old", "whispered in 2025"); got != fhir.Unchanged {
			t.Errorf("the same again under another key: %v", got)
		}
		rec, err := s.ReadVersion(t.Context(), fhir.Key{Type: "Basic", ID: "changed"}, 1)
		if err != nil || !bytes.Contains(rec.Stored, []byte("first")) {
			t.Errorf("history: %q %v", rec.Stored, err)
		}
	})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("said in the clear")) || bytes.Contains(text, []byte("whispered")) {
		t.Error("the file does not hide what was encrypted, or has lost the rest")
	}
	for name, c := range map[string]struct {
		keys []string
		want string
	}{
		"no keys":     {nil, `key "2025", and there are no keys`},
		"one missing": {[]string{b}, `key "2025", which encryption.keys does not have`},
		"another key": {[]string{b, key(t, "2025")}, `key "2025", which encryption.keys does not have or has with another content`},
	} {
		s, err := fhirsql.Open(t.Context(), path, search.Default(), fhirsql.Options{Keys: ring(t, c.keys...)})
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	replace(t, path, "new", "old")
	session([]string{b, a}, func(s fhir.Store) {
		if rec, err := s.Read(t.Context(), fhir.Key{Type: "Basic", ID: "new"}); !fault.Is(err, fault.Internal) {
			t.Errorf("it has the body of another: %q %v", rec.Stored, err)
		}
		says(t, s, "changed", "second")
	})
}

// replace gives a resource the body of another.
func replace(t *testing.T, path, id, by string) {
	t.Helper()
	d, err := db.Open(path, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		return c.Exec("UPDATE body SET z=(SELECT o.z FROM body o WHERE o.id=$1) WHERE id=$2", []byte("\x00"+by), []byte("\x00"+id))
	}})
	if err != nil {
		t.Fatal(err)
	}
}
