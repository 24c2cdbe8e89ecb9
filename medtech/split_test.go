package medtech

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func gz(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSplit(t *testing.T) {
	whole := gz(t, `{"a":1}`)
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"an object", `{"a":1}`, []string{`{"a":1}`}},
		{"an object over lines", "{\n\"a\":1}", []string{"{\n\"a\":1}"}},
		{"an array", ` [{"a":1}, {"b":[{}]}]`, []string{`{"a":1}`, `{"b":[{}]}`}},
		{"an empty array", `[]`, []string{`[]`}},
		{"an array of something else", `[{"a":1},2]`, []string{`[{"a":1},2]`}},
		{"lines", "{\"a\":1}\r\n\n{\"b\":2}\n", []string{`{"a":1}`, `{"b":2}`}},
		{"lines and something else", "{\"a\":1}\n{\"b\":}", []string{"{\"a\":1}\n{\"b\":}"}},
		{"lines of nested objects", "{\"a\":{\n}}", []string{"{\"a\":{\n}}"}},
		{"nothing", " ", []string{" "}},
		{"no JSON", "hr=60", []string{"hr=60"}},
		{"gzip", whole, []string{`{"a":1}`}},
		{"gzip of an array", gz(t, `[{"a":1},{"b":2}]`), []string{`{"a":1}`, `{"b":2}`}},
		{"CBOR", "\xa2aa\x01ab\xf9\x3e\x00", []string{`{"a":1,"b":1.5}`}},
		{"a sequence of CBOR", "\xa1aa\x01\xa1aa\x02", []string{`{"a":1}`, `{"a":2}`}},
		{"CBOR that says so", "\xd9\xd9\xf7\x82\xa1aa\x01\xa0", []string{`{"a":1}`, `{}`}},
		{"CBOR that was cut", "\xa2aa\x01", []string{"\xa2aa\x01"}},
		{"gzip of CBOR", gz(t, "\xa1aa\x01"), []string{`{"a":1}`}},
		{"gzip that was cut", whole[:len(whole)-6], []string{whole[:len(whole)-6]}},
		{"gzip of too much", gz(t, strings.Repeat(" ", maxUnpacked+1)), []string{gz(t, strings.Repeat(" ", maxUnpacked+1))}},
	} {
		var got []string
		for i, m := range Split(Raw{Source: "s", SourceID: "id", Device: "d", Body: []byte(c.body)}) {
			got = append(got, string(m.Body))
			if m.Source != "s" || m.Device != "d" || len(c.want) > 1 && m.SourceID != "id#"+string(rune('0'+i)) {
				t.Errorf("%s: %+v", c.name, m)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %.300s", c.name, diff)
		}
	}
}

func TestFromCSV(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		problems       []int
		bad            string
	}{
		{"records", "d,hr,note\r\n1,60.50,\"a \"\"b\"\"\"\n02,-1e3,\n", `{"d":1,"hr":60.50,"note":"a \"b\""}` + "\n" + `{"d":"02","hr":-1e3}`, nil, ""},
		{"a header alone", "d,hr\n", "", nil, ""},
		{"a record with more fields", "d\n1\n2,3\n4\n", `{"d":1}` + "\n\n" + `{"d":4}`, []int{1}, ""},
		{"a quote too many", "d\n1\n\"2\n", `{"d":1}` + "\n", []int{1}, ""},
		{"spaces and a line in a field", "d, hr \n\"a\nb\",\" 1\"\n", `{"d":"a\nb","hr":" 1"}`, nil, ""},
		{"nothing", "", "", nil, "header cannot be read"},
		{"a column twice", "d,d\n", "", nil, "no name of its own"},
		{"a column twice but for spaces", "d, d\n1,2\n", "", nil, "no name of its own"},
		{"a column without a name", "d,\n", "", nil, "no name of its own"},
		{"names that are long", strings.Repeat("n", 1<<20) + "\n" + strings.Repeat("1\n", 20), "", nil, "more than"},
	} {
		got, problems, err := FromCSV([]byte(c.in))
		if c.bad != "" {
			if err == nil || !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%s: %v, want %s", c.name, err, c.bad)
			}
			continue
		}
		if err != nil || string(got) != c.want || len(problems) != len(c.problems) {
			t.Errorf("%s: %s %v %v", c.name, got, problems, err)
		}
		for _, n := range c.problems {
			if problems[n] == "" {
				t.Errorf("%s: nothing is wrong with record %d", c.name, n)
			}
		}
	}
}

func TestCompressed(t *testing.T) {
	for body, want := range map[string]string{gz(t, `{"a":1}`)[:12]: "CompressionNotSupported", "\x28\xb5\x2f\xfd...": "CompressionNotSupported", "{": "InvalidDataFormat"} {
		n := normalizeOne(&Raw{Body: []byte(body)}, &compiled{})
		if len(n.errs) != 1 || string(n.errs[0].Class) != want {
			t.Errorf("%q: %+v, want %s", body, n.errs, want)
		}
	}
}

// FuzzSplit: nothing that a device can send is lost or breaks.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `[{"a":1}]`, "{}\n{}", "\x1f\x8b", gz(f, "[{}]")} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(Split(Raw{Body: body})) == 0 {
			t.Error("no message is left")
		}
	})
}
