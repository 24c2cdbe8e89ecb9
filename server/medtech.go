package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/medtech/ingest"
	"github.com/hygeia-health/hygeia/medtech/medtechhttp"
	"github.com/hygeia-health/hygeia/medtech/medtechsql"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/telemetry"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// openMedTech opens a MedTech service: its pipeline runs from here on. The
// caller holds opening.
func (s *service) openMedTech(ctx context.Context, _ string) error {
	store, err := medtechsql.Open(ctx, s.all.place(storeName(s.ref, s.kind)), db.Options{})
	if err != nil {
		return err
	}
	if err := s.buildMedTech(ctx, store, s.spec); err != nil {
		_ = store.Close()
		return err
	}
	m := s.all.metrics.Store(s.ref.String(), store.Queue)
	store.OnCommit(func(d time.Duration, n int) { m.Commit(n, d) })
	return nil
}

// medtechRoom is what belongs to an open MedTech service.
type medtechRoom struct {
	store   *medtechsql.Store
	service *medtech.Service
	inbox   *medtech.Inbox
	brokers []ingest.Source // which listen on every node
	disown  func()          // ends the other sources, which one node has
}

// close stops everything but the store: first what brings messages.
func (m *medtechRoom) close() {
	for _, s := range m.brokers {
		s.Close()
	}
	if m.disown != nil {
		m.disown()
	}
	m.inbox.Close()
	m.service.Close()
}

// buildMedTech makes the room on the open store; the caller holds opening.
func (s *service) buildMedTech(ctx context.Context, store *medtechsql.Store, spec manage.Spec) error {
	meter := s.all.metrics.MedTech(s.ref.String())
	room, err := medtech.New(ctx, medtech.Deps{
		Store:       store,
		Destination: &destination{all: s.all, ref: manage.Ref{Workspace: s.ref.Workspace, Service: spec.Destination}},
		Guard:       s.all.identity.guard(s.ref),
		Log:         s.all.log.With("service", s.ref.String()),
		Meter:       medtechMeter{meter},
		Config: medtech.Config{
			Compat: spec.Compat, Resolution: medtech.Resolution(spec.Resolution), DeviceSystem: spec.DeviceIdentifierSystem,
			IgnorePeriod: spec.IgnorePeriod, Retention: spec.RetentionTime(),
		},
	})
	if err != nil {
		return err
	}
	meter.Lag(room.Lag)
	m := &medtechRoom{store: store, service: room, inbox: room.NewInbox()}
	if err := s.startSources(m, spec.Sources); err != nil {
		m.close()
		return err
	}
	s.medtech = m
	face := func(base string) http.Handler {
		return medtechhttp.New(room, medtechhttp.Options{BasePath: base, MaxBody: s.all.maxBody, Bodies: s.all.bodies, Log: s.all.log, Observe: s.observeMedTech})
	}
	s.handlers.Store(&handlers{
		check:  room.Check,
		close:  func() error { m.close(); return store.Close() },
		byPath: face("/" + s.ref.String()), byHost: face(""),
	})
	return nil
}

// changeMedTech takes over a new spec: the pipeline stops between two batches
// and goes on with it. The caller holds opening.
func (s *service) changeMedTech(spec manage.Spec) error {
	if err := checkSources(spec.Sources); err != nil {
		return err
	}
	if s.handlers.Load() == nil || spec.Compat == s.spec.Compat && spec.MedTechSpec.Equal(s.spec.MedTechSpec) {
		return nil
	}
	store := s.medtech.store
	s.medtech.close()
	err := s.buildMedTech(context.Background(), store, spec)
	if err != nil { // what was there goes on
		err = errors.Join(err, s.buildMedTech(context.Background(), store, s.spec))
	}
	return err
}

func (s *service) observeMedTech(operation string, status int, d time.Duration, in, out int64) {
	s.all.metrics.Observe(telemetry.Call{Service: s.ref.String(), Operation: operation, Status: status, Duration: d, BytesIn: in, BytesOut: out})
}

// destination is a FHIR service of this server, in the words of the MedTech room.
type destination struct {
	all *services
	ref manage.Ref
}

var _ medtech.Destination = (*destination)(nil)

// chunk is how many resources go into one transaction: the smallest limit of a
// Bundle that a FHIR service may have.
const chunk = 500

// use calls f with the FHIR service, which stays open meanwhile.
func (d *destination) use(ctx context.Context, f func(*fhir.Service) error) error {
	sv := d.all.table.Load().byPath[d.ref.String()]
	if sv == nil || sv.kind != manage.KindFHIR {
		return &fault.Error{Kind: fault.Transient, Msg: "there is no FHIR service " + d.ref.String(), RetryAfter: time.Second}
	}
	sv.inFlight.RLock()
	defer sv.inFlight.RUnlock()
	if sv.closed {
		return fault.New(fault.Transient, "the FHIR service %s is closed", d.ref)
	}
	h, err := sv.open(ctx)
	if err != nil {
		return err
	}
	return f(h.room)
}

// Find implements medtech.Destination.
func (d *destination) Find(ctx context.Context, typ, system, value string) (list []medtech.Resource, err error) {
	token := escape(value)
	if system != "" {
		token = escape(system) + "|" + token
	}
	params := url.Values{"identifier": {token}, "_count": {"2"}}
	err = d.use(ctx, func(room *fhir.Service) error {
		res, err := room.Do(ctx, &fhir.Interaction{Verb: fhir.VerbSearch, Method: "GET", Type: typ, Params: params, RawQuery: params.Encode(), Strict: true})
		if err != nil {
			return err
		}
		for i := range res.Page.Records {
			list = append(list, resourceOf(&res.Page.Records[i]))
		}
		return nil
	})
	return list, err
}

// escape puts a backslash before the characters that separate values (R4 section 3.1.1.4.0).
func escape(value string) string {
	var out []byte
	for _, c := range []byte(value) {
		if c == '\\' || c == ',' || c == '|' || c == '$' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return string(out)
}

func resourceOf(rec *fhir.Record) medtech.Resource {
	h := resource.Header{Type: rec.Type, ID: rec.ID}
	return medtech.Resource{ID: rec.ID, Version: rec.Version, Text: resource.AppendResource(make([]byte, 0, len(rec.Stored)+160), h, rec.Stored)}
}

// Read implements medtech.Destination.
func (d *destination) Read(ctx context.Context, typ string, ids []string) ([]medtech.Resource, error) {
	list := make([]medtech.Resource, len(ids))
	err := d.use(ctx, func(room *fhir.Service) error {
		return d.each(len(ids), func(i int) error {
			res, err := room.Do(ctx, &fhir.Interaction{Verb: fhir.VerbRead, Method: "GET", Type: typ, ID: ids[i]})
			switch {
			case err == nil:
				list[i] = resourceOf(res.Record)
			case !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Gone):
				return err
			}
			return nil
		})
	})
	return list, err
}

// together is how many reads are asked at a time of a database that answers over
// a connection: those that meet share a round trip.
const together = 100

// each calls f for the numbers below n.
func (d *destination) each(n int, f func(i int) error) error {
	workers := 1
	if d.all.shared {
		workers = min(together, n)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[w] == nil; i = int(next.Add(1)) - 1 {
				errs[w] = fault.Guard("server: destination", func() error { return f(i) })
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Write implements medtech.Destination: a transaction and, when one resource is
// refused and thereby all are, each on its own.
func (d *destination) Write(ctx context.Context, list []medtech.Put) ([]error, error) {
	errs := make([]error, 0, len(list))
	err := d.use(ctx, func(room *fhir.Service) error {
		for len(list) > 0 {
			n := min(len(list), chunk)
			done, err := write(ctx, room, list[:n])
			if err != nil {
				return err
			}
			errs, list = append(errs, done...), list[n:]
		}
		return nil
	})
	return errs, err
}

func write(ctx context.Context, room *fhir.Service, list []medtech.Put) ([]error, error) {
	errs := make([]error, len(list))
	ins := make([]*fhir.Interaction, 0, len(list))
	of := make([]int, 0, len(list))
	docs := make([]resource.Doc, len(list))
	for i, p := range list {
		if err := docs[i].Parse(p.Text, resource.Options{}); err != nil {
			errs[i] = fault.New(fault.Invalid, "the resource is no JSON: %v", err)
			continue
		}
		in := &fhir.Interaction{Verb: fhir.VerbUpdate, Method: "PUT", Type: p.Type, ID: p.ID, Body: docs[i].Root()}
		in.MustNotExist = p.New
		if p.Version > 0 {
			in.IfMatch = `W/"` + strconv.FormatInt(p.Version, 10) + `"`
		}
		ins, of = append(ins, in), append(of, i)
	}
	if len(ins) == 0 {
		return errs, nil
	}
	_, err := room.Transaction(ctx, ins)
	if err == nil || passing(err) {
		return errs, err
	}
	for i, res := range room.Batch(ctx, ins) {
		if passing(res.Err) {
			return nil, res.Err
		}
		errs[of[i]] = res.Err
	}
	return errs, nil
}

// passing reports whether an error says nothing about the resource: the same
// call may succeed later.
func passing(err error) bool {
	for _, k := range []fault.Kind{fault.Transient, fault.Throttled, fault.Timeout, fault.Internal} {
		if err != nil && fault.From(err).Kind == k {
			return true
		}
	}
	return false
}

// medtechMeter gives the counts of the room to the metrics.
type medtechMeter struct{ m *telemetry.MedTech }

func (m medtechMeter) Ingested(messages, bytes int, took time.Duration) {
	m.m.Ingested(messages, bytes, took)
}

func (m medtechMeter) Normalized(n medtech.Normalized) {
	m.m.Normalized(n.Messages, n.Measurements, n.Dropped, n.Took)
}
func (m medtechMeter) Grouped(groups int)            { m.m.Grouped(groups) }
func (m medtechMeter) Saved(operation string, n int) { m.m.Saved(operation, n) }
func (m medtechMeter) Contention(n int)              { m.m.Contention(n) }
func (m medtechMeter) Failed(st medtech.Stage, c string, n int) {
	m.m.Failed(string(st), c, n)
}
func (m medtechMeter) Latency(st medtech.Stage, d time.Duration) { m.m.Latency(string(st), d) }
