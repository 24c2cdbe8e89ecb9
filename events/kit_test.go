package events_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hygeia-health/hygeia/events"
	"github.com/hygeia-health/hygeia/events/eventssql"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/bus"
	"github.com/hygeia-health/hygeia/platform/db"
)

// source is the change sequence of a service in memory.
type source struct {
	mu   sync.Mutex
	list []events.Change
	away bool
}

func (s *source) Since(_ context.Context, t time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.list {
		if !c.Time.Before(t) {
			return c.At - 1, nil
		}
	}
	return int64(len(s.list)), nil
}

func (s *source) Changes(_ context.Context, after int64, limit int) ([]events.Change, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		panic("a defect of the source")
	}
	page := s.list[after:min(int(after)+limit, len(s.list))]
	return append([]events.Change(nil), page...), after + int64(len(page)), nil
}

// add appends a change of a resource.
func (s *source) add(k events.Kind, ref string, version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, events.Change{At: int64(len(s.list) + 1), Kind: k, Ref: ref, Version: version, Time: time.Now().UTC()})
}

// hook is a destination: a function instead of a network.
type hook func(r *http.Request, body []byte) (status int, answer string, header http.Header)

// web is all destinations by host name.
type web struct {
	mu    sync.Mutex
	hooks map[string]hook
}

func (w *web) set(host string, h hook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hooks[host] = h
}

// RoundTrip implements http.RoundTripper.
func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	h := w.hooks[r.URL.Host]
	w.mu.Unlock()
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	if h == nil {
		return nil, fmt.Errorf("nobody is at %s", r.URL.Host)
	}
	status, answer, header := h(r, body)
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

// welcome answers handshakes of both kinds; what else comes goes to next.
func welcome(next hook) hook {
	return func(r *http.Request, body []byte) (int, string, http.Header) {
		if r.Method == http.MethodOptions {
			return 200, "", http.Header{"Webhook-Allowed-Origin": {"*"}}
		}
		if strings.Join(r.Header["aeg-event-type"], "") == "SubscriptionValidation" {
			var e []struct {
				Data struct{ ValidationCode string }
			}
			_ = json.Unmarshal(body, &e)
			return 200, `{"validationResponse":"` + e[0].Data.ValidationCode + `"}`, nil
		}
		return next(r, body)
	}
}

// memory is a blob store.
type memory struct {
	blob.Store
	mu   sync.Mutex
	full bool
	m    map[string]string
}

func (b *memory) Put(_ context.Context, key string, r io.Reader, _ blob.PutOptions) (blob.Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return blob.Info{}, io.ErrShortWrite
	}
	text, err := io.ReadAll(r)
	b.m[key] = string(text)
	return blob.Info{}, err
}

// leaseTime is short, for tests with several nodes.
const leaseTime = time.Second

// room is a service with everything around it.
type room struct {
	*events.Service
	src   *source
	web   *web
	blobs *memory
	path  string
	nodes bool // several on one store
	// Brokers: nil and none means those of bus.NewWriter.
	writers func(bus.Options) (bus.Writer, error)
	allow   []string
	log     *slog.Logger
	store   func(events.Store) events.Store // in front of that of the room
}

var names = events.Names{
	Topic: events.TopicOf("ws"),
	Host: func(source string, k events.Kind) string {
		return "ws-fhir.fhir.example.org"
	},
}

func (r *room) start(t *testing.T) {
	t.Helper()
	store, err := eventssql.Open(t.Context(), r.path, db.Options{LeaseTime: leaseTime})
	if err != nil {
		t.Fatal(err)
	}
	var front events.Store = store
	if r.store != nil {
		front = r.store(store)
	}
	r.Service, err = events.New(t.Context(), events.Deps{
		Workspace: "ws", Store: front, Log: r.log, Names: names, Blobs: r.blobs, Shared: r.nodes,
		Writers: r.writers, Outbound: events.Outbound{Allow: r.allow}, Secret: func(ref string) (string, error) { return strings.TrimPrefix(ref, "env:"), nil },
		Client: &http.Client{Transport: r.web, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.AddSource("ws/fhir", r.src)
}

func (r *room) stop(t *testing.T) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// simulate runs f in simulated time with a room that is started.
func simulate(t *testing.T, f func(t *testing.T, r *room)) {
	t.Helper()
	simulateWith(t, room{}, f)
}

func simulateWith(t *testing.T, with room, f func(t *testing.T, r *room)) {
	t.Helper()
	with.path = filepath.Join(t.TempDir(), "events.db")
	synctest.Test(t, func(t *testing.T) {
		r := &with
		r.src, r.web, r.blobs = &source{}, &web{hooks: map[string]hook{}}, &memory{m: map[string]string{}}
		r.start(t)
		defer func() { r.stop(t) }()
		f(t, r)
	})
}

// put creates a subscription from JSON.
func (r *room) put(t *testing.T, name, spec string) *events.Info {
	t.Helper()
	sub, err := events.ParseSubscription(name, []byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	info, _, err := r.PutSubscription(t.Context(), sub, "https://hygeia.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// to is the JSON of a destination, with more members.
func to(host, more string) string {
	return `{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"https://` + host + `/in"}}` + more + `}`
}

// inbox collects the events that a hook got.
type inbox struct {
	mu    sync.Mutex
	list  []map[string]any
	at    []time.Time
	calls []*http.Request
	body  [][]byte
}

func (b *inbox) take(r *http.Request, body []byte) {
	var many []map[string]any
	if bytes.HasPrefix(body, []byte("[")) {
		_ = json.Unmarshal(body, &many)
	} else {
		one := map[string]any{}
		_ = json.Unmarshal(body, &one)
		many = append(many, one)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, many...)
	b.at = append(b.at, time.Now())
	b.calls = append(b.calls, r)
	b.body = append(b.body, body)
}

func (b *inbox) hook(status int) hook {
	return welcome(func(r *http.Request, body []byte) (int, string, http.Header) {
		b.take(r, body)
		return status, "", nil
	})
}

// subjects are the last segments of what came.
func (b *inbox) subjects() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, e := range b.list {
		s, _ := e["subject"].(string)
		out = append(out, s[strings.LastIndex(s, "/")+1:])
	}
	return out
}

func (b *inbox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.list)
}

// wait lets simulated time pass.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
