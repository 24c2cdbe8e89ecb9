package medtech

import (
	"sync/atomic"
	"time"
)

// Meter counts. The names of its methods are those of the metrics of AHDS as far
// as there is one.
type Meter interface {
	// Ingested counts messages that were kept (DeviceEvent, DeviceIngressSizeBytes).
	Ingested(messages, bytes int, took time.Duration)
	// Normalized counts what a batch of messages gave (NormalizedEvent,
	// Measurement, DroppedEvent).
	Normalized(n Normalized)
	// Grouped counts the groups of a batch (MeasurementGroup).
	Grouped(groups int)
	// Saved counts Observations by what was done: ObservationCreated, Updated or
	// NoOperation (FhirResourceSaved).
	Saved(operation string, n int)
	// Failed counts an error by stage and class.
	Failed(stage Stage, class string, n int)
	// Contention counts writes that were tried again (FHIRResourceContention).
	Contention(n int)
	// Latency is the time from the arrival of a message to the end of a stage
	// (DeviceEventProcessingLatencyMs, MeasurementIngestionLatencyMs).
	Latency(stage Stage, d time.Duration)
}

// Normalized is the outcome of normalizing a batch.
type Normalized struct {
	Messages     int
	Measurements int
	Dropped      int // messages that no template matched
	Took         time.Duration
}

type noMeter struct{}

func (noMeter) Ingested(int, int, time.Duration) {}
func (noMeter) Normalized(Normalized)            {}
func (noMeter) Grouped(int)                      {}
func (noMeter) Saved(string, int)                {}
func (noMeter) Failed(Stage, string, int)        {}
func (noMeter) Contention(int)                   {}
func (noMeter) Latency(Stage, time.Duration)     {}

// raise sets a to v if that is more.
func raise(a *atomic.Int64, v int64) {
	for {
		old := a.Load()
		if v <= old || a.CompareAndSwap(old, v) {
			return
		}
	}
}
