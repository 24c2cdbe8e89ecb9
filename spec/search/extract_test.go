package search_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// dump writes values in a form made for reading.
func dump(w io.Writer, v *search.Values, indent string) {
	for _, e := range v.Tokens {
		fmt.Fprintf(w, "%s%s token %s|%s %q\n", indent, e.Param.Code, e.System, e.Code, e.Text)
	}
	for _, e := range v.References {
		fmt.Fprintf(w, "%s%s reference %s/%s %s\n", indent, e.Param.Code, e.Type, e.ID, e.URL)
	}
	for _, e := range v.Dates {
		fmt.Fprintf(w, "%s%s date %s .. %s\n", indent, e.Param.Code, instant(e.Lo), instant(e.Hi))
	}
	for _, e := range v.Numbers {
		fmt.Fprintf(w, "%s%s number %v .. %v %s|%s %s\n", indent, e.Param.Code, e.Lo, e.Hi, e.System, e.Code, e.Unit)
	}
	for _, e := range v.Strings {
		fmt.Fprintf(w, "%s%s string %q %q\n", indent, e.Param.Code, e.Text, e.Norm)
	}
	for _, e := range v.URIs {
		fmt.Fprintf(w, "%s%s uri %s\n", indent, e.Param.Code, e.URI)
	}
	for _, e := range v.Composites {
		fmt.Fprintf(w, "%s%s composite\n", indent, e.Param.Code)
		for i := range e.Parts {
			dump(w, &e.Parts[i], indent+"  ")
		}
	}
}

func instant(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000") }

// TestExtract compares the entries of real resources with golden files.
func TestExtract(t *testing.T) {
	files, err := filepath.Glob("testdata/extract/*.json")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		f := extract(t, string(src))
		dump(&b, &f.values, "")
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		golden(t, "extract/"+name+".golden", b.String())
	}
}

// TestExtractElements is about single rules.
func TestExtractElements(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"deceased", `{"resourceType":"Patient","deceasedBoolean":true}`, `deceased token |true ""`},
		{"deceased by date", `{"resourceType":"Patient","deceasedDateTime":"2000"}`, `deceased token |true ""
death-date date 2000-01-01T00:00:00.000 .. 2000-12-31T23:59:59.999`},
		{"not deceased", `{"resourceType":"Patient"}`, `deceased token |false ""`},
		{"text of a concept", `{"resourceType":"Observation","code":{"text":"a","coding":[{"code":"x","display":"b"}]}}`, `code token |x "b"
code token | "a"`},
		{"text in place of a display", `{"resourceType":"Observation","code":{"text":"a","coding":[{"code":"x"},{"code":"y","display":"a"}]}}`, `code token |x "a"
code token |y "a"`},
		{"duplicates", `{"resourceType":"Observation","category":[{"coding":[{"code":"x"},{"code":"x"}]},{"coding":[{"code":"x"}]}]}`, `category token |x ""`},
		{"period with an open end", `{"resourceType":"Encounter","period":{"start":"2020"}}`, `date date 2020-01-01T00:00:00.000 .. 9999-12-31T23:59:59.999`},
		{"period backwards", `{"resourceType":"Encounter","period":{"start":"2020","end":"2019"}}`, `date date 2019-01-01T00:00:00.000 .. 2020-12-31T23:59:59.999`},
		{"empty period", `{"resourceType":"Encounter","period":{}}`, ``},
		{"timing events", `{"resourceType":"Observation","effectiveTiming":{"event":["2020-02","2019-05-01","bad"]}}`, `date date 2019-05-01T00:00:00.000 .. 2020-02-29T23:59:59.999`},
		{"timing bounds", `{"resourceType":"Observation","effectiveTiming":{"repeat":{"boundsPeriod":{"start":"2020-01-01","end":"2020-01-02"}}}}`, `date date 2020-01-01T00:00:00.000 .. 2020-01-02T23:59:59.999`},
		{"extension", `{"resourceType":"Observation","extension":[{"url":"x","valueString":"no"},{"url":"http://hl7.org/fhir/StructureDefinition/observation-geneticsGene","valueCodeableConcept":{"coding":[{"code":"g"}]}}]}`, `gene-identifier token |g ""`},
		{"inline resource", `{"resourceType":"Bundle","type":"document","entry":[{"resource":{"resourceType":"Composition","id":"c"}}]}`, `type token |document ""
composition#Composition token |1 ""
composition reference Composition/c `},
		{"item-subject", `{"resourceType":"QuestionnaireResponse","item":[{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/questionnaireresponse-isSubject","valueBoolean":true}],"answer":[{"valueReference":{"reference":"Patient/1"}}]},{"answer":[{"valueReference":{"reference":"Patient/2"}}]}]}`, `item-subject reference Patient/1 `},
		{"money", `{"resourceType":"Invoice","totalNet":{"value":40.5,"currency":"EUR"}}`, `totalnet number 40.5 .. 40.5 urn:iso:std:iso:4217|EUR `},
		{"huge number", `{"resourceType":"ChargeItem","factorOverride":1e999}`, `factor-override number 1.7976931348623157e+308 .. 1.7976931348623157e+308 | `},
		{"contact points", `{"resourceType":"Person","telecom":[{"system":"phone","value":"1"},{"system":"email","value":"a@b"}]}`, `email token email|a@b ""
phone token phone|1 ""
telecom token phone|1 ""
telecom token email|a@b ""`},
		{"wrong JSON types", `{"resourceType":"Observation","code":[1,"x",{"coding":{"code":"y"}}],"subject":"Patient/1","effectiveDateTime":5,"valueQuantity":{"value":"5"},"status":{},"category":null}`,
			`subject reference Patient/1 `}, // a bare string in place of a Reference is taken as one
	} {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			f := extract(t, c.src)
			dump(&b, &f.values, "")
			if got := strings.TrimSuffix(b.String(), "\n"); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func TestExtractUnknownType(t *testing.T) {
	for _, src := range []string{`{"resourceType":"Nothing"}`, `{"resourceType":"Resource"}`, `{}`, `[]`, `{"resourceType":1}`} {
		var doc resource.Doc
		if err := doc.Parse([]byte(src), resource.Options{}); err != nil {
			t.Fatal(err)
		}
		if err := search.Default().Extract(doc.Root(), nil, &search.Values{}); err == nil {
			t.Errorf("%s: no error", src)
		}
	}
}

// TestExtractIntoUsed checks that the memory of an earlier resource leaves nothing behind.
func TestExtractIntoUsed(t *testing.T) {
	bp := readFixture(t, "synthea-Observation-bp")
	one := readFixture(t, "synthea-Observation")
	var v search.Values
	for _, src := range []string{bp, one, bp} {
		want := extract(t, src)
		var doc resource.Doc
		if err := doc.Parse([]byte(src), resource.Options{}); err != nil {
			t.Fatal(err)
		}
		v.Reset()
		if err := search.Default().Extract(doc.Root(), resolve, &v); err != nil {
			t.Fatal(err)
		}
		var got, fresh strings.Builder
		dump(&got, &v, "")
		dump(&fresh, &want.values, "")
		if got.String() != fresh.String() {
			t.Errorf("got:\n%s\nwant:\n%s", got.String(), fresh.String())
		}
	}
}

func TestExtractAllocations(t *testing.T) {
	var doc resource.Doc
	if err := doc.Parse([]byte(readFixture(t, "synthea-Observation")), resource.Options{}); err != nil {
		t.Fatal(err)
	}
	var v search.Values
	got := testing.AllocsPerRun(100, func() {
		v.Reset()
		if err := search.Default().Extract(doc.Root(), nil, &v); err != nil {
			t.Fatal(err)
		}
	})
	if got > 2 {
		t.Errorf("%v allocations", got)
	}
}

func readFixture(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/extract/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func FuzzExtract(f *testing.F) {
	files, err := filepath.Glob("testdata/extract/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var doc resource.Doc
		if doc.Parse(src, resource.Options{}) != nil {
			return
		}
		var v search.Values
		if search.Default().Extract(doc.Root(), nil, &v) != nil {
			return
		}
		for _, d := range v.Dates {
			if d.Lo > d.Hi {
				t.Errorf("%s: %d > %d", d.Param.Key(), d.Lo, d.Hi)
			}
		}
		for _, n := range v.Numbers {
			if n.Lo != n.Lo || n.Hi != n.Hi {
				t.Errorf("%s is not a number", n.Param.Key())
			}
		}
	})
}
