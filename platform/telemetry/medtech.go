package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// medtech are the instruments of all MedTech services. Besides those with
// Prometheus names there is one counter whose labels are the dimensions that
// Azure Health Data Services gives its metrics, for dashboards that know them.
type medtech struct {
	messages   *prometheus.CounterVec
	bytes      *prometheus.CounterVec
	measured   *prometheus.CounterVec
	dropped    *prometheus.CounterVec
	groups     *prometheus.CounterVec
	saved      *prometheus.CounterVec
	errors     *prometheus.CounterVec
	contention *prometheus.CounterVec
	latency    *prometheus.HistogramVec
	duration   *prometheus.HistogramVec
	named      *prometheus.CounterVec
	lag        *queues
}

func newMedTech() *medtech {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"service"}, labels...))
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600}
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, append([]string{"service"}, labels...))
	}
	return &medtech{
		messages:   counter("hygeia_medtech_messages_total", "Messages that were kept."),
		bytes:      counter("hygeia_medtech_message_bytes_total", "Bytes of the messages that were kept."),
		measured:   counter("hygeia_medtech_measurements_total", "Measurements that the device mapping found."),
		dropped:    counter("hygeia_medtech_dropped_messages_total", "Messages that no device template matches."),
		groups:     counter("hygeia_medtech_groups_total", "Groups of measurements that become one Observation."),
		saved:      counter("hygeia_medtech_observations_total", "Observations by what was done.", "operation"),
		errors:     counter("hygeia_medtech_errors_total", "Errors by stage and class.", "stage", "error"),
		contention: counter("hygeia_medtech_contention_total", "Writes that were tried again because somebody else changed the Observation."),
		latency:    histogram("hygeia_medtech_latency_seconds", "Time from the arrival of a message to the end of a stage.", "stage"),
		duration:   histogram("hygeia_medtech_stage_duration_seconds", "Time that a stage took for a batch.", "stage"),
		named:      counter("hygeia_medtech_metric_total", "The metrics of the MedTech service by the names of AHDS.", "name", "category", "operation", "resource_type", "error_type"),
		lag:        &queues{desc: prometheus.NewDesc("hygeia_medtech_lag_messages", "Messages that wait to be processed.", []string{"service"}, nil)},
	}
}

func (m *medtech) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.messages, m.bytes, m.measured, m.dropped, m.groups, m.saved, m.errors, m.contention, m.latency, m.duration, m.named, m.lag}
}

// forget drops the series of a service.
func (m *medtech) forget(service string) {
	labels := prometheus.Labels{"service": service}
	for _, v := range []*prometheus.CounterVec{m.messages, m.bytes, m.measured, m.dropped, m.groups, m.saved, m.errors, m.contention, m.named} {
		v.DeletePartialMatch(labels)
	}
	m.latency.DeletePartialMatch(labels)
	m.duration.DeletePartialMatch(labels)
	m.lag.Delete(service)
}

// MedTech are the instruments of one MedTech service.
type MedTech struct {
	all     *medtech
	service string
	known   sync.Map // namedKey -> prometheus.Counter
	latency sync.Map // stage -> prometheus.Observer
}

// MedTech returns the instruments of a MedTech service.
func (m *Metrics) MedTech(service string) *MedTech { return &MedTech{all: m.medtech, service: service} }

// Lag sets the function that tells how many messages wait.
func (m *MedTech) Lag(f func() int64) {
	m.all.lag.Store(m.service, func() int { return int(f()) })
}

type namedKey struct{ name, category, operation, resource, failure string }

func (m *MedTech) named(k namedKey, n float64) {
	c, ok := m.known.Load(k)
	if !ok {
		c, _ = m.known.LoadOrStore(k, m.all.named.WithLabelValues(m.service, k.name, k.category, k.operation, k.resource, k.failure))
	}
	c.(prometheus.Counter).Add(n)
}

// The stages by the names of AHDS.
const (
	normalization = "Normalization"
	grouping      = "Grouping"
	conversion    = "FHIRConversion"
)

// Ingested counts messages that were kept.
func (m *MedTech) Ingested(messages, bytes int, took time.Duration) {
	m.all.messages.WithLabelValues(m.service).Add(float64(messages))
	m.all.bytes.WithLabelValues(m.service).Add(float64(bytes))
	m.all.duration.WithLabelValues(m.service, "Ingestion").Observe(took.Seconds())
	m.named(namedKey{name: "DeviceEvent", category: "Traffic", operation: normalization}, float64(messages))
	m.named(namedKey{name: "MessagesIngested", category: "Traffic", operation: normalization}, float64(messages))
	m.named(namedKey{name: "DeviceIngressSizeBytes", category: "Traffic", operation: normalization}, float64(bytes))
}

// Normalized counts what a batch of messages gave.
func (m *MedTech) Normalized(messages, measurements, dropped int, took time.Duration) {
	m.all.measured.WithLabelValues(m.service).Add(float64(measurements))
	m.all.dropped.WithLabelValues(m.service).Add(float64(dropped))
	m.all.duration.WithLabelValues(m.service, normalization).Observe(took.Seconds())
	m.named(namedKey{name: "NormalizedEvent", category: "Traffic", operation: normalization}, float64(measurements))
	m.named(namedKey{name: "Measurement", category: "Traffic", operation: conversion}, float64(measurements))
	m.named(namedKey{name: "NormalizationTimePerBatchMs", category: "Latency", operation: normalization}, float64(took.Microseconds())/1000)
	m.named(namedKey{name: "MeasurementBatchSize", category: "Traffic", operation: normalization}, float64(messages))
	if dropped > 0 {
		m.named(namedKey{name: "DroppedEvent", category: "Traffic", operation: normalization}, float64(dropped))
	}
}

// Grouped counts the groups of a batch.
func (m *MedTech) Grouped(groups int) {
	m.all.groups.WithLabelValues(m.service).Add(float64(groups))
	m.named(namedKey{name: "MeasurementGroup", category: "Traffic", operation: grouping}, float64(groups))
}

// Saved counts Observations by what was done.
func (m *MedTech) Saved(operation string, n int) {
	m.all.saved.WithLabelValues(m.service, operation).Add(float64(n))
	m.named(namedKey{name: operation, category: "Traffic", operation: conversion, resource: "Observation"}, float64(n))
	m.named(namedKey{name: "FhirResourceSaved", category: "Traffic", operation: conversion, resource: "Observation"}, float64(n))
	if operation == "ObservationCreated" {
		m.named(namedKey{name: "ObservationsCreated", category: "Traffic", operation: conversion, resource: "Observation"}, float64(n))
	}
}

// Failed counts an error.
func (m *MedTech) Failed(stage, class string, n int) {
	m.all.errors.WithLabelValues(m.service, stage, class).Add(float64(n))
	m.named(namedKey{name: class + "Exception", category: "Errors", operation: stage, failure: class}, float64(n))
}

// Contention counts writes that were tried again.
func (m *MedTech) Contention(n int) {
	m.all.contention.WithLabelValues(m.service).Add(float64(n))
	m.named(namedKey{name: "FHIRResourceContention", category: "Errors", operation: conversion, resource: "Observation"}, float64(n))
}

// Latency observes the time from the arrival of a message to the end of a stage.
func (m *MedTech) Latency(stage string, d time.Duration) {
	o, ok := m.latency.Load(stage)
	if !ok {
		o, _ = m.latency.LoadOrStore(stage, m.all.latency.WithLabelValues(m.service, stage))
	}
	o.(prometheus.Observer).Observe(d.Seconds())
	name := "DeviceEventProcessingLatencyMs"
	if stage == conversion {
		name = "MeasurementIngestionLatencyMs"
	}
	m.named(namedKey{name: name, category: "Latency", operation: stage}, float64(d.Microseconds())/1000)
}
