package mapping

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// ServiceSystem is the system of the identifiers and codes that the service
// gives. It is the one of AHDS, so that Observations keep their ids when a
// service moves.
const ServiceSystem = "https://azure.microsoft.com/en-us/services/iomt-fhir-connector/"

// Identity are the logical ids of the resources that an Observation refers to.
type Identity struct {
	Patient, Device, Encounter string
}

// sample is one value at one time.
type sample struct {
	at    time.Time
	value string
}

// Group is the data of one Observation.
type Group struct {
	TypeName    string
	DeviceID    string
	PatientID   string
	EncounterID string
	Members     []int // the measurements in it, as given to Group

	opt         Options
	template    *fhirTemplate
	correlation string
	start, end  time.Time
	digits      int
	values      map[string][]sample // by value name, sorted by time, one each
}

// GroupError says why a measurement is in no group.
type GroupError struct {
	Member int
	Err    *Error
}

// groupKey is what measurements of one Observation have in common.
type groupKey struct {
	typeName, device, patient, encounter, correlation string
	start                                             int64
}

// Group puts measurements together that become one Observation: those of one
// device, type, patient and encounter in one window of the template. Of two
// values at the same time the later measurement of the list wins. The groups
// come in the order of their first measurements.
func (m *FHIR) Group(list []Measurement) (groups []*Group, errs []GroupError) {
	byKey := map[groupKey]*Group{}
	for i := range list {
		x := &list[i]
		t, err := m.template(x.Type)
		if err == nil && t.period == ByCorrelation && x.CorrelationID == "" {
			err = &Error{Class: CorrelationIDNotDefined, TypeName: x.Type, Line: t.line, Column: t.column,
				Msg: "the periodInterval is -1 but the measurement has no correlation id: the device template needs a correlationIdExpression"}
		}
		if err != nil {
			errs = append(errs, GroupError{i, err})
			continue
		}
		start, end := m.window(t, x)
		k := groupKey{x.Type, x.DeviceID, x.PatientID, x.EncounterID, x.CorrelationID, start.UnixNano()}
		if t.period == ByCorrelation {
			k.start = 0
		}
		g := byKey[k]
		if g == nil {
			g = &Group{
				TypeName: x.Type, DeviceID: x.DeviceID, PatientID: x.PatientID, EncounterID: x.EncounterID,
				opt: m.opt, template: t, start: start, end: end, values: map[string][]sample{},
			}
			if t.period == ByCorrelation {
				g.correlation = x.CorrelationID
			}
			byKey[k] = g
			groups = append(groups, g)
		}
		g.add(i, x)
	}
	return groups, errs
}

// window returns the window that a measurement falls into.
func (m *FHIR) window(t *fhirTemplate, x *Measurement) (start, end time.Time) {
	p := t.period
	if m.opt.IgnorePeriod && p > 0 && !t.sampled() {
		p = Single
	}
	at := x.Time.UTC()
	const tick = 100 * time.Nanosecond // the end is the last tick before the next window
	switch p {
	case Hourly:
		start = at.Truncate(time.Hour)
		return start, start.Add(time.Hour - tick)
	case Daily:
		start = at.Truncate(24 * time.Hour)
		return start, start.Add(24*time.Hour - tick)
	}
	return at, at
}

// sampled reports whether a value of the template is SampledData.
func (t *fhirTemplate) sampled() bool {
	found := false
	t.each(func(v *valueTemplate) { found = found || v.kind == SampledData })
	return found
}

// add puts a measurement into the group.
func (g *Group) add(i int, x *Measurement) {
	g.Members = append(g.Members, i)
	g.digits = max(g.digits, x.Digits)
	if g.template.period == ByCorrelation {
		if x.Time.Before(g.start) {
			g.start = x.Time
		}
		if x.Time.After(g.end) {
			g.end = x.Time
		}
	}
	for _, p := range x.Properties {
		g.values[p.Name] = insert(g.values[p.Name], sample{x.Time, p.Value})
	}
}

// insert keeps list sorted by time; a value at the same time is replaced.
func insert(list []sample, s sample) []sample {
	i, found := slices.BinarySearchFunc(list, s, func(a, b sample) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	if found {
		list[i] = s
		return list
	}
	return slices.Insert(list, i, s)
}

// Identifier returns the value of the identifier of the Observation, in
// ServiceSystem.
func (g *Group) Identifier(id Identity) string {
	prefix := id.Patient + "." + id.Device + "." + g.TypeName + "."
	if g.template.period == ByCorrelation {
		return prefix + g.correlation
	}
	return prefix + g.stamp(g.start) + "." + g.stamp(g.end)
}

// stamp writes a time as 20060102150405Z. A single measurement keeps the
// fraction of its second when there is one: two readings of one second are two
// Observations. AHDS has whole seconds only.
func (g *Group) stamp(t time.Time) string {
	layout := "20060102150405Z"
	if !g.opt.MS && g.start.Equal(g.end) && t.Nanosecond() != 0 {
		layout = "20060102150405.999999999Z"
	}
	return t.Format(layout)
}

// ID returns the logical id of the Observation. It follows from what is
// observed, so that a message that comes twice makes one Observation.
func (g *Group) ID(id Identity) string { return HashID(ServiceSystem, g.Identifier(id)) }

// HashID returns the logical id that belongs to an identifier: the SHA-256 of
// system and value in hexadecimal digits.
func HashID(system, value string) string {
	sum := sha256.Sum256([]byte(system + "_" + value))
	return hex.EncodeToString(sum[:])
}

// ResourceID returns the logical id of a Patient or Device that is made for an
// identifier: the identifier itself when it can be an id, else, and always in
// AHDS, its hash.
func ResourceID(opt Options, system, value string) string {
	if value == "" || !opt.MS && validID(value) {
		return value
	}
	return HashID(system, value)
}

// validID reports whether s has the form of a FHIR id (R4 section 2.24.0.1).
func validID(s string) bool {
	for _, c := range []byte(s) {
		if c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 64
}
