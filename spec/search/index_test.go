package search_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hygeia-health/hygeia/spec/search"
)

// TestIndexLeavesFew says which searches need not look at everything.
func TestIndexLeavesFew(t *testing.T) {
	subjects := make([]search.Subject, 100)
	for i := range subjects {
		f := extract(t, fmt.Sprintf(`{"resourceType":"Patient","id":"p%[1]d","meta":{"profile":["http://x.test/p|%[1]d#f"]},
			"identifier":[{"system":"s","value":"%[1]d"}],"name":[{"family":"Fam%03[1]d"}],"birthDate":"%[2]d-01-01","gender":"male",
			"generalPractitioner":[{"reference":"Practitioner/d%[1]d"}]}`, i, 1900+i))
		subjects[i] = search.Subject{Type: f.typ, ID: f.id, Values: &f.values}
	}
	x := search.NewIndex(subjects)
	for query, want := range map[string][]int{
		"_id=p7": {7}, "_id=p7,p9": {7, 9}, "identifier=s|7": {7}, "identifier=7,9": {7, 9}, "family=FAM007": {7}, "family:exact=Fam007": {7},
		"name=fam00": {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, "birthdate=1907": {7}, "birthdate=1907-01-01": {7}, "general-practitioner=Practitioner/d7": {7},
		"general-practitioner=d7": {7}, "_profile=http://x.test/p|7": {7}, "gender=male&family=fam007": {7}, "family:contains=007&birthdate=1907": {7},
		"family=nobody": {},
	} {
		q, _, err := parse(t, "Patient?"+query, search.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Compact(slices.Sorted(slices.Values(x.Candidates(q))))
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{"", "family:contains=007", "gender:not=female", "identifier=s|", "birthdate=gt1907", "birthdate:missing=false", "general-practitioner.name=x", "_lastUpdated=gt2020"} {
		q, _, err := parse(t, "Patient?"+query, search.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Candidates(q); len(got) != len(subjects) {
			t.Errorf("%s: %d candidates, want all", query, len(got))
		}
	}
}
