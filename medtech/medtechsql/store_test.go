package medtechsql_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/medtech/medtechsql"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func messages(source string, from, n int) []medtech.Raw {
	out := make([]medtech.Raw, n)
	for i := range out {
		at := from + i
		out[i] = medtech.Raw{Arrived: day.Add(time.Duration(at) * time.Hour), Source: source, Body: fmt.Append(nil, at), Device: "d"}
		if source != "http" {
			out[i].SourceID = fmt.Sprint("t/0/", at)
		}
	}
	return out
}

// kit is a store, and another node's view of it on PostgreSQL.
type kit struct {
	*testing.T
	a, b *medtechsql.Store
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *kit) append(s *medtechsql.Store, list []medtech.Raw, first int64) {
	k.Helper()
	k.must(s.Append(k.Context(), list))
	for i := range list {
		if want := first + int64(i); list[i].Offset != want {
			k.Errorf("message %d has offset %d, want %d", i, list[i].Offset, want)
		}
	}
}

func TestStore(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		open := func() *medtechsql.Store {
			s, err := medtechsql.Open(t.Context(), path, db.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
		k := &kit{T: t, a: open()}
		if k.b = k.a; k.a.Shared() {
			k.b = open()
		}
		k.log()
		k.mappings()
		k.letters()
		k.replays()
		k.trim()
	})
}

// log: offsets follow each other whichever node gives them, and what a broker
// delivers again is kept once.
func (k *kit) log() {
	ctx := k.Context()
	k.append(k.a, messages("http", 1, 5), 1)
	k.append(k.b, messages("kafka", 6, 5), 6)
	k.append(k.a, messages("kafka", 8, 5), 8) // three of them again
	k.append(k.b, messages("http", 13, 1), 13)
	list, err := k.b.Read(ctx, 4, 3)
	k.must(err)
	want := append(messages("http", 5, 1), messages("kafka", 6, 2)...)
	for i := range want {
		want[i].Offset = int64(5 + i)
	}
	if diff := cmp.Diff(want, list); diff != "" {
		k.Error(diff)
	}
	for at, want := range map[int]int64{0: 0, 1: 0, 2: 1, 8: 7, 99: 13} {
		if got, err := k.a.OffsetAt(ctx, day.Add(time.Duration(at)*time.Hour)); got != want || err != nil {
			k.Errorf("the last message before hour %d is %d, want %d: %v", at, got, want, err)
		}
	}
	k.must(k.a.Finish(ctx, medtech.Finished{Done: 7}))
	k.must(k.a.Finish(ctx, medtech.Finished{Done: 6})) // late: it does not go back
	pos, err := k.b.Position(ctx)
	k.must(err)
	if diff := cmp.Diff(medtech.Position{First: 1, Last: 13, Done: 7, Pending: day.Add(8 * time.Hour)}, pos); diff != "" {
		k.Error(diff)
	}
}

func (k *kit) mappings() {
	ctx := k.Context()
	if _, err := k.a.Mapping(ctx, medtech.DeviceMapping); !fault.Is(err, fault.NotFound) {
		k.Errorf("a mapping that is not there: %v", err)
	}
	for i, s := range []*medtechsql.Store{k.a, k.b} {
		m, err := s.PutMapping(ctx, medtech.DeviceMapping, fmt.Append(nil, "text", i), day)
		if k.must(err); m.Version != int64(i+1) {
			k.Errorf("version %d", m.Version)
		}
	}
	m, err := k.a.Mapping(ctx, medtech.DeviceMapping)
	if k.must(err); m.Version != 2 || string(m.Text) != "text1" || !m.Changed.Equal(day) {
		k.Errorf("%+v", m)
	}
	if device, fhir, err := k.b.Versions(ctx); device != 2 || fhir != 0 || err != nil {
		k.Error(device, fhir, err)
	}
}

func (k *kit) letters() {
	ctx := k.Context()
	var dead []medtech.DeadLetter
	for i := range 5 {
		dead = append(dead, medtech.DeadLetter{
			Offset: int64(8 + i/2), Arrived: day, Failed: day, Source: "http", Stage: medtech.StageFHIR, Class: "A", Message: "why", Line: 3,
			State: medtech.LetterOpen, Device: "d", Body: fmt.Append(nil, 8+i/2),
		})
	}
	dead[4].Class = "B"
	k.must(k.a.Finish(ctx, medtech.Finished{Done: 10, Dead: dead}))
	page, err := k.b.DeadLetters(ctx, medtech.DeadLetterQuery{State: medtech.LetterOpen, Class: "A", Limit: 3})
	if k.must(err); len(page.Letters) != 3 || page.Next == 0 || page.Letters[0].Offset != 9 || page.Letters[0].ID < page.Letters[1].ID {
		k.Errorf("%+v", page)
	}
	if page, err = k.b.DeadLetters(ctx, medtech.DeadLetterQuery{Class: "A", Before: page.Next}); err != nil || len(page.Letters) != 1 || page.Next != 0 {
		k.Errorf("%+v %v", page, err)
	}
	id := page.Letters[0].ID
	k.must(k.a.EditDeadLetter(ctx, id, []byte("edited")))
	l, err := k.b.DeadLetter(ctx, id)
	if k.must(err); string(l.Body) != "edited" || !l.Edited || l.Message != "why" || l.Line != 3 {
		k.Errorf("%+v", l)
	}
	if err := k.a.EditDeadLetter(ctx, 99, nil); !fault.Is(err, fault.NotFound) {
		k.Error(err)
	}
	n, err := k.b.Redrive(ctx, medtech.DeadLetterQuery{Class: "A"}, day.Add(50*time.Hour))
	if k.must(err); n != 4 {
		k.Errorf("%d redriven", n)
	}
	list, err := k.a.Read(ctx, 13, 10) // those of one message with one body are one
	if k.must(err); len(list) != 3 || list[0].Offset != 14 || string(list[0].Body) != "edited" {
		k.Errorf("%+v", list)
	}
	if err := k.a.EditDeadLetter(ctx, id, nil); !fault.Is(err, fault.Conflict) {
		k.Errorf("edited when it was redriven: %v", err)
	}
	if n, err = k.a.Discard(ctx, medtech.DeadLetterQuery{}); n != 1 || err != nil {
		k.Error(n, err)
	}
}

func (k *kit) replays() {
	ctx := k.Context()
	r, err := k.a.PutReplay(ctx, medtech.Replay{Until: 9, State: medtech.ReplayRunning, Created: day, Changed: day})
	if k.must(err); r.ID != 1 {
		k.Errorf("%+v", r)
	}
	stopped := r
	stopped.State = medtech.ReplayStopped
	_, err = k.b.PutReplay(ctx, stopped)
	k.must(err)
	r.Cursor, r.Messages, r.State = 9, 9, medtech.ReplayDone
	k.must(k.a.Finish(ctx, medtech.Finished{Done: 9, Replay: &r})) // it had not seen the end
	list, err := k.a.Replays(ctx)
	if k.must(err); len(list) != 1 || list[0].State != medtech.ReplayStopped || list[0].Messages != 9 {
		k.Errorf("%+v", list)
	}
}

func (k *kit) trim() {
	ctx := k.Context()
	n, err := k.a.Trim(ctx, day.Add(100*time.Hour))
	if k.must(err); n != 10 { // what is not processed stays
		k.Errorf("%d trimmed", n)
	}
	pos, err := k.b.Position(ctx)
	if k.must(err); pos.First != 11 || pos.Last != 16 {
		k.Errorf("%+v", pos)
	}
	k.must(k.a.Finish(ctx, medtech.Finished{Done: 16}))
	_, err = k.a.Trim(ctx, day.Add(100*time.Hour))
	k.must(err)
	k.append(k.b, messages("http", 20, 1), 17) // offsets are never given twice
}
