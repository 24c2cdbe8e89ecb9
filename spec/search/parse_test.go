package search_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hygeia-health/hygeia/spec/search"
)

// TestParseControl is about the parameters that do not select.
func TestParseControl(t *testing.T) {
	type want struct {
		Count   int
		Total   search.Total
		Sort    []string
		Summary string
		Elems   []string
		After   string
		Used    string
		Warned  []string
	}
	sortKeys := func(q *search.Query) []string {
		var out []string
		for _, s := range q.Sort {
			name := s.Special
			if s.Param != nil {
				name = s.Param.Key()
			}
			if s.Desc {
				name = "-" + name
			}
			out = append(out, name)
		}
		return out
	}
	for query, w := range map[string]want{
		"Patient?":                                  {Count: 10},
		"Patient?_count=25":                         {Count: 25, Used: "_count=25"},
		"Patient?_count=5000":                       {Count: 1000, Used: "_count=1000", Warned: []string{"_count too-costly"}},
		"Patient?_count=99999999999999999999":       {Count: 1000, Used: "_count=1000", Warned: []string{"_count too-costly"}},
		"Patient?_count=0":                          {Total: search.TotalAccurate, Used: "_count=0"},
		"Patient?_count=3&_count=3":                 {Count: 3, Used: "_count=3"},
		"Patient?_summary=count":                    {Total: search.TotalAccurate, Summary: "count", Used: "_summary=count"},
		"Patient?_summary=text":                     {Count: 10, Summary: "text", Used: "_summary=text"},
		"Patient?_total=accurate":                   {Count: 10, Total: search.TotalAccurate, Used: "_total=accurate"},
		"Patient?_total=estimate":                   {Count: 10, Total: search.TotalEstimate, Used: "_total=estimate"},
		"Patient?_total=none":                       {Count: 10, Used: "_total=none"},
		"Patient?_elements=id,name,,id":             {Count: 10, Elems: []string{"id", "name"}, Used: "_elements=id%2Cname"},
		"Patient?_elements=active&_summary=false":   {Count: 10, Elems: []string{"active"}, Summary: "false", Used: "_elements=active&_summary=false"},
		"Patient?_elements=deceased,status":         {Count: 10, Elems: []string{"deceased", "status"}, Used: "_elements=deceased", Warned: []string{"_elements value"}},
		"Patient?_elements=name.family":             {Count: 10, Elems: []string{"name.family"}, Warned: []string{"_elements value"}},
		"Patient?_elements=value[x]":                {Count: 10, Elems: []string{"value[x]"}, Warned: []string{"_elements value"}},
		"Observation?_elements=value[x],valueRange": {Count: 10, Elems: []string{"value[x]", "valueRange"}, Used: "_elements=value%5Bx%5D%2CvalueRange"},
		"Observation?_elements=code[x]":             {Count: 10, Elems: []string{"code[x]"}, Warned: []string{"_elements value"}},
		"?_type=Patient,Task&_elements=for,nothing": {Count: 10, Elems: []string{"for", "nothing"}, Used: "_elements=for&_type=Patient%2CTask", Warned: []string{"_elements value"}},
		"Patient?_format=json&_pretty=true":         {Count: 10, Used: "_format=json&_pretty=true"},
		"Patient?ct=abc":                            {Count: 10, After: "abc"},
		"Patient?_sort=-birthdate,family":           {Count: 10, Sort: []string{"-Patient.birthdate", "Patient.family"}, Used: "_sort=-birthdate%2Cfamily"},
		"Patient?_sort=_id,-_lastUpdated":           {Count: 10, Sort: []string{"_id", "-_lastUpdated"}, Used: "_sort=_id%2C-_lastUpdated"},
		"Patient?_sort=nothing,birthdate":           {Count: 10, Sort: []string{"Patient.birthdate"}, Used: "_sort=birthdate", Warned: []string{"_sort not-supported"}},
		"Observation?_sort=code-value-date":         {Count: 10, Warned: []string{"_sort not-supported"}},
		"Observation?_sort=subject":                 {Count: 10, Warned: []string{"_sort not-supported"}},
		"Observation?_sort=subject.name":            {Count: 10, Warned: []string{"_sort not-supported"}},
		"Observation?_sort=patient.birthdate":       {Count: 10, Sort: []string{"Patient.birthdate"}, Used: "_sort=patient.birthdate"},
		"Patient?_sort=":                            {Count: 10, Warned: []string{"_sort value"}},
		"?_sort=birthdate":                          {Count: 10, Warned: []string{"_sort not-supported"}},
		"Patient?_include=Patient:organization":     {Count: 10, Used: "_include=Patient%3Aorganization"},
		"Patient?_include=Encounter:subject":        {Count: 10, Warned: []string{"_include not-supported"}},
		"Patient?_revinclude=Encounter:location":    {Count: 10, Warned: []string{"_revinclude not-supported"}},
		"Patient?_text=x&_list=y":                   {Count: 10, Used: "_list=y&_text=x"},
		"Patient?_not-referenced=x":                 {Count: 10, Warned: []string{"_not-referenced not-supported"}},
		"Patient?_not-referenced=Encounter:subject": {Count: 10, Used: "_not-referenced=Encounter%3Asubject"},
		"Patient?_contained=true":                   {Count: 10, Warned: []string{"_contained not-supported"}},
		"Patient?_contained=false":                  {Count: 10, Used: "_contained=false"},
		"Patient?organization.name=x":               {Count: 10, Used: "organization.name=x"},
		"Patient?organization:Organization.name=x":  {Count: 10, Used: "organization%3AOrganization.name=x"},
		"Patient?_has:Observation:patient:code=x":   {Count: 10, Used: "_has%3AObservation%3Apatient%3Acode=x"},
		"Patient?organization.nothing=x":            {Count: 10, Warned: []string{"organization.nothing not-supported"}},
		"Patient?_has:Observation:patient:none=x":   {Count: 10, Warned: []string{"_has:Observation:patient:none not-supported"}},
		"Observation?subject.name=":                 {Count: 10, Warned: []string{"subject.name value"}},
		"Patient?nothing=x":                         {Count: 10, Warned: []string{"nothing not-supported"}},
		"Patient?age=5":                             {Count: 10, Warned: []string{"age not-supported"}},
		"Location?near=1|2":                         {Count: 10, Used: "near=1%7C2"},
		"Patient?name=":                             {Count: 10, Warned: []string{"name value"}},
		"Patient?name=,":                            {Count: 10, Warned: []string{"name value", "name value"}},
		"Patient?name=a,,b":                         {Count: 10, Used: "name=a%2C%2Cb", Warned: []string{"name value"}},
		"Patient?_type=Patient,Foo":                 {Count: 10, Used: "_type=Patient", Warned: []string{"_type not-supported"}},
	} {
		t.Run(query, func(t *testing.T) {
			q, res, err := parse(t, query, search.ParseOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := want{q.Count, q.Total, sortKeys(q), res.Summary, res.Elements, q.After, res.Used.Encode(), nil}
			for _, w := range res.Warnings {
				got.Warned = append(got.Warned, w.Param+" "+w.Code)
			}
			if d := cmp.Diff(w, got, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			for _, warning := range w.Warned {
				if _, _, err := parse(t, query, search.ParseOptions{Strict: true}); err == nil && !strings.HasPrefix(warning, "_count") {
					t.Errorf("no error when strict")
				}
			}
		})
	}
}

// TestParseErrors is about what is refused even when handling is lenient.
func TestParseErrors(t *testing.T) {
	for query, want := range map[string]string{
		"Patient?_count=-1":                                          "_count value",
		"Patient?_count=ten":                                         "_count value",
		"Patient?_count=1&_count=2":                                  "_count invalid",
		"Patient?_count:exact=1":                                     "_count:exact invalid",
		"Patient?_total=some":                                        "_total value",
		"Patient?_summary=all":                                       "_summary value",
		"Patient?_elements=id&_summary=text":                         "_elements invalid",
		"Patient?_type=":                                             "_type value",
		"?_type=Foo":                                                 "_type value",
		"Patient?_type:not=Patient":                                  "_type:not value",
		"Patient?_list=$current-problems":                            "_list not-supported",
		"Patient?_elements=":                                         "_elements value",
		"Patient?_type=Observation":                                  "_type value",
		"Patient?_lastUpdated=abc":                                   "_lastUpdated value",
		"Patient?_lastUpdated:not=2020":                              "_lastUpdated:not not-supported",
		"Patient?birthdate=1973-02-30":                               "birthdate value",
		"Patient?gender=%ff":                                         "gender value",
		"Patient?name=a,%c3":                                         "name value",
		"Patient?_has:Observation:patient:code=x|%ff":                "_has:Observation:patient:code value",
		"Patient?%ff=1":                                              " invalid",
		"Patient?name:wrong=x":                                       "name:wrong invalid",
		"Patient?name:in=x":                                          "name:in not-supported",
		"Patient?_include=Patient":                                   "_include value",
		"Patient?_include=Foo:bar":                                   "_include value",
		"Patient?_include=Patient:name":                              "_include value",
		"Patient?_include=Patient:organization:":                     "_include value",
		"Patient?_include:wrong=Patient:link":                        "_include:wrong invalid",
		"?name=x":                                                    "name invalid",
		"Patient?name.x=1":                                           "name.x invalid",
		"Patient?organization:Patient.name=1":                        "organization:Patient.name invalid",
		"Patient?organization:Foo.name=1":                            "organization:Foo.name invalid",
		"Patient?organization.name:wrong=1":                          "organization.name:wrong invalid",
		"Observation?subject.birthdate=x":                            "subject.birthdate value",
		"Patient?_has:Observation:code=1":                            "_has:Observation:code invalid",
		"Patient?_has:Foo:patient:code=1":                            "_has:Foo:patient:code invalid",
		"Patient?_has:Observation:code:code=1":                       "_has:Observation:code:code invalid",
		"Encounter?_has:Condition:patient:code=1":                    "_has:Condition:patient:code invalid",
		"Patient?link.link.link.link.link.link.link.link.link._id=1": "link.link.link.link.link.link.link.link.link._id too-costly",
		"Patient?_include=Patient:organization:Patient":              "_include value",
		"Patient,Observation?birthdate=2000":                         "birthdate invalid",
		"Account,Patient?name=x&owner=1":                             "owner invalid",
		"Nothing?":                                                   " not-supported",
		"Patient?ct=":                                                "ct value",
	} {
		t.Run(query, func(t *testing.T) {
			_, _, err := parse(t, query, search.ParseOptions{})
			e, ok := errors.AsType[*search.Error](err)
			if !ok {
				t.Fatalf("error %v", err)
			}
			if got := e.Param + " " + e.Code; got != want {
				t.Errorf("%s (%v), want %s", got, e, want)
			}
		})
	}
}

// TestParseManyElements has more names than a search may have: each is looked for
// in every type, and told of when it is not known.
func TestParseManyElements(t *testing.T) {
	names := "id"
	for i := range 200 {
		if _, _, err := parse(t, "Patient?_elements="+names, search.ParseOptions{}); err != nil {
			t.Fatalf("%d names: %v", i+1, err)
		}
		names += fmt.Sprint(",e", i)
	}
	_, _, err := parse(t, "Patient?_elements="+names, search.ParseOptions{})
	if e, ok := errors.AsType[*search.Error](err); !ok || e.Code != "too-costly" {
		t.Errorf("201 names: %v", err)
	}
}

// TestParseClauses checks that order, values and types arrive as the store needs them.
func TestParseClauses(t *testing.T) {
	q, res, err := parse(t, "Observation?status=final&patient=7&code=http://loinc.org|1-8,x&code:not=y&_id=a,b,a&_lastUpdated=ge2020", search.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range q.Where {
		got = append(got, c.Name)
	}
	if d := cmp.Diff([]string{"status", "patient", "code", "code:not", "_id", "_lastUpdated"}, got); d != "" {
		t.Errorf("clauses (-want +got):\n%s", d)
	}
	if v := q.Where[1].Values[0]; v.RefType != "Patient" || v.Code != "7" {
		t.Errorf("patient: %+v", v)
	}
	want := []search.Value{{System: "http://loinc.org", HasSystem: true, Code: "1-8", HasCode: true}, {Code: "x", HasCode: true}}
	if d := cmp.Diff(want, q.Where[2].Values); d != "" {
		t.Errorf("code (-want +got):\n%s", d)
	}
	if len(q.Where[4].Values) != 2 || q.Where[4].Field != search.FieldID || q.Where[5].Field != search.FieldLastUpdated {
		t.Errorf("_id: %+v, _lastUpdated: %+v", q.Where[4], q.Where[5])
	}
	if len(res.Used) != 6 {
		t.Errorf("used: %v", res.Used)
	}
}

func TestParseSystem(t *testing.T) {
	q, _, err := parse(t, "?_tag=x&_lastUpdated=2020", search.ParseOptions{})
	if err != nil || len(q.Types) != 0 || len(q.Where[0].Params) < 140 {
		t.Fatalf("%v: %+v", err, q)
	}
	q, _, err = parse(t, "?_type=Patient,Practitioner&family=x", search.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"Patient", "Practitioner"}, q.Types); d != "" || len(q.Where[0].Params) != 2 {
		t.Errorf("types (-want +got):\n%s", d)
	}
}

func TestParseInCompartment(t *testing.T) {
	reg := search.Default()
	c, err := reg.Compartment("Patient", "1", nil)
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := reg.Parse(nil, c, url.Values{"_type": {"Observation,Condition"}}, "", search.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"Observation", "Condition"}, q.Types); d != "" {
		t.Errorf("types (-want +got):\n%s", d)
	}
	if _, _, err := reg.Parse(nil, c, url.Values{"_type": {"Organization"}}, "", search.ParseOptions{}); err == nil {
		t.Error("a type outside of the compartment is accepted")
	}
}

func TestParseLimits(t *testing.T) {
	values := url.Values{}
	for i := range 1000 {
		values.Set(strings.Repeat("x", i+1), "1")
	}
	if _, _, err := search.Default().Parse([]string{"Patient"}, nil, values, "", search.ParseOptions{}); err == nil {
		t.Error("1,000 parameters are accepted")
	}
	if _, _, err := search.Default().Parse([]string{"Patient"}, nil, url.Values{"_id": {strings.Repeat("a,", 10000)}}, "", search.ParseOptions{}); err == nil {
		t.Error("10,000 values are accepted")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"name=a,b&birthdate=ge2000-01-01&_sort=-birthdate&_count=5", "identifier=s|c&_id=1&gender:not=male",
		"organization:Organization=1&_summary=true&_elements=a", `name=a\,b\$\|\\&_include=Patient:link`,
		"_has:Observation:patient:code=1&general-practitioner.name=x&_type=Patient&ct=x", "_lastUpdated=ap2020-01-01T00:00:00.1234567%2B01:00",
	} {
		f.Add("Patient", s)
	}
	f.Add("Observation", "code-value-quantity=a|b$ge5.4|s|u&value-quantity=1e-3||mg&date:missing=true")
	f.Add("", "_tag=x&_type=Patient,Observation")
	f.Add("RiskAssessment", "probability=ap0.5,1e300,-0")
	patient := extract(f, `{"resourceType":"Patient","id":"1","name":[{"family":"a"}],"birthDate":"2000"}`)
	f.Fuzz(func(t *testing.T, typ, raw string) {
		params, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		var types []string
		if typ != "" {
			types = []string{typ}
		}
		q, res, err := search.Default().Parse(types, nil, params, raw, search.ParseOptions{})
		if err != nil {
			if _, ok := errors.AsType[*search.Error](err); !ok {
				t.Errorf("%T", err)
			}
			return
		}
		search.Match(q, search.Subject{Type: patient.typ, ID: patient.id, Values: &patient.values}, nil)
		// Nothing is ignored silently: what has no clause has a warning.
		if len(params) > 0 && len(res.Used) == 0 && len(res.Warnings) == 0 && q.After == "" {
			t.Errorf("%q left no trace", raw)
		}
	})
}
