package loader

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/loader/sample"
)

// service is a FHIR service as far as the loader sees it.
type service struct {
	mu        sync.Mutex
	resources map[string]string
	modified  map[string]time.Time
	bundles   []string                                // "transaction 3" in the order of arrival
	order     []string                                // keys in the order of arrival
	hook      func(w http.ResponseWriter, n int) bool // true: it answered request n itself
	entry     func(key string, n int) (status int)    // 0: the usual answer
	requests  int
	*httptest.Server
}

type bundleText struct {
	Type  string `json:"type"`
	Entry []struct {
		FullURL  string          `json:"fullUrl"`
		Resource json.RawMessage `json:"resource"`
		Request  struct{ Method, URL, IfNoneExist string }
	} `json:"entry"`
}

func serve(t *testing.T) *service {
	s := &service{resources: map[string]string{}, modified: map[string]time.Time{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/fhir/metadata" {
		fmt.Fprint(w, `{"resourceType":"CapabilityStatement"}`)
		return
	}
	s.requests++
	if s.hook != nil && s.hook(w, s.requests) {
		return
	}
	var in bundleText
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.URL.Path != "/fhir" || r.Header.Get("Content-Type") != "application/fhir+json; charset=utf-8" {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	s.bundles = append(s.bundles, fmt.Sprint(in.Type, " ", len(in.Entry)))
	var out []any
	for _, e := range in.Entry {
		key := e.Request.URL
		if e.Request.Method == "POST" {
			key = fmt.Sprintf("%s/new%d", e.Request.URL, len(s.order))
		}
		s.order = append(s.order, key)
		response := map[string]any{"status": "200 OK"}
		if status := s.reject(key); status != 0 {
			response["status"] = fmt.Sprint(status)
			response["outcome"] = map[string]any{"resourceType": "OperationOutcome", "issue": []any{map[string]any{"diagnostics": "no " + key, "expression": []string{"Patient.id"}}}}
			out = append(out, map[string]any{"response": response})
			continue
		}
		before, ok := s.resources[key]
		if !ok {
			response["status"] = "201 Created"
		}
		if before != string(e.Resource) {
			s.modified[key] = time.Now().Truncate(time.Millisecond)
		}
		s.resources[key] = string(e.Resource)
		response["lastModified"] = s.modified[key].UTC().Format("2006-01-02T15:04:05.000Z")
		out = append(out, map[string]any{"response": response})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"resourceType": "Bundle", "type": in.Type + "-response", "entry": out})
}

func (s *service) reject(key string) int {
	if s.entry == nil {
		return 0
	}
	return s.entry(key, s.requests)
}

func (s *service) options() Options {
	return Options{To: s.URL + "/fhir/", Backoff: time.Millisecond}
}

func counts(r Report) []int {
	return []int{r.Files, r.Resources, r.Created, r.Updated, r.Unchanged, r.Other, r.Failed}
}

func check(t *testing.T, r Report, err error, want ...int) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, counts(r)); d != "" {
		t.Errorf("files, resources, created, updated, unchanged, other, failed:\n%s", d)
	}
}

func pack(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.Bytes()
}

func line(typ, id string) string { return fmt.Sprintf(`{"resourceType":%q,"id":%q}`, typ, id) }

const transaction = `{"resourceType":"Bundle","type":"transaction","entry":[
 {"fullUrl":"urn:uuid:11111111-1111-1111-1111-111111111111","resource":{"resourceType":"Patient","active":true},"request":{"method":"POST","url":"Patient"}},
 {"fullUrl":"urn:uuid:2","resource":{"resourceType":"Observation","id":"o1","subject":{"reference":"urn:uuid:11111111-1111-1111-1111-111111111111"},"valueDecimal":1.10},"request":{"url":"Observation","method":"POST"}},
 {"resource":{"resourceType":"Organization","id":"x"},"request":{"method":"POST","url":"Organization","ifNoneExist":"identifier=1"}},
 {"resource":{"resourceType":"Basic"},"request":{"method":"POST","url":"Basic"}},
 {"request":{"method":"DELETE","url":"Patient/9"}}
]}`

func TestTransaction(t *testing.T) {
	s := serve(t)
	files := fstest.MapFS{"t.json": {Data: []byte(transaction)}}
	r, err := RunFS(t.Context(), s.options(), files)
	check(t, r, err, 1, 5, 4, 0, 0, 1, 0)
	want := []string{"Patient/11111111-1111-1111-1111-111111111111", "Observation/o1", "Organization/new2", "Basic/new3", "Patient/9"}
	if d := cmp.Diff(want, s.order); d != "" {
		t.Error(d)
	}
	if got := s.resources[want[0]]; got != `{"id":"11111111-1111-1111-1111-111111111111","resourceType":"Patient","active":true}` {
		t.Error(got)
	}
	if got := s.resources["Observation/o1"]; !strings.Contains(got, "1.10") || !strings.Contains(got, "urn:uuid:1111") {
		t.Error(got)
	}
	if d := cmp.Diff([]string{"transaction 5"}, s.bundles); d != "" {
		t.Error(d)
	}

	s = serve(t)
	opt := s.options()
	opt.AsIs = true
	_, err = RunFS(t.Context(), opt, files)
	if err != nil || s.order[0] != "Patient/new0" || s.order[1] != "Observation/new1" {
		t.Error(err, s.order)
	}
}

func TestRepeatIsUnchanged(t *testing.T) {
	s := serve(t)
	files := fstest.MapFS{
		"a.ndjson": {Data: []byte(line("Patient", "1") + "\r\n\n" + `{"resourceType":"Basic"}`)},
		"b.json":   {Data: []byte(line("Patient", "2"))},
	}
	r, err := RunFS(t.Context(), s.options(), files)
	check(t, r, err, 2, 3, 3, 0, 0, 0, 0)
	time.Sleep(2 * time.Millisecond)
	r, err = RunFS(t.Context(), s.options(), files)
	check(t, r, err, 2, 3, 0, 0, 3, 0, 0)
	files["b.json"] = &fstest.MapFile{Data: []byte(`{"resourceType":"Patient","id":"2","active":true}`)}
	r, err = RunFS(t.Context(), s.options(), files)
	check(t, r, err, 2, 3, 0, 1, 2, 0, 0)
}

func TestBundleTypes(t *testing.T) {
	s := serve(t)
	files := fstest.MapFS{
		"batch.json":   {Data: []byte(`{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Patient","id":"1"},"request":{"method":"POST","url":"Patient"}}]}`)},
		"coll.json":    {Data: []byte(`{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:5","resource":{"resourceType":"Patient"}},{"resource":{"x":1}}]}`)},
		"doc.json":     {Data: []byte(`{"resourceType":"Bundle","id":"d","type":"document","entry":[]}`)},
		"history.json": {Data: []byte(`{"resourceType":"Bundle","type":"history"}`)},
		"search.json":  {Data: []byte(`{"resourceType":"Bundle","type":"searchset","entry":[{"fullUrl":"http://x/Patient/7","resource":{"resourceType":"Patient","id":"7"}},{"resource":{"resourceType":"OperationOutcome"},"search":{"mode":"outcome"}}]}`)},
		"broken.json":  {Data: []byte(`{"resourceType":`)},
		"SOURCE":       {Data: []byte(`x`)},
		"log.ndjson":   {Data: []byte(`{"exportId":1}`)},
	}
	opt := s.options()
	opt.Concurrency = 1
	opt.ErrorFile = filepath.Join(t.TempDir(), "errors.ndjson")
	var log bytes.Buffer
	opt.Log = &log
	r, err := RunFS(t.Context(), opt, files)
	check(t, r, err, 6, 7, 4, 0, 0, 0, 3)
	slices.Sort(s.order)
	if d := cmp.Diff([]string{"Bundle/d", "Patient/1", "Patient/5", "Patient/7"}, s.order); d != "" {
		t.Error(d)
	}
	if !slices.Contains(s.bundles, "transaction 1") {
		t.Error("the collection with urn:uuid was not sent as a transaction")
	}
	b, err := os.ReadFile(opt.ErrorFile)
	if err != nil || strings.Count(string(b), "\n") != 3 || !strings.Contains(string(b), `{"source":"coll.json","entry":2,"diagnostics":`) {
		t.Errorf("%s %v", b, err)
	}
	if !strings.Contains(log.String(), `history.json: a Bundle of type "history" cannot be loaded`) {
		t.Error(log.String())
	}
}

func TestArchivesAndOrder(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var tb, zb bytes.Buffer
	tw, zw := tar.NewWriter(&tb), zip.NewWriter(&zb)
	for _, m := range []struct{ name, text string }{
		{"out/a.json", line("Patient", "tar")},
		{"out/practitionerInformation1.json", line("Practitioner", "tar")},
		{"out/hospitalInformation1.json", line("Organization", "tar")},
		{"out/x.ndjson.gz", string(pack(line("Patient", "targz") + "\n"))},
		{"out/readme.txt", "x"},
	} {
		if err := tw.WriteHeader(&tar.Header{Name: m.name, Mode: 0o600, Size: int64(len(m.text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(tw, m.text)
		f, _ := zw.Create(m.name)
		_, _ = io.WriteString(f, strings.ReplaceAll(m.text, `"tar"`, `"zip"`))
	}
	_ = tw.Close()
	_ = zw.Close()
	write("a.tar", tb.Bytes())
	write("b.tgz", pack(tb.String()))
	write("c.zip", zb.Bytes())
	write("sub/d.jsonl.gz", pack(line("Patient", "3")+"\n"+line("Patient", "4")))
	write("sub/hospitalInformation9.json", []byte(line("Organization", "9")))
	s := serve(t)
	opt := s.options()
	r, err := Run(t.Context(), opt, []string{dir})
	if err != nil || r.Files != 14 || r.Resources != 15 || r.Created != 10 || r.Failed != 0 {
		t.Error(r, err)
	}
	var types []string
	for _, k := range s.order {
		typ, _, _ := strings.Cut(k, "/")
		types = append(types, typ)
	}
	if d := cmp.Diff([]string{"Organization", "Practitioner", "Patient"}, slices.Compact(types)); d != "" {
		t.Error(d)
	}
	_, err = Run(t.Context(), opt, []string{filepath.Join(dir, "none.json")})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	write("x.txt", nil)
	if _, err = Run(t.Context(), opt, []string{filepath.Join(dir, "x.txt")}); err == nil || !strings.Contains(err.Error(), "ends in none of") {
		t.Error(err)
	}
	write("bad.zip", []byte("x"))
	write("bad.tgz", []byte("x"))
	write("bad.json.gz", []byte("x"))
	r, err = Run(t.Context(), opt, []string{filepath.Join(dir, "bad.json.gz")})
	check(t, r, err, 1, 1, 0, 0, 0, 0, 1)
	// Each archive is opened once for each rank, and is one failure beside the one above.
	if r, err = Run(t.Context(), opt, []string{dir}); err != nil || r.Failed != 3 {
		t.Error(r, err)
	}
}

func TestFailures(t *testing.T) {
	s := serve(t)
	s.entry = func(key string, n int) int {
		switch {
		case key == "Patient/bad":
			return 422
		case key == "Patient/busy" && n < 3:
			return 429
		}
		return 0
	}
	files := fstest.MapFS{"a.ndjson": {Data: []byte(strings.Join([]string{
		line("Patient", "1"), "{not json", line("Patient", "bad"), line("Patient", "busy"), line("Patient", "no good"), `{"id":"3"}`}, "\n"))}}
	opt := s.options()
	opt.ErrorFile = filepath.Join(t.TempDir(), "errors.ndjson")
	r, err := RunFS(t.Context(), opt, files)
	check(t, r, err, 1, 6, 2, 0, 0, 0, 4)
	f, err := os.Open(opt.ErrorFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := map[int]Failure{}
	for d := json.NewDecoder(f); ; {
		var x Failure
		if err := d.Decode(&x); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got[x.Line] = x
	}
	if d := cmp.Diff(Failure{Source: "a.ndjson", Line: 3, Resource: "Patient/bad", Status: 422, Diagnostics: "no Patient/bad (Patient.id)"}, got[3]); d != "" {
		t.Error(d)
	}
	if len(got) != 4 || got[2].Status != 0 || !strings.Contains(got[2].Diagnostics, "member name") {
		t.Error(got)
	}
	if info, err := os.Stat(opt.ErrorFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Error("the error file is readable for others")
	}
}

func TestBusyService(t *testing.T) {
	s := serve(t)
	s.hook = func(w http.ResponseWriter, n int) bool {
		switch n {
		case 1:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			panic(http.ErrAbortHandler)
		default:
			return false
		}
		return true
	}
	s.Config.ErrorLog = nil
	r, err := RunFS(t.Context(), s.options(), fstest.MapFS{"a.json": {Data: []byte(line("Patient", "1"))}})
	check(t, r, err, 1, 1, 1, 0, 0, 0, 0)
}

func TestRefusedBatchIsHalved(t *testing.T) {
	s := serve(t)
	var text []string
	for i := range 20 {
		text = append(text, line("Patient", fmt.Sprint(i)))
	}
	s.hook = func(w http.ResponseWriter, n int) bool {
		if n <= 3 { // all, the first half, its first half
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return true
		}
		return false
	}
	r, err := RunFS(t.Context(), s.options(), fstest.MapFS{"a.ndjson": {Data: []byte(strings.Join(text, "\n"))}})
	check(t, r, err, 1, 20, 20, 0, 0, 0, 0)
	if d := cmp.Diff([]string{"batch 2", "batch 3", "batch 5", "batch 10"}, s.bundles); d != "" {
		t.Error(d)
	}
}

func TestRefusedTransaction(t *testing.T) {
	s := serve(t)
	s.hook = func(w http.ResponseWriter, _ int) bool {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"resourceType":"OperationOutcome","issue":[{"details":{"text":"no"}}]}`)
		return true
	}
	var log bytes.Buffer
	opt := s.options()
	opt.Log = &log
	r, err := RunFS(t.Context(), opt, fstest.MapFS{"t.json": {Data: []byte(transaction)}})
	check(t, r, err, 1, 5, 0, 0, 0, 0, 5)
	if log.String() != "t.json Bundle: 422: no\n" {
		t.Error(log.String())
	}
}

func TestEndsOfARun(t *testing.T) {
	files := fstest.MapFS{"a.json": {Data: []byte(line("Patient", "1"))}, "b.json": {Data: []byte(line("Patient", "2"))}}
	s := serve(t)
	s.hook = func(w http.ResponseWriter, _ int) bool { w.WriteHeader(http.StatusUnauthorized); return true }
	if _, err := RunFS(t.Context(), s.options(), files); err == nil || !strings.Contains(err.Error(), "refuses the login: 401") {
		t.Error(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	s = serve(t)
	s.hook = func(w http.ResponseWriter, _ int) bool { cancel(); return false }
	if _, err := RunFS(ctx, s.options(), files); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	s = serve(t)
	s.Close()
	if _, err := RunFS(t.Context(), s.options(), files); err == nil || !strings.Contains(err.Error(), "no FHIR service at") {
		t.Error(err)
	}
	for _, to := range []string{"", "localhost", "ftp://x", "http://"} {
		if _, err := RunFS(t.Context(), Options{To: to}, files); err == nil {
			t.Errorf("%q accepted", to)
		}
	}
}

func TestLongLineIsSkipped(t *testing.T) {
	s := serve(t)
	opt := s.options()
	opt.MaxDocument = 100_000
	long := `{"resourceType":"Basic","id":"l","x":"` + strings.Repeat("x", 200_000) + `"}`
	r, err := RunFS(t.Context(), opt, fstest.MapFS{
		"a.ndjson": {Data: []byte(line("Patient", "1") + "\n" + long + "\n" + line("Patient", "2") + "\n" + long)},
		"b.json":   {Data: []byte(long)},
	})
	check(t, r, err, 2, 5, 2, 0, 0, 0, 3)
}

func TestSample(t *testing.T) {
	s := serve(t)
	r, err := RunFS(t.Context(), s.options(), sample.Files())
	check(t, r, err, 5, 623, 623, 0, 0, 0, 0)
	time.Sleep(2 * time.Millisecond)
	r, err = RunFS(t.Context(), s.options(), sample.Files())
	check(t, r, err, 5, 623, 0, 0, 623, 0, 0)
}

func TestProgress(t *testing.T) {
	if got := status(Report{Resources: 500, Failed: 2}, 25, 100, 10*time.Second); got != "500 resources, 50/s, 30s left, 2 failed" {
		t.Error(got)
	}
	if got := bar(50, 100); got != "[============            ]  50%" {
		t.Error(got)
	}
	s := serve(t)
	opt := s.options()
	opt.Progress, opt.Log = true, io.Discard
	r, err := RunFS(t.Context(), opt, fstest.MapFS{"a.json": {Data: []byte(line("Patient", "1"))}})
	check(t, r, err, 1, 1, 1, 0, 0, 0, 0)
	if !strings.HasPrefix(r.String(), "1 resources from 1 files in ") {
		t.Error(r.String())
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(transaction))
	f.Add([]byte(`{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:5","resource":{}},1,null]}`))
	f.Add([]byte(`{"resourceType":"Patient","id":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &run{Options: Options{BatchSize: 2, Log: io.Discard, MaxDocument: 1 << 20}}
		var seen [ranks]bool
		w := walker{run: r, seen: &seen, out: func(j job) error {
			if text := bundle(j); !json.Valid(text) {
				t.Fatalf("not JSON: %q", text)
			}
			return nil
		}}
		if err := w.document(b, "x.json"); err != nil {
			t.Fatal(err)
		}
		if err := w.lines(bytes.NewReader(b), "x.ndjson"); err != nil {
			t.Fatal(err)
		}
	})
}
