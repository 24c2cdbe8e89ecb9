package fhirhttp

import (
	"mime"
	"net/http"
	"slices"
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
	v, ok, err := once(&x.in, "_pretty")
	if err != nil {
		return err
	}
	switch v {
	case "true":
		x.format.pretty = true
	case "false":
	default:
		if ok {
			return fault.At(fault.Invalid, "value", "", "_pretty must be true or false, not %q", printable(v))
		}
	}
	return x.view.set(&x.in)
}

// setFormat chooses the format by _format, which overrides Accept (R4 section
// 3.1.0.1.11), or by Accept.
func (x *exchange) setFormat() error {
	v, ok, err := once(&x.in, "_format")
	if err != nil {
		return err
	}
	if !ok {
		return x.accept(strings.Join(x.r.Header["Accept"], ","))
	}
	// A plus sign that was not escaped arrives as a blank.
	name, params, _ := strings.Cut(v, ";")
	typ, q := mediaRange(strings.ReplaceAll(strings.TrimSpace(name), " ", "+") + ";" + params)
	switch typ {
	case "json":
		typ = "application/fhir+json"
	case "xml":
		typ = "application/fhir+xml"
	}
	ct := fhirType(typ)
	if ct == nil || q == 0 {
		return notAcceptable("_format=" + printable(v))
	}
	x.format.set(ct)
	return nil
}

// once returns the value of a parameter that must not have two different ones.
func once(in *fhir.Interaction, name string) (v string, ok bool, err error) {
	vals := in.Params[name]
	if len(vals) == 0 {
		return "", false, nil
	}
	for _, other := range vals[1:] {
		if other != vals[0] {
			return "", false, fault.At(fault.Invalid, "invalid", "", "%s is given twice, as %q and %q", name, printable(vals[0]), printable(other))
		}
	}
	return vals[0], true, nil
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
	ranges := mediaRanges(header)
	var best, xml []string
	quality, xmlQuality := 0.0, 0.0
	top := mediaType{}
	browser := strings.Contains(header, "text/html") // it ranks XML before */*, and shows JSON better
	for _, r := range ranges {
		if r.q > top.q {
			top = r
		}
		ct := acceptType(r, ranges)
		switch {
		case ct == nil:
		case browser && plainXML(r.name):
			if r.q > xmlQuality {
				xml, xmlQuality = ct, r.q
			}
		case r.q > quality:
			best, quality = ct, r.q
		}
	}
	if best == nil {
		best = xml
	}
	binary := x.in.Type == "Binary" && (x.in.Verb == fhir.VerbRead || x.in.Verb == fhir.VerbVRead)
	if binary && top.q > 0 && (acceptType(top, nil) == nil || plainXML(top.name)) && !strings.HasPrefix(top.name, "application/fhir") {
		x.format.raw = true
		return nil
	}
	if best == nil {
		return notAcceptable("Accept: " + printable(header))
	}
	x.format.set(best)
	return nil
}

// mediaType is one part of an Accept header.
type mediaType struct {
	name string
	q    float64 // 0 for what is not wanted
}

// mediaRanges splits an Accept header.
func mediaRanges(header string) (out []mediaType) {
	for part := range strings.SplitSeq(header, ",") {
		if name, q := mediaRange(part); name != "" { // RFC 9110 section 5.6.1
			out = append(out, mediaType{name, q})
		}
	}
	return out
}

// mediaRange splits one part of an Accept header. The quality is 0 for what is not
// wanted, and the name is "" for a format of another version of FHIR.
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
				typ = ""
			}
		}
	}
	return typ, q
}

// wildcards are the formats that a media range with a star stands for, the best first.
var wildcards = map[string][]string{
	"*/*":           {"application/fhir+json", "application/fhir+xml", "application/json", "application/xml", "text/json", "text/xml"},
	"application/*": {"application/fhir+json", "application/fhir+xml", "application/json", "application/xml"},
	"text/*":        {"text/json", "text/xml"},
}

// acceptType returns the Content-Type for a media range, nil if there is none. What
// the header says of a format by name, or by text/*, goes before what a wider range
// of it says (RFC 9110 section 12.5.1); where both say the same, the wider one has it too.
func acceptType(r mediaType, header []mediaType) []string {
	formats, ok := wildcards[r.name]
	if !ok {
		return fhirType(r.name)
	}
	for _, f := range formats {
		group, _, _ := strings.Cut(f, "/")
		differs := func(o mediaType) bool {
			return o.q != r.q && (o.name == f || r.name == "*/*" && o.name == group+"/*")
		}
		if !slices.ContainsFunc(header, differs) {
			return fhirType(f)
		}
	}
	return nil
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
	for _, other := range x.r.Header["Content-Type"] {
		if other != h {
			return false, fault.New(fault.Unsupported, "Content-Type is given twice, as %q and %q", printable(h), printable(other))
		}
	}
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

	hasReturn, hasHandling bool
}

// parse reads one Prefer header. A preference that cannot be met is left aside,
// as RFC 7240 section 2 demands; there are clients that ask for
// return=presentation. Only handling is checked: who misspells strict would get
// the opposite. With every it is an error, as for Azure Health Data Services. Of a
// preference that is given several times the first counts (same section).
func (p *prefer) parse(h string, every bool) error {
	quoted := false
	separator := func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ',' || r == ';')
	}
	for tok := range strings.FieldsFuncSeq(h, separator) {
		name, val, _ := strings.Cut(strings.TrimSpace(tok), "=")
		val = strings.Trim(strings.TrimSpace(val), `"`)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "return":
			if p.hasReturn {
				continue
			}
			p.hasReturn = true
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
			if val != "strict" && val != "lenient" {
				return fault.At(fault.Invalid, "value", "", "Prefer: handling must be strict or lenient, not %q", printable(val))
			}
			if !p.hasHandling {
				p.strict, p.hasHandling = val == "strict", true
			}
		}
	}
	return nil
}

// profileValidation refuses the header that asks Azure Health Data Services to
// validate a write, or the entries of a Bundle, against profiles: what is stored
// without it would pass for valid.
func (x *exchange) profileValidation() error {
	for _, v := range x.r.Header["X-Ms-Profile-Validation"] {
		switch strings.ToLower(v) {
		case "false":
		case "true":
			return fault.At(fault.Invalid, "not-supported", "", "x-ms-profile-validation: validation against profiles is not offered; send false, or leave the header out")
		default:
			return fault.At(fault.Invalid, "value", "", "x-ms-profile-validation must be true or false, not %q", printable(v))
		}
	}
	return nil
}

// partialIndices reports whether search parameters that are not complete yet shall
// count where Azure Health Data Services leaves them out.
func (x *exchange) partialIndices() bool {
	return strings.EqualFold(x.r.Header.Get("X-Ms-Use-Partial-Indices"), "true")
}

// setConditions reads the conditional headers into the interaction.
func (x *exchange) setConditions() error {
	h := x.r.Header
	if v, ok := h["If-None-Exist"]; ok {
		x.in.IfNoneExist, x.in.HasIfNoneExist = strings.Join(v, "&"), true
	}
	read := x.in.Method == http.MethodGet
	if v := h["If-Match"]; len(v) > 0 {
		x.in.IfMatch = strings.Join(v, ",")
		if v[0] == "" || len(v) > 1 && !read {
			return fault.At(fault.Invalid, "value", "", `If-Match must be one entity tag such as W/"1"`)
		}
	}
	if v := h["If-None-Match"]; len(v) > 0 {
		x.in.IfNoneMatch = strings.Join(v, ",")
	}
	if v := h["If-Unmodified-Since"]; len(v) > 0 {
		if !read {
			return fault.At(fault.Invalid, "not-supported", "", "If-Unmodified-Since is not offered; send If-Match with the version")
		}
		if t, err := http.ParseTime(v[0]); err == nil {
			x.in.IfUnmodifiedSince = t
		}
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
