package server_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/blob/s3"
	"github.com/hygeia-health/hygeia/platform/keyring"
	"github.com/hygeia-health/hygeia/server"
)

// flaky runs an S3 server of which one request in four fails at random: with
// 503, with a connection that breaks off before the request was done or after it,
// or in the middle of the answer.
func flaky(t *testing.T) (address string, failures *atomic.Int64) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	minio.DefaultRetryUnit, minio.DefaultRetryCap = time.Millisecond, 2*time.Millisecond
	backend := s3mem.New()
	if err := backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	h := gofakes3.New(backend).Server()
	failures = new(atomic.Int64)
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(11, 3))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		roll := dice.IntN(16)
		mu.Unlock()
		if roll > 3 {
			h.ServeHTTP(w, r)
			return
		}
		failures.Add(1)
		if roll == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if roll > 1 {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			if roll == 3 && r.Method == http.MethodGet {
				for k, v := range rec.Header() {
					w.Header()[k] = v
				}
				w.WriteHeader(rec.Code)
				_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
			}
		}
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(srv.Close)
	return "?endpoint=" + srv.URL, failures
}

// TestBucket imports from a bucket that fails at random, exports into it with
// encryption, and reads the files: nothing is lost and nothing is there twice.
func TestBucket(t *testing.T) {
	at, failures := flaky(t)
	line, err := keyring.Generate("k")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_KEYS", line)
	p := open(t, t.TempDir(), func(c *server.Config) {
		c.Blobs = "s3://bucket/blobs" + at
		c.Encryption.Keys = "env:TEST_KEYS"
		c.Containers = []server.ContainerConfig{
			{Name: "inbox", URL: "s3://bucket/in" + at, Import: true},
			{Name: "outbox", URL: "s3://bucket/out" + at, Export: true},
			{Name: "others", URL: "s3://bucket/others" + at, Import: true, Services: []string{"default/images"}},
		}
	})
	const n = 1500
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"resourceType":"Patient","id":"p%04d","name":[{"family":"F%d","text":%q}]}`+"\n", i, i%7, strings.Repeat("x", 300))
	}
	inbox, err := s3.Open("s3://bucket/in" + at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inbox.Put(t.Context(), "a/Patient.ndjson", strings.NewReader(lines.String()), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	start := func(place string) *httptest.ResponseRecorder {
		return p.do("POST", "/default/fhir/$import", `{"resourceType":"Parameters","parameter":[{"name":"inputFormat","valueString":"application/fhir+ndjson"},{"name":"mode","valueString":"IncrementalLoad"},
{"name":"processingUnitBytesToRead","valueInteger":65536},{"name":"input","part":[{"name":"url","valueUri":"`+place+`"}]}]}`, "Content-Type", "application/fhir+json", "Prefer", "respond-async")
	}
	for _, place := range []string{"s3://bucket/out/a/Patient.ndjson", "s3://bucket/others/x", "s3://bucket/in/../x", "s3://bucket/in/", "s3://elsewhere/x", "s3://bucket/in/missing"} {
		if rec := start(place); rec.Code != 400 {
			t.Errorf("%s: %d %s", place, rec.Code, rec.Body)
		}
	}
	for range 2 {
		var result struct{ Output, Error []struct{ Count int } }
		p.await(t, start("s3://bucket/in/a/Patient.ndjson"), &result)
		if len(result.Error) != 0 || len(result.Output) != 1 || result.Output[0].Count != n {
			t.Fatalf("import: %+v", result)
		}
	}
	var manifest struct {
		Output []struct {
			URL   string
			Count int
		}
	}
	p.await(t, p.do("GET", "/default/fhir/$export?_maxCount=200", "", "Prefer", "respond-async", "Accept", "application/fhir+json"), &manifest)
	seen := map[string]bool{}
	for _, f := range manifest.Output {
		u, err := url.Parse(f.URL)
		if err != nil {
			t.Fatal(err)
		}
		body := p.do("GET", u.Path, "").Body.String()
		if got := strings.Count(body, "\n"); got != f.Count {
			t.Errorf("%s: %d lines, the manifest says %d", f.URL, got, f.Count)
		}
		for l := range strings.Lines(body) {
			var r struct{ ID string }
			if err := json.Unmarshal([]byte(l), &r); err != nil || seen[r.ID] {
				t.Fatalf("%s: %v, there twice: %v", r.ID, err, seen[r.ID])
			}
			seen[r.ID] = true
		}
	}
	if len(seen) != n || len(manifest.Output) < n/200 || failures.Load() < 10 {
		t.Errorf("%d resources in %d files, %d failures", len(seen), len(manifest.Output), failures.Load())
	}
	below, err := s3.Open("s3://bucket/blobs" + at)
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for i, err := range below.List(t.Context(), "default/fhir/export/") {
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := below.Open(t.Context(), i.Key, 0, 20)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 14)
		_, _ = r.Read(head)
		_ = r.Close()
		if files++; string(head[1:]) != "HYGEIA SEALED" {
			t.Errorf("%s begins with %q", i.Key, head)
		}
	}
	if files != len(manifest.Output) {
		t.Errorf("%d files in the bucket, %d in the manifest", files, len(manifest.Output))
	}
}

// await polls the status of a job and reads its result.
func (p platform) await(t *testing.T, rec *httptest.ResponseRecorder, result any) {
	t.Helper()
	if rec.Code != 202 {
		t.Fatal(rec.Code, rec.Body)
	}
	u, err := url.Parse(rec.Header().Get("Content-Location"))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		got := p.do("GET", u.Path, "")
		switch got.Code {
		case 202:
			continue
		case 200:
			if err := json.Unmarshal(got.Body.Bytes(), result); err != nil {
				t.Fatal(err)
			}
			return
		}
		t.Fatal(got.Code, got.Body)
	}
	t.Fatal("the job does not end")
}
