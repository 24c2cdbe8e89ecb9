package fhirtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// tags renders versions as "Type/id@version method".
func tags(recs []fhir.Record) []string {
	var out []string
	for _, r := range recs {
		out = append(out, fmt.Sprintf("%s@%d %s", r.Key, r.Version, r.Method))
	}
	return out
}

func same(k kit, what string, got, want []string) {
	k.Helper()
	if !slices.Equal(got, want) {
		k.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// story makes a small history on two types.
func story(k kit) {
	first := k.patient("p1", "One")
	first.Method = "POST"
	k.apply(first)
	k.apply(k.put(fhir.Key{Type: "Observation", ID: "o1"}, `{"resourceType":"Observation","status":"final","code":{"text":"x"}}`))
	k.apply(k.patient("p1", "Two"))
	k.apply(k.patient("p2", "Other"))
	k.apply(del(p1))
}

func histories(k kit) {
	story(k)
	all := []string{"Patient/p1@3 DELETE", "Patient/p2@1 PUT", "Patient/p1@2 PUT", "Observation/o1@1 PUT", "Patient/p1@1 POST"}
	same(k, "system", tags(k.history(fhir.HistoryQuery{Count: 10})), all)
	same(k, "type", tags(k.history(fhir.HistoryQuery{Type: "Patient", Count: 10})), []string{all[0], all[1], all[2], all[4]})
	same(k, "instance", tags(k.history(fhir.HistoryQuery{Type: "Patient", ID: "p1", Count: 10})), []string{all[0], all[2], all[4]})
	up := k.history(fhir.HistoryQuery{Type: "Patient", ID: "p1", Count: 10, Ascending: true})
	same(k, "ascending", tags(up), []string{all[4], all[2], all[0]})
	if !up[2].Deleted || len(up[2].Stored) != 0 || len(up[0].Stored) == 0 {
		k.Errorf("content of the versions: %+v", up)
	}
	page, err := k.s.History(context.Background(), fhir.HistoryQuery{Type: "Patient", ID: "p1", Total: true})
	if err != nil || page.Total != 3 || len(page.Records) != 0 || page.Next != "" {
		k.Errorf("count only: %+v, %v", page, err)
	}
	page, err = k.s.History(context.Background(), fhir.HistoryQuery{Type: "Patient", Count: 1, Total: true})
	if err != nil || page.Total != 4 || len(page.Records) != 1 || page.Next == "" {
		k.Errorf("page with total: %+v, %v", page, err)
	}
	page, err = k.s.History(context.Background(), fhir.HistoryQuery{Type: "Patient", Count: 1})
	if err != nil || page.Total != -1 {
		k.Errorf("page without total: %+v, %v", page, err)
	}
	if got := k.history(fhir.HistoryQuery{Type: "Patient", ID: "nobody", Count: 10}); len(got) != 0 {
		k.Errorf("history of nobody: %+v", got)
	}
	if _, err := k.s.History(context.Background(), fhir.HistoryQuery{Count: 1, After: "no cursor!"}); !fault.Is(err, fault.Invalid) {
		k.Errorf("bad cursor: %v, want Invalid", err)
	}
}

// historyWindow: _since is inclusive and _before exclusive, to the millisecond.
func historyWindow(k kit) {
	var at []time.Time
	for i := range 3 {
		at = append(at, k.apply(k.patient("p1", fmt.Sprint("N", i)))[0].Seq.Time())
		time.Sleep(3 * time.Millisecond)
	}
	for _, c := range []struct {
		since, before time.Time
		want          int
	}{
		{time.Time{}, time.Time{}, 3},
		{at[0], time.Time{}, 3},
		{at[1], time.Time{}, 2},
		{at[1].Add(time.Millisecond), time.Time{}, 1},
		{time.Time{}, at[1], 1},
		{at[1], at[2], 1},
		{at[1], at[1], 0},
		{at[2].Add(time.Hour), time.Time{}, 0},
	} {
		q := fhir.HistoryQuery{Type: "Patient", Since: c.since, Before: c.before, Count: 10, Total: true}
		if got := k.history(q); len(got) != c.want {
			k.Errorf("since %v before %v: %d versions, want %d", c.since, c.before, len(got), c.want)
		}
		if page, err := k.s.History(context.Background(), q); err != nil || page.Total != int64(c.want) {
			k.Errorf("since %v before %v: total %+v, %v", c.since, c.before, page, err)
		}
	}
}

func historyPages(k kit) {
	var want []string
	for i := range 25 {
		k.apply(k.patient(fmt.Sprint("p", i%4), fmt.Sprint("N", i)))
		want = append(want, fmt.Sprintf("Patient/p%d@%d PUT", i%4, i/4+1))
	}
	same(k, "ascending", tags(k.history(fhir.HistoryQuery{Count: 4, Ascending: true})), want)
	slices.Reverse(want)
	for _, count := range []int{1, 5, 24, 25, 26} {
		same(k, fmt.Sprint("count ", count), tags(k.history(fhir.HistoryQuery{Count: count})), want)
	}
}

// historyWhileWriting: pages that are read while others write hold every
// version that was there at the start exactly once, and going on from the last
// version in ascending order misses none.
func historyWhileWriting(k kit) {
	const before, writers, each = 60, 4, 30
	for i := range before {
		k.apply(k.patient(fmt.Sprint("b", i), "Before"))
	}
	ops := make([][]fhir.Op, writers)
	for w := range ops {
		for i := range each {
			ops[w] = append(ops[w], k.patient(fmt.Sprintf("w%d-%d", w, i), "While"))
		}
	}
	var wg sync.WaitGroup
	for w := range ops {
		wg.Go(func() {
			for _, op := range ops[w] {
				if _, err := k.try(op); err != nil {
					k.Errorf("apply: %v", err)
				}
			}
		})
	}
	seen := map[string]int{}
	for _, tag := range tags(k.history(fhir.HistoryQuery{Count: 7})) {
		seen[tag]++
	}
	q := fhir.HistoryQuery{Count: 7, Ascending: true}
	followed := map[string]int{}
	follow(k, &q, followed)
	wg.Wait()
	follow(k, &q, followed)
	for i := range before {
		if tag := fmt.Sprintf("Patient/b%d@1 PUT", i); seen[tag] != 1 || followed[tag] != 1 {
			k.Errorf("%s: %d times newest first and %d times oldest first, want 1", tag, seen[tag], followed[tag])
		}
	}
	if len(followed) != before+writers*each {
		k.Errorf("following saw %d versions, want %d", len(followed), before+writers*each)
	}
}

// follow reads to the end as it is now and leaves q at the last version seen,
// going on by time as a client does with _since.
func follow(k kit, q *fhir.HistoryQuery, seen map[string]int) {
	k.Helper()
	var last time.Time
	for {
		page, err := k.s.History(context.Background(), *q)
		if err != nil {
			k.Fatalf("history: %v", err)
		}
		for _, r := range page.Records {
			if tag := tags([]fhir.Record{r})[0]; seen[tag] == 0 {
				seen[tag]++
			}
			last = r.Seq.Time()
		}
		if page.Next == "" {
			break
		}
		q.After = page.Next
	}
	if !last.IsZero() {
		q.Since, q.After = last, ""
	}
}
