package mapping

import (
	"encoding/json"
	"time"

	"github.com/hygeia-health/hygeia/spec/jsonvalue"
)

// Trial is what Validate tries out.
type Trial struct {
	Device, FHIR []byte // the mappings; either may be empty
	Events       []jsonvalue.Value
	Options      Options
	Aggregate    bool      // group the measurements of all events together
	Arrived      time.Time // when the events arrived; zero leaves it out
	DeviceSystem string    // of the identifiers of devices; "" is any
}

// Result is the answer of Validate, with the names of the validator of AHDS. All
// of Trace, Unused and Warnings come besides.
type Result struct {
	TemplateResult TemplateResult `json:"TemplateResult"`
	DeviceResults  []EventResult  `json:"DeviceResults"`
}

// TemplateResult says what is wrong with the mappings.
type TemplateResult struct {
	Exceptions []Exception `json:"Exceptions"`
}

// EventResult says what became of one event, or of all when they are aggregated.
type EventResult struct {
	DeviceEvent     json.RawMessage   `json:"DeviceEvent"`
	Measurements    []Measurement     `json:"Measurements"`
	Observations    []json.RawMessage `json:"Observations"`
	Exceptions      []Exception       `json:"Exceptions"`
	AggregatedCount int               `json:"AggregatedCount,omitempty"`
	Trace           *Trace            `json:"Trace,omitempty"`
	Unused          []string          `json:"Unused,omitempty"`
}

// Exception is one finding.
type Exception struct {
	Message  string    `json:"Message"`
	Level    string    `json:"Level"`    // ERROR or WARN
	Category string    `json:"Category"` // NORMALIZATION or FHIRTRANSFORMATION
	Class    Class     `json:"Class,omitempty"`
	LineInfo *LineInfo `json:"LineInfo,omitempty"`
}

// LineInfo is a place in a mapping.
type LineInfo struct {
	LineNumber   int `json:"LineNumber"`
	LinePosition int `json:"LinePosition"`
}

// The categories of an Exception.
const (
	Normalization      = "NORMALIZATION"
	FHIRTransformation = "FHIRTRANSFORMATION"
)

func lineInfo(line, column int) *LineInfo {
	if line == 0 {
		return nil
	}
	return &LineInfo{line, column}
}

func fromProblem(p Problem, category string) Exception {
	x := Exception{Message: p.Message, Level: "ERROR", Category: category, LineInfo: lineInfo(p.Line, p.Column)}
	if p.Path != "" {
		x.Message = p.Path + ": " + p.Message
	}
	if p.Warning {
		x.Level = "WARN"
	}
	return x
}

func fromError(e *Error, category string) Exception {
	return Exception{Message: e.Msg, Level: "ERROR", Category: category, Class: e.Class, LineInfo: lineInfo(e.Line, e.Column)}
}

// Validate tries mappings on events, without a store: patient and device of the
// Observations are those that would be made for the identifiers of the events.
func Validate(in Trial) Result {
	var out Result
	device, fhir := in.mappings(&out)
	out.DeviceResults = []EventResult{}
	if device == nil {
		return out
	}
	if fhir != nil {
		for _, p := range Check(device, fhir) {
			out.TemplateResult.Exceptions = append(out.TemplateResult.Exceptions, fromProblem(p, FHIRTransformation))
		}
	}
	for _, event := range in.Events {
		out.DeviceResults = append(out.DeviceResults, in.normalize(device, event))
	}
	if fhir == nil {
		return out
	}
	if in.Aggregate {
		all := aggregated(out.DeviceResults)
		in.transform(fhir, &all)
		out.DeviceResults = append(out.DeviceResults, all)
		return out
	}
	for i := range out.DeviceResults {
		in.transform(fhir, &out.DeviceResults[i])
	}
	return out
}

// mappings parses both and notes what is wrong.
func (in *Trial) mappings(out *Result) (*Device, *FHIR) {
	out.TemplateResult.Exceptions = []Exception{}
	note := func(ps Problems, category string) {
		for _, p := range ps {
			out.TemplateResult.Exceptions = append(out.TemplateResult.Exceptions, fromProblem(p, category))
		}
	}
	var device *Device
	var fhir *FHIR
	if len(in.Device) > 0 {
		d, ps := ParseDevice(in.Device, in.Options)
		note(ps, Normalization)
		device = d
	}
	if len(in.FHIR) > 0 {
		f, ps := ParseFHIR(in.FHIR, in.Options)
		note(ps, FHIRTransformation)
		fhir = f
	}
	return device, fhir
}

func (in *Trial) normalize(device *Device, event jsonvalue.Value) EventResult {
	r := EventResult{DeviceEvent: event.AppendJSON(nil), Measurements: []Measurement{}, Observations: []json.RawMessage{}, Exceptions: []Exception{}}
	// A text of its own: the trace tells places in the event, not in what holds it.
	msg, err := ParseMessage(r.DeviceEvent, Source{Arrived: in.Arrived})
	if err != nil {
		r.Exceptions = append(r.Exceptions, fromError(AsError(err, InvalidDataFormat), Normalization))
		return r
	}
	r.Trace = &Trace{}
	ms, errs := device.Normalize(msg, r.Trace)
	r.Measurements = append(r.Measurements, ms...)
	for _, e := range errs {
		r.Exceptions = append(r.Exceptions, fromError(e, Normalization))
	}
	if len(ms) == 0 && len(errs) == 0 {
		r.Exceptions = append(r.Exceptions, Exception{Message: "no template matches the message: it gives no measurement", Level: "WARN", Category: Normalization})
	}
	r.Unused = r.Trace.Finish(msg)
	return r
}

func aggregated(list []EventResult) EventResult {
	all := EventResult{DeviceEvent: json.RawMessage("null"), Observations: []json.RawMessage{}, Exceptions: []Exception{}, AggregatedCount: len(list)}
	for _, r := range list {
		all.Measurements = append(all.Measurements, r.Measurements...)
	}
	return all
}

func (in *Trial) transform(fhir *FHIR, r *EventResult) {
	groups, errs := fhir.Group(r.Measurements)
	for _, e := range errs {
		r.Exceptions = append(r.Exceptions, fromError(e.Err, FHIRTransformation))
	}
	for _, g := range groups {
		id := func(system, value string) string { return ResourceID(in.Options, system, value) }
		text, err := g.Observation(Identity{id("", g.PatientID), id(in.DeviceSystem, g.DeviceID), id("", g.EncounterID)}, in.Arrived)
		if err != nil {
			r.Exceptions = append(r.Exceptions, fromError(err, FHIRTransformation))
			continue
		}
		r.Observations = append(r.Observations, text)
	}
}
