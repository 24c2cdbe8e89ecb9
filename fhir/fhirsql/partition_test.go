package fhirsql

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestPartitions runs the statement of docs/postgresql.md that partitions the
// tables, on a store that is in use, and goes on.
func TestPartitions(t *testing.T) {
	page, err := os.ReadFile("../../docs/postgresql.md")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile("(?s)```sql\n(DO .*?)```").FindSubmatch(page)
	if text == nil {
		t.Fatal("the page has no statement that begins with DO")
	}
	reg := search.Default()
	s, err := Open(t.Context(), dbtest.Postgres(t), reg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	apply := func(c *fhir.Change) {
		t.Helper()
		if _, err := s.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	patient := func(i int, family string) *fhir.Change {
		return put(t, reg, fmt.Sprint("p", i), fmt.Sprintf(`{"resourceType":"Patient","name":[{"family":%q}],"identifier":[{"system":"urn:i","value":"%d"}],"managingOrganization":{"reference":"Organization/o"}}`, family, i))
	}
	for i := range 20 {
		apply(patient(i, "Before"))
	}
	if err := s.db.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { return c.Exec(string(text[1])) }}); err != nil {
		t.Fatal(err)
	}
	for i := 10; i < 30; i++ {
		apply(patient(i, "After"))
	}
	gone := patient(0, "")
	gone.Ops[0].Kind, gone.Ops[0].Method, gone.Ops[0].Values = fhir.OpDelete, "DELETE", nil
	apply(gone)
	for query, want := range map[string]int{
		"name=before": 9, "name=after": 20, "identifier=urn:i|15": 1, "identifier=urn:i|0": 0, "organization=Organization/o&name=after&_sort=-_lastUpdated": 20, "name:missing=true": 0,
	} {
		q := asked(t, query)
		q.Count = 50
		page, err := s.Search(t.Context(), q)
		if err != nil || len(page.Records) != want {
			t.Errorf("%s: %d found, %v; want %d", query, len(page.Records), err, want)
		}
	}
	if rec, err := s.Read(t.Context(), fhir.Key{Type: "Patient", ID: "p15"}); err != nil || rec.Version != 2 {
		t.Errorf("version %d, %v", rec.Version, err)
	}
}
