package fhirsql_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestLongValues: values that are too long for an index are stored and found
// all the same, and told apart by their ends.
func TestLongValues(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		s := open(t, path)
		reg := search.Default()
		long := func(end string) string { return strings.Repeat("aé ", 1500) + end }
		put := func(id, end string) {
			v := long(end)
			text := `{"resourceType":"Observation","id":"` + id + `","status":"final","code":{"coding":[{"system":"` + v + `","code":"` + v + `"}]},
"subject":{"reference":"http://elsewhere/Patient/` + url.PathEscape(v) + `"},"valueQuantity":{"value":5,"system":"` + v + `","code":"` + v + `","unit":"u` + v + `"}}`
			if id == "p1" || id == "p2" {
				text = `{"resourceType":"Patient","id":"` + id + `","name":[{"family":"` + v + `"}]}`
			}
			var d resource.Doc
			if err := d.Parse([]byte(text), resource.Options{}); err != nil {
				t.Fatal(err)
			}
			op := fhir.Op{Kind: fhir.OpPut, Method: "PUT", Key: fhir.Key{Type: d.Root().Get("resourceType").Text(), ID: id}, Stored: d.Root().AppendStored(nil, nil), Values: &search.Values{}}
			if err := reg.Extract(d.Root(), nil, op.Values); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Apply(t.Context(), &fhir.Change{Ops: []fhir.Op{op}}); err != nil {
				t.Fatal(err)
			}
		}
		put("o1", "one")
		put("o2", "two")
		put("p1", "one")
		put("p2", "two")
		one := url.QueryEscape(long("one"))
		for query, want := range map[string]int{
			"Observation?code=" + one:               1,
			"Observation?code=" + one + "|" + one:   1,
			"Observation?value-quantity=5||" + one:  1,
			"Observation?value-quantity=5||u" + one: 1,
			"Observation?code=" + one + "x":         0,
			"Observation?subject=" + url.QueryEscape("http://elsewhere/Patient/"+url.PathEscape(long("two"))): 1,
			"Patient?family=" + one:                   1,
			"Patient?family=a" + url.QueryEscape("é"): 2,
			"Patient?family:contains=two":             1,
			"Patient?family:contains=three":           0,
			"Patient?family:exact=" + one:             1,
		} {
			typ, raw, _ := strings.Cut(query, "?")
			vals, _ := url.ParseQuery(raw)
			q, _, err := reg.Parse([]string{typ}, nil, vals, raw, search.ParseOptions{Strict: true})
			if err != nil {
				t.Fatal(err)
			}
			q.Count = 10
			page, err := s.Search(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Records) != want {
				t.Errorf("%.60s...: %d found, want %d", query, len(page.Records), want)
			}
		}
	})
}
