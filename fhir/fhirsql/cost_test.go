package fhirsql

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// filled is a store with some patients.
func filled(t *testing.T, opt Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "x.db"), search.Default(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var c fhir.Change
	for i := range 50 {
		d := &resource.Doc{}
		text := fmt.Sprintf(`{"resourceType":"Patient","name":[{"family":"Secret%d"}],"gender":"male"}`, i)
		if err := d.Parse([]byte(text), resource.Options{}); err != nil {
			t.Fatal(err)
		}
		op := fhir.Op{Kind: fhir.OpPut, Method: "PUT", Key: fhir.Key{Type: "Patient", ID: fmt.Sprint("p", i)}, Stored: d.Root().AppendStored(nil, nil), Values: &search.Values{}}
		if err := search.Default().Extract(d.Root(), nil, op.Values); err != nil {
			t.Fatal(err)
		}
		c.Ops = append(c.Ops, op)
	}
	if _, err := s.Apply(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	return s
}

func asked(t *testing.T, raw string) *search.Query {
	t.Helper()
	vals, err := url.ParseQuery(raw)
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := search.Default().Parse([]string{"Patient"}, nil, vals, raw, search.ParseOptions{Strict: true, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestExplain(t *testing.T) {
	var log bytes.Buffer
	s := filled(t, Options{Slow: 1, Log: slog.New(slog.NewTextHandler(&log, nil))})
	page, err := s.Search(t.Context(), asked(t, "name=secret1&gender=male&family:exact=Secret1&_explain=true"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(page.Explain, "\n")
	for _, part := range []string{"walks", "gender", "rows", "the bodies decide about family:exact", "candidates for 1 matches"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
	if !strings.Contains(log.String(), "slow search") || !strings.Contains(log.String(), "name,gender,family:exact") {
		t.Errorf("the log: %s", log.String())
	}
	if strings.Contains(strings.ToLower(text+log.String()), "secret") {
		t.Errorf("a value is named:\n%s\n%s", text, log.String())
	}
}

func TestTooCostly(t *testing.T) {
	for name, opt := range map[string]Options{"time": {SearchTime: 1}, "rows": {ScanLimit: 10}} {
		s := filled(t, opt)
		_, err := s.Search(t.Context(), asked(t, "_text=nothing"))
		if !fault.Is(err, fault.TooCostly) || !strings.Contains(err.Error(), "more") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "rows" && !strings.Contains(err.Error(), "_text") {
			t.Errorf("the clause is not named: %v", err)
		}
	}
}

func TestTokenOfAnother(t *testing.T) {
	s := filled(t, Options{})
	q := asked(t, "gender=male&_count=5")
	q.Owner = "ann"
	page, err := s.Search(t.Context(), q)
	if err != nil || page.Next == "" {
		t.Fatalf("%+v, %v", page, err)
	}
	q.After, q.Owner = page.Next, "bob"
	if _, err := s.Search(t.Context(), q); !fault.Is(err, fault.Invalid) {
		t.Errorf("the token of another: %v", err)
	}
	q.Owner = "ann"
	if _, err := s.Search(t.Context(), q); err != nil {
		t.Error(err)
	}
}
