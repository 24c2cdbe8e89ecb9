package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomsql"
	"github.com/hygeia-health/hygeia/dicom/imaging"
	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/bulk"
	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
	"github.com/hygeia-health/hygeia/fhir/fhirsql"
	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/keyring"
	"github.com/hygeia-health/hygeia/platform/telemetry"
	"github.com/hygeia-health/hygeia/platform/web"
	"github.com/hygeia-health/hygeia/spec/search"
)

// services are the running services. It is the Runner of the management plane.
type services struct {
	data    string
	shared  bool                     // the databases are on a server that other nodes may use
	place   func(name string) string // of a database
	version string
	maxBody int64
	limits  LimitsConfig
	bodies  *web.Budget // of all services together
	pages   *web.Budget // of their answers
	large   *bulk.Large // lines of their imports
	blobs   blob.Store  // each service has the part below its path
	queue   *queue
	sources *imports      // nil: none
	keys    *keyring.Ring // of what is encrypted at rest; nil: nothing
	// containers are where DICOM services export to and import from.
	containers []ContainerConfig
	log        *slog.Logger
	metrics    *telemetry.Metrics
	// identity is nil when authentication is off.
	identity *identity
	events   *eventRooms
	trail    *trail                 // of connections that are no requests; nil: there is none
	base     atomic.Pointer[string] // by which others reach the server; nil while the port is not known
	refs     references             // what passwords of services may refer to
	tls      *tls.Config            // of the listeners of services; nil: in clear

	change sync.Mutex // held while table is replaced
	table  atomic.Pointer[table]

	renewals sync.WaitGroup // of stores whose server is another one now
}

// table says who answers; it is never changed, only replaced.
type table struct {
	byPath map[string]*service // workspace/service
	byHost map[string]*service // workspace-service.kind
}

var (
	_ manage.Runner  = (*services)(nil)
	_ manage.Watcher = (*services)(nil)
)

func newServices(cfg *Config, version string, log *slog.Logger, m *telemetry.Metrics, blobs blob.Store, q *queue) *services {
	s := &services{data: cfg.Data, shared: cfg.Database != "", place: cfg.place, version: version, maxBody: int64(cfg.Limits.Body), limits: cfg.Limits, bodies: web.NewBudget(2 * int64(cfg.Limits.Body)), pages: web.NewBudget(4 * int64(cfg.Limits.Body)), large: bulk.NewLarge(), blobs: blobs, queue: q, log: log, metrics: m, refs: newReferences(cfg)}
	s.table.Store(&table{byPath: map[string]*service{}, byHost: map[string]*service{}})
	s.events = newEventRooms(cfg, s)
	return s
}

// service is one service. Its store is opened by the first request.
type service struct {
	all   *services
	ref   manage.Ref
	kind  manage.Kind
	realm atomic.Pointer[auth.Realm] // who may ask; nil: authentication is off
	// partitions says that a DICOM service has them; it never changes.
	partitions bool

	gateway atomic.Pointer[gateway]

	// inFlight is held for reading by every request and taken for writing to
	// close, so that a store is never closed under a request.
	inFlight sync.RWMutex
	closed   bool

	opening  sync.Mutex // one goroutine opens, or changes spec
	spec     manage.Spec
	store    *fhirsql.Store // of a FHIR service
	params   *search.Registry
	medtech  *medtechRoom // of a MedTech service
	handlers atomic.Pointer[handlers]
}

// handlers are the two faces of an open service.
type handlers struct {
	room   *fhir.Service // nil unless it is a FHIR service
	check  func(context.Context) error
	close  func() error
	images *dicomsql.Store // nil unless it is a DICOM service
	byPath http.Handler    // below /workspace/service
	byHost http.Handler    // at the root of a host of its own
	bulk   *bulk.Service
	dicom  *dicom.Service // nil unless it is a DICOM service
	// follower keeps the ImagingStudies of a DICOM service; nil without.
	follower *atomic.Pointer[imaging.Follower]
}

// hasHost reports whether services of a kind have host names of their own.
func hasHost(k manage.Kind) bool { return k == manage.KindFHIR || k == manage.KindDICOM }

// label is the host name of the service without the domain.
func (s *service) label() string { return s.ref.Workspace + "-" + s.ref.Service + "." + string(s.kind) }

// Start implements manage.Runner.
func (s *services) Start(ctx context.Context, ref manage.Ref, spec manage.Spec) error {
	s.change.Lock()
	defer s.change.Unlock()
	if sv, ok := s.table.Load().byPath[ref.String()]; ok {
		return sv.changeSpec(spec)
	}
	realm, err := s.identity.realm(ref, spec)
	if err != nil {
		return err
	}
	sv := &service{all: s, ref: ref, kind: spec.Kind, spec: spec, partitions: spec.Partitions}
	sv.realm.Store(realm)
	gw, err := newGateway(s.limits, spec.Gateway)
	if err != nil {
		return err
	}
	sv.gateway.Store(gw)
	if spec.Kind == manage.KindMedTech { // it may listen
		if err := checkSources(spec.Sources); err != nil {
			return err
		}
	}
	if spec.Kind == manage.KindMedTech || spec.ImagingStudy != nil { // it works on its own
		if err := sv.warm(ctx); err != nil {
			return errors.Join(err, sv.close())
		}
	}
	s.replace(func(t *table) {
		t.byPath[ref.String()] = sv
		if hasHost(spec.Kind) {
			t.byHost[sv.label()] = sv
		}
		if spec.Kind == manage.KindFHIR {
			s.events.add(ref, fhirSource{sv})
		}
		if spec.Kind == manage.KindDICOM {
			s.events.add(ref, dicomSource{sv})
		}
	})
	return nil
}

// Stop implements manage.Runner.
func (s *services) Stop(_ context.Context, ref manage.Ref) error {
	s.change.Lock()
	sv := s.table.Load().byPath[ref.String()]
	if sv != nil {
		s.replace(func(t *table) {
			delete(t.byPath, ref.String())
			delete(t.byHost, sv.label())
		})
	}
	s.change.Unlock()
	if sv == nil {
		return nil
	}
	s.queue.drop(ref.String())
	s.events.drop(ref)
	err := sv.close()
	s.metrics.Forget(ref.String())
	return err
}

// Remove implements manage.Runner.
func (s *services) Remove(ctx context.Context, ref manage.Ref) error {
	if err := s.queue.store.Forget(ctx, ref.String()); err != nil {
		return err
	}
	for _, kind := range []manage.Kind{manage.KindFHIR, manage.KindDICOM, manage.KindMedTech} { // which it was is not known any more
		if err := os.Remove(s.madeFile(ref, kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := db.Drop(ctx, s.place(storeName(ref, kind))); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(s.folder(ref)); err != nil {
		return err
	}
	if err := blob.DeleteAll(ctx, s.blobs, ref.String()+"/"); err != nil {
		return err
	}
	_ = os.Remove(filepath.Join(s.data, ref.Workspace)) // fails while other services are in it
	return s.identity.forget(ctx, "/"+ref.String())
}

// RemoveWorkspace implements manage.Forgetter.
func (s *services) RemoveWorkspace(ctx context.Context, workspace string) error {
	if err := s.events.remove(workspace); err != nil {
		return err
	}
	return s.identity.forget(ctx, "/"+workspace)
}

// Follow implements manage.Watcher.
func (s *services) Follow(ctx context.Context, workspaces []manage.Workspace) error {
	return s.events.follow(ctx, workspaces)
}

// replace puts a changed copy in place of the table; the caller holds change.
func (s *services) replace(edit func(*table)) {
	old := s.table.Load()
	t := &table{byPath: maps.Clone(old.byPath), byHost: maps.Clone(old.byHost)}
	edit(t)
	s.table.Store(t)
}

// storeName names the database of a service, see Config.place.
func storeName(ref manage.Ref, kind manage.Kind) string {
	return path.Join(ref.Workspace, ref.Service, string(kind)+".db")
}

func (s *services) folder(ref manage.Ref) string {
	return filepath.Join(s.data, ref.Workspace, ref.Service)
}

// list returns the services sorted by name.
func (s *services) list() []*service {
	return slices.SortedFunc(maps.Values(s.table.Load().byPath), func(a, b *service) int {
		return strings.Compare(a.ref.String(), b.ref.String())
	})
}

// stopOrder says which kinds stop first; a kind that is not named stops with those of 0.
var stopOrder = map[manage.Kind]int{manage.KindMedTech: -1, manage.KindDICOM: -1}

// closeAll closes every service; the first error is returned, all are logged.
func (s *services) closeAll(ctx context.Context) error {
	var first error
	list := s.list()
	// Those that write into a FHIR service stop before it.
	slices.SortStableFunc(list, func(a, b *service) int { return cmp.Compare(stopOrder[a.kind], stopOrder[b.kind]) })
	for _, sv := range list {
		if err := s.Stop(ctx, sv.ref); err != nil {
			s.log.LogAttrs(ctx, slog.LevelError, "close failed", slog.String("service", sv.ref.String()), slog.Any("err", err))
			if first == nil {
				first = err
			}
		}
	}
	s.renewals.Wait() // they find their service closed
	return first
}

// changeSpec takes over what can change while requests are in flight.
func (s *service) changeSpec(spec manage.Spec) error {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.kind == manage.KindMedTech {
		if err := s.changeMedTech(spec); err != nil {
			return err
		}
	}
	if s.kind == manage.KindDICOM {
		if err := s.changeDICOM(spec); err != nil {
			return err
		}
	}
	if s.store != nil && (spec.Authority != s.spec.Authority || spec.Compat != s.spec.Compat || spec.Narrative != s.spec.Narrative || !maps.Equal(spec.Versioning, s.spec.Versioning)) {
		if err := s.build(spec); err != nil {
			return err
		}
	}
	if !reflect.DeepEqual(spec.Gateway, s.spec.Gateway) {
		gw, err := newGateway(s.all.limits, spec.Gateway)
		if err != nil {
			return err
		}
		s.gateway.Store(gw)
	}
	if spec.Authority != s.spec.Authority || spec.Audience != s.spec.Audience {
		realm, err := s.all.identity.realm(s.ref, spec)
		if err != nil {
			return err
		}
		s.realm.Store(realm)
	}
	s.spec = spec
	return nil
}

// close waits for the requests in flight and closes the store.
func (s *service) close() error {
	s.inFlight.Lock()
	defer s.inFlight.Unlock()
	s.closed = true
	s.opening.Lock()
	defer s.opening.Unlock()
	h := s.handlers.Swap(nil)
	if h == nil {
		return nil
	}
	s.store = nil
	return h.close()
}

// renew closes the store, which the next request opens again: what it remembers
// may not be what the database has.
func (s *service) renew() {
	ctx := context.Background()
	s.all.log.LogAttrs(ctx, slog.LevelWarn, "another database server was promoted; the store is opened anew", slog.String("service", s.ref.String()))
	s.inFlight.Lock()
	defer s.inFlight.Unlock()
	s.opening.Lock()
	defer s.opening.Unlock()
	h := s.handlers.Swap(nil)
	if s.closed || h == nil {
		return
	}
	s.store = nil
	if err := h.close(); err != nil {
		s.all.log.LogAttrs(ctx, slog.LevelError, "close failed", slog.String("service", s.ref.String()), slog.Any("err", err))
	}
}

// open returns the handlers, opening the store when nobody did. The caller
// holds inFlight for reading.
func (s *service) open(ctx context.Context) (*handlers, error) {
	if h := s.handlers.Load(); h != nil {
		return h, nil
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	if h := s.handlers.Load(); h != nil {
		return h, nil
	}
	if err := s.openNow(ctx); err != nil {
		return nil, err
	}
	return s.handlers.Load(), nil
}

// openNow opens the store; the caller holds opening.
func (s *service) openNow(ctx context.Context) error {
	// What is opened serves all later requests, so it does not end with this one.
	ctx = context.WithoutCancel(ctx)
	begin := time.Now()
	if err := s.all.notLost(s.ref, s.kind); err != nil {
		return err
	}
	folder := s.all.folder(s.ref)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	open := s.openFHIR
	switch s.kind {
	case manage.KindMedTech:
		open = s.openMedTech
	case manage.KindDICOM:
		open = s.openDICOM
	}
	if err := open(ctx, folder); err != nil {
		return err
	}
	if err := s.all.madeStore(s.ref, s.kind); err != nil { // the next start tries again
		s.all.log.LogAttrs(ctx, slog.LevelWarn, "it cannot be noted that the database is there", slog.String("service", s.ref.String()), slog.Any("err", err))
	}
	s.all.log.LogAttrs(ctx, slog.LevelInfo, "service opened",
		slog.String("service", s.ref.String()), slog.Int64("ms", time.Since(begin).Milliseconds()))
	return nil
}

// openFHIR opens a FHIR service; the caller holds opening.
func (s *service) openFHIR(ctx context.Context, _ string) error {
	s.params = search.NewRegistry() // of its own: a service may define search parameters
	store, err := fhirsql.Open(ctx, s.all.place(storeName(s.ref, s.kind)), s.params, fhirsql.Options{
		Keys: s.all.keys, Log: s.all.log.With(slog.String("service", s.ref.String())), DB: db.Options{OnMoved: func() { s.all.renewals.Go(s.renew) }},
	})
	if err != nil {
		return err
	}
	s.store = store
	if err := s.build(s.spec); err != nil {
		_ = store.Close()
		s.store = nil
		return err
	}
	m := s.all.metrics.Store(s.ref.String(), store.Queue)
	store.OnCommit(func(d time.Duration, n int) {
		m.Commit(n, d)
		s.all.events.wake(s.ref.Workspace)
	})
	return nil
}

// build makes the room and its edges on the open store; the caller holds opening.
func (s *service) build(spec manage.Spec) error {
	room, err := fhir.New(fhir.Deps{
		Store: s.store, Search: s.params, Guard: s.all.identity.guard(s.ref),
		Config: fhir.Config{Compat: spec.Compat, Narrative: spec.Narrative, Versioning: versioning(spec.Versioning)},
	})
	if err != nil {
		return err
	}
	if err := room.LoadParams(context.Background()); err != nil {
		return err
	}
	cfg := room.Config()
	smart, err := s.all.identity.smartHandlers(spec)
	if err != nil {
		return err
	}
	work := bulk.New(bulk.Deps{
		FHIR: room, Store: s.store, Jobs: s.all.queue.store, Blobs: blob.Sub(s.all.blobs, s.ref.String()), Scope: s.ref.String(), Subset: fhirhttp.Subset, Sources: s.all.sourcesOf(s.ref),
		Large: s.all.large, LineSize: s.all.maxBody,
	})
	opt := fhirhttp.Options{
		Handlers:         smart,
		Search:           s.params,
		OAuth:            s.all.identity.oauth(spec),
		BasePath:         "/" + s.ref.String(),
		BaseURL:          web.BaseURL,
		MaxBody:          s.all.maxBody,
		Bodies:           s.all.bodies,
		Pages:            s.all.pages,
		MaxBundleEntries: cfg.MaxBundleEntries,
		AHDS:             spec.Compat == fhir.CompatAHDS,
		Versioning:       func(typ string) string { return string(cfg.VersioningOf(typ)) },
		Name:             "Hygeia",
		Version:          s.all.version,
		Observe:          s.observe,
		Log:              s.all.log,
		Bulk:             work,
	}
	h := &handlers{check: s.store.Check, close: s.store.Close, room: room, bulk: work, byPath: fhirhttp.New(room, opt)}
	opt.BasePath = ""
	h.byHost = fhirhttp.New(room, opt)
	s.handlers.Store(h)
	return nil
}

// versioning gives the policies of the management plane to the room.
func versioning(byType map[string]string) map[string]fhir.Versioning {
	out := make(map[string]fhir.Versioning, len(byType))
	for typ, policy := range byType {
		if typ == manage.DefaultType {
			typ = fhir.AllTypes
		}
		out[typ] = fhir.Versioning(policy)
	}
	return out
}

func (s *service) observe(verb, typ string, status int, d time.Duration, in, out int) {
	s.all.metrics.Observe(telemetry.Call{
		Service: s.ref.String(), Operation: verb, Type: typ, Status: status, Duration: d, BytesIn: int64(in), BytesOut: int64(out),
	})
}

// serve answers a request, by path or by host.
func (s *service) serve(w http.ResponseWriter, r *http.Request, byHost bool) {
	s.inFlight.RLock()
	defer s.inFlight.RUnlock()
	if s.closed {
		refuseFor(s, w, r, fault.New(fault.NotFound, "there is no service %s", s.ref))
		return
	}
	h, err := s.open(r.Context())
	if err != nil {
		s.all.log.LogAttrs(r.Context(), slog.LevelError, "open failed", slog.String("service", s.ref.String()), slog.Any("err", err))
		refuseFor(s, w, r, &fault.Error{Kind: fault.Transient, Msg: "the service cannot be opened now", RetryAfter: 5 * time.Second})
		return
	}
	if byHost {
		h.byHost.ServeHTTP(w, r)
		return
	}
	h.byPath.ServeHTTP(w, r)
}

// check asks the store of an open service; a service that nobody used is fine.
func (s *service) check(ctx context.Context) error {
	s.inFlight.RLock()
	defer s.inFlight.RUnlock()
	h := s.handlers.Load()
	if s.closed || h == nil {
		return nil
	}
	return h.check(ctx)
}

// warm opens the service ahead of its first request.
func (s *service) warm(ctx context.Context) error {
	s.inFlight.RLock()
	defer s.inFlight.RUnlock()
	if s.closed {
		return nil
	}
	_, err := s.open(ctx)
	return err
}
