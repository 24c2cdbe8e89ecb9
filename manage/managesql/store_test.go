package managesql_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/manage/managesql"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

func open(t *testing.T, path string) *managesql.Store {
	t.Helper()
	s, err := managesql.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestTwoNodes: a node sees what another saved, and cannot overwrite what it has not seen.
func TestTwoNodes(t *testing.T) {
	path := dbtest.Postgres(t)
	a, b := open(t, path), open(t, path)
	for _, s := range []*managesql.Store{a, b} {
		if _, fresh, err := s.Load(t.Context()); err != nil || !fresh {
			t.Fatalf("fresh %v, err %v", fresh, err)
		}
	}
	at := time.Date(2026, 11, 21, 10, 0, 0, 123e6, time.UTC)
	want := []manage.Workspace{{Name: "clinic", WorkspaceSpec: manage.WorkspaceSpec{Tags: map[string]string{"a": "b"}}, Created: at, Changed: at,
		Services: []manage.Service{{Name: "fhir", Spec: manage.Spec{Kind: manage.KindFHIR, Compat: "ahds"}, State: manage.StateRunning, Created: at, Changed: at}}}}
	for range 2 {
		if err := a.Save(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Save(t.Context(), nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("overwrote what it had not seen: %v", err)
	}
	got, fresh, err := b.Load(t.Context())
	if err != nil || fresh {
		t.Fatalf("fresh %v, err %v", fresh, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := b.Save(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
