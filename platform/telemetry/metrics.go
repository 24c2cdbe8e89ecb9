package telemetry

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is the registry of one process.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler

	requests *prometheus.CounterVec
	errors   *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	sizeIn   *prometheus.HistogramVec
	sizeOut  *prometheus.HistogramVec
	commits  *prometheus.HistogramVec
	batch    *prometheus.HistogramVec
	queues   *queues
	medtech  *medtech
	imaging  *imagings
	events   *eventCounters

	series sync.Map // seriesKey -> *series, so that a request looks up labels once
}

// Call is one answered request.
type Call struct {
	Service   string // workspace/service; "" = the platform itself
	Operation string
	Type      string // resource type, or ""
	Status    int
	Duration  time.Duration
	BytesIn   int64 // < 0 = unknown
	BytesOut  int64
}

type seriesKey struct {
	service, operation, typ string
	class                   uint8
}

// series are the instruments of one combination of labels.
type series struct {
	requests prometheus.Counter
	errors   prometheus.Counter // nil unless the class is 4 or 5
	latency  prometheus.Observer
	sizeIn   prometheus.Observer
	sizeOut  prometheus.Observer
}

// New returns Metrics with the collectors of the Go runtime and the process.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	seconds := []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60}
	bytes := prometheus.ExponentialBuckets(256, 4, 11)
	m.requests = counter("hygeia_requests_total", "Requests answered.", "service", "operation", "type", "status")
	m.errors = counter("hygeia_request_errors_total", "Requests answered with 4xx or 5xx.", "service", "operation", "type", "status")
	m.latency = histogram("hygeia_request_duration_seconds", "Time from the first byte read to the last byte written.", seconds, "service", "operation", "type")
	m.sizeIn = histogram("hygeia_request_size_bytes", "Size of request bodies.", bytes, "service", "operation")
	m.sizeOut = histogram("hygeia_response_size_bytes", "Size of response bodies on the wire.", bytes, "service", "operation")
	m.commits = histogram("hygeia_store_commit_duration_seconds", "Time of a durable commit, with its fsync.", seconds, "service")
	m.batch = histogram("hygeia_store_commit_batch", "Changes that shared one commit.", prometheus.ExponentialBuckets(1, 2, 10), "service")
	m.queues = &queues{desc: prometheus.NewDesc("hygeia_store_write_queue_length", "Changes that wait for the writer.", []string{"service"}, nil)}
	m.medtech = newMedTech()
	m.registry.MustRegister(m.medtech.collectors()...)
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "hygeia_build_info", Help: "Always 1; the version is a label."}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.requests, m.errors, m.latency, m.sizeIn, m.sizeOut, m.commits, m.batch, m.queues, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.events = newEventCounters(m.registry)
	m.imaging = newImagings()
	m.registry.MustRegister(m.imaging, m.imaging.worked)
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
	return m
}

// Handler serves the metrics in the Prometheus text format.
func (m *Metrics) Handler() http.Handler { return m.handler }

// Observe counts one request.
func (m *Metrics) Observe(c Call) {
	class := c.Status / 100
	if class < 1 || class > 5 {
		class = 5
	}
	key := seriesKey{c.Service, c.Operation, c.Type, uint8(class)}
	v, ok := m.series.Load(key)
	if !ok {
		v, _ = m.series.LoadOrStore(key, m.newSeries(key))
	}
	s := v.(*series)
	s.requests.Inc()
	if s.errors != nil {
		s.errors.Inc()
	}
	s.latency.Observe(c.Duration.Seconds())
	if c.BytesIn >= 0 {
		s.sizeIn.Observe(float64(c.BytesIn))
	}
	s.sizeOut.Observe(float64(c.BytesOut))
}

func (m *Metrics) newSeries(k seriesKey) *series {
	class := string([]byte{'0' + k.class}) + "xx"
	s := &series{
		requests: m.requests.WithLabelValues(k.service, k.operation, k.typ, class),
		latency:  m.latency.WithLabelValues(k.service, k.operation, k.typ),
		sizeIn:   m.sizeIn.WithLabelValues(k.service, k.operation),
		sizeOut:  m.sizeOut.WithLabelValues(k.service, k.operation),
	}
	if k.class >= 4 {
		s.errors = m.errors.WithLabelValues(k.service, k.operation, k.typ, class)
	}
	return s
}

// Forget drops all series of a service that was deleted.
func (m *Metrics) Forget(service string) {
	m.series.Range(func(k, _ any) bool {
		if k.(seriesKey).service == service {
			m.series.Delete(k)
		}
		return true
	})
	m.queues.Delete(service)
	m.medtech.forget(service)
	m.ForgetImaging(service)
	labels := prometheus.Labels{"service": service}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.requests, m.errors, m.latency, m.sizeIn, m.sizeOut, m.commits, m.batch} {
		v.DeletePartialMatch(labels)
	}
}

// Store are the instruments of the writer of one store.
type Store struct {
	commits prometheus.Observer
	batch   prometheus.Observer
}

// Store returns the instruments of a service's store. queue says how many
// changes wait for its writer; it is asked when the metrics are read, until Forget.
func (m *Metrics) Store(service string, queue func() int) *Store {
	m.queues.Store(service, queue)
	return &Store{commits: m.commits.WithLabelValues(service), batch: m.batch.WithLabelValues(service)}
}

// Commit counts one durable commit that n changes shared.
func (s *Store) Commit(n int, d time.Duration) {
	s.commits.Observe(d.Seconds())
	s.batch.Observe(float64(n))
}

// queues asks the writers when Prometheus does.
type queues struct {
	sync.Map // service -> func() int
	desc     *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (q *queues) Describe(ch chan<- *prometheus.Desc) { ch <- q.desc }

// Collect implements prometheus.Collector.
func (q *queues) Collect(ch chan<- prometheus.Metric) {
	q.Range(func(service, length any) bool {
		ch <- prometheus.MustNewConstMetric(q.desc, prometheus.GaugeValue, float64(length.(func() int)()), service.(string))
		return true
	})
}
