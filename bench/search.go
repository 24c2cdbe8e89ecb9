package bench

import (
	"context"
	"net/url"
	"strconv"
	"strings"
)

// pageSize is the _count of the searches that have no other.
const pageSize = 10

// query is one kind of search. make returns the request, and how many entries
// its answer must have: the exact number, or -1 where the data do not tell.
type query struct {
	name string
	make func(r *run, w *worker) (path string, want int)
}

// queries are the searches that are measured, from the narrow to the broad.
var queries = []query{
	{"patient + code, newest first", patientCode},
	{"identifier", func(r *run, w *worker) (string, int) {
		p := r.data.pick(w)
		return "/Patient?identifier=" + url.QueryEscape(p.identifier()), 1
	}},
	{"family name", func(r *run, w *worker) (string, int) {
		return "/Patient?family=" + url.QueryEscape(r.data.pick(w).family()), -1
	}},
	{"birth date", func(r *run, w *worker) (string, int) {
		birth := r.data.pick(w).t.facts.birth
		n := r.data.count(func(f *facts) int { return btoi(f.birth == birth) })
		return "/Patient?birthdate=" + birth, r.page(n)
	}},
	{"conditions of a patient", ofPatient("Condition")},
	{"encounters of a patient, newest first", func(r *run, w *worker) (string, int) {
		path, want := ofPatient("Encounter")(r, w)
		return path + "&_sort=-date", want
	}},
	{"compartment, one type", func(r *run, w *worker) (string, int) {
		p := r.data.pick(w)
		return "/Patient/" + p.id + "/Procedure", min(p.t.facts.byType["Procedure"], pageSize)
	}},
	{"code, newest first", func(r *run, w *worker) (string, int) {
		code, n := r.someCode(w, func(f *facts) map[string]int { return f.byCode })
		return "/Observation?_sort=-date&code=" + url.QueryEscape(code), r.page(n)
	}},
	{"code + value", func(r *run, w *worker) (string, int) {
		code, n := r.someCode(w, func(f *facts) map[string]int { return f.values })
		return "/Observation?value-quantity=gt-1000000&code=" + url.QueryEscape(code), r.page(n)
	}},
	{"code-value composite", func(r *run, w *worker) (string, int) {
		code, n := r.someCode(w, func(f *facts) map[string]int { return f.values })
		return "/Observation?code-value-quantity=" + url.QueryEscape(code+"$gt-1000000"), r.page(n)
	}},
	{"chain to the patient, page of 50", fixed("/Condition?_count=50&subject:Patient.birthdate=lt1960")},
	{"reverse chain by a code", func(r *run, w *worker) (string, int) {
		code, _ := r.someCode(w, func(f *facts) map[string]int { return f.byCode })
		return "/Patient?_has:Observation:patient:code=" + url.QueryEscape(code), -1
	}},
	{"date range, page of 100", fixed("/Encounter?_count=100&date=ge2010-01-01&date=lt2012-01-01")},
	{"include patient and practitioner", fixed("/Encounter?_include=Encounter:subject&_include=Encounter:participant")},
	{"revinclude conditions and encounters", func(r *run, w *worker) (string, int) {
		return "/Patient?_id=" + r.data.pick(w).id + "&_revinclude=Condition:subject&_revinclude=Encounter:subject", -1
	}},
	{"two broad clauses", fixed("/Observation?category=laboratory&code=http://loinc.org%7C8302-2")},
	{"not this code", fixed("/Observation?code:not=http://loinc.org%7C8302-2")},
	{"no value", fixed("/Observation?value-quantity:missing=true")},
	{"reverse chain over everything", fixed("/Patient?_has:Observation:patient:status=final")},
	{"page of 100", func(r *run, w *worker) (string, int) {
		n := r.data.count(func(f *facts) int { return f.byType["Observation"] })
		if n < 100 {
			return "/Observation?_count=100", -1 // the phase create has added some
		}
		return "/Observation?_count=100", 100
	}},
}

// fixed is a search that is always the same.
func fixed(path string) func(*run, *worker) (string, int) {
	return func(*run, *worker) (string, int) { return path, -1 }
}

// totals is measured apart: its answer is a number, not entries.
var totals = query{"count of a code", func(r *run, w *worker) (string, int) {
	code, n := r.someCode(w, func(f *facts) map[string]int { return f.byCode })
	if !r.fresh {
		n = -1
	}
	return "/Observation?_summary=count&code=" + url.QueryEscape(code), n
}}

// patientCode is the commonest search of all: one code of one patient.
func patientCode(r *run, w *worker) (string, int) {
	p := r.data.pick(w)
	f := &p.t.facts
	if len(f.codes) == 0 {
		return "/Observation?_sort=-date&patient=" + p.id, -1
	}
	code := f.codes[w.rnd.IntN(len(f.codes))]
	return "/Observation?_sort=-date&patient=" + p.id + "&code=" + url.QueryEscape(code), min(f.byCode[code], pageSize)
}

// ofPatient searches a type by its patient.
func ofPatient(typ string) func(r *run, w *worker) (string, int) {
	return func(r *run, w *worker) (string, int) {
		p := r.data.pick(w)
		return "/" + typ + "?patient=" + p.id, min(p.t.facts.byType[typ], pageSize)
	}
}

// someCode picks a code and the number of all Observations that have it.
func (r *run) someCode(w *worker, of func(*facts) map[string]int) (string, int) {
	for range 50 {
		f := &r.data.pick(w).t.facts
		if len(f.codes) == 0 {
			continue
		}
		code := f.codes[w.rnd.IntN(len(f.codes))]
		if of(f)[code] > 0 {
			return code, r.data.count(func(f *facts) int { return of(f)[code] })
		}
	}
	return "http://loinc.org|8302-2", -1
}

// page returns how many entries the first page of n matches has. It is not
// known when the server held other patients before.
func (r *run) page(n int) int {
	if !r.fresh || n < 0 {
		return -1
	}
	return min(n, pageSize)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// search runs each query on its own.
func (r *run) search(ctx context.Context) error {
	for _, q := range append(queries[:len(queries):len(queries)], totals) {
		for _, conc := range r.opt.Conc {
			_, err := r.measure(ctx, "search", q.name, conc, r.opt.Duration/2, r.target, func(ctx context.Context, w *worker) error {
				return w.searchOne(ctx, r, q)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// searchOne sends one search and checks the number of entries, or the total.
func (w *worker) searchOne(ctx context.Context, r *run, q query) error {
	path, want := q.make(r, w)
	a, err := w.timed(ctx, "GET", path, nil)
	if err != nil {
		return err
	}
	if a.status != 200 {
		w.complain("GET %s: status %d: %s", path, a.status, clip(a.body))
		return nil
	}
	got := a.entries()
	if strings.Contains(path, "_summary=count") {
		got, _ = a.total()
	}
	if want >= 0 && got != want {
		w.complain("GET %s: %s entries, want %s", path, strconv.Itoa(got), strconv.Itoa(want))
	}
	return nil
}
