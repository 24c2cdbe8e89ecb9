package fhirpath

import "github.com/hygeia-health/hygeia/spec/resource"

// system converts a primitive node to its System value (http://hl7.org/fhir/R4/fhirpath.html#types);
// any other value is returned as it is. A primitive without a value, or with
// one that does not have the format of its type, stays a node.
func (v Value) system() Value {
	if v.kind != kindNode || !v.node.Valid() {
		return v
	}
	if v.typ == nil {
		return v.untyped()
	}
	switch k := v.node.Kind(); k {
	case resource.Bool:
		if v.typ.Name == "boolean" {
			return Bool(v.node.Bool())
		}
	case resource.Number:
		switch v.typ.Name {
		case "integer", "positiveInt", "unsignedInt":
			if i, ok := parseInteger(v.node.Text()); ok {
				return i
			}
		case "decimal":
			if d, ok := parseDecimal(v.node.Text()); ok {
				return decimalValue(d)
			}
		}
	case resource.String:
		return v.systemString()
	}
	return v
}

func (v Value) systemString() Value {
	text := v.node.Text()
	var t *temporal
	var kind kind
	var ok bool
	switch v.typ.Name {
	case "date":
		kind = kindDate
		t, ok = parseDate(text)
	case "dateTime", "instant":
		kind = kindDateTime
		t, ok = parseDateTime(text)
	case "time":
		kind = kindTime
		t, ok = parseTime(text)
	default:
		return String(text)
	}
	if !ok {
		return v
	}
	return Value{kind: kind, p: t}
}

// untyped converts by the JSON type alone, for a node whose FHIR type is not known.
func (v Value) untyped() Value {
	switch v.node.Kind() {
	case resource.Bool:
		return Bool(v.node.Bool())
	case resource.String:
		return String(v.node.Text())
	case resource.Number:
		text := v.node.Text()
		if i, ok := parseInteger(text); ok {
			return i
		}
		if d, ok := parseDecimal(text); ok {
			return decimalValue(d)
		}
	}
	return v
}
