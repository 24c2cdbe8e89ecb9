package dicomsql_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomsql"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

func column(name string, level dicom.Level) int {
	return slices.IndexFunc(dicom.Columns[:], func(c dicom.Column) bool { return c.Name == name && c.Level == level })
}

// TestNameWithoutWords has a name replaced by one that has no word: nothing of the
// former one is found any more.
func TestNameWithoutWords(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		s, err := dicomsql.Open(t.Context(), path, dicomsql.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		name := column("patient_name", dicom.LevelStudy)
		for i, value := range []string{"doe^john", "-"} {
			r := record("1.2", "1.2.3", 100)
			r.Values[name], r.Study = value, dicom.Attributes{0, 0, 0, byte(i), 2, '{', '}'}
			if err := put(t, s, true, r); err != nil {
				t.Fatal(err)
			}
			words := []dicom.Filter{{Column: name, Level: dicom.LevelStudy, Kind: dicom.KindName, Words: []string{"doe"}}}
			if got := matches(t, s, &dicom.Query{Partition: 1, Filters: words, Limit: 10}); len(got) != 1-i {
				t.Errorf("named %s: %v", value, got)
			}
		}
	})
}

// TestSearchPlans asks the same in all ways in which it can be carried out, and
// compares with what a look at all instances finds.
func TestSearchPlans(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		s, err := dicomsql.Open(t.Context(), path, dicomsql.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		name, modality, day := column("patient_name", dicom.LevelStudy), column("modality", dicom.LevelSeries), column("study_date", dicom.LevelStudy)
		names := []string{"karlsson^anna", "karlsson^bo", "sand-holm^anna", "doe,john", "x^y^z=w"}
		var recs []*dicom.Record
		for i := range 24 {
			for se, m := range []string{"ct", []string{"mr", "sr", "us"}[i%3]} {
				for n := range 2 {
					r := record(fmt.Sprintf("1.2.%d", i), fmt.Sprintf("1.2.%d.%d.%d", i, se, n), 100)
					r.UIDs.Series = fmt.Sprintf("1.2.%d.%d", i, se)
					r.Values[name], r.Values[modality], r.Values[day] = names[i%len(names)], m, fmt.Sprintf("202601%02d", 1+i%7)
					recs = append(recs, r)
				}
			}
		}
		if err := put(t, s, false, recs...); err != nil {
			t.Fatal(err)
		}
		// One patient is renamed, one study is deleted: their words go.
		renamed := *recs[0]
		renamed.Values[name], renamed.Study = "olsson^eva", dicom.Attributes{0, 0, 0, 1, 2, '{', '}'}
		if err := put(t, s, true, &renamed); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Delete(t.Context(), 1, dicom.UIDs{Study: "1.2.5"}); err != nil {
			t.Fatal(err)
		}
		var all []*dicom.Record
		for _, r := range append(recs[1:], &renamed) {
			if r.UIDs.Study == "1.2.0" {
				r.Values[name] = "olsson^eva" // the newest names the study
			}
			if r.UIDs.Study != "1.2.5" {
				all = append(all, r)
			}
		}
		words := func(w ...string) dicom.Filter {
			return dicom.Filter{Column: name, Level: dicom.LevelStudy, Kind: dicom.KindName, Words: w}
		}
		in := func(v ...string) dicom.Filter {
			return dicom.Filter{Column: -1, Level: dicom.LevelStudy, Modalities: true, Any: v}
		}
		matched := 0
		for _, filters := range [][]dicom.Filter{
			{}, {words("kar")}, {words("kar", "an")}, {words("an", "kar")}, {words("john")}, {words("holm", "sand")}, {words("w")}, {words("nobody")},
			{words("olsson")}, {in("sr")}, {in("sr", "us")}, {in("xx")}, {words("kar"), in("mr")}, {in("ct"), words("anna")},
			{{Column: day, Level: dicom.LevelStudy, Kind: dicom.KindDate, From: "20260102", To: "20260104"}, in("us")},
			{{Column: modality, Level: dicom.LevelSeries, Any: []string{"sr"}}},
			{{Column: modality, Level: dicom.LevelSeries, Any: []string{"ct"}}, words("an")},
			{{Column: -1, UID: true, Level: dicom.LevelSeries, Any: []string{"1.2.7.1", "1.2.9.0"}}},
			{{Column: -1, UID: true, Level: dicom.LevelInstance, Any: []string{"1.2.7.1.1"}}},
			{{Column: -1, UID: true, Level: dicom.LevelStudy, Any: []string{"1.2.7", "1.2.8"}}, words("an")},
		} {
			for level := dicom.LevelStudy; level <= dicom.LevelInstance; level++ {
				if slices.ContainsFunc(filters, func(f dicom.Filter) bool { return f.Level > level }) {
					continue
				}
				want := model(all, filters, level)
				matched += len(want)
				for _, plan := range [][2]int{{2000, 100}, {0, 0}, {5, 1 << 30}} {
					undo := dicomsql.SetPlan(plan[0], plan[1])
					for _, offset := range []int{0, 3} {
						q := &dicom.Query{Partition: 1, Level: level, Filters: filters, Limit: 1000, Offset: offset}
						if diff := cmp.Diff(want[min(offset, len(want)):], matches(t, s, q), cmp.Transformer("empty", func(l []string) string { return strings.Join(l, " ") })); diff != "" {
							t.Errorf("level %d, %+v, plan %v, offset %d: %s", level, filters, plan, offset, diff)
						}
					}
					undo()
				}
			}
		}
		if matched < 500 {
			t.Errorf("only %d matches in all", matched)
		}
	})
}

func matches(t *testing.T, s *dicomsql.Store, q *dicom.Query) (list []string) {
	t.Helper()
	if _, err := s.Search(t.Context(), q, func(m *dicom.Match) error {
		list = append(list, m.UIDs.String())
		return nil
	}); err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return list
}

// model looks at all instances, which are in the order in which they were
// stored; matches are ordered by their first instance, or by their own.
func model(all []*dicom.Record, filters []dicom.Filter, level dicom.Level) (list []string) {
	modality := column("modality", dicom.LevelSeries)
	passes := func(r *dicom.Record, f *dicom.Filter) bool {
		switch {
		case f.Modalities:
			return slices.ContainsFunc(all, func(o *dicom.Record) bool {
				return o.UIDs.Study == r.UIDs.Study && slices.Contains(f.Any, o.Values[modality])
			})
		case f.UID:
			return slices.Contains(f.Any, [...]string{r.UIDs.Study, r.UIDs.Series, r.SOP}[f.Level])
		case f.Ranged():
			return r.Values[f.Column] >= f.From && r.Values[f.Column] <= f.To
		case len(f.Words) > 0:
			have := dicom.NameWords(r.Values[f.Column])
			return !slices.ContainsFunc(f.Words, func(w string) bool {
				return !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, w) })
			})
		}
		return slices.Contains(f.Any, r.Values[f.Column])
	}
	seen := map[string]bool{}
	order := slices.Clone(all)
	if level < dicom.LevelInstance { // studies and series keep their place when an instance is replaced
		order = append(order[len(order)-1:], order[:len(order)-1]...)
	}
	for _, r := range order {
		u := r.UIDs
		switch level {
		case dicom.LevelStudy:
			u = dicom.UIDs{Study: u.Study}
		case dicom.LevelSeries:
			u.SOP = ""
		}
		if !seen[u.String()] && !slices.ContainsFunc(filters, func(f dicom.Filter) bool { return !passes(r, &f) }) {
			seen[u.String()] = true
			list = append(list, u.String())
		}
	}
	// The newest first; a range of dates sorts studies only when it is alone.
	slices.Reverse(list)
	return list
}
