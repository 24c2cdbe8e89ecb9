package fhirtest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// people are a few resources with values of every parameter type.
func people(k kit) {
	for key, body := range fixtures {
		k.apply(k.put(key, body))
	}
}

var fixtures = map[fhir.Key]string{
	{Type: "Patient", ID: "ada"}: `{"resourceType":"Patient","id":"ada","meta":{"tag":[{"system":"urn:t","code":"vip"}],"profile":["http://example.org/p","http://example.org/c|1#f"]},
		"identifier":[{"system":"urn:mrn","value":"100"}],"active":true,"name":[{"family":"Müller","given":["Ada"]}],
		"gender":"female","birthDate":"1980-02-29","generalPractitioner":[{"reference":"Practitioner/doc"}]}`,
	{Type: "Patient", ID: "bob"}: `{"resourceType":"Patient","id":"bob","identifier":[{"system":"urn:mrn","value":"200"}],"active":false,
		"name":[{"family":"Mullerson","given":["Bob","Robert"]}],"gender":"male","birthDate":"1975-06-01"}`,
	{Type: "Patient", ID: "cyd"}:      `{"resourceType":"Patient","id":"cyd","name":[{"family":"Okafor"}],"gender":"male"}`,
	{Type: "Practitioner", ID: "doc"}: `{"resourceType":"Practitioner","id":"doc","name":[{"family":"Who"}]}`,
	{Type: "Observation", ID: "hr1"}: `{"resourceType":"Observation","id":"hr1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4","display":"Heart rate"}]},
		"subject":{"reference":"Patient/ada"},"effectiveDateTime":"2024-03-01T10:00:00Z","valueQuantity":{"value":72,"unit":"bpm","system":"http://unitsofmeasure.org","code":"/min"}}`,
	{Type: "Observation", ID: "hr2"}: `{"resourceType":"Observation","id":"hr2","status":"amended","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},
		"subject":{"reference":"Patient/bob"},"effectiveDateTime":"2024-03-02T10:00:00Z","valueQuantity":{"value":95.5,"unit":"bpm","system":"http://unitsofmeasure.org","code":"/min"}}`,
	{Type: "Observation", ID: "wt1"}: `{"resourceType":"Observation","id":"wt1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}],"text":"Body weight"},
		"subject":{"reference":"Patient/ada"},"effectivePeriod":{"start":"2024-01-01","end":"2024-01-31"},"valueQuantity":{"value":72,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}}`,
	{Type: "ValueSet", ID: "vs"}:       `{"resourceType":"ValueSet","id":"vs","url":"http://example.org/fhir/ValueSet/x","status":"active","version":"1"}`,
	{Type: "RiskAssessment", ID: "ra"}: `{"resourceType":"RiskAssessment","id":"ra","status":"final","subject":{"reference":"Patient/ada"},"prediction":[{"probabilityDecimal":0.25}]}`,
}

// searches is one table over the parameter types; the rows on one resource type
// say which ids are found.
func searches(k kit) {
	people(k)
	for _, c := range []struct {
		typ, raw string
		want     []string
	}{
		{"Patient", "", []string{"ada", "bob", "cyd"}},
		{"Patient", "_id=ada", []string{"ada"}},
		{"Patient", "_id=ada,cyd,ada", []string{"ada", "cyd"}},
		{"Patient", "_id=nobody", nil},
		{"Patient", "family=mull", []string{"ada", "bob"}},
		{"Patient", "family=MÜLLERSON", []string{"bob"}},
		{"Patient", "family:exact=Müller", []string{"ada"}},
		{"Patient", "family:exact=müller", nil},
		{"Patient", "family:contains=ler", []string{"ada", "bob"}},
		{"Patient", "given=rob", []string{"bob"}},
		{"Patient", "name=ada", []string{"ada"}},
		{"Patient", "gender=male", []string{"bob", "cyd"}},
		{"Patient", "gender=male,female", []string{"ada", "bob", "cyd"}},
		{"Patient", "gender=male&family=oka", []string{"cyd"}},
		{"Patient", "gender:not=male", []string{"ada"}},
		{"Patient", "active=true", []string{"ada"}},
		{"Patient", "active:missing=true", []string{"cyd"}},
		{"Patient", "active:missing=false", []string{"ada", "bob"}},
		{"Patient", "identifier=urn:mrn|100", []string{"ada"}},
		{"Patient", "identifier=urn:mrn|", []string{"ada", "bob"}},
		{"Patient", "identifier=200", []string{"bob"}},
		{"Patient", "identifier=|100", nil},
		{"Patient", "birthdate=1980-02-29", []string{"ada"}},
		{"Patient", "birthdate=1980", []string{"ada"}},
		{"Patient", "birthdate=lt1980", []string{"bob"}},
		{"Patient", "birthdate=ge1975-06-01&birthdate=le1979", []string{"bob"}},
		{"Patient", "birthdate=ne1980", []string{"bob"}},
		{"Patient", "_tag=urn:t|vip", []string{"ada"}},
		{"Patient", "_profile=http://example.org/p", []string{"ada"}},
		{"Patient", "_profile=http://example.org/c", []string{"ada"}},
		{"Patient", "_profile=http://example.org/c|1", []string{"ada"}},
		{"Patient", "_profile=http://example.org/c|1%23f", []string{"ada"}},
		{"Patient", "_profile=http://example.org/c|1%23g", nil},
		{"Patient", "general-practitioner=Practitioner/doc", []string{"ada"}},
		{"Patient", "_lastUpdated=gt2020-01-01", []string{"ada", "bob", "cyd"}},
		{"Patient", "_lastUpdated=lt2020-01-01", nil},
		{"Observation", "code=8867-4", []string{"hr1", "hr2"}},
		{"Observation", "code=http://loinc.org|8867-4", []string{"hr1", "hr2"}},
		{"Observation", "code=http://snomed.info/sct|8867-4", nil},
		{"Observation", "subject=Patient/ada", []string{"hr1", "wt1"}},
		{"Observation", "patient=ada", []string{"hr1", "wt1"}},
		{"Observation", "patient=Patient/ada&code=8867-4", []string{"hr1"}},
		{"Observation", "subject=Patient/nobody", nil},
		{"Observation", "date=2024-03-01", []string{"hr1"}},
		{"Observation", "date=ge2024-03", []string{"hr1", "hr2"}},
		{"Observation", "date=2024-01", []string{"wt1"}},
		{"Observation", "date=sa2024-02", []string{"hr1", "hr2"}},
		{"Observation", "date=eb2024-02", []string{"wt1"}},
		{"Observation", "value-quantity=72", []string{"hr1", "wt1"}},
		{"Observation", "value-quantity=72|http://unitsofmeasure.org|kg", []string{"wt1"}},
		{"Observation", "value-quantity=gt72||/min", []string{"hr2"}},
		{"Observation", "value-quantity=lt95.6", []string{"hr1", "hr2", "wt1"}},
		{"Observation", "code-value-quantity=http://loinc.org|8867-4$gt80", []string{"hr2"}},
		{"Observation", "code-value-quantity=http://loinc.org|29463-7$gt80", nil},
		{"Observation", "status=final,amended&patient=bob", []string{"hr2"}},
		{"ValueSet", "url=http://example.org/fhir/ValueSet/x", []string{"vs"}},
		{"ValueSet", "url=http://example.org/fhir/ValueSet/X", nil},
		{"RiskAssessment", "probability=0.25", []string{"ra"}},
		{"RiskAssessment", "probability=gt0.2", []string{"ra"}},
		{"RiskAssessment", "probability=lt0.2", nil},
	} {
		var want []string
		for _, id := range c.want {
			want = append(want, c.typ+"/"+id)
		}
		if got := k.hits(c.typ, c.raw); !slices.Equal(got, want) {
			k.Errorf("%s?%s: %v, want %v", c.typ, c.raw, got, want)
		}
	}
}

func searchCurrentOnly(k kit) {
	k.apply(k.patient("p1", "Old"), k.patient("p2", "Old"))
	k.apply(k.patient("p1", "New"))
	k.apply(del(fhir.Key{Type: "Patient", ID: "p2"}))
	same(k, "old name", k.hits("Patient", "family=Old"), nil)
	same(k, "new name", k.hits("Patient", "family=New"), []string{"Patient/p1"})
	same(k, "all", k.hits("Patient", ""), []string{"Patient/p1"})
	same(k, ":not", k.hits("Patient", "gender:not=male"), []string{"Patient/p1"})
	same(k, ":missing", k.hits("Patient", "gender:missing=true"), []string{"Patient/p1"})
	same(k, "by id", k.hits("Patient", "_id=p1,p2"), []string{"Patient/p1"})
}

func searchSystem(k kit) {
	people(k)
	var all []string
	for key := range fixtures {
		all = append(all, key.String())
	}
	slices.Sort(all)
	same(k, "all", k.hits("", ""), all)
	same(k, "two types", k.hits("", "_type=Practitioner,ValueSet"), []string{"Practitioner/doc", "ValueSet/vs"})
	same(k, "by id", k.hits("", "_id=ada,vs"), []string{"Patient/ada", "ValueSet/vs"})
	same(k, "by tag", k.hits("", "_tag=vip"), []string{"Patient/ada"})
}

func searchCompartment(k kit) {
	people(k)
	for _, c := range []struct {
		types []string
		raw   string
		want  []string
	}{
		{[]string{"Observation"}, "", []string{"Observation/hr1", "Observation/wt1"}},
		{[]string{"Observation"}, "code=8867-4", []string{"Observation/hr1"}},
		{[]string{"RiskAssessment"}, "", []string{"RiskAssessment/ra"}},
	} {
		ref, err := k.reg.Compartment("Patient", "ada", c.types)
		if err != nil {
			k.Fatal(err)
		}
		q := k.query(c.types[0], c.raw)
		q.Compartment = ref
		got := k.search(q)
		slices.Sort(got)
		same(k, fmt.Sprint("Patient/ada/", c.types, "?", c.raw), got, c.want)
	}
}

func searchPages(k kit) {
	var want []string
	var ops []fhir.Op
	for i := range 53 {
		ops = append(ops, k.patient(fmt.Sprintf("p%02d", i), fmt.Sprintf("Page%d", i%3)))
		want = append(want, fmt.Sprintf("Patient/p%02d", i))
	}
	k.apply(ops...)
	for _, raw := range []string{"", "family=page", "_sort=family", "_sort=-family", "_sort=_id", "_sort=-_lastUpdated", "_sort=birthdate"} {
		k.Run(raw, func(t *testing.T) {
			k := k
			k.T = t
			for _, count := range []int{1, 7, 52, 53, 54} {
				q := k.query("Patient", raw)
				q.Count = count
				got := k.search(q)
				slices.Sort(got)
				same(k, fmt.Sprintf("pages of %d", count), got, want)
			}
		})
	}
	// A page that was read does not come again because others were added meanwhile.
	q := k.query("Patient", "_sort=_id")
	q.Count = 50
	page, err := k.s.Search(context.Background(), q)
	if err != nil {
		k.Fatal(err)
	}
	k.apply(k.patient("a-new-one", "Page0"), k.patient("p51a", "Page0"), del(page.Records[3].Key))
	q.After = page.Next
	if got, want := len(k.search(q)), 4; got != want {
		k.Errorf("%d left on the second page, want %d", got, want)
	}
}

func searchSort(k kit) {
	for _, p := range []struct{ id, body string }{
		{"a", `"name":[{"family":"Bravo"},{"family":"Zulu"}],"birthDate":"1980-01-01"`},
		{"b", `"name":[{"family":"Charlie"}],"birthDate":"1970-01-01"`},
		{"c", `"name":[{"family":"alpha"}],"birthDate":"1990-01-01"`},
		{"d", `"gender":"male"`},
	} {
		k.apply(k.put(fhir.Key{Type: "Patient", ID: p.id}, `{"resourceType":"Patient",`+p.body+`}`))
	}
	for _, c := range []struct {
		raw  string
		want []string // without d, which has no value
	}{
		{"_sort=family", []string{"c", "a", "b"}},
		{"_sort=-family", []string{"a", "b", "c"}}, // a counts as Zulu
		{"_sort=birthdate", []string{"b", "a", "c"}},
		{"_sort=-birthdate", []string{"c", "a", "b"}},
		{"_sort=gender,-birthdate", []string{"c", "a", "b"}},
	} {
		for _, count := range []int{1, 2, 10} {
			q := k.query("Patient", c.raw)
			q.Count = count
			got := k.search(q)
			if len(got) != 4 {
				k.Errorf("%s in pages of %d: %v, want all four", c.raw, count, got)
				continue
			}
			if i := slices.Index(got, "Patient/d"); i != 0 && i != 3 {
				k.Errorf("%s: %v: what has no value belongs to an end", c.raw, got)
			}
			got = slices.DeleteFunc(got, func(id string) bool { return id == "Patient/d" })
			for i := range got {
				got[i] = got[i][len("Patient/"):]
			}
			same(k, fmt.Sprintf("%s in pages of %d", c.raw, count), got, c.want)
		}
	}
	same(k, "_id", k.search(k.query("Patient", "_sort=-_id")), []string{"Patient/d", "Patient/c", "Patient/b", "Patient/a"})
	same(k, "_lastUpdated", k.search(k.query("Patient", "_sort=_lastUpdated")), []string{"Patient/a", "Patient/b", "Patient/c", "Patient/d"})
}

func searchTotal(k kit) {
	people(k)
	for _, c := range []struct {
		count int
		total search.Total
		want  int64
	}{
		{1, search.TotalNone, -1}, {1, search.TotalAccurate, 2}, {10, search.TotalAccurate, 2}, {0, search.TotalAccurate, 2},
	} {
		q := k.query("Patient", "gender=male")
		q.Count, q.Total = c.count, c.total
		page, err := k.s.Search(context.Background(), q)
		if err != nil {
			k.Fatal(err)
		}
		if page.Total != c.want || len(page.Records) != min(c.count, 2) {
			k.Errorf("count %d total %d: total %d and %d records, want %d", c.count, c.total, page.Total, len(page.Records), c.want)
		}
	}
}

func searchCursor(k kit) {
	people(k)
	for _, after := range []string{"no cursor!", "AAAA"} {
		q := k.query("Patient", "gender=male")
		q.After = after
		if page, err := k.s.Search(context.Background(), q); !fault.Is(err, fault.Invalid) {
			k.Errorf("cursor %q: %+v, %v; want Invalid", after, page, err)
		}
	}
}
