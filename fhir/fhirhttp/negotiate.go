package fhirhttp

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// The Content-Type headers of answers, shared and never changed.
var (
	typeFHIR = []string{"application/fhir+json; charset=utf-8"}
	typeJSON = []string{"application/json; charset=utf-8"}
	typeText = []string{"text/json; charset=utf-8"}

	typeFHIRXML = []string{"application/fhir+xml; charset=utf-8"}
	typeXML     = []string{"application/xml; charset=utf-8"}
	typeTextXML = []string{"text/xml; charset=utf-8"}
)

// format is how the answer is written.
type format struct {
	contentType []string
	xml         bool // answers are made in JSON, and rewritten as XML at the end
	pretty      bool
	raw         bool // a Binary as its own data
}

// set chooses the media type of the answer.
func (f *format) set(contentType []string) {
	f.contentType = contentType
	f.xml = strings.Contains(contentType[0], "xml")
}

// negotiate reads _format, _pretty, Accept, Prefer and the view. The format comes
// first, so that what is wrong with the rest is said in it.
func (x *exchange) negotiate() error {
	x.format.set(typeFHIR)
	if err := x.setFormat(); err != nil {
		return err
	}
	x.prefer = prefer{strict: x.h.opt.Strict}
	for _, v := range x.r.Header["Prefer"] {
		if err := x.prefer.parse(v, x.h.opt.AHDS); err != nil {
			return err
		}
	}
	x.in.Strict = x.prefer.strict
	if vals, ok := x.in.Params["_pretty"]; ok {
		switch vals[0] {
		case "true":
			x.format.pretty = true
		case "false":
		default:
			return fault.At(fault.Invalid, "value", "", "_pretty must be true or false, not %q", printable(vals[0]))
		}
	}
	return x.view.set(&x.in)
}

// setFormat chooses the format by _format, which overrides Accept (R4 section
// 3.1.0.1.11), or by Accept.
func (x *exchange) setFormat() error {
	vals, ok := x.in.Params["_format"]
	if !ok {
		return x.accept(strings.Join(x.r.Header["Accept"], ","))
	}
	// A plus sign that was not escaped arrives as a blank.
	typ, _, _ := strings.Cut(strings.ReplaceAll(vals[0], " ", "+"), ";")
	switch typ = strings.ToLower(typ); typ {
	case "json":
		typ = "application/fhir+json"
	case "xml":
		typ = "application/fhir+xml"
	}
	ct := fhirType(typ)
	if ct == nil {
		return notAcceptable("_format=" + printable(vals[0]))
	}
	x.format.set(ct)
	return nil
}

// accept chooses the format by the Accept header.
func (x *exchange) accept(header string) error {
	switch header {
	case "", "*/*", "application/fhir+json":
		return nil
	case "application/json":
		x.format.set(typeJSON)
		return nil
	}
	best, quality := []string(nil), 0.0
	top, topQuality := "", 0.0
	browser := strings.Contains(header, "text/html") // it ranks XML before */*, and shows JSON better
	for r := range strings.SplitSeq(header, ",") {
		typ, q := mediaRange(r)
		if q > topQuality {
			top, topQuality = typ, q
		}
		if q <= quality || browser && (typ == "application/xml" || typ == "text/xml") {
			continue
		}
		if ct := acceptType(typ); ct != nil {
			best, quality = ct, q
		}
	}
	binary := x.in.Type == "Binary" && (x.in.Verb == fhir.VerbRead || x.in.Verb == fhir.VerbVRead)
	if binary && top != "" && (acceptType(top) == nil || plainXML(top)) && !strings.HasPrefix(top, "application/fhir") {
		x.format.raw = true
		return nil
	}
	if best == nil {
		return notAcceptable("Accept: " + printable(header))
	}
	x.format.set(best)
	return nil
}

// mediaRange splits one part of an Accept header. The quality is 0 for what is not wanted.
func mediaRange(s string) (typ string, q float64) {
	typ, params, _ := strings.Cut(s, ";")
	typ, q = strings.ToLower(strings.TrimSpace(typ)), 1
	for p := range strings.SplitSeq(params, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		switch strings.ToLower(k) {
		case "q":
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || f < 0 {
				f = 0
			}
			q = min(f, 1)
		case "fhirversion":
			if v = strings.Trim(v, `"`); v != "4.0" && v != "4.0.1" {
				q = 0
			}
		}
	}
	return typ, q
}

// acceptType returns the Content-Type for a media range, nil if there is none.
func acceptType(typ string) []string {
	switch typ {
	case "*/*", "application/*":
		return typeFHIR
	case "text/*":
		return typeText
	}
	return fhirType(typ)
}

// fhirType returns the Content-Type of the answer for one of the names of a format.
func fhirType(typ string) []string {
	if ct := jsonType(typ); ct != nil {
		return ct
	}
	return xmlType(typ)
}

// xmlType is jsonType for the names of XML.
func xmlType(typ string) []string {
	switch typ {
	case "application/fhir+xml", "application/xml+fhir":
		return typeFHIRXML
	case "application/xml":
		return typeXML
	case "text/xml":
		return typeTextXML
	}
	return nil
}

// plainXML reports whether a media type is XML that need not be FHIR: as a
// Binary it is a document of its own.
func plainXML(typ string) bool { return typ == "application/xml" || typ == "text/xml" }

// jsonType returns the Content-Type of the answer for one of the names of JSON.
// A generic name is answered with the same name (R4 section 3.1.0.1.11).
func jsonType(typ string) []string {
	switch typ {
	case "application/fhir+json", "application/json+fhir":
		return typeFHIR
	case "application/json":
		return typeJSON
	case "text/json":
		return typeText
	}
	return nil
}

func notAcceptable(what string) error {
	return fault.New(fault.NotAcceptable, "%s cannot be answered: this service speaks application/fhir+json and application/fhir+xml", what)
}

// bodyType refuses a request body that does not say that it is FHIR, and tells
// JSON from XML.
func (x *exchange) bodyType() (isXML bool, err error) {
	h := x.r.Header.Get("Content-Type")
	switch h {
	case "application/fhir+json", "application/json", "application/fhir+json; charset=utf-8":
		return false, nil
	case "":
		return false, fault.New(fault.Unsupported, "Content-Type is missing; send application/fhir+json or application/fhir+xml")
	}
	typ, params, err := mime.ParseMediaType(h)
	if err != nil || fhirType(typ) == nil {
		return false, fault.New(fault.Unsupported, "Content-Type %q is not supported; send application/fhir+json or application/fhir+xml", printable(h))
	}
	return xmlType(typ) != nil, checkParams(params)
}

// checkParams refuses parameters of a media type that ask for what is not offered.
func checkParams(params map[string]string) error {
	if cs := params["charset"]; cs != "" && !strings.EqualFold(cs, "utf-8") && !strings.EqualFold(cs, "utf8") {
		return fault.New(fault.Unsupported, "charset %q is not supported; send UTF-8", printable(cs))
	}
	if v := params["fhirversion"]; v != "" && v != "4.0" && v != "4.0.1" {
		return fault.New(fault.Unsupported, "fhirVersion %q is not supported; this service is R4 (4.0)", printable(v))
	}
	return nil
}

// returns is what a client wants back from a write.
type returns uint8

// The values of Prefer: return= (R4 section 3.1.0.1.7).
const (
	returnDefault returns = iota
	returnMinimal
	returnRepresentation
	returnOutcome
)

// prefer holds the Prefer header (RFC 7240).
type prefer struct {
	returns returns
	strict  bool
}

// parse reads one Prefer header. A preference that cannot be met is left aside,
// as RFC 7240 section 2 demands; there are clients that ask for
// return=presentation. Only handling is checked: who misspells strict would get
// the opposite. With every it is an error, as for Azure Health Data Services.
func (p *prefer) parse(h string, every bool) error {
	for tok := range strings.FieldsFuncSeq(h, func(r rune) bool { return r == ',' || r == ';' }) {
		name, val, _ := strings.Cut(strings.TrimSpace(tok), "=")
		val = strings.Trim(strings.TrimSpace(val), `"`)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "return":
			switch strings.ToLower(val) {
			case "minimal":
				p.returns = returnMinimal
			case "representation":
				p.returns = returnRepresentation
			case "operationoutcome":
				p.returns = returnOutcome
			default:
				if every {
					return fault.At(fault.Invalid, "value", "", "Prefer: return must be minimal, representation or OperationOutcome, not %q", printable(val))
				}
			}
		case "handling":
			switch val {
			case "strict":
				p.strict = true
			case "lenient":
				p.strict = false
			default:
				return fault.At(fault.Invalid, "value", "", "Prefer: handling must be strict or lenient, not %q", printable(val))
			}
		}
	}
	return nil
}

// setConditions reads the conditional headers into the interaction.
func (x *exchange) setConditions() error {
	h := x.r.Header
	if v, ok := h["If-None-Exist"]; ok {
		x.in.IfNoneExist, x.in.HasIfNoneExist = strings.Join(v, "&"), true
	}
	if v := h["If-Match"]; len(v) > 0 {
		x.in.IfMatch = v[0]
		if v[0] == "" || len(v) > 1 {
			return fault.At(fault.Invalid, "value", "", `If-Match must be one entity tag such as W/"1"`)
		}
	}
	if v := h["If-None-Match"]; len(v) > 0 {
		x.in.IfNoneMatch = strings.Join(v, ",")
	}
	if _, ok := h["If-Unmodified-Since"]; ok && x.in.Method != http.MethodGet {
		return fault.At(fault.Invalid, "not-supported", "", "If-Unmodified-Since is not offered; send If-Match with the version")
	}
	if v := h["If-Modified-Since"]; len(v) > 0 {
		// RFC 9110 section 13.1.3: an invalid date must be ignored.
		if t, err := http.ParseTime(v[0]); err == nil {
			x.in.IfModifiedSince = t
		}
	}
	return checkConditions(&x.in)
}

// checkConditions refuses conditions that an interaction does not know: to
// ignore one could destroy what the client meant to protect.
func checkConditions(in *fhir.Interaction) error {
	switch {
	case in.IfNoneMatch != "" && in.Method != http.MethodGet:
		return fault.At(fault.Invalid, "not-supported", "", "If-None-Match is for reads only")
	case in.HasIfNoneExist && in.Verb != fhir.VerbCreate:
		return fault.At(fault.Invalid, "not-supported", "", "If-None-Exist is for creates only")
	case in.IfMatch != "" && in.Verb == fhir.VerbCreate:
		return fault.At(fault.Invalid, "not-supported", "", "If-Match is not possible on a create")
	case in.IfMatch != "" && in.Verb == fhir.VerbDelete && in.Conditional:
		return fault.At(fault.Invalid, "not-supported", "", "If-Match is not possible on a conditional delete")
	}
	return nil
}
