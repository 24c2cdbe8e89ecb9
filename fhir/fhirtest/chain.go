package fhirtest

import (
	"context"
	"slices"

	"github.com/hygeia-health/hygeia/fhir"
)

// linked are a few resources that refer to each other, some of them to what is
// not there or to themselves.
var linked = map[fhir.Key]string{
	{Type: "Organization", ID: "top"}:   `{"resourceType":"Organization","name":"Top"}`,
	{Type: "Organization", ID: "ward"}:  `{"resourceType":"Organization","name":"Ward","partOf":{"reference":"Organization/top"}}`,
	{Type: "Organization", ID: "self"}:  `{"resourceType":"Organization","name":"Self","partOf":{"reference":"Organization/self"}}`,
	{Type: "Practitioner", ID: "doc"}:   `{"resourceType":"Practitioner","name":[{"family":"Who"}],"gender":"male"}`,
	{Type: "Practitioner", ID: "nurse"}: `{"resourceType":"Practitioner","name":[{"family":"Joy"}],"gender":"female"}`,
	{Type: "Patient", ID: "ada"}: `{"resourceType":"Patient","name":[{"family":"Byron"}],"birthDate":"1950-02-03","gender":"female",
		"generalPractitioner":[{"reference":"Practitioner/doc"},{"reference":"Practitioner/nurse"}],"managingOrganization":{"reference":"Organization/ward"}}`,
	{Type: "Patient", ID: "bob"}: `{"resourceType":"Patient","name":[{"family":"Stone"}],"birthDate":"1990-02-03","gender":"male",
		"generalPractitioner":[{"reference":"Practitioner/gone"}],"managingOrganization":{"reference":"Organization/top"},
		"link":[{"other":{"reference":"Patient/ada"},"type":"seealso"}]}`,
	{Type: "Patient", ID: "cyd"}: `{"resourceType":"Patient","name":[{"family":"Alone"}]}`,
	{Type: "List", ID: "l1"}:     `{"resourceType":"List","status":"current","mode":"working","entry":[{"item":{"reference":"Patient/ada"}},{"item":{"reference":"Patient/cyd"}},{"item":{"reference":"Encounter/e1"}}]}`,
	{Type: "Group", ID: "all"}:   `{"resourceType":"Group","type":"person","actual":true,"identifier":[{"value":"g1"}],"member":[{"entity":{"reference":"Patient/ada"}},{"entity":{"reference":"Patient/bob"}}]}`,
	{Type: "Encounter", ID: "e1"}: `{"resourceType":"Encounter","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/ada"},"period":{"start":"2020-01-01"},
		"participant":[{"individual":{"reference":"Practitioner/doc"}}],"serviceProvider":{"reference":"Organization/ward"}}`,
	{Type: "Encounter", ID: "e2"}: `{"resourceType":"Encounter","status":"planned","class":{"code":"AMB"},"subject":{"reference":"Patient/bob"},"partOf":{"reference":"Encounter/e1"}}`,
	{Type: "Observation", ID: "o1"}: `{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"urn:c","code":"x"}]},"subject":{"reference":"Patient/ada"},
		"encounter":{"reference":"Encounter/e1"},"performer":[{"reference":"Practitioner/doc"}],"valueQuantity":{"value":5}}`,
	{Type: "Observation", ID: "o2"}: `{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"urn:c","code":"y"}]},"subject":{"reference":"Patient/bob"},
		"performer":[{"reference":"Patient/ada"},{"reference":"Practitioner/nurse"}],"hasMember":[{"reference":"Observation/o1"}]}`,
	{Type: "Observation", ID: "o3"}: `{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"urn:c","code":"x"}]},"subject":{"reference":"Group/all"}}`,
	{Type: "Observation", ID: "o4"}: `{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"urn:c","code":"x"}]},"subject":{"reference":"https://elsewhere.example/Patient/ada"}}`,
}

func linkedKit(k kit) {
	for key, body := range linked {
		k.apply(k.put(key, body))
	}
	gone := fhir.Key{Type: "Practitioner", ID: "gone"}
	k.apply(k.put(gone, `{"resourceType":"Practitioner","name":[{"family":"Who"}]}`))
	k.apply(del(gone))
}

// searchChains is a table of chains and reverse chains.
func searchChains(k kit) {
	linkedKit(k)
	for _, c := range []struct {
		typ, raw string
		want     []string
	}{
		{"Observation", "subject:Patient.family=byron", []string{"o1"}},
		{"Observation", "subject.name=byron,stone", []string{"o1", "o2"}},
		{"Observation", "patient.birthdate=lt1960", []string{"o1"}},
		{"Observation", "patient.birthdate=gt1960&code=y", []string{"o2"}},
		{"Observation", "patient.gender:not=male", []string{"o1"}},
		{"Observation", "patient.birthdate:missing=false", []string{"o1", "o2"}},
		{"Observation", "patient._id=ada", []string{"o1"}},
		{"Observation", "subject._id=all,bob", []string{"o2", "o3"}},
		{"Observation", "subject.identifier=g1", []string{"o3"}},
		{"Observation", "patient.family:exact=Byron", []string{"o1"}},
		{"Observation", "patient.family:exact=byron", nil},
		{"Observation", "patient.general-practitioner.family=who", []string{"o1"}},
		{"Observation", "patient.general-practitioner:Practitioner.name=joy", []string{"o1"}},
		{"Observation", "patient.organization.partof.name=top", []string{"o1"}},
		{"Observation", "encounter.service-provider.name=ward", []string{"o1"}},
		{"Observation", "encounter:Encounter.subject:Patient.family=byron", []string{"o1"}},
		{"Observation", "performer:Practitioner.gender=male", []string{"o1"}},
		{"Observation", "performer.gender=female", []string{"o2"}},
		{"Observation", "subject:Group.member._id=ada", []string{"o3"}},
		{"Observation", "has-member.patient.family=byron", []string{"o2"}},
		{"Organization", "partof.name=self", []string{"self"}},
		{"Patient", "general-practitioner.family=who", []string{"ada"}},
		{"Patient", "_has:Observation:patient:code=x", []string{"ada"}},
		{"Patient", "_has:Observation:patient:code=urn:c|y", []string{"bob"}},
		{"Patient", "_has:Observation:patient:code=z", nil},
		{"Patient", "_has:Observation:subject:_id=o1,o2", []string{"ada", "bob"}},
		{"Patient", "_has:Observation:performer:code=y", []string{"ada"}},
		{"Patient", "_has:Encounter:patient:status:not=finished", []string{"bob"}},
		{"Patient", "_has:Encounter:patient:date:missing=true", []string{"bob"}},
		{"Patient", "_has:Encounter:patient:_has:Observation:encounter:code=x", []string{"ada"}},
		{"Patient", "_has:Encounter:patient:part-of.status=finished", []string{"bob"}},
		{"Patient", "_has:Group:member:identifier=g1&_has:Observation:patient:code=x", []string{"ada"}},
		{"Patient", "_has:Observation:patient:code=x,y&gender=male", []string{"bob"}},
		{"Patient", "_has:Observation:patient:performer.family=joy", []string{"bob"}},
		{"Practitioner", "_has:Patient:general-practitioner:_has:Group:member:identifier=g1", []string{"doc", "nurse"}},
		{"Practitioner", "_has:Encounter:participant:status=finished", []string{"doc"}},
		{"Encounter", "_has:Encounter:part-of:status=planned", []string{"e1"}},
		{"Group", "member.family=byron,stone", []string{"all"}},
		{"Observation", `_filter=subject.name eq "byron"`, []string{"o1"}},
		{"Observation", `_filter=patient.family eq "byron" or code eq y`, []string{"o1", "o2"}},
		{"Observation", `_filter=not (patient.family eq "byron")`, []string{"o2", "o3", "o4"}},
		{"Observation", `_filter=patient.family eq "byron" and not (code eq y)`, []string{"o1"}},
		{"Patient", "_list=l1", []string{"ada", "cyd"}},
		{"Patient", "_list=l1&family=byron", []string{"ada"}},
		{"Encounter", "_list=l1,l2", []string{"e1"}},
		{"Patient", "_list=none", nil},
		{"Patient", "_not-referenced=*:*", nil},
		{"Patient", "_not-referenced=Encounter:*", []string{"cyd"}},
		{"Patient", "_not-referenced=Encounter:subject", []string{"cyd"}},
		{"Patient", "_not-referenced=Observation:performer", []string{"bob", "cyd"}},
		{"Encounter", "_not-referenced=*:*", []string{"e2"}},
		{"Organization", "_not-referenced=*:*", nil},
		{"Organization", "_not-referenced=Encounter:*", []string{"self", "top"}},
		{"List", "_not-referenced=*:*", []string{"l1"}},
		{"Patient", "_not-referenced=Basic:*", []string{"ada", "bob", "cyd"}},
	} {
		var want []string
		for _, id := range c.want {
			want = append(want, c.typ+"/"+id)
		}
		for _, count := range []int{1, 100} {
			q := k.query(c.typ, c.raw)
			q.Count = count
			got := k.search(q)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				k.Errorf("%s?%s in pages of %d: %v, want %v", c.typ, c.raw, count, got, want)
			}
		}
	}
}

// searchIncludes is a table of includes.
func searchIncludes(k kit) {
	linkedKit(k)
	for _, c := range []struct {
		typ, raw string
		want     []string // included
	}{
		{"Observation", "_id=o1&_include=Observation:subject", []string{"Patient/ada"}},
		{"Observation", "_id=o1&_include=Observation:patient", []string{"Patient/ada"}},
		{"Observation", "_id=o3&_include=Observation:patient", nil},
		{"Observation", "_id=o3&_include=Observation:subject", []string{"Group/all"}},
		{"Observation", "_id=o4&_include=Observation:subject", nil},
		{"Observation", "_id=o1,o3&_include=Observation:subject:Patient", []string{"Patient/ada"}},
		{"Observation", "_id=o2&_include=Observation:performer", []string{"Patient/ada", "Practitioner/nurse"}},
		{"Observation", "_id=o2&_include=Observation:performer:Practitioner", []string{"Practitioner/nurse"}},
		{"Observation", "_id=o1&_include=Observation:*", []string{"Encounter/e1", "Patient/ada", "Practitioner/doc"}},
		{"Observation", "_id=o1&_include=*", []string{"Encounter/e1", "Patient/ada", "Practitioner/doc"}},
		{"Observation", "_id=o1,o2&_include=Observation:has-member", nil}, // o1 is a match already
		{"Observation", "_id=o2&_include=Observation:has-member", []string{"Observation/o1"}},
		{"Observation", "_id=o1&_include=Observation:subject&_include:iterate=Patient:organization", []string{"Organization/ward", "Patient/ada"}},
		{"Observation", "_id=o1&_include:iterate=Organization:partof&_include:iterate=Patient:organization&_include=Observation:subject", []string{"Organization/top", "Organization/ward", "Patient/ada"}},
		{"Organization", "_id=self&_include:iterate=Organization:partof", nil},
		{"Patient", "_id=bob&_include=Patient:general-practitioner", nil}, // deleted
		{"Patient", "_id=ada&_include=Patient:general-practitioner", []string{"Practitioner/doc", "Practitioner/nurse"}},
		{"Patient", "_id=ada&_revinclude=Observation:subject", []string{"Observation/o1"}},
		{"Patient", "_id=ada&_revinclude=Observation:performer", []string{"Observation/o2"}},
		{"Patient", "_id=ada&_revinclude=Observation:*", []string{"Observation/o1", "Observation/o2"}},
		{"Patient", "_id=ada,bob&_revinclude=Encounter:patient&_revinclude=Group:member", []string{"Encounter/e1", "Encounter/e2", "Group/all"}},
		{"Patient", "_id=ada&_revinclude=*", []string{"Encounter/e1", "Group/all", "List/l1", "Observation/o1", "Observation/o2", "Patient/bob"}},
		{"Patient", "_id=ada&_revinclude=Encounter:patient&_revinclude:iterate=Encounter:part-of", []string{"Encounter/e1", "Encounter/e2"}},
		{"Patient", "_id=bob&_include=Patient:link&_revinclude=Encounter:patient", []string{"Encounter/e2", "Patient/ada"}},
		{"Patient", "_id=nobody&_include=Patient:link", nil},
	} {
		for _, limit := range []int{0, 1} {
			q := k.query(c.typ, c.raw)
			q.IncludeCount = limit
			var got []string
			for range 20 {
				page, err := k.s.Search(context.Background(), q)
				if err != nil {
					k.Fatalf("%s?%s: %v", c.typ, c.raw, err)
				}
				for i := range page.Included {
					got = append(got, page.Included[i].Key.String())
				}
				if q.IncludeAfter = page.NextIncluded; q.IncludeAfter == "" {
					break
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				k.Errorf("%s?%s, %d at a time: included %v, want %v", c.typ, c.raw, limit, got, c.want)
			}
		}
	}
}

// searchSortVia sorts by what references lead to.
func searchSortVia(k kit) {
	linkedKit(k)
	for raw, want := range map[string][]string{
		"_id=o1,o2&_sort=patient.birthdate":            {"o1", "o2"},
		"_id=o1,o2&_sort=-patient.birthdate":           {"o2", "o1"},
		"_id=o1,o2&_sort=subject:Patient.family":       {"o1", "o2"},
		"_id=o1,o2&_sort=-subject:Patient.family":      {"o2", "o1"},
		"_id=o1,o2&_sort=performer:Practitioner.name":  {"o2", "o1"},
		"_id=o1,o2&_sort=-performer:Practitioner.name": {"o1", "o2"},
		"_id=o1,o2&_sort=status,-patient.birthdate":    {"o2", "o1"},
	} {
		q := k.query("Observation", raw)
		q.Count = 1
		got := k.search(q)
		for i := range got {
			got[i] = got[i][len("Observation/"):]
		}
		same(k, raw, got, want)
	}
}
