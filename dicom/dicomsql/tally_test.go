package dicomsql_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomsql"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// TestFarPages has pages of all instances that begin far behind: what they show
// is what lies there in the list of all, after instances were added, replaced,
// updated and deleted.
func TestFarPages(t *testing.T) {
	defer dicomsql.SetFar(1)()
	dbtest.Each(t, func(t *testing.T, path string) {
		s, err := dicomsql.Open(t.Context(), path, dicomsql.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var recs []*dicom.Record
		for n := range 2500 {
			recs = append(recs, record(fmt.Sprintf("1.%d", n%9), fmt.Sprintf("1.9.%d", n), 1))
		}
		if err := put(t, s, false, recs...); err != nil {
			t.Fatal(err)
		}
		check := func(when string) {
			t.Helper()
			all := matches(t, s, &dicom.Query{Partition: 1, Level: dicom.LevelInstance, Limit: 1 << 20})
			for _, offset := range []int{0, 1, 2, 1022, 1023, 1024, 1025, 2000, max(len(all)-1, 0), len(all), len(all) + 5, 1 << 30} {
				got := matches(t, s, &dicom.Query{Partition: 1, Level: dicom.LevelInstance, Limit: 3, Offset: offset})
				from := min(offset, len(all))
				if want := all[from:min(from+3, len(all))]; !slices.Equal(got, want) {
					t.Errorf("%s, offset %d: %v, want %v", when, offset, got, want)
				}
			}
			if other := matches(t, s, &dicom.Query{Partition: 2, Level: dicom.LevelInstance, Limit: 3, Offset: 1}); len(other) > 0 {
				t.Errorf("%s: another partition has %v", when, other)
			}
		}
		check("stored")
		again := *recs[7]
		if err := put(t, s, true, &again, record("1.7", "1.9.9999", 1)); err != nil {
			t.Fatal(err)
		}
		changed := *recs[9]
		if err := s.Update(t.Context(), 1, &recs[9].Instance, &changed, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Delete(t.Context(), 1, dicom.UIDs{Study: "1.4"}); err != nil {
			t.Fatal(err)
		}
		check("changed")
		for n := range 9 {
			if _, err := s.Delete(t.Context(), 1, dicom.UIDs{Study: fmt.Sprintf("1.%d", n)}); err != nil && n != 4 {
				t.Fatal(err)
			}
		}
		check("empty")
	})
}
