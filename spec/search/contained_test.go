package search_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestDefinitionsOutliveText extracts from texts that are written over afterwards,
// as the memory of request bodies is: what the registry keeps must not alias them.
func TestDefinitionsOutliveText(t *testing.T) {
	reg := search.NewRegistry()
	marks := map[string]*search.Param{}
	for range 20 {
		body := []byte(`{"resourceType":"Observation","id":"o","status":"final","contained":[{"resourceType":"Patient","id":"p"},{"resourceType":"Device","id":"d"}],"code":{"text":"x"},"subject":{"reference":"#p"},"device":{"reference":"#d"}}`)
		var d resource.Doc
		var v search.Values
		if err := d.Parse(body, resource.Options{}); err != nil {
			t.Fatal(err)
		}
		if err := reg.Extract(d.Root(), nil, &v); err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, tok := range v.Tokens {
			k := tok.Param.Key()
			keys = append(keys, k)
			if first := marks[k]; first == nil {
				marks[k] = tok.Param
			} else if first != tok.Param {
				t.Fatalf("%s: two parameters", k)
			}
		}
		for _, want := range []string{"Observation#Patient", "Observation#Device", "Observation.subject#Patient"} {
			if !slices.Contains(keys, want) {
				t.Fatalf("no %s in %q", want, keys)
			}
		}
		for i := range body {
			body[i] = '~'
		}
	}
}

// TestParseContained is about what a search of contained resources is, and what it
// cannot be combined with.
func TestParseContained(t *testing.T) {
	offered := search.ParseOptions{Contained: true}
	for query, want := range map[string]search.Contained{
		"Patient?_contained=true":                                   {Type: "Patient", Only: true},
		"Patient?_contained=both&gender=male":                       {Type: "Patient"},
		"Patient?_contained=both&_containedType=container":          {Type: "Patient"},
		"Patient?_containedType=contained&_contained=both&_count=3": {Type: "Patient", Alone: true},
		"Patient?_contained=true&_sort=-_lastUpdated,_id":           {Type: "Patient", Only: true},
		"Patient?_contained=true&_total=accurate":                   {Type: "Patient", Only: true},
	} {
		q, _, err := parse(t, query, offered)
		if err != nil || q.Contained == nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		c := q.Contained
		if c.Type != want.Type || c.Only != want.Only || c.Alone != want.Alone || len(q.Types) > 0 || len(q.Where) > 0 {
			t.Errorf("%s: %+v of %v", query, c, q)
		}
	}
	for _, query := range []string{"Patient?_contained=false", "Patient?_containedType=contained", "Patient?_contained=false&_containedType=container"} {
		if q, _, err := parse(t, query, offered); err != nil || q.Contained != nil || len(q.Types) != 1 {
			t.Errorf("%s: %+v, %v", query, q, err)
		}
	}
	for query, want := range map[string]string{
		"Patient?_contained=yes":                                               "_contained value",
		"Patient?_contained=true&_contained=both":                              "_contained invalid",
		"Patient?_contained:not=true":                                          "_contained:not invalid",
		"Patient?_containedType=all":                                           "_containedType value",
		"?_contained=true":                                                     "_contained not-supported",
		"?_type=Patient,Observation&_contained=both":                           "_contained not-supported",
		"Patient?_contained=true&_sort=birthdate":                              "_contained not-supported",
		"Patient?_contained=true&_include=Patient:organization":                "_contained not-supported",
		"Patient?_contained=true&_revinclude=Observation:patient":              "_contained not-supported",
		"Patient?_contained=true&organization.name=x":                          "_contained not-supported",
		"Patient?_contained=true&_has:Observation:patient:code=x":              "_contained not-supported",
		"Patient?_contained=true&_filter=organization.name eq x":               "_contained not-supported",
		"Patient?_contained=true&_lastUpdated=gt2020":                          "_contained not-supported",
		"Patient?_contained=true&_containedType=contained&_total=accurate":     "_containedType not-supported",
		"Patient?_contained=true&_containedType=contained&_summary=count":      "_containedType not-supported",
		"Patient?_contained=both&_not-referenced=*:*&_containedType=container": "_contained not-supported",
	} {
		_, _, err := parse(t, query, offered)
		e, ok := errors.AsType[*search.Error](err)
		if !ok {
			t.Errorf("%s: error %v", query, err)
			continue
		}
		if got := e.Param + " " + e.Code; got != want {
			t.Errorf("%s: %s (%v), want %s", query, got, e, want)
		}
	}
}
