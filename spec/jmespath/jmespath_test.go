package jmespath_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/spec/jmespath"
	"github.com/hygeia-health/hygeia/spec/jsonvalue"
)

// exclusions are the compliance tests that this package does not follow, each
// with the reason.
var exclusions = map[string]string{
	`literal.json: '\\'`: "later versions of the specification unescape it",
}

func TestCompliance(t *testing.T) {
	files, err := filepath.Glob("testdata/compliance/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	total := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var suites []struct {
			Given json.RawMessage
			Cases []struct {
				Expression, Error string
				Result            json.RawMessage
			}
		}
		if err := json.Unmarshal(text, &suites); err != nil {
			t.Fatal(err)
		}
		for _, s := range suites {
			given, err := jsonvalue.Parse(s.Given)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, c := range s.Cases {
				name := filepath.Base(file) + ": " + c.Expression
				if exclusions[name] != "" {
					continue
				}
				total++
				got, err := eval(c.Expression, given)
				switch {
				case c.Error != "" && err == nil:
					t.Errorf("%s: %s, want an error (%s)", name, got.AppendJSON(nil), c.Error)
				case c.Error == "" && err != nil:
					t.Errorf("%s: %v", name, err)
				case c.Error == "":
					want, err := jsonvalue.Parse(c.Result)
					if err != nil {
						t.Fatal(err)
					}
					if !jsonvalue.Equal(got, want) {
						t.Errorf("%s: %s, want %s", name, got.AppendJSON(nil), c.Result)
					}
				}
			}
		}
	}
	t.Logf("%d cases", total)
}

func eval(expr string, v jsonvalue.Value) (jsonvalue.Value, error) {
	e, err := jmespath.Parse(expr)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	return e.Eval(v)
}

func TestExtraFunctions(t *testing.T) {
	given, err := jsonvalue.Parse([]byte(`{"i": 40, "f": 40.0, "t": 1549061161, "ms": 1549061161875, "s": "abc", "n": null, "big": 9223372036854775807, "min": -9223372036854775808,
	  "list": [{"v": 1}, {"v": 2}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ expr, want string }{
		{"add(i, `2`)", "42"},
		{"add(i, `2.5`)", "42.5"},
		{"add(`0.1`, `0.2`)", "0.3"},
		{"subtract(i, `50`)", "-10"},
		{"multiply(i, `2`)", "80"},
		{"multiply(`0.6214`, `1609.344`)", "1000.0463616"},
		{"multiply(`72`, `0.0254`)", "1.8288"},
		{"divide(i, `50`)", "0"},
		{"divide(f, `50`)", "0.8"},
		{"divide(`30.6`, `1.0936`)", "27.9809802487198"},
		{"divide(`-7`, `2`)", "-3"},
		{"pow(`2`, `10`)", "1024"},
		{"pow(`2`, `0.5`)", "1.4142135623731"},
		{"insertString(s, '-', `1`)", `"a-bc"`},
		{"insertString('😀b', '-', `2`)", `"😀-b"`},
		{"insertString(s, '!', `3`)", `"abc!"`},
		{"fromUnixTimestamp(t)", `"2019-02-01T22:46:01Z"`},
		{"fromUnixTimestampMs(ms)", `"2019-02-01T22:46:01.875Z"`},
		{"to_array(@) | [? s && starts_with(s, 'ab')].list[]", `[{"v":1},{"v":2}]`},
		// Errors are written as ! and a part of the message.
		{"add(s, `1`)", "!argument 1 is string, not number"},
		{"add(n, `1`)", "!argument 1 is null"},
		{"add(big, `1`)", "!does not fit"},
		{"subtract(min, `1`)", "!does not fit"},
		{"multiply(big, `2`)", "!does not fit"},
		{"multiply(min, `-1`)", "!does not fit"},
		{"divide(min, `-1`)", "!does not fit"},
		{"divide(i, `0`)", "!division by zero"},
		{"divide(f, `0`)", "!no finite number"},
		{"pow(`10`, `30`)", "!does not fit"},
		{"insertString(s, '-', `4`)", "!not between 0 and 3"},
		{"insertString(s, `1`, `0`)", "!argument 2 is number"},
		{"fromUnixTimestamp(f)", "!whole number"},
		{"fromUnixTimestamp(ms)", "!between the years"},
		{"add(i)", "!2 arguments"},
		{"frobnicate(i)", "!no function"},
	} {
		got, err := eval(tt.expr, given)
		if want, bad := strings.CutPrefix(tt.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %s, error %v, want %q", tt.expr, got.AppendJSON(nil), err, want)
			}
		} else if err != nil || string(got.AppendJSON(nil)) != tt.want {
			t.Errorf("%s: %s, error %v, want %s", tt.expr, got.AppendJSON(nil), err, tt.want)
		}
	}
}

func TestProjects(t *testing.T) {
	for expr, want := range map[string]bool{
		"a.b": false, "a[]": true, "a[*].b": true, "a[0]": false, "a[0:1]": true, "*.b": true, "a[?b].c": true,
		"a[*].b | [0]": false, "a | b[]": true, "[a, b]": false, "(a[*])": false, "keys(a)": false, "a.b[].c": true,
	} {
		e, err := jmespath.Parse(expr)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		if e.Projects() != want {
			t.Errorf("%s: %v", expr, !want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a.b[0].c[*] | [?d == `1`]", "{a: b, c: [d, e]}", "sort_by(a, &b)[::-1]", "multiply(a, `0.1`)", "a || !b && 'c'"} {
		f.Add(s)
	}
	given, err := jsonvalue.Parse([]byte(`{"a": [{"b": 1, "c": [1, 2]}, {"b": 0}], "b": {"c": "d"}}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := jmespath.Parse(s)
		if err != nil {
			if e, ok := err.(*jmespath.SyntaxError); !ok || e.Offset < 0 || e.Offset > len(s) {
				t.Fatalf("error %#v", err)
			}
			return
		}
		v, err := e.Eval(given)
		if err != nil {
			return
		}
		if _, err := jsonvalue.Parse(v.AppendJSON(nil)); err != nil {
			t.Fatalf("%s gives %s: %v", s, v.AppendJSON(nil), err)
		}
	})
}
