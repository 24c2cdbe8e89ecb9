package mapping

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/hygeia-health/hygeia/spec/resource"
)

var (
	decimalText = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	looseNumber = regexp.MustCompile(`^[-+]?([0-9]+|[0-9]{1,3}(,[0-9]{3})+)?(\.[0-9]*)?([eE][-+]?[0-9]+)?$`)
)

// decimal returns a text as a FHIR decimal; false when it is no number. Digits
// stay as they are; a plus sign, thousands and missing digits around the point
// are put right.
func decimal(s string) (string, bool) {
	if decimalText.MatchString(s) {
		return s, true
	}
	s = strings.TrimSpace(s)
	if !looseNumber.MatchString(s) || !strings.ContainsAny(s, "0123456789") {
		return "", false
	}
	s = strings.ReplaceAll(strings.TrimPrefix(s, "+"), ",", "")
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	digits := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	whole, rest := s, ""
	if digits >= 0 {
		whole, rest = s[:digits], s[digits:]
	}
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if strings.HasPrefix(rest, ".") && (len(rest) == 1 || rest[1] < '0' || rest[1] > '9') {
		rest = rest[1:]
	}
	s = sign + whole + rest
	return s, decimalText.MatchString(s)
}

// appendValue appends the text of value[x] of a template. merged is the
// SampledData that is already there, nil when there is none.
func (g *Group) appendValue(dst []byte, v *valueTemplate, values []sample, merged *resource.Node, span window) ([]byte, *Error) {
	var err *Error
	switch v.kind {
	case Quantity:
		dst, err = g.appendQuantity(dst, v, values)
	case SampledData:
		dst, err = g.appendSampled(dst, v, values, merged, span)
	case CodeableConcept:
		dst = v.concept.append(dst)
	case String:
		if g.opt.MS && len(values) > 1 {
			err = &Error{Class: FHIRDataMapping, Msg: fmt.Sprintf("Expected 1 value. Received %d.", len(values))}
			break
		}
		dst = resource.AppendString(dst, values[len(values)-1].value)
	}
	if err != nil {
		err.TypeName, err.Line, err.Column = g.TypeName, v.line, v.column
	}
	return dst, err
}

// appendQuantity appends the last value as a Quantity. AHDS refuses a group with
// several values, which depends on how messages fall into batches.
func (g *Group) appendQuantity(dst []byte, v *valueTemplate, values []sample) ([]byte, *Error) {
	if g.opt.MS && len(values) > 1 {
		return dst, &Error{Class: InvalidQuantity, Msg: fmt.Sprintf("Expected 1 value. Received %d.", len(values))}
	}
	number, ok := decimal(values[len(values)-1].value)
	if !ok {
		return dst, &Error{Class: InvalidQuantity, Msg: fmt.Sprintf("Error encountered processing value: the value of %q is no number.", v.name)}
	}
	dst = append(append(dst, `{"value":`...), number...)
	dst = appendText(dst, "unit", v.unit)
	dst = appendText(dst, "system", v.system)
	dst = appendText(dst, "code", v.code)
	return append(dst, '}'), nil
}

func (g *Group) appendSampled(dst []byte, v *valueTemplate, values []sample, merged *resource.Node, span window) ([]byte, *Error) {
	for i, s := range values {
		if s.value == "E" || s.value == "U" || s.value == "L" {
			continue
		}
		number, ok := decimal(s.value)
		if !ok {
			return dst, &Error{Class: FHIRDataMapping, Msg: fmt.Sprintf("the value of %q is neither a number nor E, U or L", v.name)}
		}
		values[i].value = number
	}
	if merged != nil {
		old := samplesOf(merged.Get("data").Text(), span.oldStart, v.period)
		values = mergeSamples(old, values, span.start, v.period)
	}
	data, err := sampledData(values, span.start, span.end, v.period)
	if err != nil {
		return dst, err
	}
	dst = append(dst, `{"origin":{"value":0`...)
	dst = appendText(dst, "unit", v.unit)
	dst = append(append(dst, `},"period":`...), v.periodText...)
	dst = append(dst, `,"dimensions":1,"data":`...)
	return append(resource.AppendString(dst, data), '}'), nil
}

// appendText appends ,"name":"text" when there is a text.
func appendText(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	dst = append(append(append(dst, ',', '"'), name...), `":`...)
	return resource.AppendString(dst, text)
}

// append appends the CodeableConcept.
func (c concept) append(dst []byte) []byte {
	dst = append(dst, '{')
	if len(c.codes) > 0 {
		dst = append(dst, `"coding":[`...)
		for i, x := range c.codes {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = x.append(dst)
		}
		dst = append(dst, ']')
	}
	if c.text != "" {
		if len(c.codes) > 0 {
			dst = append(dst, ',')
		}
		dst = resource.AppendString(append(dst, `"text":`...), c.text)
	}
	return append(dst, '}')
}

func (c coding) append(dst []byte) []byte {
	at := len(dst)
	dst = appendText(dst, "system", c.system)
	dst = appendText(dst, "code", c.code)
	dst = appendText(dst, "display", c.display)
	if len(dst) == at {
		return append(dst, "{}"...)
	}
	dst[at] = '{'
	return append(dst, '}')
}

// coded returns the code of an Observation or component: the codes of the
// template and the one that the service gives.
func coded(name string, codes []coding) concept {
	all := append(append(make([]coding, 0, len(codes)+1), codes...), coding{ServiceSystem, name, name})
	return concept{name, all}
}
