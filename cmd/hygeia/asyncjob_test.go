package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestPatience(t *testing.T) {
	soon := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		header   string
		low, top time.Duration
	}{
		{"", 2 * time.Second, 2 * time.Second},
		{"1", 2 * time.Second, 2 * time.Second},
		{"7", 7 * time.Second, 7 * time.Second},
		{" 30 ", 30 * time.Second, 30 * time.Second},
		{"99999", longestPause, longestPause},
		{"-3", 2 * time.Second, 2 * time.Second},
		{"often", 2 * time.Second, 2 * time.Second},
		{soon, 3 * time.Second, time.Minute},
		{"Mon, 02 Jan 2006 15:04:05 GMT", 2 * time.Second, 2 * time.Second},
	} {
		res := &http.Response{StatusCode: 503, Status: "503", Header: http.Header{"Retry-After": {c.header}}}
		for _, err := range []error{outcomeError(res, nil), outcomeError(res, []byte(`{"issue":[{"diagnostics":"later"}]}`)), problem(res, nil)} {
			if got := patience(err, 2); got < c.low || got > c.top {
				t.Errorf("Retry-After %q: %v, want %v to %v", c.header, got, c.low, c.top)
			}
		}
	}
	if got := patience(io.ErrUnexpectedEOF, 3); got != 4*time.Second {
		t.Errorf("nobody answers: %v", got)
	}
}

// TestWaitBusy asks a server that is busy again when it wants to be asked.
func TestWaitBusy(t *testing.T) {
	t.Parallel()
	var asked []time.Time
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked = append(asked, time.Now()); len(asked) == 1 {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = io.WriteString(w, `{"a":1}`)
	}))
	defer ts.Close()
	var out map[string]int
	if err := (asyncFlags{}).wait(t.Context(), stdio{err: io.Discard}, ts.URL, &out); err != nil || out["a"] != 1 {
		t.Fatalf("%v, %v", out, err)
	}
	if d := asked[1].Sub(asked[0]); d < 2*time.Second {
		t.Errorf("it was asked again after %v", d)
	}
}

// TestFetchCutOff fetches a file whose answer breaks off: inside, and behind the
// last byte, which a compressed or chunked answer can.
func TestFetchCutOff(t *testing.T) {
	t.Parallel()
	const text = "one\ntwo\nthree\n"
	fetch := func(t *testing.T, sent int) {
		t.Parallel()
		n := 0
		ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n++; n == 1 {
				w.Header().Set("Transfer-Encoding", "chunked")
				_, _ = io.WriteString(w, text[:sent])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
		}))
		to := filepath.Join(t.TempDir(), "f")
		err := exportCmd{}.fetch(t.Context(), ts.URL, to, "")
		got, _ := os.ReadFile(to)
		if err != nil || string(got) != text || n != 2 {
			t.Errorf("%q after %d requests, %v", got, n, err)
		}
		ts.Close()
	}
	for _, sent := range []int{0, 5, len(text)} {
		t.Run(strconv.Itoa(sent), func(t *testing.T) { fetch(t, sent) })
	}
}
