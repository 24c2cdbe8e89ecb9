//go:build unix

package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/bus/bustest"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/server"
)

// flow is a server for measurements of what goes through several rooms.
type flow struct {
	b *testing.B
	h http.Handler
}

func newFlow(b *testing.B, database string) *flow {
	b.Helper()
	cfg := server.Defaults()
	cfg.Database = database
	cfg.Data, cfg.Insecure, cfg.Log.Level = b.TempDir(), true, "error"
	cfg.Events.Allow = []string{"127.0.0.1"}
	s, err := server.New(context.Background(), cfg, server.Options{Log: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return &flow{b, s.Handler()}
}

func (f *flow) do(method, path, media, body string, into any) {
	f.b.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", media)
	w := httptest.NewRecorder()
	f.h.ServeHTTP(w, r)
	if w.Code/100 != 2 {
		f.b.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			f.b.Fatal(err)
		}
	}
}

// per runs step for units of work until the benchmark has enough, and reports
// the CPU time of the process and the rate of one unit.
func (f *flow) per(units int, step func()) {
	f.b.ResetTimer()
	from, begin, n := cpuTime(), time.Now(), 0
	for f.b.Loop() {
		step()
		n += units
	}
	f.b.ReportMetric(float64((cpuTime()-from).Microseconds())/float64(n), "cpu-us/unit")
	f.b.ReportMetric(float64(n)/time.Since(begin).Seconds(), "units/s")
}

// BenchmarkDevices sends messages that each become a new Observation of one of 50
// devices, and waits until all are stored.
func BenchmarkDevices(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkDevices(b, "") })
	b.Run("postgres", func(b *testing.B) { benchmarkDevices(b, dbtest.Database(b)) })
}

func benchmarkDevices(b *testing.B, database string) {
	f := newFlow(b, database)
	f.do("PUT", "/default/medtech/devicemapping", "application/json", noteMapping, nil)
	f.do("PUT", "/default/medtech/fhirmapping", "application/json", noteFHIR, nil)
	const many = 5000
	n := 0
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.per(many, func() {
		for range many / 500 {
			var body strings.Builder
			for range 500 {
				n++
				fmt.Fprintf(&body, `{"d":"d%d","p":"p%d","t":"%s","note":"%d"}`+"\n", n%50, n%50, at.Add(time.Duration(n)*time.Second).Format(time.RFC3339), n)
			}
			f.do("POST", "/default/medtech/messages", "application/x-ndjson", body.String(), nil)
		}
		for {
			var st struct{ Processed int }
			if f.do("GET", "/default/medtech/status", "", "", &st); st.Processed >= n {
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
}

// BenchmarkDeliveries creates resources in transactions of 500, all of which go
// to one destination: a webhook with one event a request and with batches, and
// JetStream. The CPU time is that of the writes, too, and of the webhook.
func BenchmarkDeliveries(b *testing.B) {
	for _, batch := range []int{1, 100} {
		b.Run(fmt.Sprint("webhook batch=", batch), func(b *testing.B) {
			hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if r.Header["Aeg-Event-Type"][0] != "Notification" {
					var list []struct {
						Data struct{ ValidationCode string }
					}
					_ = json.Unmarshal(body, &list)
					fmt.Fprintf(w, `{"validationResponse":%q}`, list[0].Data.ValidationCode)
				}
			}))
			b.Cleanup(hook.Close)
			benchmarkDeliveries(b, fmt.Sprintf(`{"endpointType":"WebHook","properties":{"endpointUrl":%q,"maxEventsPerBatch":%d}}`, hook.URL, batch))
		})
	}
	b.Run("nats", func(b *testing.B) {
		address := bustest.NATS(b)
		bustest.Ask(b, address, "$JS.API.STREAM.CREATE.EVENTS", `{"name":"EVENTS","subjects":["events"],"storage":"file"}`)
		benchmarkDeliveries(b, fmt.Sprintf(`{"endpointType":"NATS","properties":{"urls":[%q],"topic":"events"}}`, address))
	})
}

func benchmarkDeliveries(b *testing.B, destination string) {
	f := newFlow(b, "")
	f.do("PUT", subscriptions+"/hook", "application/json", `{"destination":`+destination+`}`, nil)
	var bundle strings.Builder
	bundle.WriteString(`{"resourceType":"Bundle","type":"transaction","entry":[`)
	for i := range 500 {
		if i > 0 {
			bundle.WriteByte(',')
		}
		bundle.WriteString(`{"resource":{"resourceType":"Basic","code":{"text":"x"}},"request":{"method":"POST","url":"Basic"}}`)
	}
	bundle.WriteString(`]}`)
	n := 0
	f.per(5000, func() {
		for range 10 {
			f.do("POST", "/default/fhir", "application/fhir+json", bundle.String(), nil)
		}
		for n += 5000; ; time.Sleep(5 * time.Millisecond) {
			var info struct {
				Status struct{ DeliveredSinceStart int }
			}
			if f.do("GET", subscriptions+"/hook", "", "", &info); info.Status.DeliveredSinceStart >= n {
				return
			}
		}
	})
}
