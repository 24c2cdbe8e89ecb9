package managefile_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/manage/managefile"
)

func TestRoundTrip(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "manage.json")
	s := managefile.New(path)
	if _, fresh, err := s.Load(ctx); err != nil || !fresh {
		t.Fatalf("fresh %v, err %v", fresh, err)
	}
	at := time.Date(2026, 11, 21, 10, 0, 0, 123e6, time.UTC)
	want := []manage.Workspace{{Name: "clinic", WorkspaceSpec: manage.WorkspaceSpec{Tags: map[string]string{"a": "b"}}, Created: at, Changed: at,
		Services: []manage.Service{{Name: "fhir", Spec: manage.Spec{Kind: manage.KindFHIR, Compat: "ahds"}, State: manage.StateRunning, Created: at, Changed: at}}}}
	for range 2 {
		if err := s.Save(ctx, want); err != nil {
			t.Fatal(err)
		}
	}
	got, fresh, err := managefile.New(path).Load(ctx)
	if err != nil || fresh {
		t.Fatalf("fresh %v, err %v", fresh, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDamaged(t *testing.T) {
	for name, text := range map[string]string{
		"damaged":          `{"version":1,"workspaces":[`,
		"unknown field":    `{"version":1,"wrong":1}`,
		"format 2":         `{"version":2}`,
		"cannot name a wo": `{"version":1,"workspaces":[{"name":"../x"}]}`,
	} {
		path := filepath.Join(t.TempDir(), "manage.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := managefile.New(path).Load(context.Background()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSaveFails(t *testing.T) {
	s := managefile.New(filepath.Join(t.TempDir(), "missing", "manage.json"))
	if err := s.Save(context.Background(), nil); err == nil {
		t.Error("saved in a folder that does not exist")
	}
}
