package telemetry_test

import (
	"bytes"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hygeia-health/hygeia/platform/telemetry"
)

func scrape(m *telemetry.Metrics) string {
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	return rec.Body.String()
}

func TestMetrics(t *testing.T) {
	m := telemetry.New("1.2.3")
	m.Observe(telemetry.Call{Service: "default/fhir", Operation: "read", Type: "Patient", Status: 200, Duration: time.Millisecond, BytesIn: -1, BytesOut: 700})
	m.Observe(telemetry.Call{Service: "default/fhir", Operation: "read", Type: "Patient", Status: 404, Duration: time.Millisecond})
	m.Observe(telemetry.Call{Status: 7})
	waiting := 3
	m.Store("default/fhir", func() int { return waiting }).Commit(5, 2*time.Millisecond)
	text := scrape(m)
	for _, want := range []string{
		`hygeia_build_info{version="1.2.3"} 1`,
		`hygeia_requests_total{operation="read",service="default/fhir",status="2xx",type="Patient"} 1`,
		`hygeia_request_errors_total{operation="read",service="default/fhir",status="4xx",type="Patient"} 1`,
		`hygeia_request_errors_total{operation="",service="",status="5xx",type=""} 1`,
		`hygeia_request_duration_seconds_count{operation="read",service="default/fhir",type="Patient"} 2`,
		`hygeia_request_size_bytes_count{operation="read",service="default/fhir"} 1`,
		`hygeia_response_size_bytes_sum{operation="read",service="default/fhir"} 700`,
		`hygeia_store_commit_batch_sum{service="default/fhir"} 5`,
		`hygeia_store_commit_duration_seconds_count{service="default/fhir"} 1`,
		`hygeia_store_write_queue_length{service="default/fhir"} 3`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("missing %s", want)
		}
	}
	m.Forget("default/fhir")
	if strings.Contains(scrape(m), "default/fhir") {
		t.Error("a forgotten service is still there")
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "warn", "json")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud")
	if strings.Contains(out.String(), "quiet") || !strings.Contains(out.String(), `"msg":"loud"`) {
		t.Error(out.String())
	}
	if _, err := telemetry.NewLogger(&out, "loud", "json"); err == nil {
		t.Error("level loud is accepted")
	}
	if _, err := telemetry.NewLogger(&out, "info", "xml"); err == nil {
		t.Error("format xml is accepted")
	}
}

func TestBuffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := telemetry.NewBuffered(&out)
		write := func(s string) {
			if n, err := io.WriteString(b, s); n != len(s) || err != nil {
				t.Fatal(n, err)
			}
		}
		write("a\n")
		if out.Len() > 0 {
			t.Error("written at once")
		}
		time.Sleep(time.Second)
		synctest.Wait() // for what the timer does
		if out.String() != "a\n" {
			t.Errorf("after a second: %q", out.String())
		}
		write("b\n")
		b.Flush()
		if out.String() != "a\nb\n" {
			t.Errorf("after a flush: %q", out.String())
		}
		long := strings.Repeat("c", 100_000)
		write("d")
		write(long)
		if out.String() != "a\nb\nd"+long {
			t.Error("a long line is lost or out of order")
		}
		for range 10_000 {
			write("0123456789")
		}
		b.Flush()
		if got := out.Len(); got != 5+100_000+100_000 {
			t.Errorf("%d bytes", got)
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	m := telemetry.New("x")
	for b.Loop() {
		m.Observe(telemetry.Call{Service: "default/fhir", Operation: "read", Type: "Patient", Status: 200, Duration: time.Millisecond, BytesOut: 700})
	}
}
