package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// eventCounters are the metrics of events. Those of Event Grid have the same
// meaning: Publish Succeeded, Matched, Unmatched, Delivery Succeeded, Delivery
// Failed, Dead Lettered, Dropped.
type eventCounters struct {
	published                                    *prometheus.CounterVec
	matched, unmatched, delivered, dead, dropped *prometheus.CounterVec
	failed                                       *prometheus.CounterVec
	latency                                      *prometheus.HistogramVec
}

func newEventCounters(reg prometheus.Registerer) *eventCounters {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hygeia_events_" + name + "_total", Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	c := &eventCounters{
		published: counter("published", "Events that came into the log.", "workspace"),
		matched:   counter("matched", "Events that a subscription wants.", "workspace", "subscription"),
		unmatched: counter("unmatched", "Events that a subscription does not want.", "workspace", "subscription"),
		delivered: counter("delivered", "Events that a destination took.", "workspace", "subscription"),
		failed:    counter("delivery_failed", "Attempts that failed, by outcome.", "workspace", "subscription", "outcome"),
		dead:      counter("dead_lettered", "Events that were given up and written to the dead letters.", "workspace", "subscription"),
		dropped:   counter("dropped", "Events that were given up and have no place for dead letters.", "workspace", "subscription"),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hygeia_events_delivery_seconds", Help: "Time from the change to its delivery.",
			Buckets: []float64{.005, .01, .025, .05, .1, .2, .5, 1, 5, 30, 300, 3600},
		}, []string{"workspace", "subscription"}),
	}
	reg.MustRegister(c.latency)
	return c
}

// Events counts the events of one workspace.
type Events struct {
	c         *eventCounters
	workspace string
}

// Events returns the counters of a workspace.
func (m *Metrics) Events(workspace string) *Events { return &Events{m.events, workspace} }

// Published counts events that came into the log.
func (e *Events) Published(n int) { e.c.published.WithLabelValues(e.workspace).Add(float64(n)) }

// Matched counts events that a subscription wants.
func (e *Events) Matched(sub string, n int) {
	e.c.matched.WithLabelValues(e.workspace, sub).Add(float64(n))
}

// Unmatched counts events that a subscription does not want.
func (e *Events) Unmatched(sub string, n int) {
	e.c.unmatched.WithLabelValues(e.workspace, sub).Add(float64(n))
}

// Delivered counts events that arrived, with the time since the change.
func (e *Events) Delivered(sub string, n int, latency time.Duration) {
	e.c.delivered.WithLabelValues(e.workspace, sub).Add(float64(n))
	e.c.latency.WithLabelValues(e.workspace, sub).Observe(latency.Seconds())
}

// DeliveryFailed counts events of an attempt that failed.
func (e *Events) DeliveryFailed(sub string, n int, outcome string) {
	e.c.failed.WithLabelValues(e.workspace, sub, outcome).Add(float64(n))
}

// DeadLettered counts events that were given up and kept.
func (e *Events) DeadLettered(sub string, n int) {
	e.c.dead.WithLabelValues(e.workspace, sub).Add(float64(n))
}

// Dropped counts events that were given up.
func (e *Events) Dropped(sub string, n int) {
	e.c.dropped.WithLabelValues(e.workspace, sub).Add(float64(n))
}
