package fhirsql

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestWalkWhileWritten pages along a sort key while the resources without a value
// get one: who was on no page yet comes, and a page token stays good.
func TestWalkWhileWritten(t *testing.T) {
	for _, sort := range []string{"family", "-family", "given,family"} {
		t.Run(sort, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, path string) {
				s, err := Open(t.Context(), path, search.Default(), Options{Limits: Limits{Sort: 1, Window: 1}})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				store := func(id, name string) {
					t.Helper()
					if _, err := s.Apply(t.Context(), put(t, search.Default(), id, `{"resourceType":"Patient"`+name+`}`)); err != nil {
						t.Fatal(err)
					}
				}
				for i := range 4 {
					store(fmt.Sprint("none", i), "")
					store(fmt.Sprint("some", i), fmt.Sprintf(`,"name":[{"family":"F%d","given":["G%d"]},{"family":"X%d"}]`, i, i%2, i))
				}
				q := asked(t, "_sort="+sort+"&_count=3")
				seen := map[string]int{}
				for n := 0; ; n++ {
					page, err := s.Search(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					for i := range page.Records {
						seen[page.Records[i].ID]++
					}
					if q.After = page.Next; q.After == "" {
						break
					}
					if sort[0] != '-' && n == 0 || sort[0] == '-' && n == 1 { // the page ended among those without
						for i := range 4 {
							store(fmt.Sprint("none", i), `,"name":[{"family":"A","given":["A"]}]`)
						}
					}
				}
				for i := range 4 {
					if id := fmt.Sprint("some", i); seen[id] != 1 {
						t.Errorf("%s came %d times: %v", id, seen[id], slices.Sorted(maps.Keys(seen)))
					}
				}
			})
		})
	}
}
