//go:build unix

package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/server"
)

// quiet is a ResponseWriter that keeps nothing.
type quiet struct{ h http.Header }

func (q quiet) Header() http.Header         { return q.h }
func (q quiet) Write(p []byte) (int, error) { return len(p), nil }
func (q quiet) WriteHeader(int)             {}

// cpuTime is what the process used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRead reads a patient through the whole chain without a network: with
// nothing, with the audit trail, and with the trail and a token. cpu-us is the
// CPU time of the process per request, which other work on the machine does not
// change as much as the clock.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		name         string
		audit, token bool
	}{{"plain", false, false}, {"audit", true, false}, {"audit+token", true, true}} {
		b.Run(c.name, func(b *testing.B) {
			cfg := server.Defaults()
			cfg.Data, cfg.Insecure, cfg.Audit.Enabled, cfg.Log.Level = b.TempDir(), !c.token, c.audit, "error"
			s, err := server.New(context.Background(), cfg, server.Options{Log: io.Discard})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			h := s.Handler()
			header := http.Header{}
			if c.token {
				header.Set("Authorization", "Bearer "+bootstrapToken(b, cfg.Data, h))
			}
			do := func(method, path, body string) int {
				r := httptest.NewRequest(method, path, strings.NewReader(body))
				r.Header = header.Clone()
				r.Header.Set("Content-Type", "application/fhir+json")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				return w.Code
			}
			if code := do("PUT", "/default/fhir/Patient/p1", patientBody); code != 201 {
				b.Fatal(code)
			}
			r := httptest.NewRequest("GET", "/default/fhir/Patient/p1", nil)
			r.Header = header
			b.ReportAllocs()
			b.ResetTimer()
			from := cpuTime()
			for b.Loop() {
				h.ServeHTTP(quiet{http.Header{}}, r)
			}
			b.ReportMetric(float64((cpuTime()-from).Nanoseconds())/1000/float64(b.N), "cpu-us/op")
		})
	}
}

// BenchmarkCreate has sixteen clients create Observations through the whole chain
// without a network, with the audit trail and without, in turns, so that what else
// happens on the machine happens to both.
func BenchmarkCreate(b *testing.B) {
	for round := range 3 {
		for _, audited := range []bool{false, true} {
			b.Run(fmt.Sprintf("audit=%t/%d", audited, round), func(b *testing.B) {
				cfg := server.Defaults()
				cfg.Data, cfg.Insecure, cfg.Audit.Enabled, cfg.Log.Level = b.TempDir(), true, audited, "error"
				s, err := server.New(context.Background(), cfg, server.Options{Log: io.Discard})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = s.Close() })
				h := s.Handler()
				create := func() {
					r := httptest.NewRequest("POST", "/default/fhir/Observation", strings.NewReader(observationBody))
					r.Header["Content-Type"] = []string{"application/fhir+json"}
					h.ServeHTTP(quiet{http.Header{}}, r)
				}
				create()
				b.ReportAllocs()
				b.SetParallelism(16)
				b.ResetTimer()
				from := cpuTime()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						create()
					}
				})
				b.ReportMetric(float64((cpuTime()-from).Nanoseconds())/1000/float64(b.N), "cpu-us/op")
			})
		}
	}
}

const observationBody = `{"resourceType":"Observation","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],
"code":{"coding":[{"system":"http://loinc.org","code":"8867-4","display":"Heart rate"}],"text":"Heart rate"},"subject":{"reference":"Patient/p1"},
"effectiveDateTime":"2026-01-01T10:00:00Z","valueQuantity":{"value":70,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}`
