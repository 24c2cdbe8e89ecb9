package fhirhttp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirhttp"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// fixed is a Service that always returns the same record or page.
type fixed struct {
	broken
	rec  *fhir.Record
	page *fhir.Page
}

func (f fixed) Do(context.Context, *fhir.Interaction) (*fhir.Response, error) {
	return &fhir.Response{Status: 200, Record: f.rec, Page: f.page}, nil
}

func fixedService(tb testing.TB) fixed {
	tb.Helper()
	src := `{"resourceType":"Observation","id":"o1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8302-2","display":"Body Height"}],"text":"Body Height"},"subject":{"reference":"Patient/0197a7a0-0000-7000-8000-000000000000"},"effectiveDateTime":"2014-02-01T03:04:05+01:00","valueQuantity":{"value":172.40,"unit":"cm","system":"http://unitsofmeasure.org","code":"cm"},"note":[{"text":"` + strings.Repeat("n", 600) + `"}]}`
	var d resource.Doc
	if err := d.Parse([]byte(src), resource.Options{}); err != nil {
		tb.Fatal(err)
	}
	rec := fhir.Record{Key: fhir.Key{Type: "Observation", ID: "o1"}, Version: 3, Seq: fhir.SeqAt(start), Method: "PUT", Stored: d.Root().AppendStored(nil, nil)}
	page := &fhir.Page{Total: -1}
	for range 100 {
		page.Records = append(page.Records, rec)
	}
	return fixed{rec: &rec, page: page}
}

// discard is a ResponseWriter that costs nothing.
type discard struct {
	h http.Header
	n int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { d.n += len(p); return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkRead is one read without the network, with the service for nothing.
func BenchmarkRead(b *testing.B) {
	svc := fixedService(b)
	svc.page = nil
	h := fhirhttp.New(svc, fhirhttp.Options{BasePath: "/default/fhir"})
	r := httptest.NewRequest("GET", base+"/Observation/o1", nil)
	w := &discard{h: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

// BenchmarkSearch renders a page of 100 resources.
func BenchmarkSearch(b *testing.B) {
	svc := fixedService(b)
	h := fhirhttp.New(svc, fhirhttp.Options{BasePath: "/default/fhir"})
	for _, q := range []string{"", "?_summary=true"} {
		b.Run("page"+q, func(b *testing.B) {
			r := httptest.NewRequest("GET", base+"/Observation"+q, nil)
			w := &discard{h: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				h.ServeHTTP(w, r)
			}
			b.SetBytes(int64(w.n / b.N))
		})
	}
}

// BenchmarkOverHTTP compares the read handler with a bare handler that writes
// the same bytes, both through net/http on loopback.
func BenchmarkOverHTTP(b *testing.B) {
	svc := fixedService(b)
	svc.page = nil
	h := fhirhttp.New(svc, fhirhttp.Options{BasePath: "/default/fhir"})
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", base+"/Observation/o1", nil))
	body := rec.Body.Bytes()
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})
	for _, c := range []struct {
		name string
		h    http.Handler
	}{{"bare", bare}, {"fhir", h}} {
		b.Run(c.name, func(b *testing.B) {
			srv := httptest.NewServer(c.h)
			defer srv.Close()
			tr := &http.Transport{MaxIdleConnsPerHost: 16}
			client := &http.Client{Transport: tr}
			defer tr.CloseIdleConnections()
			buf := make([]byte, len(body))
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.Get(srv.URL + "/default/fhir/Observation/o1")
				if err != nil {
					b.Fatal(err)
				}
				for {
					if _, err := resp.Body.Read(buf); err != nil {
						break
					}
				}
				_ = resp.Body.Close()
			}
		})
	}
}
