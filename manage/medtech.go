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
	// Sources are where messages come from besides HTTP.
	Sources []MedTechSource `json:"sources,omitempty"`
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

// isZero reports whether nothing was said.
func (m MedTechSpec) isZero() bool { return m.equal(MedTechSpec{}) }

func (m MedTechSpec) equal(n MedTechSpec) bool { return m.Equal(n) }

// Equal reports whether m and n say the same.
func (m MedTechSpec) Equal(n MedTechSpec) bool {
	return m.Destination == n.Destination && m.Resolution == n.Resolution && m.DeviceIdentifierSystem == n.DeviceIdentifierSystem &&
		m.IgnorePeriod == n.IgnorePeriod && m.Retention == n.Retention && slices.EqualFunc(m.Sources, n.Sources, MedTechSource.equal)
}

func (s MedTechSource) equal(t MedTechSource) bool {
	return s.Name == t.Name && s.Type == t.Type && s.Listen == t.Listen && slices.Equal(s.URLs, t.URLs) && slices.Equal(s.Topics, t.Topics) &&
		s.Stream == t.Stream && s.Group == t.Group && s.User == t.User && s.Password == t.Password && s.TLS == t.TLS
}

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
