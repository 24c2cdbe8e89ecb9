package fhirhttp

import (
	"net/url"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/search"
)

// maxParams limits the parameters of one request: a search with more is a
// mistake or an attack.
const maxParams = 1000

// setQuery reads the query of the URL into the interaction.
func (x *exchange) setQuery(raw string) error {
	if raw == "" {
		return nil
	}
	if err := setQuery(&x.in, raw); err != nil {
		return err
	}
	return setControls(&x.in)
}

// setQuery parses a query into in.Params and in.RawQuery.
func setQuery(in *fhir.Interaction, raw string) error {
	if raw == "" {
		return nil
	}
	if strings.Count(raw, "&") >= maxParams {
		return fault.At(fault.Invalid, "too-costly", "", "more than %d parameters", maxParams)
	}
	params, err := search.ParseQuery(raw)
	if err != nil {
		return fault.New(fault.Invalid, "the query is not percent-encoded properly")
	}
	in.Params, in.RawQuery = params, raw
	return nil
}

// setControls takes the parameters that are no criteria out of the query of a
// write and puts them into the fields of the interaction. A parameter that would
// change what a write does is never ignored.
func setControls(in *fhir.Interaction) error {
	switch in.Verb {
	case fhir.VerbDelete:
		hard, err := flag(in, "_hardDelete")
		if err != nil {
			return err
		}
		alias, err := flag(in, "hardDelete")
		if err != nil {
			return err
		}
		in.HardDelete = hard == isTrue || alias == isTrue
		unlink, err := flag(in, "_remove-references")
		if err != nil {
			return err
		}
		if in.Unlink = unlink == isTrue; in.Unlink && (in.Conditional || !in.HardDelete) {
			return fault.At(fault.Invalid, "not-supported", "", "_remove-references is for a delete by id with _hardDelete=true")
		}
		if v, err := flag(in, "_cascade"); err != nil || v == isTrue {
			return notSupported("_cascade", err)
		}
	case fhir.VerbUpdate, fhir.VerbPatch:
		keep, err := flag(in, "_meta-history")
		if err != nil {
			return err
		}
		in.KeepNoOldVersion = keep == isFalse
	}
	return onlyView(in)
}

// onlyView refuses what is left in the query of a write that has no criteria.
// There are clients that take POST Patient?identifier=x for a conditional create:
// they would get a second resource instead of an answer.
func onlyView(in *fhir.Interaction) error {
	switch in.Verb {
	case fhir.VerbCreate, fhir.VerbUpdate, fhir.VerbPatch, fhir.VerbDelete:
		if in.Conditional {
			return nil
		}
	default:
		return nil
	}
	for name := range in.Params {
		if isView(name) {
			continue
		}
		hint := ""
		if in.Verb == fhir.VerbCreate {
			hint = "; the condition of a create is the header If-None-Exist"
		}
		return fault.At(fault.Invalid, "not-supported", "", "the parameter %s is not possible here%s", printable(name), hint)
	}
	return nil
}

// isView reports whether a parameter only says how an answer is shown.
func isView(name string) bool {
	switch name {
	case "_format", "_pretty", "_summary", "_elements":
		return true
	}
	return false
}

// onlyKnown refuses, for handling=strict, what a read leaves aside. Searches and
// histories know their parameters themselves.
func onlyKnown(in *fhir.Interaction) error {
	switch in.Verb {
	case fhir.VerbRead, fhir.VerbVRead, fhir.VerbCapabilities, fhir.VerbVersions:
	default:
		return nil
	}
	for name := range in.Params {
		if isView(name) || name == "mode" && in.Verb == fhir.VerbCapabilities {
			continue
		}
		return fault.At(fault.Invalid, "not-supported", "", "the parameter %s is not supported here", printable(name))
	}
	return nil
}

func notSupported(param string, err error) error {
	if err != nil {
		return err
	}
	return fault.At(fault.Invalid, "not-supported", "", "%s is not supported", param)
}

// truth is a boolean parameter that may be absent.
type truth uint8

const (
	isAbsent truth = iota
	isFalse
	isTrue
)

// flag takes a boolean parameter out of the query.
func flag(in *fhir.Interaction, name string) (truth, error) {
	vals, ok := in.Params[name]
	if !ok {
		return isAbsent, nil
	}
	delete(in.Params, name)
	in.RawQuery = without(in.RawQuery, name)
	switch {
	case len(vals) == 1 && strings.EqualFold(vals[0], "true"):
		return isTrue, nil
	case len(vals) == 1 && strings.EqualFold(vals[0], "false"):
		return isFalse, nil
	}
	return isAbsent, fault.At(fault.Invalid, "value", "", "%s must be true or false", name)
}

// without removes a parameter from a raw query.
func without(raw, name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(raw, "&") {
		k, _, _ := strings.Cut(part, "=")
		if d, err := url.QueryUnescape(k); err == nil && d == name {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(part)
	}
	return b.String()
}

// view is how resources are shown: the parameters of R4 section 3.1.1.5.
type view struct {
	summary  string // "", true, text, data
	elements []string
}

func (v *view) whole() bool { return v.summary == "" && v.elements == nil }

// set reads _summary and _elements. Count is left to the service.
func (v *view) set(in *fhir.Interaction) error {
	*v = view{}
	if in.Params == nil {
		return nil
	}
	if in.Strict {
		if err := onlyKnown(in); err != nil {
			return err
		}
	}
	s, ok, err := once(in, "_summary")
	if err != nil {
		return err
	}
	if ok {
		switch s {
		case "false":
		case "true", "text", "data":
			v.summary = s
		case "count":
			if in.Verb != fhir.VerbSearch && in.Verb != fhir.VerbHistory {
				return fault.At(fault.Invalid, "value", "", "_summary=count is for searches and histories only")
			}
		default:
			return fault.At(fault.Invalid, "value", "", "_summary must be true, text, data, count or false, not %q", printable(s))
		}
	}
	for _, list := range in.Params["_elements"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name != "" {
				v.elements = append(v.elements, name)
			}
		}
	}
	if v.elements == nil {
		if _, ok := in.Params["_elements"]; ok && in.Verb != fhir.VerbSearch && in.Verb != fhir.VerbHistory {
			return fault.At(fault.Invalid, "value", "", "_elements has no value")
		}
		return nil // a search warns
	}
	if s != "" && s != "false" {
		return fault.At(fault.Invalid, "invalid", "", "_elements and _summary=%s cannot be used together", s)
	}
	if in.Strict && in.Verb != fhir.VerbSearch { // a search says so itself
		return checkElements(in.Type, v.elements)
	}
	return nil
}

// checkElements refuses names that a type does not have; "" is any type.
func checkElements(typ string, names []string) error {
	for _, n := range names {
		switch {
		case n == "resourceType" || r4.HasElement(typ, n):
		case typ == "":
			return fault.At(fault.Invalid, "value", "", "_elements: no resource type has an element %q", printable(n))
		default:
			return fault.At(fault.Invalid, "value", "", "_elements: %s has no element %q", typ, printable(n))
		}
	}
	return nil
}
