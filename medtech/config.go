package medtech

import (
	"slices"
	"time"

	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// CompatMS is the value of Config.Compat that evaluates mappings and makes
// Observations exactly as Azure Health Data Services does.
const CompatMS = "ms"

// Resolution says how Patient and Device of a measurement are found.
type Resolution string

// The resolutions.
const (
	// Create looks up, and makes what is missing.
	Create Resolution = "Create"
	// Lookup finds the Device by its identifier and the Patient by the Device.
	Lookup Resolution = "Lookup"
	// LookupWithEncounter is Lookup, and the Encounter must be there.
	LookupWithEncounter Resolution = "LookupWithEncounter"
)

// Config holds what an operator may set. The zero value is useful.
type Config struct {
	Compat     string     // "" or CompatMS
	Resolution Resolution // "" means Create
	// DeviceSystem is the system of device identifiers; "" is any.
	DeviceSystem string
	// IgnorePeriod lets periodInterval only group SampledData.
	IgnorePeriod bool
	// Retention is how long processed messages are kept for replays; 0 means 7 days.
	Retention time.Duration
	// MaxBacklog is how many messages may wait for the pipeline before new ones
	// are refused; 0 means 1,000,000.
	MaxBacklog int64
}

// maxBatch is how many messages are processed together. Latency comes first: a
// batch is what has arrived, however little that is.
const maxBatch = 500

func (c Config) withDefaults() (Config, error) {
	if c.Compat != "" && c.Compat != CompatMS {
		return c, fault.New(fault.Invalid, "compat %.40q is unknown; it is \"\" or %q", c.Compat, CompatMS)
	}
	if c.Resolution == "" {
		c.Resolution = Create
	}
	if !slices.Contains(Resolutions, string(c.Resolution)) {
		return c, fault.New(fault.Invalid, "resolution %.40q is unknown; it is Create, Lookup or LookupWithEncounter", string(c.Resolution))
	}
	if c.Retention < 0 || c.MaxBacklog < 0 {
		return c, fault.New(fault.Invalid, "retention and backlog must not be negative")
	}
	if c.Retention == 0 {
		c.Retention = 7 * 24 * time.Hour
	}
	if c.MaxBacklog == 0 {
		c.MaxBacklog = 1_000_000
	}
	return c, nil
}

// Resolutions are the names of the resolutions.
var Resolutions = []string{string(Create), string(Lookup), string(LookupWithEncounter)}

func (c Config) options() mapping.Options {
	return mapping.Options{MS: c.Compat == CompatMS, IgnorePeriod: c.IgnorePeriod}
}
