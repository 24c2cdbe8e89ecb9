package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/events"
	"github.com/hygeia-health/hygeia/events/eventshttp"
	"github.com/hygeia-health/hygeia/events/eventssql"
	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

// eventsName is the folder of events in a workspace, and the segment of its
// address; no service has this name.
const eventsName = "events"

// eventRooms are the events of all workspaces. The room of a workspace is opened
// by the first who asks for it, and by a start that finds its store.
type eventRooms struct {
	services *services
	outbound events.Outbound
	keep     time.Duration
	domain   string

	leaving chan struct{} // closed when the server begins to stop
	mu      sync.Mutex
	rooms   map[string]*eventRoom // by workspace
	closed  bool
}

type eventRoom struct {
	svc  *events.Service
	edge *eventshttp.Handler
	of   time.Time // when its workspace was made, once that is known
}

func newEventRooms(cfg *Config, s *services) *eventRooms {
	return &eventRooms{
		services: s, outbound: events.Outbound{Allow: cfg.Events.Allow}, keep: cfg.Events.Retention, domain: cfg.Domain,
		rooms: map[string]*eventRoom{}, leaving: make(chan struct{}),
	}
}

// leave ends the streams, so that a stop does not wait for those who read them. It
// is called once.
func (e *eventRooms) leave() { close(e.leaving) }

// place is where the events of a workspace are, see Config.place.
func (e *eventRooms) place(workspace string) string {
	return e.services.place(path.Join(workspace, eventsName, "events.db"))
}

func (e *eventRooms) folder(workspace string) string {
	return filepath.Join(e.services.data, workspace, eventsName)
}

// resume opens the rooms that have subscriptions or readers from before. On a
// shared database all are opened: one of the nodes has to work, whichever made them.
func (e *eventRooms) resume(ctx context.Context, workspaces []manage.Workspace) error {
	for _, w := range workspaces {
		if !e.services.shared {
			if _, err := os.Stat(e.place(w.Name)); err != nil {
				continue
			}
		}
		r, err := e.room(ctx, w.Name)
		if err != nil {
			return err
		}
		e.mu.Lock()
		r.of = w.Created
		e.mu.Unlock()
	}
	return nil
}

// follow opens the rooms of workspaces that other nodes made, and closes those of
// workspaces that they removed.
func (e *eventRooms) follow(ctx context.Context, workspaces []manage.Workspace) error {
	there := make(map[string]time.Time, len(workspaces))
	for _, w := range workspaces {
		there[w.Name] = w.Created
	}
	var old []*eventRoom
	e.mu.Lock()
	for name, r := range e.rooms {
		if at, ok := there[name]; !ok || !r.of.IsZero() && !r.of.Equal(at) {
			old = append(old, r)
			delete(e.rooms, name)
		}
	}
	closed := e.closed
	e.mu.Unlock()
	var errs []error
	for _, r := range old {
		errs = append(errs, r.svc.Close())
	}
	if !closed {
		errs = append(errs, e.resume(ctx, workspaces))
	}
	return errors.Join(errs...)
}

// room returns the room of a workspace, which exists.
func (e *eventRooms) room(ctx context.Context, workspace string) (*eventRoom, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.rooms[workspace]; r != nil {
		return r, nil
	}
	if e.closed {
		return nil, fault.New(fault.Transient, "the server is stopping")
	}
	if !e.services.shared {
		if err := os.MkdirAll(e.folder(workspace), 0o700); err != nil {
			return nil, fault.Wrap("server: events", err)
		}
	}
	ctx = context.WithoutCancel(ctx)
	store, err := eventssql.Open(ctx, e.place(workspace), db.Options{Readers: 2})
	if err != nil {
		return nil, err
	}
	var guard *auth.Guard
	if e.services.identity != nil {
		guard = auth.NewGuard("/" + workspace)
	}
	svc, err := events.New(ctx, events.Deps{
		Workspace: workspace, Store: store, Names: e.names(workspace), Blobs: blob.Sub(e.services.blobs, workspace+"/"+eventsName),
		Outbound: e.outbound, Secret: e.services.refs.secret, Guard: guard, Meter: e.services.metrics.Events(workspace), Log: e.services.log, Retention: e.keep, Shared: e.services.shared,
	})
	if err != nil {
		_ = store.Close()
		return nil, err
	}
	r := &eventRoom{svc: svc, edge: eventshttp.New(svc, e.services.log, e.leaving)}
	e.rooms[workspace] = r
	for _, sv := range e.services.list() {
		switch {
		case sv.ref.Workspace != workspace:
		case sv.kind == manage.KindFHIR:
			svc.AddSource(sv.ref.String(), fhirSource{sv})
		case sv.kind == manage.KindDICOM:
			svc.AddSource(sv.ref.String(), dicomSource{sv})
		}
	}
	return r, nil
}

// names says how events of a workspace are written.
func (e *eventRooms) names(workspace string) events.Names {
	return events.Names{
		Topic: events.TopicOf(workspace),
		Host: func(source string, k events.Kind) string {
			if e.domain == "" {
				return source
			}
			kind := ".fhir."
			if k.OfImages() {
				kind = ".dicom."
			}
			return strings.Replace(source, "/", "-", 1) + kind + e.domain
		},
	}
}

// lookup returns the room of a workspace if it is open.
func (e *eventRooms) lookup(workspace string) *eventRoom {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rooms[workspace]
}

// add gives the change sequence of a new service to the room of its workspace.
func (e *eventRooms) add(ref manage.Ref, src events.Source) {
	if r := e.lookup(ref.Workspace); r != nil {
		r.svc.AddSource(ref.String(), src)
	}
}

func (e *eventRooms) drop(ref manage.Ref) {
	if r := e.lookup(ref.Workspace); r != nil {
		r.svc.RemoveSource(ref.String())
	}
}

// wake says that a service of a workspace has committed.
func (e *eventRooms) wake(workspace string) {
	if r := e.lookup(workspace); r != nil && r.svc.Active() {
		r.svc.Wake()
	}
}

// remove deletes the events of a workspace.
func (e *eventRooms) remove(workspace string) error {
	e.mu.Lock()
	r := e.rooms[workspace]
	delete(e.rooms, workspace)
	e.mu.Unlock()
	if r != nil {
		if err := r.svc.Close(); err != nil {
			return err
		}
	}
	if err := db.Drop(context.Background(), e.place(workspace)); err != nil {
		return err
	}
	if err := os.RemoveAll(e.folder(workspace)); err != nil {
		return err
	}
	return blob.DeleteAll(context.Background(), e.services.blobs, workspace+"/"+eventsName+"/")
}

// close ends all deliveries.
func (e *eventRooms) close() {
	e.mu.Lock()
	rooms := slices.Collect(maps.Values(e.rooms))
	e.closed = true
	clear(e.rooms)
	e.mu.Unlock()
	for _, r := range rooms {
		if err := r.svc.Close(); err != nil {
			e.services.log.Error("close failed", slog.String("service", eventsName), slog.Any("err", err))
		}
	}
}

// fhirSource is the change sequence of a FHIR service, which may be closed.
type fhirSource struct{ sv *service }

// Since implements events.Source.
func (f fhirSource) Since(_ context.Context, t time.Time) (int64, error) {
	return int64(fhir.SeqAt(t)) - 1, nil
}

// Changes implements events.Source.
func (f fhirSource) Changes(ctx context.Context, after int64, limit int) ([]events.Change, int64, error) {
	f.sv.inFlight.RLock()
	defer f.sv.inFlight.RUnlock()
	if f.sv.closed {
		return nil, after, nil
	}
	if _, err := f.sv.open(ctx); err != nil {
		return nil, after, err
	}
	list, last, err := f.sv.store.Changes(ctx, fhir.Seq(after), limit)
	out := make([]events.Change, len(list))
	for i := range list {
		c := &list[i]
		kind := events.FHIRUpdated
		switch {
		case c.Deleted:
			kind = events.FHIRDeleted
		case c.Version == 1:
			kind = events.FHIRCreated
		}
		out[i] = events.Change{At: int64(c.Seq), Kind: kind, Ref: c.Key.String(), Version: c.Version, Time: c.Seq.Time()}
	}
	return out, int64(last), err
}

// eventsPath cuts /{workspace}/events out of a path.
func eventsPath(path string) (workspace, rest string, ok bool) {
	workspace, rest, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if rest != eventsName && !strings.HasPrefix(rest, eventsName+"/") {
		return "", "", false
	}
	return workspace, rest[len(eventsName):], true
}

// subscriptionsPath cuts the event subscriptions of a workspace out of a path of
// the management API.
func subscriptionsPath(path string) (workspace, rest string, ok bool) {
	path, ok = strings.CutPrefix(path, "/manage/v1/workspaces/")
	if !ok {
		return "", "", false
	}
	workspace, rest, _ = strings.Cut(path, "/")
	rest, ok = strings.CutPrefix(rest, "eventsubscriptions")
	return workspace, rest, ok && (rest == "" || rest[0] == '/')
}

// serveEvents answers the pull cursor of a workspace.
func (rt *router) serveEvents(w http.ResponseWriter, r *http.Request, workspace, rest string) {
	q := web.From(r.Context())
	q.Route, q.Operation = "/{workspace}/events", eventsName
	if !eventshttp.Public(rest) {
		if q.Service = workspace + "/" + eventsName; !rt.audited(w, r) {
			return
		}
		if r = rt.authenticate(w, r, rt.identity.realmOf()); r == nil {
			return
		}
	}
	if room := rt.eventRoom(w, r, workspace); room != nil {
		room.edge.ServeCursor(w, r, rest)
	}
}

// eventRoom finds the room of a workspace, or answers.
func (rt *router) eventRoom(w http.ResponseWriter, r *http.Request, workspace string) *eventRoom {
	if _, err := rt.plane.Workspace(workspace); err != nil {
		web.Problem(w, r, fault.From(err))
		return nil
	}
	room, err := rt.events.room(r.Context(), workspace)
	if err != nil {
		rt.log.LogAttrs(r.Context(), slog.LevelError, "events cannot be opened", slog.String("workspace", workspace), slog.Any("err", err))
		web.Problem(w, r, &fault.Error{Kind: fault.Transient, Msg: "the events of the workspace cannot be opened now", RetryAfter: 5 * time.Second})
		return nil
	}
	return room
}
