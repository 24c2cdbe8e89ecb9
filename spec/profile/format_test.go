package profile

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

func TestFormats(t *testing.T) {
	long := strings.Repeat("a", 65)
	tests := []struct {
		typ       string
		good, bad []string // as JSON
	}{
		{"boolean", []string{`true`, `false`}, []string{`"true"`, `1`, `null`, `{}`}},
		{"integer", []string{`0`, `-1`, `2147483647`, `-2147483648`},
			[]string{`2147483648`, `-2147483649`, `1.0`, `1e2`, `"1"`, `99999999999999999999999`, `-99999999999999999999`}},
		{"unsignedInt", []string{`0`, `2147483647`}, []string{`-1`, `-0`, `2147483648`, `0.5`}},
		{"positiveInt", []string{`1`, `2147483647`}, []string{`0`, `-1`, `2147483648`}},
		{"decimal", []string{`0`, `-1.50`, `0.10`, `1e2`, `1E-5`, `123456789012345678901234567890.123456789`},
			[]string{`"1"`, `1e400`, `-1e999999999`, strings.Repeat("9", 2000), `true`}},
		{"string", []string{`"a"`, `" "`, `"a\nb\tc\r"`, `"\u00e9"`, `"\u000a"`, `"\\u0001"`, `"\\b"`},
			[]string{`""`, `"\b"`, `"\f"`, `"a\u0001"`, `"\u001f"`, `"\u0000"`, `"\u000B"`, `1`, `"` + strings.Repeat("a", 1<<20+1) + `"`}},
		{"markdown", []string{`"a\n\n* b"`, `"` + strings.Repeat("é", 1<<20) + `"`}, []string{`""`}},
		{"code", []string{`"a"`, `"a b"`, `"é"`, `"1+"`}, []string{`""`, `" a"`, `"a "`, `"a  b"`, `"\t"`, `"a\u0001"`, `1`}},
		{"id", []string{`"a"`, `"A-1.b"`, `"` + long[:64] + `"`}, []string{`""`, `"a_b"`, `"a b"`, `"` + long + `"`, `"é"`, `1`}},
		{"uri", []string{`"http://a/b?c#d"`, `"urn:x"`, `"a"`, `"é"`}, []string{`""`, `"a b"`, `"a\n"`, `"a\u00a0b"`}},
		{"url", []string{`"mailto:a@b"`}, []string{`" "`}},
		{"canonical", []string{`"http://a|1.0"`}, []string{`"http://a |1"`}},
		{"oid", []string{`"urn:oid:1.2.3"`, `"urn:oid:2.16.840.1.113883.0"`}, []string{`"1.2.3"`, `"urn:oid:3.1"`, `"urn:oid:1"`, `"urn:oid:1."`, `"urn:oid:1.02"`, `"urn:oid:1..2"`, `"urn:oid:1.a"`}},
		{"uuid", []string{`"urn:uuid:c757873d-ec9a-4326-a141-556f43239520"`}, []string{`"c757873d-ec9a-4326-a141-556f43239520"`, `"urn:uuid:C757873D-ec9a-4326-a141-556f43239520"`, `"urn:uuid:c757873d-ec9a-4326-a141-556f4323952"`, `"urn:uuid:c757873dxec9a-4326-a141-556f43239520"`}},
		{"base64Binary", []string{`"QQ=="`, `"QUI="`, `"QUJD"`, `"QU JD\nQUJD\r\n"`, `"\/+==" `}, []string{`""`, `" "`, `"QQ"`, `"Q==="`, `"QQ=A"`, `"QQ-_"`, `"QQ==QUJD"`}},
		{"date", []string{`"2020"`, `"2020-02"`, `"2020-02-29"`, `"0001-01-01"`, `"2000-02-29"`, `"9999-12-31"`},
			[]string{`"20"`, `"2020-13"`, `"2020-00"`, `"2021-02-29"`, `"1900-02-29"`, `"2020-04-31"`, `"2020-01-00"`, `"0000"`, `"2020-1-1"`, `"2020-01-01T00:00:00Z"`, `"2020/01/01"`, `"20200101"`, `""`, `"2020-"`, `"éééé"`, `2020`}},
		{"dateTime", []string{`"2020"`, `"2020-02-29"`, `"2020-02-29T23:59:60Z"`, `"2020-02-29T00:00:00.123456789+14:00"`, `"2020-02-29T00:00:00-13:59"`},
			[]string{`"2020-01-01T10:00Z"`, `"2020-01-01T10:00:00"`, `"2020-01-01T24:00:00Z"`, `"2020-01-01T10:60:00Z"`, `"2020-01-01T10:00:61Z"`, `"2020-01-01T10:00:00.Z"`, `"2020-01-01T10:00:00+14:01"`, `"2020-01-01T10:00:00+1:00"`, `"2020-01-01 10:00:00Z"`, `"2020-02-30T10:00:00Z"`, `"2020-01-01T10:00:00z"`, `"2020-01-01T"`, `"2020-01T10:00:00Z"`}},
		{"instant", []string{`"2020-01-01T10:00:00Z"`, `"2020-01-01T10:00:00.1+01:00"`}, []string{`"2020"`, `"2020-01-01"`, `"2020-01-01T10:00:00"`}},
		{"time", []string{`"10:00:00"`, `"23:59:60.5"`}, []string{`"10:00"`, `"24:00:00"`, `"10:00:00Z"`, `"10:00:00."`, `"1:00:00"`, `""`}},
		{"xhtml", []string{
			`"<div xmlns=\"http://www.w3.org/1999/xhtml\">a</div>"`, `"<div/>"`, `" <div><p>a<br/>b</p><!-- <x> --></div> "`,
			`"<div><a href='x&amp;y' title = \"1\" >&#160;&lt;&#xA0;</a></div >"`, `"<div><![CDATA[<p>]]></div>"`,
		}, []string{
			`""`, `"a"`, `"<p>a</p>"`, `"<div>"`, `"<div><p></div></p>"`, `"<div></div><div></div>"`, `"<div></div>a"`, `"<div>a & b</div>"`, `"<div>&;</div>"`,
			`"<div><p x>a</p></div>"`, `"<div><p x=1>a</p></div>"`, `"<div><</div>"`, `"<div></p></div>"`, `"<divx></divx>"`, `"<div><!-- </div>"`, `"<div><p a='1'b='2'/></div>"`, `"<div"`, `"<div>a"`, `"<div/>a"`, `"<div/ >"`,
		}},
	}
	for _, tt := range tests {
		f := formatOf(tt.typ)
		for _, s := range tt.good {
			if problem := f.check(parse(t, s)); problem != "" {
				t.Errorf("%s %.80s: %s", tt.typ, s, problem)
			}
		}
		for _, s := range tt.bad {
			if f.check(parse(t, s)) == "" {
				t.Errorf("%s %.80s: accepted", tt.typ, s)
			}
		}
	}
}

func TestReferenceFormat(t *testing.T) {
	good := []string{
		"Patient/1", "Patient/1/_history/2", "#", "#a", "http://a/b/Patient/1", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
		"urn:oid:1.2", "Practitioner?identifier=http://x|1", "Patient/1#frag", "ijk", "1",
	}
	bad := []string{
		"", " ", "Patient/", "Patient/a b", "patient/1", "Foo/1", "/Patient/1", "../Patient/1", "Patient/1/x", "Patient/1/_history/",
		"Patient/1/_history/a/b", "Resource/1", "HumanName/1", ":a", "Patient/a_b", "a b", "a_b",
	}
	for _, s := range good {
		if problem := formatReference.checkText([]byte(s)); problem != "" {
			t.Errorf("%q: %s", s, problem)
		}
	}
	for _, s := range bad {
		if formatReference.checkText([]byte(s)) == "" {
			t.Errorf("%q: accepted", s)
		}
	}
}

// TestFormatsAgainstRegex compares the hand-written formats with the regular
// expressions of the standard on random text that is near to the format.
func TestFormatsAgainstRegex(t *testing.T) {
	near := map[string]string{
		"code": `[a \t]{0,6}`, "id": `[A-Za-z0-9\-. _]{0,66}`, "oid": `urn:oid:[0-3.a]{0,6}`,
		"date":     `[0-2]{2}[0-9]{2}(-[01][0-9](-[0-2][0-8])?)?[0-9-]?`,
		"time":     `[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,3})?Z?`,
		"dateTime": `(19|20)[0-9]{2}-[01][0-9]-[0-2][0-8](T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,3})?(Z|[+-]1[0-4]:[0-6][0-9])?)?`,
		"instant":  `(19|20)[0-9]{2}-[01][0-9]-[0-2][0-8]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,3})?(Z|[+-]1[0-4]:[0-6][0-9])?`,
		"integer":  `-?(0|[1-9][0-9]{0,5})(\.[0-9])?`, "unsignedInt": `-?(0|[1-9][0-9]{0,5})`, "positiveInt": `-?(0|[1-9][0-9]{0,5})`,
		"uuid": `urn:uuid:[0-9a-fA]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{11,12}`,
	}
	for typ, pattern := range near {
		f, want := formatOf(typ), regexp.MustCompile(`^(?:`+r4.Lookup(typ).Regex+`)$`)
		t.Run(typ, rapid.MakeCheck(func(t *rapid.T) {
			s := rapid.StringMatching(pattern).Draw(t, "text")
			src := string(resource.AppendString(nil, s))
			if f.kind() == resource.Number {
				src = s
			}
			d := new(resource.Doc)
			if err := d.Parse([]byte(src), resource.Options{}); err != nil {
				t.Fatal(err)
			}
			problem := f.check(d.Root())
			if (problem == "") != want.MatchString(s) {
				t.Fatalf("%s %q: %q, regex %v", typ, s, problem, want.MatchString(s))
			}
		}))
	}
}

func FuzzXHTML(f *testing.F) {
	for _, s := range []string{`<div><p a="b">x</p></div>`, `<div><!--`, `<div>&`, `<div `, `<div/`, `<div></`, `<div a=`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, b []byte) { formatXHTML.checkText(b) })
}
