package web_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/web"
)

// TestHTTP2Resets has many streams on one connection, half of which the client
// gives up somewhere: while it sends, while it reads, or at once. The others get
// whole answers of their own, and nothing stays behind.
func TestHTTP2Resets(t *testing.T) {
	var running, observed atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		line := []byte(r.URL.Query().Get("n") + "," + strconv.FormatInt(n, 10) + "\n")
		for range 500 {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	})
	srv := httptest.NewUnstartedServer(web.Chain(h, web.Options{
		HandleTime: time.Minute, MaxBody: 1 << 20, Concurrent: 1000, Stall: time.Minute, MaxHeaders: 16 << 10,
		Record:  func(*http.Request, *web.Request, int) error { return nil },
		Observe: []func(web.Observation){func(web.Observation) { observed.Add(1) }},
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	const streams, size = 100, 20_000
	ask := func(i int) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		body := io.Reader(bytes.NewReader(make([]byte, size)))
		if i%4 == 1 { // given up while it sends
			pr, pw := io.Pipe()
			body = pr
			go func() {
				_, _ = pw.Write(make([]byte, size/2))
				cancel()
				_ = pw.Close()
			}()
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/?n="+strconv.Itoa(i), body)
		if err != nil {
			t.Error(err)
			return
		}
		if i%8 == 7 { // at once
			time.AfterFunc(time.Duration(i)*10*time.Microsecond, cancel)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			if i%2 == 0 {
				t.Error(i, err)
			}
			return
		}
		defer res.Body.Close()
		if i%8 == 3 { // while it reads
			_, _ = io.CopyN(io.Discard, res.Body, 100)
			return
		}
		got, err := io.ReadAll(res.Body)
		if want := bytes.Repeat([]byte(strconv.Itoa(i)+","+strconv.Itoa(size)+"\n"), 500); i%2 == 0 && (err != nil || res.ProtoMajor != 2 || !bytes.Equal(got, want)) {
			t.Errorf("%d: %s, %d bytes of %d, %v", i, res.Proto, len(got), len(want), err)
		}
	}
	var wg sync.WaitGroup
	for i := range streams {
		wg.Go(func() { ask(i) })
	}
	wg.Wait()
	for end := time.Now().Add(time.Minute); running.Load() > 0 || observed.Load() < streams/2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d handlers do not end, %d requests were observed", running.Load(), observed.Load())
		}
	}
}
