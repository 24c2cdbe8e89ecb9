package mapping

import (
	"time"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// window is the time that an Observation covers: all of it, and where the part
// that is already stored began.
type window struct{ start, end, oldStart time.Time }

// Observation returns the text of a new Observation of the group. Patient,
// device and encounter are left out when the identity does not have them.
func (g *Group) Observation(id Identity, issued time.Time) ([]byte, *Error) {
	dst := make([]byte, 0, 1024)
	dst = append(dst, `{"resourceType":"Observation","id":"`...)
	dst = append(append(dst, g.ID(id)...), `","identifier":[{"system":"`+ServiceSystem+`","value":`...)
	dst = append(resource.AppendString(dst, g.Identifier(id)), `}],"status":"final"`...)
	if len(g.template.categories) > 0 {
		dst = g.appendCategory(append(dst, `,"category":`...))
	}
	dst = coded(g.TypeName, g.template.codes).append(append(dst, `,"code":`...))
	dst = appendReference(dst, "subject", "Patient", id.Patient)
	dst = appendReference(dst, "encounter", "Encounter", id.Encounter)
	name, effective := g.effective(g.start, g.end)
	dst = append(append(append(append(dst, `,"`...), name...), `":`...), effective...)
	if !issued.IsZero() {
		dst = append(appendTime(append(dst, `,"issued":"`...), issued, 3), '"')
	}
	dst = appendReference(dst, "device", "Device", id.Device)
	span := window{g.start, g.end, g.start}
	if v := g.template.value; v != nil && len(g.values[v.name]) > 0 {
		var err *Error
		dst = append(append(append(dst, `,"`...), valueMember(v)...), `":`...)
		if dst, err = g.appendValue(dst, v, g.values[v.name], nil, span); err != nil {
			return nil, err
		}
	}
	dst, err := g.appendComponents(dst, span)
	if err != nil {
		return nil, err
	}
	return append(dst, '}'), nil
}

// valueMember returns the name of value[x]: valueQuantity.
func valueMember(v *valueTemplate) string { return "value" + string(v.kind) }

func (g *Group) appendCategory(dst []byte) []byte {
	dst = append(dst, '[')
	for i, c := range g.template.categories {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = c.append(dst)
	}
	return append(dst, ']')
}

func appendReference(dst []byte, member, typ, id string) []byte {
	if id == "" {
		return dst
	}
	dst = append(append(append(dst, `,"`...), member...), `":{"reference":`...)
	return append(resource.AppendString(dst, typ+"/"+id), '}')
}

// effective returns effective[x]: a dateTime for what happened at one time, a
// Period for everything else. AHDS knows the Period only.
func (g *Group) effective(start, end time.Time) (name, text string) {
	if start.Equal(end) && !g.opt.MS {
		return "effectiveDateTime", `"` + formatTime(start, g.digits) + `"`
	}
	digits := g.digits
	if end.Nanosecond()%1e6 != 0 {
		digits = 0 // the end of a window: 59.9999999
	}
	return "effectivePeriod", `{"start":"` + formatTime(start, digits) + `","end":"` + formatTime(end, fractionDigits(end, digits)) + `"}`
}

// fractionDigits returns how many digits the fraction of t needs, at least min.
func fractionDigits(t time.Time, min int) int {
	n, digits := t.Nanosecond(), 9
	for n%10 == 0 && digits > 0 {
		n /= 10
		digits--
	}
	return max(digits, min)
}

// appendComponents appends the components that have a value.
func (g *Group) appendComponents(dst []byte, span window) ([]byte, *Error) {
	first := true
	for _, c := range g.template.components {
		values := g.values[c.value.name]
		if len(values) == 0 {
			continue
		}
		if first {
			dst = append(dst, `,"component":[`...)
		} else {
			dst = append(dst, ',')
		}
		first = false
		var err *Error
		if dst, err = g.appendComponent(dst, c, values, nil, span); err != nil {
			return dst, err
		}
	}
	if !first {
		dst = append(dst, ']')
	}
	return dst, nil
}

func (g *Group) appendComponent(dst []byte, c component, values []sample, merged *resource.Node, span window) ([]byte, *Error) {
	dst = coded(c.value.name, c.codes).append(append(dst, `{"code":`...))
	dst = append(append(append(dst, `,"`...), valueMember(c.value)...), `":`...)
	dst, err := g.appendValue(dst, c.value, values, merged, span)
	return append(dst, '}'), err
}
