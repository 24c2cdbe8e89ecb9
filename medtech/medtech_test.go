package medtech_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/medtech/medtechsql"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/jsonvalue"
)

// fhirService is a medtech.Destination in memory that can fail.
type fhirService struct {
	mu        sync.Mutex
	all       map[string]medtech.Resource // Type/id
	writes    int
	down      error                     // answers every call when set
	refuse    func(medtech.Put) error   // decides about one resource
	refuseAll func([]medtech.Put) error // decides about all of a call
	meddle    func(f *fhirService)      // runs once before the next write
	history   []string                  // Type/id/version of every write
}

func newFHIR() *fhirService { return &fhirService{all: map[string]medtech.Resource{}} }

func (f *fhirService) put(typ, id, text string) {
	old := f.all[typ+"/"+id]
	f.all[typ+"/"+id] = medtech.Resource{ID: id, Version: old.Version + 1, Text: []byte(text)}
}

func (f *fhirService) Find(_ context.Context, typ, system, value string) (out []medtech.Resource, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, r := range f.all {
		v, perr := jsonvalue.Parse(r.Text)
		if perr != nil {
			return nil, perr
		}
		for i := range v.Get("identifier").Children() {
			if strings.HasPrefix(key, typ+"/") && i.Get("value").Text() == value && (system == "" || i.Get("system").Text() == system) {
				out = append(out, r)
			}
		}
	}
	return out, f.down
}

func (f *fhirService) Read(_ context.Context, typ string, ids []string) ([]medtech.Resource, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]medtech.Resource, len(ids))
	for i, id := range ids {
		out[i] = f.all[typ+"/"+id]
	}
	return out, f.down
}

func (f *fhirService) Write(_ context.Context, list []medtech.Put) ([]error, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return nil, f.down
	}
	if f.refuseAll != nil {
		if err := f.refuseAll(list); err != nil {
			return nil, err
		}
	}
	if m := f.meddle; m != nil {
		f.meddle = nil
		m(f)
	}
	errs := make([]error, len(list))
	seen := map[string]bool{}
	for i, p := range list {
		key := p.Type + "/" + p.ID
		if seen[key] {
			return nil, fmt.Errorf("%s is there twice", key)
		}
		seen[key] = true
		if f.refuse != nil {
			if errs[i] = f.refuse(p); errs[i] != nil {
				continue
			}
		}
		if p.Version != 0 && f.all[key].Version != p.Version {
			errs[i] = fault.New(fault.Precondition, "another version")
			continue
		}
		if p.New && f.all[key].Version != 0 {
			errs[i] = fault.New(fault.Conflict, "it is there")
			continue
		}
		f.put(p.Type, p.ID, string(p.Text))
		f.writes++
		f.history = append(f.history, fmt.Sprint(key, "/", f.all[key].Version))
	}
	return errs, nil
}

func (f *fhirService) set(change func(f *fhirService)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// observations lists "effective value version" of the Observations, sorted.
func (f *fhirService) observations() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []string{}
	for key, r := range f.all {
		if v, _ := jsonvalue.Parse(r.Text); strings.HasPrefix(key, "Observation/") {
			out = append(out, fmt.Sprintf("%s %s %s v%d", v.Get("subject").Get("reference").Text(), v.Get("effectiveDateTime").Text(), v.Get("valueQuantity").Get("value").Text(), r.Version))
		}
	}
	slices.Sort(out)
	return out
}

const deviceMapping = `{"templateType": "CollectionContent", "template": [{"templateType": "JsonPathContent", "template": {"typeName": "hr",
 "typeMatchExpression": "$..[?(@hr)]", "deviceIdExpression": "$.d", "patientIdExpression": "$.p", "encounterIdExpression": "$.e", "timestampExpression": "$.t",
 "values": [{"valueName": "hr", "valueExpression": "$.hr", "required": true}]}}]}`

const fhirMapping = `{"templateType": "CollectionFhir", "template": [{"templateType": "CodeValueFhir", "template": {"typeName": "hr", "codes": [{"code": "8867-4"}],
 "value": {"valueName": "hr", "valueType": "Quantity"}}}]}`

// rig is a service with its store.
type rig struct {
	t     *testing.T
	path  string
	cfg   medtech.Config
	fhir  *fhirService
	store *medtechsql.Store
	s     *medtech.Service
}

func start(t *testing.T, cfg medtech.Config) *rig {
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "m.db"), cfg: cfg, fhir: newFHIR()}
	r.open()
	t.Cleanup(r.close)
	r.put(medtech.DeviceMapping, deviceMapping)
	r.put(medtech.FHIRMapping, fhirMapping)
	return r
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.store, err = medtechsql.Open(r.t.Context(), r.path, db.Options{LeaseTime: time.Second}); err != nil {
		r.t.Fatal(err)
	}
	r.s, err = medtech.New(r.t.Context(), medtech.Deps{Store: r.store, Destination: r.fhir, Config: r.cfg, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) close() {
	r.s.Close()
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) put(kind medtech.MappingKind, text string) {
	r.t.Helper()
	if _, _, err := r.s.PutMapping(r.t.Context(), kind, []byte(text)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) send(messages ...string) {
	r.t.Helper()
	list := make([]medtech.Raw, len(messages))
	for i, m := range messages {
		list[i] = medtech.Raw{Source: "test", Body: []byte(m)}
	}
	if err := r.s.Send(r.t.Context(), list); err != nil {
		r.t.Fatal(err)
	}
}

// settle waits until nothing waits.
func (r *rig) settle() {
	r.t.Helper()
	until(r.t, "the pipeline has come to its end", func() bool { return r.s.Lag() == 0 })
}

func (r *rig) letters(q medtech.DeadLetterQuery) []medtech.DeadLetter {
	r.t.Helper()
	page, err := r.s.DeadLetters(r.t.Context(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	return page.Letters
}

func (r *rig) want(want ...string) {
	r.t.Helper()
	r.settle()
	if diff := cmp.Diff(want, r.fhir.observations()); diff != "" {
		r.t.Error(diff)
	}
}

func TestMessagesBecomeObservations(t *testing.T) {
	r := start(t, medtech.Config{})
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60}`, `{"d":"d1","p":"p1","t":"2020-01-01T00:00:01Z","hr":61}`, `{"d":"d2","p":"p1","t":"2020-01-01T00:00:00Z","hr":62}`)
	r.want("Patient/p1 2020-01-01T00:00:00Z 60 v1", "Patient/p1 2020-01-01T00:00:00Z 62 v1", "Patient/p1 2020-01-01T00:00:01Z 61 v1")
	// The same again changes nothing, another value for the same time amends.
	writes := r.fhir.writes
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60}`)
	r.settle()
	if r.fhir.writes != writes {
		t.Errorf("a repeated message made %d writes", r.fhir.writes-writes)
	}
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":65}`)
	r.want("Patient/p1 2020-01-01T00:00:00Z 62 v1", "Patient/p1 2020-01-01T00:00:00Z 65 v2", "Patient/p1 2020-01-01T00:00:01Z 61 v1")
	if device := string(r.fhir.all["Device/d1"].Text); !strings.Contains(device, `"patient":{"reference":"Patient/p1"}`) {
		t.Error(device)
	}
}

// TestBadMessagesDoNotBlock pins that each failure has its dead letter and that
// the messages around it are processed.
func TestBadMessagesDoNotBlock(t *testing.T) {
	r := start(t, medtech.Config{})
	r.fhir.refuse = func(p medtech.Put) error {
		if strings.Contains(string(p.Text), `"value":666`) {
			return fault.New(fault.Invalid, "no such value")
		}
		return nil
	}
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60}`, `not JSON`, `[1]`, `{"d":"d1","p":"p1","hr":60}`, `{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":"many"}`,
		`{"d":"d9","t":"2020-01-01T00:00:00Z","hr":60}`, `{"d":"d1","p":"p2","t":"2020-01-01T00:00:00Z","hr":60}`, `{"d":"d1","p":"p1","t":"2020-01-01T00:00:05Z","hr":666}`,
		`{"d":"d1","p":"p1","e":"v1","t":"2020-01-01T00:00:06Z","hr":60}`, `{"other":1}`, `{"d":"d1","p":"p1","t":"2020-01-01T00:00:09Z","hr":69}`)
	r.settle()
	got := map[int64]string{}
	for _, l := range r.letters(medtech.DeadLetterQuery{}) {
		got[l.Offset] = string(l.Class)
		if l.DeviceMapping != 1 || l.FHIRMapping != 1 || l.State != medtech.LetterOpen || l.Message == "" {
			t.Errorf("%+v", l)
		}
	}
	want := map[int64]string{
		2: "InvalidDataFormat", 3: "InvalidDataFormat", 4: "IncompatibleData", 5: "InvalidQuantityFhirValue", 6: "ResourceIdentityNotDefined",
		7: "PatientDeviceMismatch", 8: "FhirDataMapping", 9: "EncounterNotFound",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r.want("Patient/p1 2020-01-01T00:00:00Z 60 v1", "Patient/p1 2020-01-01T00:00:09Z 69 v1")
}

func TestEditAndRedrive(t *testing.T) {
	r := start(t, medtech.Config{})
	ctx := t.Context()
	r.send(`{"d":"d1","p":"p1","t":"yesterday","hr":60}`, `{"d":"d1","p":"p1","t":"2020-01-01T00:00:01Z"}`, `{"d":"d1","p":"p1","t":"today","hr":61}`)
	r.settle()
	letters := r.letters(medtech.DeadLetterQuery{State: medtech.LetterOpen, Class: "IncompatibleData"})
	if len(letters) != 2 || letters[0].Offset != 3 {
		t.Fatalf("%+v", letters)
	}
	id := letters[1].ID
	if err := r.s.EditDeadLetter(ctx, id, []byte(`nonsense`)); !fault.Is(err, fault.Invalid) {
		t.Errorf("edit with nonsense: %v", err)
	}
	if err := r.s.EditDeadLetter(ctx, id, []byte(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60}`)); err != nil {
		t.Fatal(err)
	}
	l, err := r.s.DeadLetter(ctx, id)
	if err != nil || !l.Edited || !strings.Contains(string(l.Body), "2020") {
		t.Fatalf("%+v, %v", l, err)
	}
	if text, err := json.Marshal(l); err != nil || !strings.Contains(string(text), `"payload":{"d":"d1"`) {
		t.Errorf("%s, %v", text, err)
	}
	if n, err := r.s.Redrive(ctx, medtech.DeadLetterQuery{IDs: []int64{id}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	until(t, "the message is processed", func() bool { return len(r.fhir.observations()) > 0 })
	r.want("Patient/p1 2020-01-01T00:00:00Z 60 v1")
	if n, err := r.s.Redrive(ctx, medtech.DeadLetterQuery{IDs: []int64{id}}); n != 0 || err != nil {
		t.Errorf("redriven twice: %d, %v", n, err)
	}
	if err := r.s.EditDeadLetter(ctx, id, []byte(`{}`)); !fault.Is(err, fault.Conflict) {
		t.Errorf("edit after the redrive: %v", err)
	}
	if n, err := r.s.Discard(ctx, medtech.DeadLetterQuery{Class: "IncompatibleData"}); n != 1 || err != nil {
		t.Error(n, err)
	}
	if open := r.letters(medtech.DeadLetterQuery{State: medtech.LetterOpen}); len(open) != 0 {
		t.Errorf("%+v", open)
	}
}

// TestDestinationDown pins that messages are taken while the FHIR service does
// not answer, and processed afterwards in order, also after a restart.
func TestDestinationDown(t *testing.T) {
	r := start(t, medtech.Config{})
	r.fhir.set(func(f *fhirService) { f.down = fault.New(fault.Transient, "closed") })
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60}`)
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":61}`)
	until(t, "the service tells that it fails", func() bool {
		st, err := r.s.Status(t.Context())
		if err != nil || st.Lag != 2 || st.Oldest == nil {
			t.Fatalf("%+v, %v", st, err)
		}
		return slices.ContainsFunc(st.Health, func(h medtech.HealthCheck) bool { return h.Status == "failing" })
	})
	r.close()
	r.fhir.set(func(f *fhirService) { f.down = nil })
	r.open()
	r.want("Patient/p1 2020-01-01T00:00:00Z 61 v1")
	if l := r.letters(medtech.DeadLetterQuery{}); len(l) != 0 {
		t.Errorf("%+v", l)
	}
}

// TestProcessedTwice pins effect-once: the pipeline starts again from an old
// offset, as after a crash between the write and the offset.
func TestProcessedTwice(t *testing.T) {
	r := start(t, medtech.Config{})
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60}`, `{"d":"d1","p":"p1","t":"2020-01-01T00:00:01Z","hr":61}`)
	r.settle()
	before, writes := r.fhir.observations(), r.fhir.writes
	rp, err := r.s.StartReplay(t.Context(), medtech.ReplayRange{})
	if err != nil {
		t.Fatal(err)
	}
	r.replayed(rp.ID)
	if diff := cmp.Diff(before, r.fhir.observations()); diff != "" || r.fhir.writes != writes {
		t.Errorf("%d writes: %s", r.fhir.writes-writes, diff)
	}
}

func (r *rig) replayed(id int64) medtech.Replay {
	r.t.Helper()
	var ended medtech.Replay
	until(r.t, "the replay has ended", func() bool {
		list, err := r.s.Replays(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		for _, rp := range list {
			if rp.ID == id && rp.State != medtech.ReplayRunning {
				ended = rp
				return true
			}
		}
		return false
	})
	return ended
}

func TestReplayAfterCorrection(t *testing.T) {
	r := start(t, medtech.Config{})
	ctx := t.Context()
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60,"better":70}`, `{"d":"d2","p":"p1","t":"2020-01-01T00:00:00Z","hr":61,"better":71}`)
	r.settle()
	r.put(medtech.DeviceMapping, strings.Replace(deviceMapping, `"$.hr"`, `"$.better"`, 1))
	q := medtech.ReplayRange{FromOffset: 1, Device: "d2"}
	d, err := r.s.DryRun(ctx, q)
	if err != nil || d.Messages != 1 || d.Updated != 1 || d.Created+d.Unchanged+d.Failed != 0 || len(d.Changes) != 1 ||
		!strings.Contains(string(d.Changes[0].Before), `"value":61`) || !strings.Contains(string(d.Changes[0].After), `"value":71`) {
		t.Fatalf("%+v, %v", d, err)
	}
	r.want("Patient/p1 2020-01-01T00:00:00Z 60 v1", "Patient/p1 2020-01-01T00:00:00Z 61 v1")
	rp, err := r.s.StartReplay(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	if rp = r.replayed(rp.ID); rp.Messages != 1 || rp.State != medtech.ReplayDone {
		t.Errorf("%+v", rp)
	}
	r.want("Patient/p1 2020-01-01T00:00:00Z 60 v1", "Patient/p1 2020-01-01T00:00:00Z 71 v2")
	// By time: everything arrived before an hour from now, nothing after.
	d, err = r.s.DryRun(ctx, medtech.ReplayRange{From: time.Now().Add(time.Hour)})
	if err != nil || d.Messages != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	d, err = r.s.DryRun(ctx, medtech.ReplayRange{To: time.Now().Add(time.Hour)})
	if err != nil || d.Messages != 2 || d.Updated != 1 || d.Unchanged != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestContention pins that somebody else's change is merged, not overwritten.
func TestContention(t *testing.T) {
	r := start(t, medtech.Config{})
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60}`)
	r.settle()
	r.fhir.set(func(f *fhirService) {
		f.meddle = func(f *fhirService) {
			for key, o := range f.all {
				if strings.HasPrefix(key, "Observation/") {
					f.put("Observation", o.ID, strings.Replace(string(o.Text), `"status"`, `"note":[{"text":"mine"}],"status"`, 1))
				}
			}
		}
	})
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":61}`)
	r.want("Patient/p1 2020-01-01T00:00:00Z 61 v3")
	for key, o := range r.fhir.all {
		if strings.HasPrefix(key, "Observation/") && !strings.Contains(string(o.Text), "mine") {
			t.Errorf("%s", o.Text)
		}
	}
}

// TestResolution pins how Patient, Device and Encounter are found.
func TestResolution(t *testing.T) {
	const (
		message = `{"d":"D-1","p":"P-1","t":"2020-01-01T00:00:00Z","hr":60}`
		visited = `{"d":"D-1","p":"P-1","e":"E-1","t":"2020-01-01T00:00:00Z","hr":60}`
		noone   = `{"d":"D-1","t":"2020-01-01T00:00:00Z","hr":60}`
		patient = `{"resourceType":"Patient","id":"x1","identifier":[{"system":"s","value":"P-1"}]}`
		device  = `{"resourceType":"Device","id":"y1","identifier":[{"system":"urn:d","value":"D-1"}]}`
		linked  = `{"resourceType":"Device","id":"y1","identifier":[{"value":"D-1"}],"patient":{"reference":"Patient/x1"},"note":[{"text":"n"}]}`
		visit   = `{"resourceType":"Encounter","id":"z1","identifier":[{"value":"E-1"}]}`
	)
	for _, tt := range []struct {
		name    string
		cfg     medtech.Config
		there   []string // resources, by their resourceType and id
		message string
		want    string // subject device encounter, or the class of the error
	}{
		{"create", medtech.Config{}, nil, message, "Patient/P-1 Device/D-1 "},
		{"create as AHDS", medtech.Config{Compat: "ms"}, nil, message, "Patient/" + mapping.HashID("", "P-1") + " Device/" + mapping.HashID("", "D-1") + " "},
		{"create finds", medtech.Config{}, []string{patient, linked}, message, "Patient/x1 Device/y1 "},
		{"create links", medtech.Config{}, []string{patient, device}, message, "Patient/x1 Device/y1 "},
		{"create by logical id", medtech.Config{}, []string{`{"resourceType":"Patient","id":"P-1"}`, `{"resourceType":"Device","id":"D-1"}`}, message, "Patient/P-1 Device/D-1 "},
		{"create without patient", medtech.Config{}, nil, noone, "ResourceIdentityNotDefined"},
		{"create without patient, linked", medtech.Config{}, []string{patient, linked}, noone, "Patient/x1 Device/y1 "},
		{"create mismatch", medtech.Config{}, []string{linked}, message, "PatientDeviceMismatch"},
		{"two patients", medtech.Config{}, []string{patient, strings.Replace(patient, "x1", "x2", 1)}, message, "MultipleResourceFound"},
		{"lookup", medtech.Config{Resolution: medtech.Lookup}, []string{linked}, message, "Patient/x1 Device/y1 "},
		{"lookup without device", medtech.Config{Resolution: medtech.Lookup}, []string{patient}, message, "DeviceNotFound"},
		{"lookup without link", medtech.Config{Resolution: medtech.Lookup}, []string{patient, device}, message, "Patient/x1 Device/y1 "},
		{"lookup without link as AHDS", medtech.Config{Resolution: medtech.Lookup, Compat: "ms"}, []string{patient, device}, message, "PatientNotFound"},
		{"lookup with encounter", medtech.Config{Resolution: medtech.Lookup}, []string{linked, visit}, visited, "Patient/x1 Device/y1 Encounter/z1"},
		{"lookup with unknown encounter", medtech.Config{Resolution: medtech.Lookup}, []string{linked}, visited, "EncounterNotFound"},
		{"encounter demanded", medtech.Config{Resolution: medtech.LookupWithEncounter}, []string{linked, visit}, message, "ResourceIdentityNotDefined"},
		{"encounter there", medtech.Config{Resolution: medtech.LookupWithEncounter}, []string{linked, visit}, visited, "Patient/x1 Device/y1 Encounter/z1"},
		{"device system", medtech.Config{Resolution: medtech.Lookup, DeviceSystem: "urn:d"}, []string{linked}, message, "DeviceNotFound"},
		{"device system matches", medtech.Config{DeviceSystem: "urn:d"}, []string{device}, message, "Patient/P-1 Device/y1 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, tt.cfg)
			for _, text := range tt.there {
				v, err := jsonvalue.Parse([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				r.fhir.put(v.Get("resourceType").Text(), v.Get("id").Text(), text)
			}
			m := tt.message
			if tt.cfg.Compat == "ms" {
				m = `{"Body":` + m + `,"Properties":{},"SystemProperties":{}}`
			}
			r.send(m)
			r.settle()
			got := ""
			for key, o := range r.fhir.all {
				if v, _ := jsonvalue.Parse(o.Text); strings.HasPrefix(key, "Observation/") {
					got = v.Get("subject").Get("reference").Text() + " " + v.Get("device").Get("reference").Text() + " " + v.Get("encounter").Get("reference").Text()
				}
			}
			for _, l := range r.letters(medtech.DeadLetterQuery{}) {
				got = string(l.Class)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBackPressure(t *testing.T) {
	r := start(t, medtech.Config{MaxBacklog: 5})
	r.fhir.set(func(f *fhirService) { f.down = errors.New("down") })
	var err error
	for i := 0; i < 20 && err == nil; i++ {
		err = r.s.Send(t.Context(), []medtech.Raw{{Source: "test", Body: []byte(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60}`)}})
	}
	if f := fault.From(err); f == nil || f.Kind != fault.Throttled || f.RetryAfter == 0 {
		t.Errorf("%v", err)
	}
}

// TestRedelivery pins that a message that a source delivers twice is kept once.
func TestRedelivery(t *testing.T) {
	r := start(t, medtech.Config{})
	list := []medtech.Raw{{Source: "kafka", SourceID: "0/7", Body: []byte(`{}`)}, {Source: "kafka", SourceID: "0/8", Body: []byte(`{}`)}}
	for range 2 {
		if err := r.s.Send(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		if list[0].Offset != 1 || list[1].Offset != 2 {
			t.Errorf("%+v", list)
		}
	}
	st, err := r.s.Status(t.Context())
	if err != nil || st.Messages != 2 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestTrimKeepsOffsets(t *testing.T) {
	r := start(t, medtech.Config{})
	ctx := t.Context()
	r.send(`{"hr":1}`, `{"hr":2}`)
	r.settle()
	if n, err := r.s.Discard(ctx, medtech.DeadLetterQuery{IDs: []int64{1}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := r.store.Finish(ctx, medtech.Finished{Done: 2}); err != nil {
		t.Fatal(err)
	}
	if n, err := r.store.Trim(ctx, time.Now().Add(time.Hour)); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if l := r.letters(medtech.DeadLetterQuery{}); len(l) != 1 || l[0].State != medtech.LetterOpen {
		t.Errorf("%+v", l)
	}
	r.close()
	r.open()
	list := []medtech.Raw{{Source: "test", Body: []byte(`{}`)}}
	if err := r.s.Send(ctx, list); err != nil || list[0].Offset != 3 {
		t.Errorf("offset %d, %v", list[0].Offset, err)
	}
}

func TestMappingVersions(t *testing.T) {
	r := start(t, medtech.Config{})
	_, problems, err := r.s.PutMapping(t.Context(), medtech.DeviceMapping, []byte(`{"templateType":"x"}`))
	if f := fault.From(err); f == nil || f.Kind != fault.Invalid || len(f.Issues) == 0 || len(problems) == 0 {
		t.Fatalf("%v, %v", err, problems)
	}
	m, problems, err := r.s.PutMapping(t.Context(), medtech.DeviceMapping, []byte(strings.Replace(deviceMapping, `"hr"`, `"pulse"`, 1)))
	if err != nil || m.Version != 2 || len(problems) == 0 {
		t.Errorf("%+v, %v, %v", m, problems, err)
	}
	got, err := r.s.Mapping(t.Context(), medtech.DeviceMapping)
	if err != nil || got.Version != 2 || !strings.Contains(string(got.Text), "pulse") {
		t.Errorf("%+v, %v", got, err)
	}
}

// poisoned is a message that the destination cannot take, now or ever.
const poisoned = `{"d":"d1","p":"p1","t":"2020-01-01T00:00:01Z","hr":666}`

// poison makes the destination fail with that message; f says how.
func (r *rig) poison(f func() error) {
	r.fhir.set(func(s *fhirService) {
		s.refuseAll = func(list []medtech.Put) error {
			for _, p := range list {
				if strings.Contains(string(p.Text), `"value":666`) {
					return f()
				}
			}
			return nil
		}
	})
}

// TestPoison: a message that meets a defect becomes a dead letter; those beside and
// after it are stored. It is so for a replay, too.
func TestPoison(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func() error{
		"panic": func() error { panic("defect") },
		"error": func() error { return fault.New(fault.Internal, "defect") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, medtech.Config{})
			r.poison(f)
			r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60}`, poisoned, `{"d":"d1","p":"p1","t":"2020-01-01T00:00:02Z","hr":62}`)
			r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:03Z","hr":63}`)
			stored := []string{"Patient/p1 2020-01-01T00:00:00Z 60 v1", "Patient/p1 2020-01-01T00:00:02Z 62 v1", "Patient/p1 2020-01-01T00:00:03Z 63 v1"}
			r.want(stored...)
			dead := func() {
				t.Helper()
				l := r.letters(medtech.DeadLetterQuery{State: medtech.LetterOpen})
				if len(l) != 1 || l[0].Offset != 2 || l[0].Stage != medtech.StageFHIR || l[0].Class != medtech.MeasurementProcessing || l[0].Message == "" {
					t.Fatalf("%+v", l)
				}
			}
			dead()
			if _, err := r.s.Discard(t.Context(), medtech.DeadLetterQuery{}); err != nil {
				t.Fatal(err)
			}
			rep, err := r.s.StartReplay(t.Context(), medtech.ReplayRange{FromOffset: 1})
			if err != nil {
				t.Fatal(err)
			}
			if rep = r.replayed(rep.ID); rep.State != medtech.ReplayDone || rep.Messages != 4 || rep.Failed != 1 {
				t.Errorf("%+v", rep)
			}
			dead()
			r.want(stored...)
		})
	}
}

// TestPassingDefect: an internal error after the destination was away is tried as often as any other
// before a message is to blame.
func TestPassingDefect(t *testing.T) {
	t.Parallel()
	r := start(t, medtech.Config{})
	calls := 0
	r.poison(func() error {
		switch calls++; {
		case calls <= 4: // as many as a batch has as a whole
			return fault.New(fault.Transient, "away")
		case calls <= 6:
			return fault.New(fault.Internal, "for a moment")
		}
		return nil
	})
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60}`, poisoned)
	r.want("Patient/p1 2020-01-01T00:00:00Z 60 v1", "Patient/p1 2020-01-01T00:00:01Z 666 v1")
	if l := r.letters(medtech.DeadLetterQuery{}); len(l) != 0 {
		t.Errorf("%+v", l)
	}
}

// TestBrokenDestination: an internal error of all is not the fault of the messages
// for a while.
func TestBrokenDestination(t *testing.T) {
	t.Parallel()
	r := start(t, medtech.Config{})
	r.fhir.set(func(f *fhirService) { f.down = fault.New(fault.Internal, "damaged") })
	r.send(`{"d":"d1","p":"p1","t":"2020-01-01T00:00:00Z","hr":60}`, `{"d":"d1","p":"p1","t":"2020-01-01T00:00:01Z","hr":61}`)
	time.Sleep(1200 * time.Millisecond) // beyond the tries of a batch as a whole
	if l := r.letters(medtech.DeadLetterQuery{}); len(l) != 0 {
		t.Errorf("%+v", l)
	}
	r.fhir.set(func(f *fhirService) { f.down = nil })
	r.want("Patient/p1 2020-01-01T00:00:00Z 60 v1", "Patient/p1 2020-01-01T00:00:01Z 61 v1")
}
