package fhirtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// likeTheModel does the same random changes to the store and to Memory and
// compares every answer. The seeds are fixed, so that a failure can be repeated;
// each run stops at its first difference and prints the steps that led there.
func likeTheModel(k kit) {
	for seed := range uint64(6) {
		m := machine{kit: k, model: NewMemory(k.reg), r: rand.New(rand.NewPCG(seed, 1)), space: fmt.Sprintf("s%d-", seed)}
		for range 120 {
			m.step()
		}
		m.compareAll()
	}
}

type machine struct {
	kit
	model *Memory
	r     *rand.Rand
	space string // the ids of this run begin so, because the store is shared with the others
	log   []string
}

var machineTypes = []string{"Patient", "Observation"}

func (m *machine) key() fhir.Key {
	return fhir.Key{Type: machineTypes[m.r.IntN(2)], ID: fmt.Sprint(m.space, m.r.IntN(5))}
}

// op makes a random operation.
func (m *machine) op() fhir.Op {
	key := m.key()
	var op fhir.Op
	switch m.r.IntN(12) {
	case 0, 1:
		op = del(key)
	case 2:
		op = hard(key)
	case 3:
		op = purge(key)
	default:
		word := []string{"Alpha", "Beta", "Gamma"}[m.r.IntN(3)]
		body := fmt.Sprintf(`{"resourceType":"Patient","name":[{"family":%q}],"birthDate":"19%d0-01-01"}`, word, 5+m.r.IntN(4))
		if key.Type == "Observation" {
			body = fmt.Sprintf(`{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"urn:c","code":%q}]},"subject":{"reference":"Patient/%s%d"}}`, word, m.space, m.r.IntN(5))
		}
		op = m.put(key, body)
		op.NoHistory = m.r.IntN(8) == 0
		op.MustExist = m.r.IntN(8) == 0
		op.MustNotExist = !op.MustExist && m.r.IntN(8) == 0
	}
	if op.Kind != fhir.OpPurgeHistory && m.r.IntN(5) == 0 {
		op.IfMatch, op.MustNotExist = 1+m.r.Int64N(4), false
		op.MustExist = true
	}
	m.log = append(m.log, fmt.Sprintf("  kind %d %s %s if-match %d must %v must-not %v no-history %v", op.Kind, op.Key, op.Stored, op.IfMatch, op.MustExist, op.MustNotExist, op.NoHistory))
	return op
}

func (m *machine) differ(format string, args ...any) {
	m.Helper()
	for _, l := range m.log {
		m.Log(l)
	}
	m.Fatalf(format, args...)
}

// step applies a change of one to three operations and compares the results.
func (m *machine) step() {
	m.Helper()
	m.log = append(m.log, "change")
	c := &fhir.Change{}
	for range 1 + m.r.IntN(3) {
		c.Ops = append(c.Ops, m.op())
	}
	want, wantErr := m.model.Apply(context.Background(), c)
	got, gotErr := m.s.Apply(context.Background(), c)
	if outcome(wantErr) != outcome(gotErr) {
		m.differ("error %v (%s), want %v (%s)", gotErr, outcome(gotErr), wantErr, outcome(wantErr))
	}
	for i := range want {
		// A store may report either of two words for a purge.
		purged := c.Ops[i].Kind == fhir.OpPurgeHistory && (got[i].Outcome == fhir.Absent) == (want[i].Outcome == fhir.Absent)
		version := got[i].Version == want[i].Version || c.Ops[i].Kind == fhir.OpHardDelete
		if !purged && got[i].Outcome != want[i].Outcome || !version {
			m.differ("operation %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	m.compare(m.key())
	m.compareSearch()
}

// outcome reduces an error to what the contract promises.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	i, _ := opIndex(err)
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return fmt.Sprintf("%d %v", i, err)
	}
	return fmt.Sprintf("operation %d, kind %d", i, e.Kind)
}

// compare compares one resource and its history.
func (m *machine) compare(key fhir.Key) {
	m.Helper()
	want, wantErr := m.model.Read(context.Background(), key)
	got, gotErr := m.s.Read(context.Background(), key)
	if outcome(wantErr) != outcome(gotErr) {
		m.differ("read %s: error %v, want %v", key, gotErr, wantErr)
	}
	if wantErr == nil && text(got) != text(want) {
		m.differ("read %s:\n got %s\nwant %s", key, text(got), text(want))
	}
	q := fhir.HistoryQuery{Type: key.Type, ID: key.ID, Count: 2}
	model := m.kit
	model.s = m.model
	g, w := m.history(q), model.history(q)
	if !slices.EqualFunc(g, w, func(a, b fhir.Record) bool { return text(a) == text(b) }) {
		m.differ("history of %s:\n got %v\nwant %v", key, tags(g), tags(w))
	}
}

func text(r fhir.Record) string {
	return fmt.Sprintf("%s@%d %s %v %s", r.Key, r.Version, r.Method, r.Deleted, r.Stored)
}

// compareSearch runs one of a few searches on both.
func (m *machine) compareSearch() {
	m.Helper()
	all := []struct{ typ, raw string }{
		{"Patient", "family=alpha"}, {"Patient", "family=beta,gamma"}, {"Patient", "birthdate=lt1970"},
		{"Patient", ""}, {"Patient", "gender:missing=true"}, {"Observation", "code=urn:c|Alpha"},
		{"Observation", "subject=Patient/" + m.space + "1"}, {"Observation", "code:not=Beta"},
	}
	c := all[m.r.IntN(len(all))]
	q := m.query(c.typ, c.raw)
	ids := &search.Clause{Field: search.FieldID, Name: "_id"}
	for i := range 5 {
		ids.Values = append(ids.Values, search.Value{Code: fmt.Sprint(m.space, i), HasCode: true})
	}
	q.Where = append(q.Where, ids)
	q.Count = 2
	model := m.kit
	model.s = m.model
	got, want := m.search(q), model.search(q)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		m.differ("%s?%s:\n got %v\nwant %v", c.typ, c.raw, got, want)
	}
}

func (m *machine) compareAll() {
	m.Helper()
	for _, typ := range machineTypes {
		for i := range 5 {
			m.compare(fhir.Key{Type: typ, ID: fmt.Sprint(m.space, i)})
		}
	}
}
