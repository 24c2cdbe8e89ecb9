package medtechhttp

import (
	"net/http"
	"strings"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// trial tries mappings on messages. The body has deviceEvents (an array; also
// messages, or message for one), deviceMapping and fhirMapping (objects, or
// their text; without them those in use), aggregate, compat and ignorePeriod.
func (h *handler) trial(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := jsonType(r); err != nil {
		return err
	}
	text, err := h.readBody(r)
	if err != nil {
		return err
	}
	held, err := h.enter(r, text)
	if err != nil {
		return err
	}
	defer h.opt.Bodies.Leave(held)
	root, err := jsonvalue.Parse(text)
	if err != nil {
		return fault.New(fault.Invalid, "the body is no JSON: %v", err)
	}
	if root.Kind() != resource.Object {
		return fault.New(fault.Invalid, "the body is an object with deviceEvents, deviceMapping and fhirMapping")
	}
	cfg := h.s.Config()
	in := mapping.Trial{Options: mapping.Options{MS: cfg.Compat == medtech.CompatMS, IgnorePeriod: cfg.IgnorePeriod}}
	for name, v := range root.Members() {
		if err := trialMember(&in, name, v); err != nil {
			return err
		}
	}
	if in.Events == nil {
		return fault.New(fault.Invalid, "deviceEvents is missing: an array of messages")
	}
	out, err := h.s.Trial(r.Context(), in)
	if err != nil {
		return err
	}
	return reply(w, r, http.StatusOK, out)
}

func trialMember(in *mapping.Trial, name string, v jsonvalue.Value) error {
	switch strings.ToLower(name) {
	case "deviceevents", "messages", "events":
		if v.Kind() != resource.Array {
			return fault.New(fault.Invalid, "%s must be an array of messages", name)
		}
		in.Events = []jsonvalue.Value{}
		for e := range v.Children() {
			in.Events = append(in.Events, e)
		}
	case "deviceevent", "message":
		in.Events = []jsonvalue.Value{v}
	case "devicemapping":
		in.Device = document(v)
	case "fhirmapping":
		in.FHIR = document(v)
	case "aggregate", "aggregatedeviceevents":
		return truth(name, v, &in.Aggregate)
	case "ignoreperiod":
		return truth(name, v, &in.Options.IgnorePeriod)
	case "compat":
		if v.Kind() != resource.String || v.Text() != "" && v.Text() != medtech.CompatMS {
			return fault.New(fault.Invalid, `compat is "" or "ms"`)
		}
		in.Options.MS = v.Text() == medtech.CompatMS
	default:
		return fault.New(fault.Invalid, "the body has no member %.60q; there are deviceEvents, deviceMapping, fhirMapping, aggregate, compat, ignorePeriod", name)
	}
	return nil
}

// document is a mapping: an object as it was written, so that the lines of its
// errors begin with it, or a text that holds one.
func document(v jsonvalue.Value) []byte {
	switch v.Kind() {
	case resource.String:
		return []byte(v.Text())
	case resource.Null:
		return nil
	}
	return v.Node().Raw()
}

func truth(name string, v jsonvalue.Value, to *bool) error {
	if v.Kind() != resource.Bool {
		return fault.New(fault.Invalid, "%s is true or false", name)
	}
	*to = v.Text() == "true"
	return nil
}
