package mapping

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Normalize finds the measurements of a message: every template is tried, and
// each token that its typeMatchExpression finds gives one. A token that lacks
// something that is required gives an *Error instead; the other measurements
// are good all the same. tr, when not nil, is told what each expression did.
func (m *Device) Normalize(msg Message, tr *Trace) ([]Measurement, []*Error) {
	var out []Measurement
	var errs []*Error
	for _, t := range m.templates {
		tr.template(t)
		tokens, err := m.tokens(t, &msg, tr)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, token := range tokens {
			x := extraction{m: m, t: t, tr: tr}
			x.places(&msg, token)
			measurement, err := x.measurement(&msg)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			tr.measured()
			out = append(out, measurement)
		}
	}
	return out, errs
}

// tokens returns what the typeMatchExpression of t finds in the envelope or,
// when it finds nothing there, in the body.
func (m *Device) tokens(t *deviceTemplate, msg *Message, tr *Trace) ([]jsonvalue.Value, *Error) {
	var found []jsonvalue.Value
	for i, place := range []struct {
		name string
		v    jsonvalue.Value
	}{{"envelope", msg.envelope}, {"body", msg.body}} {
		if i > 0 && m.opt.MS {
			break
		}
		all, err := t.match.all(place.v)
		if err != nil {
			return nil, t.fail(TemplateExpression, t.match, err.Error())
		}
		for _, v := range all {
			if v.Kind() != resource.Null {
				found = append(found, v)
			}
		}
		if len(found) > 0 {
			tr.matched(t.match, place.name, found)
			return found, nil
		}
	}
	tr.matched(t.match, "", nil)
	return nil, nil
}

// fail returns an Error at an expression, or at the template when e is nil.
func (t *deviceTemplate) fail(c Class, e *expression, msg string) *Error {
	err := &Error{Class: c, TypeName: t.typeName, Line: t.line, Column: t.column, Msg: msg}
	if e != nil {
		err.Line, err.Column = e.line, e.column
	}
	return err
}

// place is where an expression is looked up.
type place struct {
	name string
	v    jsonvalue.Value
}

// extraction evaluates the expressions of a template for one token.
type extraction struct {
	m      *Device
	t      *deviceTemplate
	tr     *Trace
	list   [4]place
	nPlace int
}

// places lists where expressions look, in order.
func (x *extraction) places(msg *Message, token jsonvalue.Value) {
	add := func(name string, v jsonvalue.Value) {
		x.list[x.nPlace] = place{name, v}
		x.nPlace++
	}
	if x.t.kind == CalculatedContent {
		add("envelope with matchedToken", msg.withToken(token))
		if x.m.opt.MS {
			return
		}
		add("matchedToken", token)
		add("body", msg.body)
		return
	}
	add("matchedToken", token)
	if x.m.opt.MS {
		return
	}
	add("body", msg.body)
	add("envelope", msg.envelope)
}

// text evaluates e in the places in turn. "" means that it has no value; why is
// what was wrong with the values that were found.
func (x *extraction) text(e *expression) (text, why string, err error) {
	for i, p := range x.list[:x.nPlace] {
		v, err := e.one(p.v, x.m.opt.MS)
		if err != nil {
			if i+1 < x.nPlace && e.jmes != nil {
				why = err.Error() // a function may like what another place has
				continue
			}
			return "", "", err
		}
		switch {
		case v.IsNull():
			continue
		case !v.Scalar():
			why = "the expression finds " + article(v.Kind()) + ", not a single value"
			continue
		}
		s := x.render(v)
		if strings.TrimSpace(s) == "" {
			why = "the value is empty"
			continue
		}
		x.tr.value(e, p.name, v, s)
		return s, "", nil
	}
	x.tr.missing(e, why)
	return "", why, nil
}

func article(k resource.Kind) string {
	if k == resource.Array || k == resource.Object {
		return "an " + k.String()
	}
	return "a " + k.String()
}

// render returns the text of a value. AHDS writes true as True, and fractions
// without the zeros at their end.
func (x *extraction) render(v jsonvalue.Value) string {
	s := v.Text()
	if x.m.opt.MS {
		switch v.Kind() {
		case resource.Bool:
			return strings.ToUpper(s[:1]) + s[1:]
		case resource.Number:
			if f, ok := v.Float(); ok && strings.ContainsAny(s, ".eE") {
				return jsonvalue.Float(f).Text()
			}
		}
	}
	return s
}

// required is text for a value that must be there.
func (x *extraction) required(field string, exprs ...*expression) (string, *Error) {
	var asked []string
	var reason string
	for _, e := range exprs {
		s, why, err := x.text(e)
		if err != nil {
			return "", x.evalError(e, field, err)
		}
		if s != "" {
			return s, nil
		}
		if why != "" {
			reason = ": " + why
		}
		asked = append(asked, e.text)
	}
	msg := fmt.Sprintf("Unable to extract required value for [%s] using %s%s", field, strings.Join(asked, ","), reason)
	return "", x.t.fail(IncompatibleData, exprs[0], msg)
}

func (x *extraction) evalError(e *expression, field string, err error) *Error {
	return x.t.fail(TemplateExpression, e, fmt.Sprintf("Unable to evaluate the expression for [%s]: %s", field, err))
}

// optional is text for a value that may be missing.
func (x *extraction) optional(e *expression, to *string) *Error {
	if e == nil {
		return nil
	}
	s, _, err := x.text(e)
	if err != nil {
		return x.evalError(e, e.field, err)
	}
	*to = s
	return nil
}

// measurement evaluates all expressions. All errors are reported as one.
func (x *extraction) measurement(msg *Message) (Measurement, *Error) {
	t := x.t
	out := Measurement{Type: t.typeName, Arrived: msg.arrived}
	var list []*Error
	note := func(err *Error) {
		if err != nil {
			list = append(list, err)
		}
	}
	var err *Error
	out.DeviceID, err = x.required("DeviceIdExpression", t.device)
	note(err)
	note(x.time(&out))
	if t.correlation != nil {
		s, why, e := x.text(t.correlation)
		switch {
		case e != nil:
			note(x.evalError(t.correlation, "CorrelationIdExpression", e))
		case s == "":
			if why != "" {
				why = ": " + why
			}
			note(t.fail(CorrelationIDNotDefined, t.correlation, "Unable to extract required value for [CorrelationIdExpression] using "+t.correlation.text+why))
		}
		out.CorrelationID = s
	}
	note(x.optional(t.patient, &out.PatientID))
	note(x.optional(t.encounter, &out.EncounterID))
	for _, v := range t.values {
		var s string
		if v.required {
			s, err = x.required(v.name, v.expr)
			note(err)
		} else {
			note(x.optional(v.expr, &s))
		}
		if s != "" {
			out.Properties = append(out.Properties, Property{v.name, s})
		}
	}
	return out, join(list)
}

// time sets the time of the measurement.
func (x *extraction) time(out *Measurement) *Error {
	s, err := x.required("TimestampExpression", x.t.timestamp...)
	if err != nil {
		return err
	}
	var ok bool
	if out.Time, out.Digits, ok = parseTime(s); !ok {
		hint := ""
		if _, isNumber := jsonvalue.Number(s).Float(); isNumber {
			hint = "; for a number of seconds or milliseconds use fromUnixTimestamp or fromUnixTimestampMs of JMESPath"
		}
		e := x.t.timestamp[0]
		return x.t.fail(IncompatibleData, e, "Encountered an error while extracting value for [TimestampExpression] using expression "+e.text+": the value is no date and time"+hint)
	}
	return nil
}

// join makes one error of several: the first decides the class and the place.
func join(list []*Error) *Error {
	if len(list) == 0 {
		return nil
	}
	first := *list[0]
	for _, e := range list[1:] {
		first.Msg += "; " + e.Msg
	}
	return &first
}

// AsError returns err as an *Error; one of another type is of class fallback.
func AsError(err error, fallback Class) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Class: fallback, Msg: err.Error()}
}
