package imaging_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomsql"
	"github.com/hygeia-health/hygeia/dicom/imaging"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// fhirs is a FHIR service in memory, which fails when it is told to.
type fhirs struct {
	mu     sync.Mutex
	list   map[string]imaging.Resource // by Type/id
	away   bool
	refuse bool            // every ImagingStudy
	slow   map[string]bool // ImagingStudies that it takes too long to write, by their UID
	chance int             // of 100, that somebody else writes in between
	rnd    *rand.Rand
	writes int
	last   map[string]int64 // versions go on after a delete
}

func newFHIRs() *fhirs {
	return &fhirs{list: map[string]imaging.Resource{}, last: map[string]int64{}, rnd: rand.New(rand.NewPCG(1, 2))}
}

func (f *fhirs) lock() (func(), error) {
	f.mu.Lock()
	if f.away {
		defer f.mu.Unlock()
		return nil, fault.New(fault.Transient, "away")
	}
	return f.mu.Unlock, nil
}

type shown struct {
	ID         string
	Identifier []struct{ System, Value string }
	Subject    struct {
		Reference  string
		Identifier struct{ System, Value string }
	}
	Note      []any
	Endpoint  []struct{ Reference string }
	Instances int `json:"numberOfInstances"`
	Address   string
}

func (f *fhirs) show(r imaging.Resource) (s shown) {
	if err := json.Unmarshal(r.Text, &s); err != nil {
		panic(err)
	}
	return s
}

func (f *fhirs) Find(_ context.Context, typ, system, value string) (out []imaging.Resource, err error) {
	unlock, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for key, r := range f.list {
		if !strings.HasPrefix(key, typ+"/") {
			continue
		}
		for _, id := range f.show(r).Identifier {
			if id.System == system && id.Value == value && len(out) < 2 {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

func (f *fhirs) Read(_ context.Context, typ, id string) (imaging.Resource, error) {
	unlock, err := f.lock()
	if err != nil {
		return imaging.Resource{}, err
	}
	defer unlock()
	r := f.list[typ+"/"+id]
	if r.Version > 0 && f.rnd.IntN(100) < f.chance { // the version is another one when it is written
		r.Version++
		f.list[typ+"/"+id] = r
		r.Version--
	}
	return r, nil
}

func (f *fhirs) Write(_ context.Context, list []imaging.Write) error {
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	for _, w := range list {
		if f.refuse && w.Type == "ImagingStudy" {
			return fault.At(fault.Invalid, "invariant", "ImagingStudy.series", "refused because of Doe^John")
		}
		if w.Type == "ImagingStudy" && w.Text != nil && f.slow[strings.TrimPrefix(f.show(imaging.Resource{Text: w.Text}).Identifier[0].Value, "urn:oid:")] {
			return fault.New(fault.Timeout, "it takes too long")
		}
		if have := f.list[w.Type+"/"+w.ID].Version; have != w.Version {
			return fault.New(fault.Precondition, "version %d", have)
		}
	}
	for _, w := range list {
		key := w.Type + "/" + w.ID
		f.writes++
		if w.Text == nil {
			delete(f.list, key)
			continue
		}
		f.last[key] = max(f.last[key], w.Version) + 1
		f.list[key] = imaging.Resource{ID: w.ID, Version: f.last[key], Text: w.Text}
	}
	return nil
}

// edit changes a resource as a user does.
func (f *fhirs) edit(typ, id string, change func(map[string]any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var m map[string]any
	r := f.list[typ+"/"+id]
	if r.Version == 0 {
		m = map[string]any{"resourceType": typ, "id": id}
	} else if err := json.Unmarshal(r.Text, &m); err != nil {
		panic(err)
	}
	change(m)
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	f.last[typ+"/"+id] = max(f.last[typ+"/"+id], r.Version) + 1
	f.list[typ+"/"+id] = imaging.Resource{ID: id, Version: f.last[typ+"/"+id], Text: text}
}

// studies are the ImagingStudies that are there, by the UID of the study.
func (f *fhirs) studies(t *testing.T) map[string]shown {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]shown{}
	for key, r := range f.list {
		if !strings.HasPrefix(key, "ImagingStudy/") {
			continue
		}
		s := f.show(r)
		uid := strings.TrimPrefix(s.Identifier[0].Value, "urn:oid:")
		if _, twice := out[uid]; twice {
			t.Errorf("there are two ImagingStudies of %s", uid)
		}
		out[uid] = s
	}
	return out
}

// world is a DICOM service, the FHIR service and what follows.
type world struct {
	t     *testing.T
	store *dicomsql.Store
	part  dicom.Partition
	fhir  *fhirs
	cfg   imaging.Config
	skew  atomic.Int64 // of the clock
	log   strings.Builder
	f     atomic.Pointer[imaging.Follower]
}

func newWorld(t *testing.T, path string) *world {
	w := &world{t: t, fhir: newFHIRs(), cfg: imaging.Config{Scope: "w/images", Settle: time.Millisecond, Patience: 5 * time.Millisecond, PatientSystem: "https://h/mrn"}}
	store, err := dicomsql.Open(t.Context(), path, dicomsql.Options{DB: db.Options{LeaseTime: 300 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	w.store = store
	t.Cleanup(func() {
		w.stop()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.part, err = store.Partition(t.Context(), dicom.DefaultPartition, true); err != nil {
		t.Fatal(err)
	}
	store.OnCommit(func(time.Duration, int) {
		if f := w.f.Load(); f != nil {
			f.Wake()
		}
	})
	return w
}

func (w *world) start() {
	w.stop()
	w.f.Store(imaging.New(imaging.Deps{
		Store: w.store, Destination: w.fhir, Config: w.cfg, Address: func() string { return "https://x/v2" },
		Log: slog.New(slog.NewTextHandler(&w.log, nil)), Now: func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) },
	}))
}

func (w *world) stop() {
	if f := w.f.Swap(nil); f != nil {
		f.Close()
	}
}

// put stores an instance of a study.
func (w *world) put(study, n int, patient string) {
	w.t.Helper()
	u := dicom.UIDs{Study: fmt.Sprintf("1.2.%d", study), Series: fmt.Sprintf("1.2.%d.%d", study, n%3), SOP: fmt.Sprintf("1.2.%d.%d.%d", study, n%3, n)}
	a := imaging.Attrs(map[dcm.Tag]string{dcm.TagModality: "CT", dcm.TagPatientID: patient})
	r := &dicom.Record{Instance: dicom.Instance{UIDs: u, Class: "1.3", Syntax: "1.2.840.10008.1.2.1", Location: dicom.Location{Object: 1, Size: 10}}, Attrs: a, Study: a, Series: a}
	p := &dicom.Put{Ctx: w.t.Context(), Part: w.part, Records: []*dicom.Record{r}, Replace: true}
	if w.store.Put([]*dicom.Put{p}, nil); p.Err != nil {
		w.t.Fatal(p.Err)
	}
}

func (w *world) delete(u dicom.UIDs) {
	w.t.Helper()
	if _, err := w.store.Delete(w.t.Context(), w.part, u); err != nil && !fault.Is(err, fault.NotFound) {
		w.t.Fatal(err)
	}
}

// settle waits until nothing is to be done, with the notes that wait given another try.
func (w *world) settle() {
	w.t.Helper()
	for range 2 {
		w.skew.Add(int64(24 * time.Hour))
		w.f.Load().Wake()
		w.idle()
	}
}

func (w *world) idle() {
	w.t.Helper()
	calm := 0
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		b, err := w.store.Backlog(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		last, err := w.store.Latest(w.t.Context(), false)
		if err != nil {
			w.t.Fatal(err)
		}
		pos, err := w.store.ImagingPosition(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		next, err := w.store.NextDue(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if b.Pending == 0 && (last == nil || pos == last.Sequence) && (b.Waiting == 0 || next.After(time.Now().Add(time.Duration(w.skew.Load())))) {
			if calm++; calm == 2 {
				return
			}
			continue
		}
		calm = 0
	}
	w.t.Fatalf("it does not come to rest\n%s", w.log.String())
}

// TestFollower does at random what can happen, and compares with the studies that
// are there in the end.
func TestFollower(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t, path)
		w.fhir.chance = 10
		w.start()
		const studies = 8
		have := map[int]map[int]bool{}
		patient := map[int]string{}
		there := map[string]bool{} // patients in the FHIR service
		for range 300 {
			s, n := rnd.IntN(studies), rnd.IntN(6)
			switch k := rnd.IntN(100); {
			case k < 60:
				patient[s] = fmt.Sprintf("p%d", rnd.IntN(3))
				w.put(s, n, patient[s])
				if have[s] == nil {
					have[s] = map[int]bool{}
				}
				have[s][n] = true
			case k < 70:
				w.delete(dicom.UIDs{Study: fmt.Sprintf("1.2.%d", s)})
				delete(have, s)
			case k < 80:
				w.delete(dicom.UIDs{Study: fmt.Sprintf("1.2.%d", s), Series: fmt.Sprintf("1.2.%d.%d", s, n%3), SOP: fmt.Sprintf("1.2.%d.%d.%d", s, n%3, n)})
				if delete(have[s], n); len(have[s]) == 0 {
					delete(have, s)
				}
			case k < 85:
				w.fhir.mu.Lock()
				w.fhir.away = !w.fhir.away
				w.fhir.mu.Unlock()
			case k < 90:
				w.start()
			case k < 92:
				p := fmt.Sprintf("p%d", rnd.IntN(2)) // p2 never comes
				there[p] = true
				w.fhir.edit("Patient", "of-"+p, func(m map[string]any) {
					m["identifier"] = []any{map[string]any{"system": "https://h/mrn", "value": p}}
				})
			default:
				time.Sleep(time.Duration(rnd.IntN(5)) * time.Millisecond)
			}
		}
		w.fhir.mu.Lock()
		w.fhir.away = false
		w.fhir.mu.Unlock()
		w.start()
		w.settle()
		got := w.fhir.studies(t)
		if len(got) != len(have) {
			t.Errorf("%d ImagingStudies of %d studies", len(got), len(have))
		}
		for s, instances := range have {
			r, ok := got[fmt.Sprintf("1.2.%d", s)]
			want := ""
			if there[patient[s]] {
				want = "Patient/of-" + patient[s]
			}
			if !ok || r.Instances != len(instances) || r.Subject.Reference != want || r.Subject.Identifier.Value != patient[s] || len(r.Endpoint) != 1 {
				t.Errorf("study %d with %d instances of %s: %+v", s, len(instances), patient[s], r)
			}
		}
		if b, err := w.store.Backlog(t.Context()); err != nil || b.Pending > 0 {
			t.Error(b, err)
		}
	})
}

// TestOthers pins what happens where somebody else writes, too.
func TestOthers(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/test.db")
	// An ImagingStudy of before is taken over with what it says.
	w.fhir.edit("ImagingStudy", "theirs", func(m map[string]any) {
		m["identifier"] = []any{map[string]any{"system": "urn:dicom:uid", "value": "urn:oid:1.2.1"}}
		m["note"] = []any{"kept"}
		m["endpoint"] = []any{map[string]any{"reference": "Endpoint/archive"}}
	})
	w.put(1, 1, "p")
	w.put(2, 1, "p")
	w.start()
	w.idle()
	got := w.fhir.studies(t)
	if r := got["1.2.1"]; r.ID != "theirs" || len(r.Note) != 1 || len(r.Endpoint) != 2 || r.Instances != 1 {
		t.Errorf("%+v", r)
	}
	// A link that somebody made stays while the patient is the same one.
	link := func(uid string) {
		w.fhir.edit("ImagingStudy", got[uid].ID, func(m map[string]any) { m["subject"].(map[string]any)["reference"] = "Patient/known" })
	}
	link("1.2.1")
	link("1.2.2")
	w.put(1, 2, "p")
	w.put(2, 2, "q")
	w.idle()
	got = w.fhir.studies(t)
	if got["1.2.1"].Subject.Reference != "Patient/known" || got["1.2.2"].Subject.Reference != "" {
		t.Errorf("%+v", got)
	}
	// What is as it should be is not written again.
	before := w.fhir.writes
	w.cfg.Issuers = map[string]string{"A": "urn:a"}
	w.start()
	w.settle()
	if w.fhir.writes != before {
		t.Errorf("%d writes without need", w.fhir.writes-before)
	}
	// One that names another Endpoint stays without ours; the other one goes.
	w.delete(dicom.UIDs{Study: "1.2.1"})
	w.delete(dicom.UIDs{Study: "1.2.2"})
	w.idle()
	got = w.fhir.studies(t)
	if len(got) != 1 || len(got["1.2.1"].Endpoint) != 1 || got["1.2.1"].Endpoint[0].Reference != "Endpoint/archive" {
		t.Errorf("%+v", got)
	}
	// A resource that is refused is told of without its values, and tried again.
	w.fhir.refuse = true
	w.put(3, 1, "p")
	w.idle()
	w.stop()
	if log := w.log.String(); !strings.Contains(log, "expression=ImagingStudy.series") || strings.Contains(log, "Doe") || strings.Contains(log, "1.2.3") {
		t.Error(log)
	}
	w.fhir.refuse = false
	w.start()
	w.settle()
	if r, ok := w.fhir.studies(t)["1.2.3"]; !ok || r.Instances != 1 {
		t.Errorf("%+v", r)
	}
}

// TestFollowerSlowStudies has as many studies as there are workers that cannot be
// written in time, and that are the first in the row: the others are written all the
// same, at once, and these when they can be, without having counted as refused.
func TestFollowerSlowStudies(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		w := newWorld(t, path)
		w.fhir.slow = map[string]bool{}
		const slow, others = 6, 40
		for n := range slow + others {
			if w.put(n, 1, "p1"); n < slow {
				w.fhir.slow[fmt.Sprintf("1.2.%d", n)] = true
			}
		}
		w.start()
		written := func(want int) {
			t.Helper()
			for end := time.Now().Add(time.Minute); len(w.fhir.studies(t)) != want; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d studies are written, want %d\n%s", len(w.fhir.studies(t)), want, w.log.String())
				}
			}
		}
		written(others)
		w.fhir.mu.Lock()
		w.fhir.slow = nil
		w.fhir.mu.Unlock()
		w.skew.Add(int64(31 * time.Second))
		w.f.Load().Wake()
		written(slow + others)
	})
}
