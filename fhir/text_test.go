package fhir

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestNewUUID(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	next := newUUID(func() time.Time { return now })
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	last := ""
	for range 100 {
		id := next()
		if !form.MatchString(id) || !ValidID(id) || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
		if id[:13] < last {
			t.Fatalf("%s comes before %s", id, last)
		}
		last = id[:13]
		now = now.Add(time.Millisecond)
	}
	ms, err := strconv.ParseInt(strings.ReplaceAll(last, "-", ""), 16, 64)
	if err != nil || ms != now.UnixMilli()-1 {
		t.Errorf("time %d (%v), want %d", ms, err, now.UnixMilli()-1)
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "A-1.b": true, strings.Repeat("x", 64): true, "0": true,
		"": false, strings.Repeat("x", 65): false, "a_b": false, "a b": false, "a/b": false, "ä": false, "a\x00": false,
	} {
		if got := ValidID(id); got != want {
			t.Errorf("ValidID(%q) = %v", id, got)
		}
	}
}

func TestParseInstant(t *testing.T) {
	for s, want := range map[string]string{
		"2024": "2024-01-01T00:00:00Z", "2024-02": "2024-02-01T00:00:00Z", "2024-02-29": "2024-02-29T00:00:00Z",
		"2024-02-29T10:11": "2024-02-29T10:11:00Z", "2024-02-29T10:11:12.345Z": "2024-02-29T10:11:12.345Z",
		"2024-02-29T10:11:12+02:00": "2024-02-29T08:11:12Z", "2024-02-29T10:11:12 02:00": "2024-02-29T08:11:12Z",
		"": "", "x": "", "2023-02-29": "", "20240229": "", "2024-13": "",
	} {
		got, err := parseInstant("_since", s)
		if want == "" {
			if err == nil {
				t.Errorf("%q is accepted as %v", s, got)
			}
			continue
		}
		if err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %v, %v; want %s", s, got, err, want)
		}
	}
}

func TestRelativeForm(t *testing.T) {
	for full, want := range map[string]string{
		"http://a.test/fhir/Patient/1": "Patient/1", "https://a.test/Patient/x-1": "Patient/x-1",
		"urn:uuid:x": "", "Patient/1": "", "http://a.test/Foo/1": "", "http://Patient": "", "://": "", "http://a.test/Patient/": "",
	} {
		if got := relativeForm(full); got != want {
			t.Errorf("relativeForm(%q) = %q, want %q", full, got, want)
		}
	}
}

func FuzzTexts(f *testing.F) {
	for _, s := range []string{`W/"1"`, `"`, `W/`, "2024-01", "http://a/Patient/1", "://", "Patient?x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, ok := parseETag(s); ok && v <= 0 {
			t.Errorf("version %d", v)
		}
		if at, err := parseInstant("_since", s); err == nil && at.Location() != time.UTC {
			t.Errorf("%v is not UTC", at)
		}
		relativeForm(s)
		r := references{base: "http://a/"}
		if typ, id, ok := r.resolve(s); ok && (typ == "" || !ValidID(id)) {
			t.Errorf("resolved to %q %q", typ, id)
		}
	})
}
