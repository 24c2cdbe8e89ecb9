package dicomhttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomhttp"
	"github.com/hygeia-health/hygeia/dicom/dicomsql"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/jobs"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// world is a service on a database and a folder of its own.
type world struct {
	t     *testing.T
	dir   string
	path  string // of the database
	now   func() time.Time
	store *dicomsql.Store
	room  *dicom.Service
	jobs  *fakeJobs
	// places are the containers, if there are any.
	places *places
	http.Handler
}

func newWorld(t *testing.T, cfg dicom.Config) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.open(cfg, nil)
	t.Cleanup(w.close)
	return w
}

func (w *world) open(cfg dicom.Config, guard *auth.Guard) {
	w.t.Helper()
	w.jobs = &fakeJobs{}
	if w.path == "" {
		w.path = filepath.Join(w.dir, "dicom.db")
		if strings.HasPrefix(w.t.Name(), "TestPostgres/") {
			w.path = dbtest.Postgres(w.t)
		}
	}
	store, err := dicomsql.Open(context.Background(), w.path, dicomsql.Options{Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	blobs, err := blob.OpenFolder(filepath.Join(w.dir, "blobs"))
	if err != nil {
		w.t.Fatal(err)
	}
	deps := dicom.Deps{Store: store, Blobs: blobs, Config: cfg, Guard: guard, Jobs: w.jobs}
	if w.places != nil {
		deps.Containers = w.places
	}
	room, err := dicom.New(deps)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store, w.room = store, room
	w.jobs.run(room)
	w.Handler = dicomhttp.New(room, dicomhttp.Options{BasePath: "/w/s"})
}

func (w *world) close() {
	w.jobs.stop()
	w.room.Close()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// do sends a request; headers are name, value, ...
func (w *world) do(method, path string, body []byte, headers ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, "http://pacs.test:8080/w/s"+path, bytes.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec
}

// want sends a request without a body and checks the status.
func (w *world) want(code int, method, path string, headers ...string) string {
	w.t.Helper()
	rec := w.do(method, path, nil, headers...)
	if rec.Code != code {
		w.t.Fatalf("%s %s: %d, want %d: %s", method, path, rec.Code, code, rec.Body)
	}
	return rec.Body.String()
}

func file(t *testing.T, name string) []byte { return fileOf(t, name) }

func fileOf(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "spec", "dcm", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// made returns a small file with the given identifiers.
func made(t *testing.T, study, series, sop string, more ...dcm.Element) []byte {
	t.Helper()
	d := &dcm.Dataset{}
	d.Put(dcm.NewText(dcm.TagSOPClassUID, dcm.UI, "1.2.840.10008.5.1.4.1.1.2"))
	d.Put(dcm.NewText(dcm.TagSOPInstanceUID, dcm.UI, sop))
	d.Put(dcm.NewText(dcm.TagStudyInstanceUID, dcm.UI, study))
	d.Put(dcm.NewText(dcm.TagSeriesInstanceUID, dcm.UI, series))
	d.Put(dcm.NewText(dcm.TagPatientID, dcm.LO, "P1"))
	d.Put(dcm.NewText(dcm.TagModality, dcm.CS, "CT"))
	for _, e := range more {
		d.Put(e)
	}
	var out bytes.Buffer
	if err := dcm.Write(&out, &dcm.File{Meta: &dcm.Dataset{}, Data: d}, dcm.ExplicitLittle, dcm.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func related(files ...[]byte) (body []byte, contentType string) {
	var b bytes.Buffer
	for _, f := range files {
		b.WriteString("--xyz\r\nContent-Type: application/dicom\r\n\r\n")
		b.Write(f)
		b.WriteString("\r\n")
	}
	b.WriteString("--xyz--\r\n")
	return b.Bytes(), `multipart/related; type="application/dicom"; boundary=xyz`
}

// stow stores files in one request and checks the status.
func (w *world) stow(code int, path string, files ...[]byte) string {
	w.t.Helper()
	body, typ := related(files...)
	rec := w.do("POST", path, body, "Content-Type", typ)
	if rec.Code != code {
		w.t.Fatalf("store: %d, want %d: %s", rec.Code, code, rec.Body)
	}
	return rec.Body.String()
}

const ctPath = "/v2/studies/1.3.6.1.4.1.5962.1.2.4.20040826185059.5457/series/1.3.6.1.4.1.5962.1.3.4.1.20040826185059.5457/instances/1.3.6.1.4.1.5962.1.1.4.1.1.20040826185059.5457"

// fakeJobs carries out operations at once, on goroutines of its own.
type fakeJobs struct {
	mu      sync.Mutex
	waiting []string // before there is a room
	idle    bool     // nothing is carried out
	room    *dicom.Service
	ctx     context.Context
	wg      *sync.WaitGroup
	stop    func()
}

// Submit implements dicom.Jobs.
func (f *fakeJobs) Submit(_ context.Context, spec jobs.Spec) (jobs.Job, bool, error) {
	text, err := json.Marshal(spec.Definition)
	if err != nil {
		return jobs.Job{}, false, err
	}
	var def struct{ Operation string }
	if err := json.Unmarshal(text, &def); err != nil {
		return jobs.Job{}, false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room == nil || f.idle {
		f.waiting = append(f.waiting, def.Operation)
		return jobs.Job{}, true, nil
	}
	f.start(def.Operation)
	return jobs.Job{}, true, nil
}

func (f *fakeJobs) run(room *dicom.Service) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	f.room, f.ctx, f.wg = room, ctx, &wg
	f.stop = func() { cancel(); wg.Wait() }
	for _, id := range f.waiting {
		f.start(id)
	}
}

func (f *fakeJobs) start(id string) {
	f.wg.Go(func() {
		// What fails is told by the operation.
		_ = f.room.Perform(f.ctx, id, func(*dicom.Operation) error { return nil })
	})
}
