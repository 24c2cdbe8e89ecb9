package mapping

import (
	"fmt"
	"strings"
)

// Check compares the two mappings: what the device mapping makes must have a
// place in the FHIR mapping, and the other way round. All findings are warnings,
// because either mapping may be changed first.
func Check(device *Device, fhir *FHIR) Problems {
	var out Problems
	warn := func(line, column int, format string, args ...any) {
		out = append(out, Problem{Line: line, Column: column, Message: fmt.Sprintf(format, args...), Warning: true})
	}
	made := map[string]map[string]bool{} // type in lower case: its value names
	for _, t := range device.templates {
		key := strings.ToLower(t.typeName)
		names := made[key]
		if names == nil {
			names = map[string]bool{}
			made[key] = names
		}
		f := fhir.templates[key]
		if f == nil {
			warn(t.line, t.column, "device mapping: no template of the FHIR mapping has the typeName %q%s", t.typeName, fhir.nearestType(key))
			continue
		}
		wanted := map[string]bool{}
		f.each(func(v *valueTemplate) { wanted[v.name] = true })
		for _, v := range t.values {
			names[v.name] = true
			if !wanted[v.name] {
				warn(v.expr.line, v.expr.column, "device mapping: the value %q of type %q has no place in the FHIR mapping", v.name, t.typeName)
			}
		}
		if f.period == ByCorrelation && t.correlation == nil {
			warn(t.line, t.column, "device mapping: type %q has no correlationIdExpression but the periodInterval of the FHIR mapping is -1", t.typeName)
		}
		if len(t.values) == 0 {
			warn(t.line, t.column, "device mapping: type %q has no values", t.typeName)
		}
	}
	for _, f := range fhir.order {
		names, ok := made[strings.ToLower(f.typeName)]
		if !ok {
			warn(f.line, f.column, "FHIR mapping: no template of the device mapping has the typeName %q", f.typeName)
			continue
		}
		f.each(func(v *valueTemplate) {
			if !names[v.name] {
				warn(v.line, v.column, "FHIR mapping: no template of the device mapping gives the value %q of type %q", v.name, f.typeName)
			}
		})
	}
	return out
}

// nearestType suggests the type that may have been meant.
func (m *FHIR) nearestType(key string) string {
	best, distance := "", 4
	for _, t := range m.order {
		if d := editDistance(key, strings.ToLower(t.typeName)); d < distance {
			best, distance = t.typeName, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}
