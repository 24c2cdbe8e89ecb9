package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestMain serves the bare handler when Run starts the test binary for that.
func TestMain(m *testing.M) {
	if os.Getenv(bareEnv) != "" {
		if err := Run(context.Background(), Options{}); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestOptions(t *testing.T) {
	tests := []struct {
		name string
		opt  Options
		want string // part of the error
	}{
		{"NoURL", Options{}, "base URL"},
		{"UnknownPhase", Options{URL: "http://x", Phases: []string{"lode"}}, `unknown phase "lode"`},
		{"Negative", Options{URL: "http://x", Patients: -1}, "negative"},
		{"NoConnections", Options{URL: "http://x", Conc: []int{0}}, "at least one connection"},
		{"OK", Options{URL: "http://x"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.opt.withDefaults()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestCopies(t *testing.T) {
	d, err := readData("")
	if err != nil {
		t.Fatal(err)
	}
	if len(d.templates) != 5 {
		t.Fatalf("%d templates, want 5", len(d.templates))
	}
	for _, tp := range d.templates {
		if tp.patient != 0 || len(tp.uuids) < tp.entries || len(tp.names) == 0 || len(tp.facts.codes) == 0 {
			t.Errorf("%s: patient at %d, %d ids in %d entries, %d names, %d codes", tp.name, tp.patient, len(tp.uuids), tp.entries, len(tp.names), len(tp.facts.codes))
		}
		if got := tp.appendCopy(nil, 0); !bytes.Equal(got, tp.raw) {
			t.Errorf("%s: copy 0 differs from the bundle", tp.name)
		}
		a, b := tp.appendCopy(nil, 1), tp.appendCopy(nil, 2)
		if len(a) != len(tp.raw) || bytes.Equal(a, b) || !json.Valid(a) {
			t.Errorf("%s: copies are not right", tp.name)
		}
		seen := map[string]bool{}
		for _, at := range tp.uuids {
			seen[string(tp.raw[at:at+36])] = true
		}
		for _, at := range uuidsIn(a) {
			if seen[string(a[at:at+36])] {
				t.Fatalf("%s: copy 1 still has %s", tp.name, a[at:at+36])
			}
		}
		p := &person{t: tp, copy: 7}
		text := tp.appendCopy(nil, 7)
		_, value, _ := strings.Cut(p.identifier(), "|")
		for _, want := range []string{`"family": "` + p.family() + `"`, `"` + value + `"`} {
			if !bytes.Contains(text, []byte(want)) && !bytes.Contains(text, []byte(strings.ReplaceAll(want, `": "`, `":"`))) {
				t.Errorf("%s: copy 7 does not contain %s", tp.name, want)
			}
		}
	}
}

func TestUUIDs(t *testing.T) {
	const u = "61ebe359-bfdc-4613-8bf2-c5e300945f0a"
	tests := []struct {
		in   string
		want []int
	}{
		{"urn:uuid:" + u, []int{9}},
		{u + "," + u, []int{0, 37}},
		{"a" + u, nil},
		{u[:35], nil},
		{"2020-01-01T10:00:00-05:00", nil},
		{"", nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, uuidsIn([]byte(tt.in))); diff != "" {
			t.Errorf("uuidsIn(%q): (-want +got)\n%s", tt.in, diff)
		}
	}
}

func TestWords(t *testing.T) {
	got := wordsIn([]byte(`"family":"Lind","text":"Reuben Lind"}, Lindane, <b>Lind</b>`), "Lind")
	if diff := cmp.Diff([]int{11, 32, 52}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestPercentile(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	var all []time.Duration
	for i := 1; i <= 200; i++ {
		all = append(all, ms(i))
	}
	for p, want := range map[int]float64{50: 100, 99: 198, 100: 200} {
		if got := percentile(all, p); got != want {
			t.Errorf("p%d = %v, want %v", p, got, want)
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("p50 of nothing = %v", got)
	}
}

// TestConn reads the forms of an answer: with a length, in chunks, empty, and closed.
func TestConn(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/x/echo":
			w.Header().Set("Location", "here")
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write(body)
		case "/x/chunks":
			for range 3 {
				_, _ = io.WriteString(w, strings.Repeat("c", 3000))
				w.(http.Flusher).Flush()
			}
		case "/x/none":
			w.WriteHeader(http.StatusNoContent)
		case "/x/close":
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, "bye")
		}
	}))
	defer srv.Close()
	tg, err := newTarget(srv.URL+"/x/", "")
	if err != nil {
		t.Fatal(err)
	}
	c := tg.conn()
	defer c.close()
	large := strings.Repeat("l", 100_000)
	for range 2 {
		for _, tt := range []struct {
			path, body, want string
			status           int
		}{
			{"/echo", "small", "small", 201},
			{"/echo", large, large, 201},
			{"/chunks", "", strings.Repeat("c", 9000), 200},
			{"/none", "", "", 204},
			{"/close", "", "bye", 200},
		} {
			method, body := "GET", []byte(nil)
			if tt.body != "" {
				method, body = "POST", []byte(tt.body)
			}
			a, err := c.do(t.Context(), method, tt.path, body)
			if err != nil {
				t.Fatalf("%s: %v", tt.path, err)
			}
			if a.status != tt.status || string(a.body) != tt.want {
				t.Errorf("%s: status %d, %d bytes; want %d, %d bytes", tt.path, a.status, len(a.body), tt.status, len(tt.want))
			}
			if tt.path == "/echo" && a.location != "here" {
				t.Errorf("Location %q", a.location)
			}
		}
	}
}

func TestTarget(t *testing.T) {
	for _, bad := range []string{"", "localhost:8080", "ftp://x/", "http://"} {
		if _, err := newTarget(bad, ""); err == nil {
			t.Errorf("newTarget(%q) succeeds", bad)
		}
	}
}

// TestRun goes through all phases against a service on the store in memory.
func TestRun(t *testing.T) {
	svc, err := fhir.New(fhir.Deps{Store: fhirtest.NewMemory(search.Default())})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(fhirhttp.New(svc, fhirhttp.Options{BasePath: "/default/fhir"}))
	defer srv.Close()
	var out bytes.Buffer
	err = Run(t.Context(), Options{
		URL: srv.URL + "/default/fhir", Patients: 6, Conc: []int{2}, Duration: 40 * time.Millisecond,
		PID: os.Getpid(), JSON: true, Out: &out, Progress: io.Discard,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	var got Report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	phases := map[string]bool{}
	for _, m := range got.Results {
		phases[m.Phase] = true
		if m.Requests == 0 || m.Wrong != 0 {
			t.Errorf("%s, %s: %d requests, %d wrong", m.Phase, m.Name, m.Requests, m.Wrong)
		}
	}
	for _, p := range Phases {
		if !phases[p] {
			t.Errorf("phase %s was not measured", p)
		}
	}
	var table bytes.Buffer
	if err := got.table(&table); err != nil || !strings.Contains(table.String(), "GET by id") {
		t.Errorf("table: %v\n%s", err, table.String())
	}
}
