package search

import (
	"math"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseDate(t *testing.T) {
	for s, want := range map[string][2]string{
		"2020":                         {"2020-01-01T00:00:00Z", "2020-12-31T23:59:59.999Z"},
		"2020-02":                      {"2020-02-01T00:00:00Z", "2020-02-29T23:59:59.999Z"},
		"1900-02":                      {"1900-02-01T00:00:00Z", "1900-02-28T23:59:59.999Z"},
		"2020-12":                      {"2020-12-01T00:00:00Z", "2020-12-31T23:59:59.999Z"},
		"2020-02-29":                   {"2020-02-29T00:00:00Z", "2020-02-29T23:59:59.999Z"},
		"2020-02-29T10:11":             {"2020-02-29T10:11:00Z", "2020-02-29T10:11:59.999Z"},
		"2020-02-29T10:11Z":            {"2020-02-29T10:11:00Z", "2020-02-29T10:11:59.999Z"},
		"2020-02-29T10:11:12":          {"2020-02-29T10:11:12Z", "2020-02-29T10:11:12.999Z"},
		"2020-02-29T10:11:12+14:00":    {"2020-02-28T20:11:12Z", "2020-02-28T20:11:12.999Z"},
		"2020-02-29T10:11:12-05:30":    {"2020-02-29T15:41:12Z", "2020-02-29T15:41:12.999Z"},
		"2020-02-29T10:11:12.5Z":       {"2020-02-29T10:11:12.5Z", "2020-02-29T10:11:12.5Z"},
		"2020-02-29T10:11:12.123000Z":  {"2020-02-29T10:11:12.123Z", "2020-02-29T10:11:12.123Z"},
		"2020-02-29T10:11:12.1234567Z": {"2020-02-29T10:11:12.123Z", "2020-02-29T10:11:12.124Z"},
		"2016-12-31T23:59:60Z":         {"2017-01-01T00:00:00Z", "2017-01-01T00:00:00.999Z"},
		"0001":                         {"0001-01-01T00:00:00Z", "0001-12-31T23:59:59.999Z"},
		"9999":                         {"9999-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"},
	} {
		got, ok := parseDate(s)
		if !ok {
			t.Errorf("%s is refused", s)
			continue
		}
		for i, ms := range []int64{got.lo, got.hi} {
			w, err := time.Parse(time.RFC3339Nano, want[i])
			if err != nil {
				t.Fatal(err)
			}
			if w.UnixMilli() != ms {
				t.Errorf("%s: end %d is %s, want %s", s, i, time.UnixMilli(ms).UTC().Format(time.RFC3339Nano), want[i])
			}
		}
	}
	if d, _ := parseDate("0001"); d.lo != MinTime {
		t.Errorf("the first year begins at %d, want MinTime", d.lo)
	}
	if d, _ := parseDate("9999"); d.hi != MaxTime {
		t.Errorf("the last year ends at %d, want MaxTime", d.hi)
	}
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"2020", "2020-02", "2020-02-29", "2020-02-29T10:11:12.123Z", "2020-02-29T10:11:12+02:00", "0000-00-00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseDate(s)
		if ok && got.lo > got.hi {
			t.Errorf("%q: %d > %d", s, got.lo, got.hi)
		}
		if b, okBytes := parseDate([]byte(s)); ok != okBytes || b != got {
			t.Errorf("%q: bytes give %v", s, b)
		}
		if want, err := time.Parse("2006-01-02T15:04:05Z07:00", s); err == nil && len(s) == 20 && want.Year() > 0 {
			if !ok || got.lo != want.UnixMilli() {
				t.Errorf("%q: %v %t, want %d", s, got, ok, want.UnixMilli())
			}
		}
		if want, err := time.Parse("2006-01-02", s); err == nil && want.Year() > 0 && (!ok || got.lo != want.UnixMilli()) {
			t.Errorf("%q: %v %t, want %d", s, got, ok, want.UnixMilli())
		}
	})
}

func TestParseDecimal(t *testing.T) {
	for s, want := range map[string]decimal{
		"5":                         {5, 4.5, 5.5},
		"100":                       {100, 99.5, 100.5},
		"100.00":                    {100, 99.995, 100.005},
		"1e2":                       {100, 95, 105},
		"1.0e2":                     {100, 95, 105},
		"5.40":                      {5.4, 5.395, 5.405},
		"-5":                        {-5, -5.5, -4.5},
		"+5":                        {5, 4.5, 5.5},
		"0":                         {0, -0.5, 0.5},
		"-0":                        {0, -0.5, 0.5},
		".5":                        {0.5, 0.45, 0.55},
		"2e-3":                      {0.002, 0.00195, 0.00205},
		"0.1":                       {0.1, 0.05, 0.15},
		"1234567890123456789012345": {1234567890123456789012345, 1234567890123456789012344.5, next(1234567890123456789012345)},
	} {
		got, ok := parseDecimal(s)
		if d := cmp.Diff(want, got, cmp.AllowUnexported(decimal{})); d != "" || !ok {
			t.Errorf("%s (-want +got):\n%s", s, d)
		}
	}
	for _, s := range []string{"", "-", ".", "5.", "e5", "1e", "1e+", "1e401", "1e309", "NaN", "Inf", "0x1", "1_0", " 1", "1 ", "1e5.5"} {
		if _, ok := parseDecimal(s); ok {
			t.Errorf("%q is accepted", s)
		}
	}
}

func FuzzParseDecimal(f *testing.F) {
	for _, s := range []string{"5", "-1.50", "1e2", "2e-3", "1e308", "4.9e-324"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseDecimal(s)
		if ok && (d.lo > d.value || d.value > d.hi || math.IsNaN(d.value)) {
			t.Errorf("%q: %v", s, d)
		}
	})
}

func TestFold(t *testing.T) {
	for s, want := range map[string]string{
		"":                 "",
		"smith":            "smith",
		"Smith":            "smith",
		"  A \t B\r\n":     "a b",
		"Müller":           "muller",
		"Mu\u0308ller":     "muller",
		"ŁÓDŹ":             "lodz",
		"Weiß Æsop Ørsted": "weiss aesop orsted",
		"İstanbul ılık":    "istanbul ilik",
		"ﬁn Ａ":             "fin a",
		"ΟΔΟΣ οδος":        "οδοσ οδοσ",
		"東京 Tokyo":         "東京 tokyo",
	} {
		if got := Fold(s); got != want {
			t.Errorf("Fold(%q) = %q, want %q", s, got, want)
		}
	}
}

func FuzzFold(f *testing.F) {
	for _, s := range []string{"a", "A b", "Ünï", "ﬁ", "İ", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		once := Fold(s)
		if twice := Fold(once); twice != once {
			t.Errorf("Fold(%q) = %q, and again %q", s, once, twice)
		}
	})
}

func TestEscape(t *testing.T) {
	if d := cmp.Diff([]string{`a\,b`, "c", ""}, splitEscaped(`a\,b,c,`, ',')); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{`a\\`, "b"}, splitEscaped(`a\\,b`, ',')); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for s, want := range map[string]string{`a\,b`: "a,b", `a\\`: `a\`, `\a`: `\a`, `\`: `\`, `\$\|`: "$|"} {
		if got := unescape(s); got != want {
			t.Errorf("unescape(%q) = %q, want %q", s, got, want)
		}
	}
}
