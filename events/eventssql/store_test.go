package eventssql_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/events"
	"github.com/hygeia-health/hygeia/events/eventssql"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func changes(from, n int) []events.Change {
	out := make([]events.Change, n)
	for i := range out {
		at := int64(from + i)
		out[i] = events.Change{At: at, Kind: events.FHIRCreated, Ref: fmt.Sprintf("Patient/p%d", at), Version: at, Time: day.Add(time.Duration(at) * time.Hour)}
	}
	return out
}

// TestStore runs on both engines.
func TestStore(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testStore(t, filepath.Join(t.TempDir(), "events.db")) })
	t.Run("postgres", func(t *testing.T) { testStore(t, dbtest.Postgres(t)) })
}

func testStore(t *testing.T, path string) {
	ctx := t.Context()
	s, err := eventssql.Open(ctx, path, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if first, last, err := s.Bounds(ctx); first != 0 || last != 0 || err != nil {
		t.Error(first, last, err)
	}
	put := func(source string, from, to int64, list []events.Change, want int64) {
		t.Helper()
		if first, err := s.Append(ctx, source, from, to, list); first != want || err != nil {
			t.Errorf("appended from %d on, want %d: %v", first, want, err)
		}
	}
	put("ws/a", 0, 100, nil, 0)
	put("ws/a", 100, 110, changes(101, 10), 1)
	put("ws/b", 0, 3, changes(1, 3), 11)
	if _, err := s.Append(ctx, "ws/a", 100, 111, changes(101, 11)); !fault.Is(err, fault.Conflict) {
		t.Errorf("a stale append: %v", err)
	}
	if pos, ok, err := s.Position(ctx, "ws/a"); pos != 110 || !ok || err != nil {
		t.Error(pos, ok, err)
	}
	list, err := s.Read(ctx, 8, 4)
	must(err)
	if len(list) != 4 || list[0].Seq != 9 || list[2].Source != "ws/b" || list[2].Ref != "Patient/p1" || !list[0].Time.Equal(day.Add(109*time.Hour)) {
		t.Errorf("%+v", list)
	}
	if list, err = s.Get(ctx, []int64{13, 2, 99}); err != nil || len(list) != 2 || list[0].Seq != 13 {
		t.Error(list, err)
	}
	testSubscriptions(t, s, must)
	n, err := s.Prune(ctx, day.Add(105*time.Hour), 100)
	must(err)
	first, last, err := s.Bounds(ctx)
	must(err)
	if n != 2 || first != 3 || last != 13 { // event 3 is to be tried again
		t.Errorf("%d pruned, %d to %d", n, first, last)
	}
	must(s.DeleteSubscription(ctx, "sub-a"))
	if n, err = s.Prune(ctx, day.Add(1000*time.Hour), 100); n != 11 || err != nil {
		t.Error(n, err)
	}
	if first, last, err = s.Bounds(ctx); first != 14 || last != 13 || err != nil {
		t.Error(first, last, err)
	}
	put("ws/b", 3, 4, changes(4, 1), 14)
	if list, err = s.Read(ctx, 0, 4); err != nil || len(list) != 1 || list[0].Seq != 14 {
		t.Errorf("positions are used again: %v %v", list, err)
	}
}

func testSubscriptions(t *testing.T, s events.Store, must func(error)) {
	ctx := t.Context()
	r := &events.Record{State: events.Succeeded, Created: day, Changed: day.Add(time.Nanosecond), From: 1, Position: 1}
	r.Name, r.Destination.EndpointType = "sub-a", "WebHook"
	must(s.PutSubscription(ctx, r, nil))
	if err := s.PutSubscription(ctx, r, nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("made twice: %v", err)
	}
	try := events.Try{Seq: 3, Attempts: 2, Due: day.Add(time.Minute), Since: day, Last: day.Add(time.Second), Outcome: events.Busy}
	must(s.Save(ctx, "sub-a", &events.Progress{Position: 5, Put: []events.Try{try, {Seq: 4, Attempts: 1, Due: day, Since: day}}}))
	must(s.Save(ctx, "sub-a", &events.Progress{Position: 4, Done: []int64{4, 77}, Dead: []events.Letter{{Seq: 4, Reason: "why", Try: events.Try{Seq: 4, Attempts: 30}, Time: day, Blob: "b"}}}))
	must(s.Save(ctx, "sub-gone", &events.Progress{Position: 9, Put: []events.Try{try}}))
	old := *r
	r.Reason, r.Position, r.Changed = "changed", 0, day.Add(2*time.Nanosecond)
	must(s.PutSubscription(ctx, r, &old))
	if err := s.PutSubscription(ctx, r, &old); !fault.Is(err, fault.Conflict) {
		t.Errorf("changed twice: %v", err)
	}
	subs, err := s.Subscriptions(ctx)
	must(err)
	if len(subs) != 1 || subs[0].Position != 5 || subs[0].Reason != "changed" || !subs[0].Changed.Equal(day.Add(2*time.Nanosecond)) {
		t.Errorf("%+v", subs)
	}
	tries, err := s.Tries(ctx, "sub-a", 0, 9)
	must(err)
	if !slices.Equal(tries, []events.Try{try}) {
		t.Errorf("%+v", tries)
	}
	if tries, letters, err := s.Counts(ctx, "sub-a"); tries != 1 || letters != 1 || err != nil {
		t.Error(tries, letters, err)
	}
	letters, err := s.Letters(ctx, "sub-a", 0, 9)
	must(err)
	if len(letters) != 1 || letters[0].Seq != 4 || letters[0].Try.Attempts != 30 || letters[0].Blob != "b" {
		t.Errorf("%+v", letters)
	}
	if n, err := s.Redrive(ctx, "sub-a", []int64{9}, day); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := s.Redrive(ctx, "sub-a", nil, day); n != 1 || err != nil {
		t.Error(n, err)
	}
	if tries, err = s.Tries(ctx, "sub-a", 0, 9); err != nil || len(tries) != 2 || tries[1].Attempts != 0 {
		t.Error(tries, err)
	}
	if tries, err = s.Tries(ctx, "sub-a", 0, 1); err != nil || len(tries) != 1 || tries[0].Seq != 3 {
		t.Error(tries, err)
	}
	if tries, err = s.Tries(ctx, "sub-a", 3, 9); err != nil || len(tries) != 1 || tries[0].Seq != 4 {
		t.Error(tries, err)
	}
	on, err := s.Active(ctx)
	must(err)
	must(s.Activate(ctx))
	must(s.Activate(ctx))
	if after, err := s.Active(ctx); on || !after || err != nil {
		t.Error(on, after, err)
	}
}
