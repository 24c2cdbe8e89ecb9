package manage_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// memory is a manage.Store that can fail.
type memory struct {
	list []manage.Workspace
	used bool
	fail error
}

func (m *memory) Load(context.Context) ([]manage.Workspace, bool, error) {
	return m.list, !m.used, nil
}

func (m *memory) Save(_ context.Context, list []manage.Workspace) error {
	if m.fail != nil {
		return m.fail
	}
	m.list, m.used = list, true
	return nil
}

// runner records what it is asked for.
type runner struct {
	mu   sync.Mutex
	log  []string
	fail map[string]error
}

func (r *runner) note(what string, ref manage.Ref) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, what+" "+ref.String())
	return r.fail[what]
}

func (r *runner) Start(_ context.Context, ref manage.Ref, _ manage.Spec) error {
	return r.note("start", ref)
}
func (r *runner) Stop(_ context.Context, ref manage.Ref) error   { return r.note("stop", ref) }
func (r *runner) Remove(_ context.Context, ref manage.Ref) error { return r.note("remove", ref) }

func (r *runner) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := r.log
	r.log = nil
	return log
}

var fhirSpec = manage.Spec{Kind: manage.KindFHIR}

func first() []manage.Workspace {
	return []manage.Workspace{{Name: "default", Services: []manage.Service{{Name: "fhir", Spec: fhirSpec}}}}
}

func open(t *testing.T, m *memory, r *runner) *manage.Plane {
	t.Helper()
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	p, err := manage.New(context.Background(), manage.Deps{Store: m, Runner: r, First: first(), Now: func() time.Time {
		now = now.Add(time.Second)
		return now
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFirstStart(t *testing.T) {
	m, r := &memory{}, &runner{}
	p := open(t, m, r)
	if diff := cmp.Diff([]string{"start default/fhir"}, r.take()); diff != "" {
		t.Error(diff)
	}
	if err := p.DeleteWorkspace(context.Background(), "default", true); err != nil {
		t.Fatal(err)
	}
	r.take()
	if got := open(t, m, r).Workspaces(); len(got) != 0 {
		t.Errorf("the second start brought back %v", got)
	}
}

func TestLifecycle(t *testing.T) {
	ctx, m, r := context.Background(), &memory{}, &runner{}
	p := open(t, m, r)
	ref := manage.Ref{Workspace: "clinic", Service: "records"}
	if _, _, err := p.PutService(ctx, ref, fhirSpec); !fault.Is(err, fault.NotFound) {
		t.Errorf("without workspace: %v", err)
	}
	if _, created, err := p.PutWorkspace(ctx, "clinic", manage.WorkspaceSpec{}); err != nil || !created {
		t.Fatalf("created %v, err %v", created, err)
	}
	r.take()
	if _, created, err := p.PutService(ctx, ref, fhirSpec); err != nil || !created {
		t.Fatalf("created %v, err %v", created, err)
	}
	if _, created, err := p.PutService(ctx, ref, fhirSpec); err != nil || created {
		t.Fatalf("repeated: created %v, err %v", created, err)
	}
	changed, created, err := p.PutService(ctx, ref, manage.Spec{Kind: manage.KindFHIR, Compat: "ahds"})
	if err != nil || created || changed.Compat != "ahds" || !changed.Changed.After(changed.Created) {
		t.Fatalf("changed: %+v, created %v, err %v", changed, created, err)
	}
	if err := p.DeleteWorkspace(ctx, "clinic", false); !fault.Is(err, fault.Conflict) {
		t.Errorf("delete of a full workspace: %v", err)
	}
	if err := p.DeleteService(ctx, ref); err != nil {
		t.Fatal(err)
	}
	if err := p.DeleteService(ctx, ref); !fault.Is(err, fault.NotFound) {
		t.Errorf("second delete: %v", err)
	}
	if err := p.DeleteWorkspace(ctx, "clinic", false); err != nil {
		t.Fatal(err)
	}
	want := []string{"start clinic/records", "start clinic/records", "stop clinic/records", "remove clinic/records"}
	if diff := cmp.Diff(want, r.take()); diff != "" {
		t.Error(diff)
	}
}

func TestInterruptedDelete(t *testing.T) {
	ctx, m, r := context.Background(), &memory{}, &runner{fail: map[string]error{"remove": errors.New("disk")}}
	p := open(t, m, r)
	ref := manage.Ref{Workspace: "default", Service: "fhir"}
	if err := p.DeleteService(ctx, ref); !fault.Is(err, fault.Internal) {
		t.Fatalf("got %v", err)
	}
	if _, _, err := p.PutService(ctx, ref, fhirSpec); !fault.Is(err, fault.Conflict) {
		t.Errorf("a service that is being deleted was changed: %v", err)
	}
	r.fail = nil
	r.take()
	p = open(t, m, r)
	if diff := cmp.Diff([]string{"remove default/fhir"}, r.take()); diff != "" {
		t.Error(diff)
	}
	if _, err := p.Service(ref); !fault.Is(err, fault.NotFound) {
		t.Errorf("the service is still there: %v", err)
	}
}

func TestFailures(t *testing.T) {
	ctx, m, r := context.Background(), &memory{}, &runner{}
	p := open(t, m, r)
	m.fail = errors.New("disk full")
	if _, _, err := p.PutWorkspace(ctx, "clinic", manage.WorkspaceSpec{}); !fault.Is(err, fault.Internal) {
		t.Errorf("got %v", err)
	}
	m.fail = nil
	r.fail = map[string]error{"start": errors.New("no memory")}
	if _, _, err := p.PutService(ctx, manage.Ref{Workspace: "default", Service: "two"}, fhirSpec); !fault.Is(err, fault.Internal) {
		t.Errorf("got %v", err)
	}
	var names []string
	for _, w := range p.Workspaces() {
		names = append(names, w.Name)
		for _, s := range w.Services {
			names = append(names, w.Name+"/"+s.Name)
		}
	}
	if diff := cmp.Diff([]string{"default", "default/fhir"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestRules(t *testing.T) {
	ctx := context.Background()
	p := open(t, &memory{}, &runner{})
	for _, w := range []string{"a-b", "a"} {
		_, _, err := p.PutWorkspace(ctx, w, manage.WorkspaceSpec{})
		if (w == "a") != fault.Is(err, fault.Invalid) {
			t.Errorf("workspace %s: %v", w, err)
		}
	}
	if _, _, err := p.PutWorkspace(ctx, "aa", manage.WorkspaceSpec{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.PutWorkspace(ctx, "aa-bb", manage.WorkspaceSpec{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.PutService(ctx, manage.Ref{Workspace: "aa", Service: "bb-cc"}, fhirSpec); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		workspace, service string
		spec               manage.Spec
		kind               fault.Kind
	}{
		{"default", "events", fhirSpec, fault.Invalid},
		{"default", "Fhir", fhirSpec, fault.Invalid},
		{"default", "-x", fhirSpec, fault.Invalid},
		{"default", "x-", fhirSpec, fault.Invalid},
		{"default", "abcdefghijklmnopqrstuvwxy", fhirSpec, fault.Invalid},
		{"default", "img", manage.Spec{Kind: manage.KindDICOM, Compat: "ahds"}, fault.Invalid},
		{"default", "rec", manage.Spec{Kind: manage.KindFHIR, Partitions: true}, fault.Invalid},
		{"default", "dev", manage.Spec{Kind: manage.KindMedTech}, fault.Invalid}, // no destination
		{"default", "dev", manage.Spec{Kind: manage.KindMedTech, MedTechSpec: manage.MedTechSpec{Destination: "fhir", Resolution: "Guess"}}, fault.Invalid},
		{"default", "dev", manage.Spec{Kind: manage.KindMedTech, MedTechSpec: manage.MedTechSpec{Destination: "fhir", Retention: "1s"}}, fault.Invalid},
		{"default", "dev", manage.Spec{Kind: manage.KindMedTech, Compat: "ahds", MedTechSpec: manage.MedTechSpec{Destination: "fhir"}}, fault.Invalid},
		{"default", "xx", manage.Spec{Kind: manage.KindFHIR, MedTechSpec: manage.MedTechSpec{Destination: "fhir"}}, fault.Invalid},
		{"default", "xx", manage.Spec{Kind: "ftp"}, fault.Invalid},
		{"default", "xx", manage.Spec{}, fault.Invalid},
		{"default", "xx", manage.Spec{Kind: manage.KindFHIR, Compat: "r5"}, fault.Invalid},
		{"default", "xx", manage.Spec{Kind: manage.KindFHIR, Tags: map[string]string{"": "x"}}, fault.Invalid},
		{"aa-bb", "cc", fhirSpec, fault.Conflict}, // aa-bb-cc is the host of aa/bb-cc
	} {
		if _, _, err := p.PutService(ctx, manage.Ref{Workspace: tt.workspace, Service: tt.service}, tt.spec); !fault.Is(err, tt.kind) {
			t.Errorf("%s/%s %+v: got %v", tt.workspace, tt.service, tt.spec, err)
		}
	}
	for _, n := range []string{"manage", "auth", "healthz", "readyz", "metrics"} {
		if err := manage.CheckWorkspaceName(n); !fault.Is(err, fault.Invalid) {
			t.Errorf("workspace %s is allowed", n)
		}
	}
}

func TestConcurrent(t *testing.T) {
	ctx := context.Background()
	p := open(t, &memory{}, &runner{})
	var wg sync.WaitGroup
	for i := range 8 {
		ref := manage.Ref{Workspace: "default", Service: "svc" + string(rune('a'+i))}
		wg.Go(func() {
			for range 20 {
				if _, _, err := p.PutService(ctx, ref, fhirSpec); err != nil {
					t.Error(err)
				}
				_ = p.Workspaces()
				if err := p.DeleteService(ctx, ref); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if w, err := p.Workspace("default"); err != nil || len(w.Services) != 1 {
		t.Errorf("%+v, err %v", w, err)
	}
}

// shared is a store that another node writes, too.
type shared struct {
	memory
	changed func(context.Context)
}

func (s *shared) Follow(ctx context.Context, changed func(context.Context)) {
	s.changed = changed
	<-ctx.Done()
}

// TestFollowAgain: a service of another node that does not start here, because the
// database is not there for a moment, starts a while later. Other changes go on.
func TestFollowAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := &shared{}, &runner{fail: map[string]error{}}
		p, err := manage.New(t.Context(), manage.Deps{Store: s, Runner: r, Now: time.Now, First: []manage.Workspace{{Name: "ws"}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var following sync.WaitGroup
		failures := 0
		following.Go(func() { p.Follow(ctx, func(error) { failures++ }) })
		synctest.Wait()
		mine, err := p.Workspace("ws")
		if err != nil {
			t.Fatal(err)
		}
		mine.Services = []manage.Service{{Name: "records", State: manage.StateRunning, Spec: manage.Spec{Kind: manage.KindFHIR}}}
		s.list = []manage.Workspace{mine}
		r.fail["start"] = errors.New("not now")
		s.changed(ctx)
		delete(r.fail, "start")
		if _, _, err := p.PutWorkspace(t.Context(), "other", manage.WorkspaceSpec{}); err != nil {
			t.Errorf("another change: %v", err)
		}
		if got := r.take(); !cmp.Equal(got, []string{"start ws/records"}) || failures != 1 {
			t.Errorf("at once %v, %d failures", got, failures)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := r.take(); !cmp.Equal(got, []string{"start ws/records"}) || failures != 1 {
			t.Errorf("a while later %v, %d failures", got, failures)
		}
		stop()
		following.Wait()
	})
}
