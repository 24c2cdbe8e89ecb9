package manage

import (
	"slices"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// MedTechSpec is what a client decides about a MedTech service, besides what all
// services have.
type MedTechSpec struct {
	// Destination is the FHIR service of the same workspace that gets the Observations.
	Destination string `json:"destination,omitempty"`
	// Resolution is Create (also when empty), Lookup or LookupWithEncounter.
	Resolution string `json:"resolution,omitempty"`
	// DeviceIdentifierSystem is the system of device identifiers; empty is any.
	DeviceIdentifierSystem string `json:"deviceIdentifierSystem,omitempty"`
	// IgnorePeriod lets periodInterval only group SampledData.
	IgnorePeriod bool `json:"ignorePeriod,omitempty"`
	// Retention is how long processed messages are kept for replays, such as 168h.
	Retention string `json:"retention,omitempty"`
}

// Resolutions are the ways in which a MedTech service finds Patient and Device.
var Resolutions = []string{"Create", "Lookup", "LookupWithEncounter"}

// isZero reports whether nothing was said.
func (m MedTechSpec) isZero() bool { return m.equal(MedTechSpec{}) }

func (m MedTechSpec) equal(n MedTechSpec) bool { return m == n }

// RetentionTime returns Retention; 0 when nothing was said.
func (m MedTechSpec) RetentionTime() time.Duration {
	d, err := time.ParseDuration(m.Retention)
	if err != nil {
		return 0 // Check saw it before
	}
	return d
}

func (m MedTechSpec) check() error {
	if m.Destination == "" {
		return fault.New(fault.Invalid, "destination is missing: the FHIR service of the workspace that gets the Observations")
	}
	if err := CheckServiceName(m.Destination); err != nil {
		return fault.New(fault.Invalid, "destination: %v", err)
	}
	if m.Resolution != "" && !slices.Contains(Resolutions, m.Resolution) {
		return fault.New(fault.Invalid, "resolution %.40q is unknown; it is Create, Lookup or LookupWithEncounter", m.Resolution)
	}
	if m.Retention != "" {
		if d, err := time.ParseDuration(m.Retention); err != nil || d < time.Minute || d > 10*8760*time.Hour {
			return fault.New(fault.Invalid, "retention %.40q is no duration between 1m and 87600h", m.Retention)
		}
	}
	return nil
}
