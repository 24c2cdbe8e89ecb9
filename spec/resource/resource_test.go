package resource

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func parse(t testing.TB, s string) Node {
	t.Helper()
	var d Doc
	if err := d.Parse([]byte(s), Options{}); err != nil {
		t.Fatalf("parse %s: %v", s, err)
	}
	return d.Root()
}

const patient = `{
  "resourceType" : "Patient", "id":"1",
  "_id": {"extension":[{"url":"u","valueString":"x"}]},
  "meta":{"versionId":"7","lastUpdated":"2020-01-01T00:00:00Z","_lastUpdated":{"id":"a"},"tag":[{"code":"t"}]},
  "active":true,
  "name":[{"family":"M\u00fcller \"x\"","given":["A","B c"]},{"given":[null]}],
  "multipleBirthInteger": 1.10e+2, "contained":[], "maritalStatus": {}
}`

func TestNode(t *testing.T) {
	r := parse(t, "\uFEFF"+patient)
	if got := r.Get("name").At(0).Get("given").At(1).Path(); got != "Patient.name[0].given[1]" {
		t.Error(got)
	}
	if got := r.Get("name").At(0).Get("family").Text(); got != `Müller "x"` {
		t.Error(got)
	}
	if got := string(r.Get("multipleBirthInteger").Bytes()); got != "1.10e+2" {
		t.Error(got)
	}
	if !r.Get("active").Bool() || !r.Get("id").Is("1") || r.Get("nothing").Valid() || r.Get("name").At(2).Valid() {
		t.Error("access")
	}
	var keys []string
	for c := range r.Children() {
		keys = append(keys, string(c.Key()))
	}
	want := []string{"resourceType", "id", "_id", "meta", "active", "name", "multipleBirthInteger", "contained", "maritalStatus"}
	if d := cmp.Diff(want, keys); d != "" || r.Len() != len(want) {
		t.Error(d)
	}
	if got := r.Get("name").Parent().Path(); got != "Patient" {
		t.Error(got)
	}
	if got := parse(t, `[1]`).At(0).Path(); got != "$this[0]" {
		t.Error(got)
	}
	var none Node
	if none.Kind() != Absent || none.Get("a").Valid() || none.At(0).Valid() || none.Parent().Valid() || none.First().Valid() ||
		none.Next().Valid() || none.Text() != "" || none.Path() != "" || none.Raw() != nil || none.Key() != nil ||
		none.Bool() || none.Is("") || none.KeyIs("") || none.Len() != 0 || len(none.AppendCompact(nil)) != 0 ||
		len(none.AppendEdited(nil, nil)) != 0 || !bytes.Equal(none.AppendStored(nil, nil), []byte{0}) {
		t.Error("the zero Node is not absent")
	}
}

func TestEscapedNames(t *testing.T) {
	r := parse(t, `{"\u0061b":1,"":2}`)
	if string(r.Get("ab").Raw()) != "1" || string(r.Get("").Raw()) != "2" || string(r.First().Key()) != "ab" {
		t.Error("member names")
	}
}

func many(n int, last string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		b.WriteString(`"k`)
		b.Write(appendInt(nil, int64(i)))
		b.WriteString(`":0,`)
	}
	return b.String() + last + `:1}`
}

func TestParseErrors(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ in, path, code, msg string }{
		{``, "", "structure", "empty"},
		{" \n", "", "structure", "empty"},
		{`{} x`, "", "structure", "follows"},
		{`{"a":1,"a":2}`, "$this.a", "structure", `"a" appears twice`},
		{`{"a":1,"\u0061":2}`, "$this.a", "structure", "twice"},
		{many(40, `"k3"`), "$this.k3", "structure", "twice"},
		{many(31, `"k30"`), "$this.k30", "structure", "twice"},
		{many(32, `"k31"`), "$this.k31", "structure", "twice"},
		{many(33, `"\u006b5"`), "$this.k5", "structure", "twice"},
		{`{"resourceType":"Patient","name":[{"given":["a",01]}]}`, "Patient.name[0].given[1]", "value", "begin with 0"},
		{`{"name":[{"given":["a",tru]}],"resourceType":"Patient"}`, "$this.name[0].given[1]", "structure", "true"},
		{`{"resourceType":"Patient","name":[{"given":["a","b"}]`, "Patient.name[0].given", "structure", "expected , or ]"},
		{`{"a":1,}`, "$this", "structure", "member name"},
		{`{"a" 1}`, "$this", "structure", "expected :"},
		{`{"a":}`, "$this.a", "structure", "found '}'"},
		{`[1,]`, "$this[1]", "structure", "found ']'"},
		{`[`, "$this[0]", "structure", "ends"},
		{`{`, "$this", "structure", "ends"},
		{`{"a":1`, "$this", "structure", "ends inside an object"},
		{`"abc`, "$this", "structure", "ends inside a string"},
		{`"abc\`, "$this", "structure", "ends inside a string"},
		{"\"a\tb\"", "$this", "value", "control"},
		{`"\x"`, "$this", "value", "escape"},
		{`"\u12G4"`, "$this", "value", "hexadecimal"},
		{`"\ud800"`, "$this", "value", "surrogate"},
		{`"\ud800\u0041"`, "$this", "value", "surrogate"},
		{`"\udc00\ud800"`, "$this", "value", "surrogate"},
		{"\"\xff\"", "$this", "value", "UTF-8"},
		{"\"abcdefgh\xed\xa0\x80\"", "$this", "value", "UTF-8"},
		{`1.`, "$this", "value", "digit"}, {`-`, "$this", "value", "digit"}, {`1e`, "$this", "value", "digit"},
		{`+1`, "$this", "structure", "found '+'"}, {`.5`, "$this", "structure", "found '.'"}, {`NaN`, "$this", "structure", "found"},
		{"\xfe", "$this", "structure", "byte 0xfe"},
		{nested(101), "", "too-costly", "deep"},
		{`{"` + strings.Repeat("k", 70000) + `":1}`, "$this", "too-costly", "65535"},
	} {
		var d Doc
		err := d.Parse([]byte(c.in), Options{})
		var se *SyntaxError
		if !errors.As(err, &se) {
			t.Errorf("%.60s: accepted", c.in)
			continue
		}
		if (c.path != "" && se.Path != c.path) || se.Code != c.code || !strings.Contains(se.Error(), c.msg) {
			t.Errorf("%.60s: got %q %q %q", c.in, se.Path, se.Code, se.Error())
		}
		if d.Root().Valid() || se.Offset > len(c.in) {
			t.Errorf("%.60s: the Doc is not empty after an error", c.in)
		}
	}
	var d Doc
	if err := d.Parse([]byte(nested(100)), Options{}); err != nil {
		t.Error(err)
	}
	if err := d.Parse([]byte(`[1,2]`), Options{MaxNodes: 2}); err == nil {
		t.Error("node limit not kept")
	}
	if err := d.Parse([]byte(nested(10_001)), Options{MaxDepth: math.MaxInt}); err == nil {
		t.Error("depth has no upper bound")
	}
}

func TestDuplicateCheckIsLinear(t *testing.T) {
	src := []byte(many(300_000, `"z"`))
	var d Doc
	start := time.Now()
	if err := d.Parse(src, Options{}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("300,000 members took %s", took)
	}
}

func TestAppendEdited(t *testing.T) {
	src := `{ "a" : [ "x y" , {"reference" : "urn:uuid:1"} ], "b" : 2 }`
	r := parse(t, src)
	ref := r.Get("a").At(1).Get("reference")
	start, end := ref.Offsets()
	bs, be := r.Get("b").Offsets()
	edits := []Edit{{start + 1, end - 1, []byte("Patient/ 1")}, {bs, be, []byte(`"q"`)}}
	for _, c := range []struct {
		n    Node
		want string
	}{
		{r, `{"a":["x y",{"reference":"Patient/ 1"}],"b":"q"}`},
		{r.Get("a"), `["x y",{"reference":"Patient/ 1"}]`},
		{ref, `"Patient/ 1"`},
		{r.Get("b"), `"q"`},
		{r.Get("a").At(0), `"x y"`},
	} {
		if got := string(c.n.AppendEdited([]byte("-"), edits)); got != "-"+c.want {
			t.Errorf("got %s want %s", got, c.want)
		}
	}
}

func TestAppendIndent(t *testing.T) {
	got := string(AppendIndent(nil, []byte(`{"a":[1, {"b":"x\"{"} ],"c":{ },"d":[]}`)))
	want := "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x\\\"{\"\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestStored(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 0, 7_900_000, time.FixedZone("", 3600))
	for _, c := range []struct{ in, meta, rest, out string }{
		{patient, `"_lastUpdated":{"id":"a"},"tag":[{"code":"t"}]`,
			`"_id":{"extension":[{"url":"u","valueString":"x"}]},"active":true,"name":[{"family":"M\u00fcller \"x\"","given":["A","B c"]},{"given":[null]}],"multipleBirthInteger":1.10e+2,"contained":[],"maritalStatus":{}`, ""},
		{`{"resourceType":"Patient"}`, "", "", `{"resourceType":"Patient","id":"x.1","meta":{"versionId":"3","lastUpdated":"2026-11-21T09:00:00.007Z"}}`},
		{`{"resourceType":"Patient","meta":{}}`, "", "", `{"resourceType":"Patient","id":"x.1","meta":{"versionId":"3","lastUpdated":"2026-11-21T09:00:00.007Z"}}`},
		{`{"active" : true,"meta":{"versionId":"1", "lastUpdated":"z"},"resourceType":"Patient"}`, "", `"active":true`,
			`{"resourceType":"Patient","id":"x.1","meta":{"versionId":"3","lastUpdated":"2026-11-21T09:00:00.007Z"},"active":true}`},
		{`{"meta":{ "versionId":"1", "extension":[ 1 ] }}`, `"extension":[1]`, "",
			`{"resourceType":"Patient","id":"x.1","meta":{"versionId":"3","lastUpdated":"2026-11-21T09:00:00.007Z","extension":[1]}}`},
		{`{"meta":{"tag":"` + strings.Repeat("x", 300) + `"},"a":0.10}`, `"tag":"` + strings.Repeat("x", 300) + `"`, `"a":0.10`, ""},
		{`{"meta":null}`, "", "", ""},
	} {
		stored := parse(t, c.in).AppendStored([]byte("pre"), nil)
		if string(stored[:3]) != "pre" {
			t.Fatal("prefix lost")
		}
		meta, rest := splitStored(stored[3:])
		if string(meta) != c.meta || string(rest) != c.rest {
			t.Errorf("%s\n meta %s\n rest %s", c.in, meta, rest)
		}
		out := string(AppendResource(nil, Header{"Patient", "x.1", 3, at}, stored[3:]))
		if c.out != "" && out != c.out {
			t.Errorf("%s:\n got %s\nwant %s", c.in, out, c.out)
		}
		if !json.Valid([]byte(out)) {
			t.Errorf("not JSON: %s", out)
		}
	}
	if got := string(AppendResource(nil, Header{Type: "Patient"}, []byte{0})); got != `{"resourceType":"Patient"}` {
		t.Error(got)
	}
	for _, bad := range [][]byte{nil, {5}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		AppendResource(nil, Header{}, bad)
	}
}

func TestStoredEdits(t *testing.T) {
	r := parse(t, `{"subject":{"reference":"urn:uuid:9"},"meta":{"source":"urn:uuid:9"},"x":1}`)
	s1, e1 := r.Get("subject").Get("reference").Offsets()
	s2, e2 := r.Get("meta").Get("source").Offsets()
	stored := r.AppendStored(nil, []Edit{{s1, e1, []byte(`"Patient/9"`)}, {s2, e2, []byte(`"Patient/9"`)}})
	got := string(AppendResource(nil, Header{Type: "T"}, stored))
	if want := `{"resourceType":"T","meta":{"source":"Patient/9"},"subject":{"reference":"Patient/9"},"x":1}`; got != want {
		t.Error(got)
	}
}

func TestAppendInstant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMilli(rapid.Int64Range(-1e14, 3e14).Draw(t, "ms"))
		if got, want := string(AppendInstant(nil, at)), at.UTC().Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Fatalf("got %s want %s", got, want)
		}
	})
}

func TestAppendStringAgreesWithJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "s")
		var back string
		b := AppendString(nil, s)
		if err := json.Unmarshal(b, &back); err != nil || back != strings.Map(func(r rune) rune { return r }, s) {
			t.Fatalf("%q -> %s -> %q (%v)", s, b, back, err)
		}
		var d Doc
		if err := d.Parse(b, Options{}); err != nil || d.Root().Text() != back {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

// value draws JSON text with random white space, spellings and member order.
func value(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		ws := rapid.SampledFrom([]string{"", "", " ", "\n\t"})
		kind := rapid.IntRange(0, 5).Draw(t, "kind")
		if depth == 0 {
			kind = min(kind, 3)
		}
		switch kind {
		case 0:
			return rapid.SampledFrom([]string{"null", "true", "false", `"\u00e9\ud83d\ude00"`, `" \\\" "`}).Draw(t, "literal")
		case 1:
			return rapid.StringMatching(`-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
		case 2, 3:
			return string(AppendString(nil, rapid.String().Draw(t, "string")))
		case 4:
			var b strings.Builder
			b.WriteByte('[')
			for i, v := range rapid.SliceOfN(value(depth-1), 0, 4).Draw(t, "items") {
				if i > 0 {
					b.WriteByte(',')
				}
				b.WriteString(ws.Draw(t, "ws") + v + ws.Draw(t, "ws"))
			}
			return b.String() + "]"
		}
		return object(depth-1, rapid.SliceOfNDistinct(rapid.OneOf(rapid.String(), rapid.StringMatching("[a-d]{1,2}")), 0, 40, rapid.ID).Draw(t, "names"), nil).Draw(t, "object")
	})
}

func object(depth int, names, fixed []string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		ws := rapid.SampledFrom([]string{"", "", " ", "\r\n"})
		var members []string
		for _, name := range names {
			members = append(members, string(AppendString(nil, name))+ws.Draw(t, "ws")+":"+ws.Draw(t, "ws")+value(depth).Draw(t, "value"))
		}
		members = rapid.Permutation(append(members, fixed...)).Draw(t, "order")
		return "{" + ws.Draw(t, "ws") + strings.Join(members, ws.Draw(t, "ws")+",") + "}"
	})
}

func decode(t interface{ Fatalf(string, ...any) }, b []byte) map[string]any {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

func TestStoredRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := func(label string) []string {
			all := rapid.SliceOfNDistinct(rapid.OneOf(rapid.String(), rapid.StringMatching("[a-z]{1,2}"), rapid.Just("_id")), 0, 6, rapid.ID).Draw(t, label)
			return slices.DeleteFunc(all, func(s string) bool {
				return slices.Contains([]string{"id", "resourceType", "meta", "versionId", "lastUpdated"}, s)
			})
		}
		meta := object(1, names("meta"), []string{`"versionId":"5"`, `"lastUpdated" : "2026-01-02T03:04:05.678Z"`}).Draw(t, "meta object")
		src := object(2, names("names"), []string{`"resourceType":"Patient"`, `"id" :"a"`, `"meta": ` + meta}).Draw(t, "resource")
		var d, e Doc
		if err := d.Parse([]byte(src), Options{}); err != nil {
			t.Fatalf("%v", err)
		}
		stored := d.Root().AppendStored(nil, nil)
		h := Header{"Patient", "a", 5, time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)}
		out := AppendResource(nil, h, stored)
		if !reflect.DeepEqual(decode(t, []byte(src)), decode(t, out)) {
			t.Fatalf("%s\nbecame %s", src, out)
		}
		if err := e.Parse(out, Options{}); err != nil {
			t.Fatalf("%v", err)
		}
		if again := e.Root().AppendStored(nil, nil); !bytes.Equal(stored, again) {
			t.Fatalf("stored form is not stable: %q %q", stored, again)
		}
		if len(out) > len(stored)+160 {
			t.Fatalf("longer than promised: %d for %d", len(out), len(stored))
		}
	})
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no fixtures", err)
	}
	var d Doc
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Parse(src, Options{}); err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		var want bytes.Buffer
		if err := json.Compact(&want, src); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.String(), string(d.Root().AppendCompact(nil))); d != "" {
			t.Errorf("%s: %s", f, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{patient, `[1,-0.5e3,"\ud83d\ude00"]`, `{"a":{"a":[[]]}}`, "\uFEFFnull", `"é\n"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var d Doc
		err := d.Parse(src, Options{})
		std := json.Valid(bytes.TrimPrefix(src, []byte("\uFEFF")))
		if err == nil != std {
			var se *SyntaxError
			stricter := errors.As(err, &se) && (se.Code == "too-costly" || strings.Contains(se.Msg, "UTF-8") ||
				strings.Contains(se.Msg, "twice") || strings.Contains(se.Msg, "surrogate"))
			if err == nil || !stricter {
				t.Fatalf("%q: encoding/json says %v, Parse says %v", src, std, err)
			}
		}
		if err != nil {
			return
		}
		out := d.Root().AppendCompact(nil)
		var want bytes.Buffer
		if err := json.Compact(&want, bytes.TrimPrefix(src, []byte("\uFEFF"))); err != nil || want.String() != string(out) {
			t.Fatalf("compact %q: %q, want %q (%v)", src, out, want.String(), err)
		}
		var e Doc
		if err := e.Parse(AppendIndent(nil, out), Options{}); err != nil {
			t.Fatal(err)
		}
		if again := e.Root().AppendCompact(nil); !bytes.Equal(out, again) {
			t.Fatalf("indented and compacted: %q, want %q", again, out)
		}
		for i := range d.nodes {
			n := Node{&d, int32(i)}
			_, _, _ = n.Path(), n.Text(), n.Key()
		}
	})
}

func benchmarkSource(b *testing.B) []byte {
	src, err := os.ReadFile("testdata/observation-bp.json")
	if err != nil {
		b.Fatal(err)
	}
	var d Doc
	if err := d.Parse(src, Options{}); err != nil {
		b.Fatal(err)
	}
	return d.Root().AppendCompact(nil)
}

func BenchmarkParse(b *testing.B) {
	src := benchmarkSource(b)
	var d Doc
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Parse(src, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(d.Len()), "nodes")
}

func BenchmarkStored(b *testing.B) {
	src := benchmarkSource(b)
	var d Doc
	if err := d.Parse(src, Options{}); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 2*len(src))
	b.ReportAllocs()
	for b.Loop() {
		buf = d.Root().AppendStored(buf[:0], nil)
	}
}

func BenchmarkAppendResource(b *testing.B) {
	src := benchmarkSource(b)
	var d Doc
	if err := d.Parse(src, Options{}); err != nil {
		b.Fatal(err)
	}
	stored := d.Root().AppendStored(nil, nil)
	h := Header{"Observation", "0d0c6e6c-8e3c-4a3b-8d2b-6f1f4b3a9e11", 12, time.Now()}
	buf := make([]byte, 0, 2*len(src))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendResource(buf[:0], h, stored)
	}
}

func TestNoAllocations(t *testing.T) {
	src := []byte(strings.ReplaceAll(patient, `\u00fc`, "ü"))
	var d Doc
	buf := make([]byte, 0, 4096)
	run := func() {
		if err := d.Parse(src, Options{}); err != nil {
			t.Fatal(err)
		}
		stored := d.Root().AppendStored(buf[:0], nil)
		AppendResource(buf[2048:2048], Header{"Patient", "1", 1, time.UnixMilli(1)}, stored)
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
