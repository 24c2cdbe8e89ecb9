package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/blob/blobtest"
	"github.com/hygeia-health/hygeia/platform/blob/s3"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// serve runs an S3 server in this process, behind a wrapper, with one bucket.
func serve(t *testing.T, wrap func(http.Handler) http.Handler) (address string) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	backend := s3mem.New()
	if err := backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	h := gofakes3.New(backend).Server()
	if wrap != nil {
		h = wrap(h)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return "s3://bucket/some/place?endpoint=" + srv.URL
}

func open(t *testing.T, address string) blob.Store {
	t.Helper()
	s, err := s3.Open(address)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, serve(t, nil)) })
}

// broken answers some requests with 503, breaks some off before, and some after
// a part of the answer.
func broken(count *atomic.Int64) func(http.Handler) http.Handler {
	r := rand.New(rand.NewPCG(1, 2))
	rolls := make(chan int, 1000)
	for range cap(rolls) {
		rolls <- r.IntN(10)
	}
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			roll := 9
			select {
			case roll = <-rolls:
			default:
			}
			switch roll {
			case 0:
				count.Add(1)
				w.WriteHeader(http.StatusServiceUnavailable)
			case 1:
				count.Add(1)
				panic(http.ErrAbortHandler)
			case 2:
				if r.Method != http.MethodGet {
					h.ServeHTTP(w, r)
					return
				}
				count.Add(1)
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				for k, v := range rec.Header() {
					w.Header()[k] = v
				}
				w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
				w.WriteHeader(rec.Code)
				_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
				panic(http.ErrAbortHandler)
			default:
				h.ServeHTTP(w, r)
			}
		})
	}
}

// An endpoint that fails now and then is asked again; nobody notices.
func TestBrokenEndpoint(t *testing.T) {
	minio.DefaultRetryUnit, minio.DefaultRetryCap = time.Millisecond, 2*time.Millisecond
	var failures atomic.Int64
	s := open(t, serve(t, broken(&failures)))
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // two parts of an upload
	for i := range 25 {
		key, want := fmt.Sprintf("k/%02d", i), fmt.Appendf(nil, "content %d", i)
		if i == 24 {
			want = large
		}
		if _, err := s.Put(t.Context(), key, bytes.NewReader(want), blob.PutOptions{}); err != nil {
			t.Fatalf("put %s: %v", key, err)
		}
		r, _, err := s.Open(t.Context(), key, 3, -1)
		if err != nil {
			t.Fatalf("open %s: %v", key, err)
		}
		got, err := io.ReadAll(r)
		_ = r.Close()
		if err != nil || !bytes.Equal(got, want[3:]) {
			t.Fatalf("%s: %d bytes, %v; want %d", key, len(got), err, len(want)-3)
		}
	}
	n := 0
	for _, err := range s.List(t.Context(), "k/") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 25 || failures.Load() < 10 {
		t.Errorf("%d blobs, %d failures", n, failures.Load())
	}
}

// An endpoint that never answers is a fault that may pass.
func TestDeadEndpoint(t *testing.T) {
	minio.DefaultRetryUnit, minio.DefaultRetryCap = time.Millisecond, 2*time.Millisecond
	s := open(t, serve(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	}))
	if _, err := s.Put(t.Context(), "k", strings.NewReader("x"), blob.PutOptions{}); !fault.Is(err, fault.Transient) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Stat(t.Context(), "k"); !fault.Is(err, fault.Transient) {
		t.Errorf("stat: %v", err)
	}
}

func TestSignedURL(t *testing.T) {
	address := serve(t, nil)
	if _, ok := open(t, address).(blob.Signer); ok {
		t.Error("URLs are signed without being asked for")
	}
	s := open(t, address+"&signed_urls=true")
	if _, err := s.Put(t.Context(), "a/b.ndjson", strings.NewReader("hello"), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	u, err := blob.Sub(s, "a").(blob.Signer).SignedURL(t.Context(), "b.ndjson", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != 200 || string(text) != "hello" || !strings.Contains(u, "X-Amz-Signature=") {
		t.Errorf("%s: %d %s", u, res.StatusCode, text)
	}
}

func TestAddress(t *testing.T) {
	for address, says := range map[string]string{
		"s3://":                               "s3://BUCKET",
		"s3://key:secret@bucket":              "the key is no part",
		"s3://bucket?colour=red":              "colour",
		"s3://bucket?endpoint=minio:9000":     "endpoint",
		"s3://bucket?endpoint=https://x/path": "endpoint",
		"s3://bucket?signed_urls=perhaps":     "signed_urls",
		"s3://bucket?path_style=perhaps":      "path_style",
		"s3://bucket?credentials=guess":       "credentials",
		"s3://bucket/../x":                    "beginning",
	} {
		if _, err := s3.Open(address); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"s3://bucket", "s3://bucket/a/b/?region=eu-central-1", "s3://b?endpoint=http://127.0.0.1:1&path_style=false&credentials=env"} {
		if _, err := s3.Open(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
