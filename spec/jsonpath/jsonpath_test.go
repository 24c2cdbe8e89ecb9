package jsonpath_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/spec/jsonpath"
	"github.com/hygeia-health/hygeia/spec/jsonvalue"
)

const document = `{
  "Body": {"heartRate": "78", "empty": "", "none": null, "deviceId": "dev-1", "rate": 5, "ok": true, "big": 1e3},
  "Properties": {"iothub-creation-time-utc": "2020-01-01T00:00:00Z", "My Property": 1},
  "list": [{"a": 1, "b": "x"}, {"a": 2}, {"a": 3, "c": {"a": 4}}, 7, [8, 9]],
  "$weird": "w"
}`

func TestSelect(t *testing.T) {
	doc, err := jsonvalue.Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		want []string
	}{
		{`$.Body.heartRate`, []string{`"78"`}},
		{`Body.heartRate`, []string{`"78"`}},
		{` $.Body.rate `, []string{`5`}},
		{`$.Body.none`, []string{`null`}},
		{`$.Body.nothing`, nil},
		{`$weird`, []string{`"w"`}},
		{`$.Properties.iothub-creation-time-utc`, []string{`"2020-01-01T00:00:00Z"`}},
		{`$.Properties['My Property']`, []string{`1`}},
		{`$.['Properties'].["My Property"]`, []string{`1`}},
		{`$.Body['rate','ok']`, []string{`5`, `true`}},
		{`$.list[0].a`, []string{`1`}},
		{`$.list[0,2].a`, []string{`1`, `3`}},
		{`$.list[-1]`, nil},
		{`$.list[9]`, nil},
		{`$.list[4][*]`, []string{`8`, `9`}},
		{`$.Body[*]`, nil},
		{`$.list[2].*`, []string{`3`, `{"a":4}`}},
		{`$.list[1:3].a`, []string{`2`, `3`}},
		{`$.list[-1:]`, []string{`[8,9]`}},
		{`$.list[::-2].a`, []string{`3`, `1`}},
		{`$.list[3:0:-1].a`, []string{`3`, `2`}},
		{`$..a`, []string{`1`, `2`, `3`, `4`}},
		{`$.list..['a','b']`, []string{`1`, `"x"`, `2`, `3`, `4`}},
		{`$..rate`, []string{`5`}},
		// Filters.
		{`$.list[?(@.a)].a`, []string{`1`, `2`, `3`}},
		{`$.list[?(@a > 1)].a`, []string{`2`, `3`}},
		{`$.list[?( @.a>=2&&@.c )].a`, []string{`3`}},
		{`$.list[?(@.a==1||@.a==3)].a`, []string{`1`, `3`}},
		{`$.list[?(@.a < 3 && @.b == 'x')].a`, []string{`1`}},
		{`$.list[?(@ == 7)]`, []string{`7`}},
		{`$.list[?(@.b =~ /^X$/i)].a`, []string{`1`}},
		{`$.list[?(@.b =~ /^X$/gix)].a`, []string{`1`}},
		{`$.list[?(@.c.a == 4)].a`, []string{`3`}},
		{`$.list[?(@.a == $.list[1].a)].a`, []string{`2`}},
		{`$.list[?(@.c[?(@.a)])].a`, nil},
		{`$..[?(@heartRate)].deviceId`, []string{`"dev-1"`}},
		{`$..[?(@Body.heartRate)].Body.rate`, []string{`5`}},
		{`$..[?(@['heartRate'])].rate`, []string{`5`}},
		{`$..[?(@.heartRate && @.rate)].rate`, []string{`5`}},
		{`$..[?(@.heartRate > 70)].rate`, []string{`5`}},
		{`$..[?(@.heartRate == 78)].rate`, nil},
		{`$..[?(@.heartRate == '78')].rate`, []string{`5`}},
		{`$..[?(@.rate == 5.0)].rate`, []string{`5`}},
		{`$..[?(@.rate == '5')].rate`, nil},
		{`$..[?(@.big == 1000)].rate`, []string{`5`}},
		{`$..[?(@.ok == true)].rate`, []string{`5`}},
		{`$..[?(@.none == null)].rate`, []string{`5`}},
		{`$..[?(@.none)].rate`, []string{`5`}},
		{`$..[?(@.empty == '')].rate`, []string{`5`}},
		{`$..[?(@.rate != 6)].rate`, []string{`5`}},
		{`$..[?(@.rate <> 5)].rate`, nil},
		{`$..[?(@.deviceId < 5)].rate`, nil},
		// No precedence: false && (... || true).
		{`$.list[?(@.a == 9 && @.a == 8 || @.a == 1)].a`, nil},
		{`$.list[?(@.a == 1 || @.a == 2 && @.c)].a`, []string{`1`}},
		{`$.Body[?(@.heartRate)]`, nil},
		{`$..list[?(@.b == "x")].a`, []string{`1`}},
	} {
		p, err := jsonpath.Parse(tt.path)
		if err != nil {
			t.Errorf("%s: %v", tt.path, err)
			continue
		}
		var got []string
		for _, v := range p.All(doc) {
			got = append(got, string(v.AppendJSON(nil)))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.path, diff)
		}
		first := p.First(doc)
		if first.Valid() != (len(got) > 0) || first.Valid() && string(first.AppendJSON(nil)) != got[0] {
			t.Errorf("%s: First = %s", tt.path, first.AppendJSON(nil))
		}
	}
}

// TestRootMatches pins what other implementations do not do: the document itself
// is a candidate of $..[?()].
func TestRootMatches(t *testing.T) {
	doc, err := jsonvalue.Parse([]byte(`{"heartRate":78,"deviceId":"d"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{`$..[?(@.heartRate)]`, `$..[?(@heartRate)]`, `$`} {
		p, err := jsonpath.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		got := p.All(doc)
		if len(got) != 1 || got[0].Get("deviceId").Text() != "d" {
			t.Errorf("%s finds %d values", path, len(got))
		}
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct{ path, want string }{
		{``, `empty`},
		{`$.`, `ends with a dot`},
		{`$.a..`, `ends with a dot`},
		{`$.list[`, `open indexer`},
		{`$.list[]`, `no array index`},
		{`$.list[x]`, `no array index`},
		{`$.list[1`, `open indexer`},
		{`$.list[0]x`, `after an indexer`},
		{`$.list['a`, `open text`},
		{`$.list['a\q']`, `unknown escape \q`},
		{`$.list['a' 'b']`, `in an indexer`},
		{`$.list[?@.a]`, `( of a filter`},
		{`$.list[?(@.a`, `open filter`},
		{`$.list[?(@.a == )]`, `in a filter`},
		{`$.list[?(@.a ~ 1)]`, `operator`},
		{`$.list[?(@.a = 1)]`, `operator`},
		{`$.list[?(@.a & @.b)]`, `in a filter`},
		{`$.list[?(@.a =~ 'x')]`, `=~ needs`},
		{`$.list[?(@.a =~ /(/)]`, `regular expression`},
		{`$.list[?(@.a =~ /a/q)]`, `option q`},
		{`$.list[?(@.a == abc)]`, `stand in quotes`},
		{`$.list[?(@.a)`, `after a filter`},
		{`$.a b`, `after the end of the path`},
		{`$.a]`, `after the end of the path`},
		{`$.list[::0]`, `cannot be zero`},
		{`$.list[1:2:3:4]`, `two colons`},
		{strings.Repeat(`[?(@`, 60), `inside of filters`},
		{`$..a..b..c..d..e`, `too many ..`},
	} {
		_, err := jsonpath.Parse(tt.path)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.path, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`$..[?(@heartRate && @.b == 'x')].a[0:2]`, `$.a['b','c'][*]..d`, `$..[?(@.a =~ /x/i)]`, `$.list[?(@.c[?(@.a)])]`} {
		f.Add(s)
	}
	doc, err := jsonvalue.Parse([]byte(document))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := jsonpath.Parse(s)
		if err != nil {
			if e, ok := err.(*jsonpath.SyntaxError); !ok || e.Offset < 0 || e.Offset > len(s) {
				t.Fatalf("error %#v", err)
			}
			return
		}
		n := 0
		p.Each(doc, func(v jsonvalue.Value) bool {
			if !v.Valid() {
				t.Fatal("an absent match")
			}
			n++
			return n < 1000
		})
	})
}
