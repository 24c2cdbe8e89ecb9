package fhirtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// imp returns the operation that imports a patient; day 0 means without a time,
// version 0 without a number, family "" as a deletion.
func (k kit) imp(id, family string, day int, version int64) fhir.ImportOp {
	k.Helper()
	op := fhir.ImportOp{Op: del(fhir.Key{Type: "Patient", ID: id}), Number: version}
	if family != "" {
		op.Op = k.patient(id, family)
	}
	if day != 0 {
		op.Time = time.Date(2021, 1, day, 0, 0, 0, 0, time.UTC)
	}
	return op
}

// imports are the rules of Azure Health Data Services, one after the other on
// one resource each.
func imports(k kit) {
	im := k.s.(fhir.Importer)
	type step struct {
		family  string
		day     int
		version int64
		want    string // "" = refused with Conflict
	}
	for name, c := range map[string]struct {
		steps   []step
		want    string // the history, oldest first
		options func(*fhir.ImportOp)
	}{
		"in order":                {steps: []step{{"A", 1, 1, "new 1"}, {"B", 2, 2, "changed 2"}, {"B", 2, 2, "same 2"}}, want: "1:A@1 2:B@2"},
		"newest first":            {steps: []step{{"C", 3, 3, "new 3"}, {"A", 1, 1, "changed 1"}, {"B", 2, 2, "changed 2"}, {"A", 1, 1, "same 1"}}, want: "1:A@1 2:B@2 3:C@3"},
		"gap":                     {steps: []step{{"A", 1, 10, "new 10"}, {"B", 2, 20, "changed 20"}, {"C", 3, 0, "changed 21"}}, want: "10:A@1 20:B@2 21:C@3"},
		"other content":           {steps: []step{{"A", 1, 1, "new 1"}, {"B", 1, 1, ""}, {"B", 1, 0, ""}, {"A", 1, 0, "same 1"}}, want: "1:A@1"},
		"other time":              {steps: []step{{"A", 1, 1, "new 1"}, {"A", 2, 1, ""}}, want: "1:A@1"},
		"orders differ":           {steps: []step{{"B", 2, 2, "new 2"}, {"C", 1, 3, ""}, {"A", 3, 1, ""}}, want: "2:B@2"},
		"a free number":           {steps: []step{{"A", 1, 1, "new 1"}, {"C", 3, 5, "changed 5"}, {"B", 2, 0, "changed 4"}}, want: "1:A@1 4:B@2 5:C@3"},
		"no free number":          {steps: []step{{"A", 1, 1, "new 1"}, {"C", 3, 2, "changed 2"}, {"B", 2, 0, ""}}, want: "1:A@1 2:C@3"},
		"before the first":        {steps: []step{{"B", 2, 1, "new 1"}, {"A", 1, 0, ""}}, want: "1:B@2"},
		"negative":                {steps: []step{{"C", 3, 1, "new 1"}, {"B", 2, 0, "changed -1"}, {"A", 1, 0, "changed -2"}}, want: "-2:A@1 -1:B@2 1:C@3", options: func(o *fhir.ImportOp) { o.Negative = true }},
		"numbers below 1":         {steps: []step{{"A", 1, -3, ""}, {"C", 3, 1, "new 1"}, {"B", 2, -5, "changed -5"}, {"A", 1, -9, "changed -9"}, {"B", 2, -5, "same -5"}, {"D", 4, -1, ""}}, want: "-9:A@1 -5:B@2 1:C@3", options: func(o *fhir.ImportOp) { o.Negative = true }},
		"numbers not below 1":     {steps: []step{{"A", 1, -3, ""}, {"B", 2, 1, "new 1"}, {"A", 1, -3, ""}}, want: "1:B@2"},
		"same time":               {steps: []step{{"B", 1, 2, "new 2"}, {"A", 1, 1, "changed 1"}, {"C", 1, 3, "changed 3"}}, want: "1:A@1 2:B@1 3:C@1"},
		"deletion":                {steps: []step{{"A", 1, 1, "new 1"}, {"", 2, 2, "deleted 2"}, {"", 2, 2, "same 2"}, {"B", 3, 3, "new 3"}}, want: "1:A@1 2:-@2 3:B@3"},
		"deletion first":          {steps: []step{{"", 2, 2, "deleted 2"}, {"A", 1, 1, "changed 1"}, {"A", 1, 1, "same 1"}}, want: "1:A@1 2:-@2"},
		"deletion in between":     {steps: []step{{"A", 1, 1, "new 1"}, {"B", 3, 3, "changed 3"}, {"", 2, 2, "changed 2"}}, want: "1:A@1 2:-@2 3:B@3"},
		"without time":            {steps: []step{{"A", 0, 0, "new 1"}, {"A", 0, 0, "same 1"}, {"A", 0, 1, "same 1"}, {"B", 0, 0, "changed 2"}, {"C", 0, 9, "changed 9"}, {"D", 0, 5, ""}}, want: "1:A@now 2:B@now 9:C@now"},
		"deletion without time":   {steps: []step{{"", 0, 0, "same 1"}, {"A", 0, 0, "new 1"}, {"", 0, 0, "deleted 2"}, {"", 0, 0, "same 3"}}, want: "1:A@now 2:-@now"},
		"initial":                 {steps: []step{{"A", 1, 7, "new 1"}, {"A", 2, 9, "same 2"}, {"B", 1, 7, ""}}, want: "1:A@now", options: func(o *fhir.ImportOp) { o.Initial = true }},
		"before what was written": {steps: []step{{"B", 0, 0, "new 1"}, {"A", 1, 0, ""}}, want: "1:B@now"},
	} {
		id := "imp-" + slug(name)
		for i, st := range c.steps {
			op := k.imp(id, st.family, st.day, st.version)
			if c.options != nil {
				c.options(&op)
			}
			got, err := im.Import(context.Background(), []fhir.ImportOp{op})()
			if err != nil {
				k.Fatalf("%s, step %d: %v", name, i, err)
			}
			if text := did(got[0]); st.want == "" && !fault.Is(got[0].Err, fault.Conflict) || st.want != "" && text != st.want && !(text[:4] == "same" && st.want[:4] == "same") {
				k.Errorf("%s, step %d: %s %v, want %q", name, i, text, got[0].Err, st.want)
			}
		}
		if got := k.story(id); got != c.want {
			k.Errorf("%s: history %s, want %s", name, got, c.want)
		}
	}
	future := k.imp("future", "A", 1, 1)
	future.Time = time.Now().Add(time.Hour)
	got, err := im.Import(context.Background(), []fhir.ImportOp{future, k.imp("beside", "A", 1, 1)})()
	if err != nil || !fault.Is(got[0].Err, fault.Invalid) || got[1].Err != nil {
		k.Errorf("the future: %v, %+v", err, got)
	}
	k.missing(fhir.Key{Type: "Patient", ID: "future"})
}

func slug(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c == ' ' || c == ',' {
			b[i] = '-'
		}
	}
	return string(b)
}

// did names what an import did.
func did(i fhir.Imported) string {
	if i.Err != nil {
		return "refused"
	}
	return fmt.Sprintf("%s %d", map[fhir.Outcome]string{fhir.Created: "new", fhir.Updated: "changed", fhir.Unchanged: "same", fhir.Deleted: "deleted"}[i.Outcome], i.Version)
}

// story shows the history of a patient, oldest first, and checks that it can be
// found by its current name.
func (k kit) story(id string) string {
	k.Helper()
	text := ""
	all := k.history(fhir.HistoryQuery{Type: "Patient", ID: id, Count: 3, Ascending: true})
	for i, v := range all {
		if i > 0 && (v.Version <= all[i-1].Version || v.Seq <= all[i-1].Seq) {
			k.Errorf("%s: version %d after %d", id, v.Version, all[i-1].Version)
		}
		name := "-"
		if !v.Deleted {
			for _, n := range []string{"A", "B", "C", "D"} {
				if string(v.Stored) == string(k.patient(id, n).Stored) {
					name = n
				}
			}
			if got, err := k.s.ReadVersion(context.Background(), v.Key, v.Version); err != nil || string(got.Stored) != string(v.Stored) {
				k.Errorf("%s: version %d cannot be read: %v", id, v.Version, err)
			}
		}
		at := "now"
		if v.Seq.Time().Year() == 2021 {
			at = fmt.Sprint(v.Seq.Time().Day())
		}
		if text != "" {
			text += " "
		}
		text += fmt.Sprintf("%d:%s@%s", v.Version, name, at)
		if i == len(all)-1 && !v.Deleted {
			if hits := k.hits("Patient", "family="+name+"&_id="+id); !slices.Equal(hits, []string{"Patient/" + id}) {
				k.Errorf("%s is not found by its current name: %v", id, hits)
			}
		}
	}
	return text
}

// importsLikeTheModel imports random versions into the store and into Memory,
// between ordinary changes, and compares all that can be seen.
func importsLikeTheModel(k kit) {
	im := k.s.(fhir.Importer)
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 3))
		m := machine{kit: k, model: NewMemory(k.reg), r: r, space: fmt.Sprintf("imp%d-", seed)}
		for range 40 {
			if r.IntN(4) == 0 {
				m.step()
				continue
			}
			var ops []fhir.ImportOp
			for range 1 + r.IntN(6) {
				op := k.imp(fmt.Sprint(m.space, r.IntN(5)), []string{"A", "B", "C", ""}[r.IntN(4)], r.IntN(6), r.Int64N(6))
				op.Negative, op.Initial = r.IntN(3) == 0, r.IntN(8) == 0
				ops = append(ops, op)
				m.log = append(m.log, fmt.Sprintf("  import %s %d %s day %d negative %v initial %v %s", op.Key, op.Number, op.Method, op.Time.Day(), op.Negative, op.Initial, op.Stored))
			}
			want, _ := m.model.Import(context.Background(), ops)()
			got, err := im.Import(context.Background(), ops)()
			if err != nil {
				m.differ("import: %v", err)
			}
			for i := range want {
				if did(got[i]) != did(want[i]) && (got[i].Err != nil || got[i].Outcome != fhir.Unchanged || want[i].Outcome != fhir.Unchanged) {
					m.differ("import %d: %s %v, want %s %v", i, did(got[i]), got[i].Err, did(want[i]), want[i].Err)
				}
			}
			m.compare(ops[0].Key)
			m.compareSearch()
		}
		m.compareAll()
	}
}

// importsOneMillisecond stores many versions with the same time.
func importsOneMillisecond(k kit) {
	im := k.s.(fhir.Importer)
	at := time.Date(2017, 5, 6, 7, 8, 9, 123e6, time.UTC) // before the sequence begins
	const n = 1500
	for from := 0; from < n; from += 500 {
		var ops []fhir.ImportOp
		for i := range 500 {
			op := k.imp(fmt.Sprintf("same-%04d", from+i), "Same", 1, 3)
			op.Time = at
			ops = append(ops, op)
		}
		got, err := im.Import(context.Background(), ops)()
		if err != nil {
			k.Fatal(err)
		}
		for i := range got {
			if got[i].Err != nil || !got[i].Seq.Time().Equal(at) || got[i].Version != 3 {
				k.Fatalf("resource %d: %+v", from+i, got[i])
			}
		}
	}
	if hits := k.hits("Patient", "family=same&_lastUpdated=2017-05-06"); len(hits) != n {
		k.Errorf("%d of %d are found by their day", len(hits), n)
	}
	if hits := k.hits("Patient", "family=same&_lastUpdated=gt2017-05-06T07:08:10Z"); len(hits) != 0 {
		k.Errorf("%d are found behind their time", len(hits))
	}
	all := k.history(fhir.HistoryQuery{Type: "Patient", Count: 400, Before: at.Add(time.Millisecond)})
	if len(all) != n {
		k.Errorf("%d of %d are in the history", len(all), n)
	}
}
