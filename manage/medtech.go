package manage

import (
	"slices"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// MedTechSpec is what a client decides about a MedTech service, besides what all
// services have.
type MedTechSpec struct {
	Destination            string `json:"destination,omitempty" yaml:"destination,omitempty" doc:"Only for kind medtech, and needed there: the FHIR service of the workspace that gets the Observations."`
	Resolution             string `json:"resolution,omitempty" yaml:"resolution,omitempty" doc:"Only for kind medtech: Create makes Patients and Devices that are missing (the default), Lookup and LookupWithEncounter do not."`
	DeviceIdentifierSystem string `json:"deviceIdentifierSystem,omitempty" yaml:"device_identifier_system,omitempty" doc:"Only for kind medtech: the system of device identifiers; empty is any."`
	IgnorePeriod           bool   `json:"ignorePeriod,omitempty" yaml:"ignore_period,omitempty" doc:"Only for kind medtech: periodInterval of the FHIR mapping only groups SampledData."`
	Retention              string `json:"retention,omitempty" yaml:"retention,omitempty" doc:"Only for kind medtech: how long processed messages are kept for replays, such as 168h (the default)."`

	Sources []MedTechSource `json:"sources,omitempty" yaml:"sources,omitempty" doc:"Only for kind medtech: where messages come from besides HTTP; see [sources](medtech-sources.md)."`
}

// MedTechSource is a place that messages come from.
type MedTechSource struct {
	Name     string   `json:"name" yaml:"name"`
	Type     string   `json:"type" yaml:"type"`                         // mqtt-broker, mqtt, kafka or nats
	Listen   string   `json:"listen,omitempty" yaml:"listen,omitempty"` // of an mqtt-broker
	URLs     []string `json:"urls,omitempty" yaml:"urls,omitempty"`     // of the others
	Topics   []string `json:"topics,omitempty" yaml:"topics,omitempty"` // MQTT filters, Kafka topics, NATS subjects
	Stream   string   `json:"stream,omitempty" yaml:"stream,omitempty"` // of nats
	Group    string   `json:"group,omitempty" yaml:"group,omitempty"`   // consumer group, durable consumer, MQTT client id
	User     string   `json:"user,omitempty" yaml:"user,omitempty"`
	Password string   `json:"password,omitempty" yaml:"password,omitempty"` // a reference: env:NAME or file:PATH
	TLS      bool     `json:"tls,omitempty" yaml:"tls,omitempty"`           // of kafka and nats
}

// maxSources bounds the sources of one service.
const maxSources = 16

func checkSources(list []MedTechSource) error {
	if len(list) > maxSources {
		return fault.New(fault.Invalid, "%d sources are more than %d", len(list), maxSources)
	}
	seen := map[string]bool{}
	for i, s := range list {
		if err := CheckServiceName(s.Name); err != nil {
			return fault.New(fault.Invalid, "sources[%d].name: %v", i, err)
		}
		if seen[s.Name] || s.Name == "http" {
			return fault.New(fault.Invalid, "sources[%d].name: %q is taken", i, s.Name)
		}
		seen[s.Name] = true
		if kind, _, _ := strings.Cut(s.Password, ":"); s.Password != "" && kind != "env" && kind != "file" {
			return fault.New(fault.Invalid, "sources[%d].password: a secret is a reference: env:NAME or file:PATH", i)
		}
	}
	return nil
}

// Resolutions are the ways in which a MedTech service finds Patient and Device.
var Resolutions = []string{"Create", "Lookup", "LookupWithEncounter"}

// Equal reports whether m and n say the same.
func (m MedTechSpec) Equal(n MedTechSpec) bool { return same(m, n) }

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
	return checkSources(m.Sources)
}
