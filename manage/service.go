package manage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Deps are what a Plane needs.
type Deps struct {
	Store  Store
	Runner Runner
	Now    func() time.Time
	// Guarded makes Authorize ask the principal; without it everybody may do everything.
	Guarded bool
	// First are the workspaces of a first start.
	First []Workspace
	// Always are workspaces and services that exist after every start.
	Always []Workspace
}

// Plane is the management plane. Its methods may be called from many goroutines.
type Plane struct {
	store  Store
	runner Runner
	now    func() time.Time
	guard  bool
	shared bool // other nodes change the list too

	// change is held for a whole change, including disk and the start or stop
	// of a service; mu only guards list. Order: change before mu.
	change sync.Mutex
	mu     sync.RWMutex
	list   []Workspace // sorted by name

	undone map[Ref]bool // services that another node changed and that did not start here; of change
}

// New loads the list, finishes deletions that a crash interrupted, creates what
// Deps asks for and starts every service.
func New(ctx context.Context, d Deps) (*Plane, error) {
	p := &Plane{store: d.Store, runner: d.Runner, now: d.Now, guard: d.Guarded, undone: map[Ref]bool{}}
	_, p.shared = d.Store.(Follower)
	for try := 1; ; try++ {
		err := p.start(ctx, d)
		// Nodes that start together create the same things.
		if err == nil || !p.shared || try == startTries || !fault.Is(err, fault.Conflict) {
			return p, err
		}
	}
}

// startTries is how often a node tries to create what other nodes create too.
const startTries = 10

func (p *Plane) start(ctx context.Context, d Deps) error {
	list, fresh, err := d.Store.Load(ctx)
	if err != nil {
		return err
	}
	p.list = list
	for _, w := range slices.Clone(list) {
		for _, s := range slices.Clone(w.Services) {
			ref := Ref{w.Name, s.Name}
			if s.State == StateDeleting {
				err = p.finishDelete(ctx, ref)
			} else {
				err = p.runner.Start(ctx, ref, s.Spec)
			}
			if err != nil {
				return err
			}
		}
	}
	wanted := d.Always
	if fresh {
		wanted = append(slices.Clone(d.First), d.Always...)
	}
	for _, w := range wanted {
		if err := p.ensure(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// ensure creates what is missing of w and changes what differs. Tags that were
// set through the API stay when w has none.
func (p *Plane) ensure(ctx context.Context, w Workspace) error {
	if _, err := p.Workspace(w.Name); err != nil || w.Tags != nil {
		if _, _, err := p.PutWorkspace(ctx, w.Name, w.WorkspaceSpec); err != nil {
			return err
		}
	}
	for _, s := range w.Services {
		spec := s.Spec
		if old, err := p.Service(Ref{w.Name, s.Name}); err == nil && spec.Tags == nil {
			spec.Tags = old.Tags
		}
		if _, _, err := p.PutService(ctx, Ref{w.Name, s.Name}, spec); err != nil {
			return err
		}
	}
	return nil
}

// Authorize returns nil when the principal of ctx may do a to a workspace, or,
// with "", to the platform. An edge asks before each call; what the server does
// on its own account at its start needs no permission.
func (p *Plane) Authorize(ctx context.Context, workspace string, a auth.Actions) error {
	if !p.guard {
		return nil
	}
	return auth.NewGuard("/"+workspace).Authorize(ctx, a)
}

// Workspaces returns all workspaces, sorted by name.
func (p *Plane) Workspaces() []Workspace {
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := make([]Workspace, len(p.list))
	for i, w := range p.list {
		out[i] = w.clone()
	}
	return out
}

// Workspace returns one workspace, or NotFound.
func (p *Plane) Workspace(n string) (Workspace, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	i, ok := search(p.list, n)
	if !ok {
		return Workspace{}, fault.New(fault.NotFound, "there is no workspace %.64q", n)
	}
	return p.list[i].clone(), nil
}

// Service returns one service, or NotFound.
func (p *Plane) Service(ref Ref) (Service, error) {
	w, err := p.Workspace(ref.Workspace)
	if err != nil {
		return Service{}, err
	}
	i, ok := w.find(ref.Service)
	if !ok {
		return Service{}, fault.New(fault.NotFound, "there is no service %.64q in workspace %s", ref.Service, ref.Workspace)
	}
	return w.Services[i], nil
}

// PutWorkspace creates or changes a workspace; created says which. It is
// Invalid for a bad name.
func (p *Plane) PutWorkspace(ctx context.Context, n string, spec WorkspaceSpec) (w Workspace, created bool, err error) {
	if err := CheckWorkspaceName(n); err != nil {
		return w, false, err
	}
	if err := checkTags(spec.Tags); err != nil {
		return w, false, err
	}
	if err := p.begin(ctx); err != nil {
		return w, false, err
	}
	defer p.change.Unlock()
	list, now := p.Workspaces(), p.now().UTC()
	i, ok := search(list, n)
	switch {
	case !ok:
		list = slices.Insert(list, i, Workspace{Name: n, Created: now, Changed: now, Services: []Service{}})
	case maps.Equal(list[i].Tags, spec.Tags):
		return list[i], false, nil
	default:
		list[i].Changed = now
	}
	list[i].Tags = maps.Clone(spec.Tags)
	if err := p.save(ctx, list); err != nil {
		return w, false, err
	}
	return list[i].clone(), !ok, nil
}

// PutService creates or changes a service and makes it answer; created says
// which. It is Invalid for a bad name or Spec, NotImplemented for a kind that
// this version cannot run, NotFound without the workspace, Conflict when the
// kind would change, the service is being deleted, or its host name is taken.
func (p *Plane) PutService(ctx context.Context, ref Ref, spec Spec) (s Service, created bool, err error) {
	if err := spec.Check(ref.Service); err != nil {
		return s, false, err
	}
	if err := p.begin(ctx); err != nil {
		return s, false, err
	}
	defer p.change.Unlock()
	before, list, now := p.Workspaces(), p.Workspaces(), p.now().UTC()
	wi, ok := search(list, ref.Workspace)
	if !ok {
		return s, false, fault.New(fault.NotFound, "there is no workspace %.64q", ref.Workspace)
	}
	w := &list[wi]
	i, exists := w.find(ref.Service)
	if exists {
		if err := mayChange(ref, w.Services[i], spec); err != nil {
			return s, false, err
		}
		if w.Services[i].Spec.Equal(spec) {
			return w.Services[i], false, nil
		}
	} else {
		if other, taken := sameHost(list, ref, spec.Kind); taken {
			return s, false, fault.New(fault.Conflict, "%s would have the same host name as %s", ref, other)
		}
		w.Services = slices.Insert(w.Services, i, Service{Name: ref.Service, State: StateRunning, Created: now})
	}
	w.Services[i].Spec = spec
	w.Services[i].Tags = maps.Clone(spec.Tags)
	w.Services[i].Versioning = maps.Clone(spec.Versioning)
	w.Services[i].Changed = now
	if err := p.save(ctx, list); err != nil {
		return s, false, err
	}
	if err := p.runner.Start(ctx, ref, spec); err != nil {
		// Nothing was acknowledged: what was there before is what stays.
		err = fault.Wrap("manage: start service", err)
		return s, false, errors.Join(err, p.save(context.WithoutCancel(ctx), before))
	}
	return w.clone().Services[i], !exists, nil
}

func mayChange(ref Ref, old Service, spec Spec) error {
	if old.State == StateDeleting {
		return fault.New(fault.Conflict, "service %s is being deleted", ref)
	}
	if old.Kind != spec.Kind {
		return fault.New(fault.Conflict, "service %s is of kind %s; the kind of a service cannot change", ref, old.Kind)
	}
	if old.Partitions != spec.Partitions {
		return fault.New(fault.Conflict, "whether service %s has partitions was decided when it was created, and cannot change", ref)
	}
	return nil
}

// sameHost finds a service whose host name {workspace}-{service} would be that
// of ref: a-b/c and a/b-c are both a-b-c.
func sameHost(list []Workspace, ref Ref, kind Kind) (Ref, bool) {
	host := ref.Workspace + "-" + ref.Service
	for _, w := range list {
		rest, ok := strings.CutPrefix(host, w.Name+"-")
		if !ok {
			continue
		}
		if i, ok := w.find(rest); ok && w.Services[i].Kind == kind && (Ref{w.Name, rest}) != ref {
			return Ref{w.Name, rest}, true
		}
	}
	return Ref{}, false
}

// DeleteWorkspace removes a workspace. With services in it, it is Conflict
// unless force is set, which removes them too. NotFound when there is none.
func (p *Plane) DeleteWorkspace(ctx context.Context, n string, force bool) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	defer p.change.Unlock()
	w, err := p.Workspace(n)
	if err != nil {
		return err
	}
	if len(w.Services) > 0 && !force {
		return fault.New(fault.Conflict, "workspace %s still has %d services; delete them first, or all at once with force", n, len(w.Services))
	}
	for _, s := range w.Services {
		if err := p.deleteService(ctx, Ref{n, s.Name}); err != nil {
			return err
		}
	}
	if f, ok := p.runner.(Forgetter); ok {
		if err := f.RemoveWorkspace(ctx, n); err != nil {
			return fault.Wrap("manage: remove what belongs to a workspace", err)
		}
	}
	return p.save(ctx, slices.DeleteFunc(p.Workspaces(), func(w Workspace) bool { return w.Name == n }))
}

// DeleteService stops a service and removes its files. NotFound when there is none.
func (p *Plane) DeleteService(ctx context.Context, ref Ref) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	defer p.change.Unlock()
	if _, err := p.Service(ref); err != nil {
		return err
	}
	return p.deleteService(ctx, ref)
}

// deleteService is DeleteService for those who hold change. A client that goes
// away does not stop it half way.
func (p *Plane) deleteService(ctx context.Context, ref Ref) error {
	ctx = context.WithoutCancel(ctx)
	list := p.Workspaces()
	wi, _ := search(list, ref.Workspace)
	i, _ := list[wi].find(ref.Service)
	list[wi].Services[i].State = StateDeleting
	if err := p.save(ctx, list); err != nil {
		return err
	}
	if err := p.runner.Stop(ctx, ref); err != nil {
		return fault.Wrap("manage: stop service", err)
	}
	return p.finishDelete(ctx, ref)
}

// finishDelete removes the files of a service that does not run, then forgets it.
func (p *Plane) finishDelete(ctx context.Context, ref Ref) error {
	if err := p.runner.Remove(ctx, ref); err != nil {
		return fault.Wrap("manage: remove the files of a service", err)
	}
	if p.shared { // another node may have saved while the files were removed
		if err := p.refresh(ctx, false); err != nil {
			return err
		}
	}
	list := p.Workspaces()
	wi, ok := search(list, ref.Workspace)
	if !ok {
		return fault.Wrap("manage: delete service", errors.New("the workspace is gone"))
	}
	list[wi].Services = slices.DeleteFunc(list[wi].Services, func(s Service) bool { return s.Name == ref.Service })
	return p.save(ctx, list)
}

// save keeps the list on disk, then makes it visible.
func (p *Plane) save(ctx context.Context, list []Workspace) error {
	if err := p.store.Save(ctx, list); err != nil {
		return fault.Wrap("manage: save", err)
	}
	p.mu.Lock()
	p.list = list
	p.mu.Unlock()
	return nil
}

// begin takes the lock of changes, with the newest list.
func (p *Plane) begin(ctx context.Context) error {
	p.change.Lock()
	if !p.shared {
		return nil
	}
	if err := p.refresh(ctx, false); err != nil {
		p.change.Unlock()
		return err
	}
	return nil
}

// Follow takes over what other nodes change, until ctx ends. It returns at once
// when there are none.
func (p *Plane) Follow(ctx context.Context, failed func(error)) {
	f, ok := p.store.(Follower)
	if !ok {
		return
	}
	again := make(chan struct{}, 1)
	follow := func(ctx context.Context) {
		p.change.Lock()
		defer p.change.Unlock()
		if err := p.refresh(ctx, true); err != nil && ctx.Err() == nil {
			failed(err)
			select {
			case again <- struct{}{}:
			default:
			}
		}
	}
	var retries sync.WaitGroup
	retries.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-again:
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(retryTime):
				follow(ctx)
			}
		}
	})
	f.Follow(ctx, follow)
	retries.Wait()
}

// retryTime is how long a change that could not be followed waits for the next attempt.
const retryTime = 10 * time.Second

// refresh loads the list and starts, changes and stops services as it says.
// With again it also tries what did not start before; a change of this node does
// not, which would fail with it. The files of a deleted service are removed by the
// node that deletes it. The caller holds change.
func (p *Plane) refresh(ctx context.Context, again bool) error {
	list, _, err := p.store.Load(ctx)
	if err != nil {
		return fault.Wrap("manage: load", err)
	}
	before := p.Workspaces()
	p.mu.Lock()
	p.list = list
	p.mu.Unlock()
	var errs []error
	for _, w := range list {
		for _, s := range w.Services {
			ref := Ref{w.Name, s.Name}
			old, had := running(before, ref)
			if s.State == StateRunning && (!had || !old.Spec.Equal(s.Spec) || !old.Created.Equal(s.Created) || again && p.undone[ref]) {
				if had && !old.Created.Equal(s.Created) { // deleted and created again
					errs = append(errs, p.runner.Stop(ctx, ref))
				}
				err := p.runner.Start(ctx, ref, s.Spec)
				if errs = append(errs, err); err != nil {
					p.undone[ref] = true
				} else {
					delete(p.undone, ref)
				}
			}
		}
	}
	for _, w := range before {
		for _, s := range w.Services {
			ref := Ref{w.Name, s.Name}
			if _, still := running(list, ref); !still && s.State == StateRunning {
				delete(p.undone, ref)
				errs = append(errs, p.runner.Stop(ctx, ref))
			}
		}
	}
	if w, ok := p.runner.(Watcher); ok {
		errs = append(errs, w.Follow(ctx, list))
	}
	return errors.Join(errs...)
}

// running finds a service that is not being deleted.
func running(list []Workspace, ref Ref) (Service, bool) {
	if i, ok := search(list, ref.Workspace); ok {
		if j, ok := list[i].find(ref.Service); ok {
			return list[i].Services[j], list[i].Services[j].State == StateRunning
		}
	}
	return Service{}, false
}

// search finds a workspace by its name.
func search(list []Workspace, n string) (int, bool) {
	return slices.BinarySearchFunc(list, n, func(w Workspace, n string) int { return strings.Compare(w.Name, n) })
}
