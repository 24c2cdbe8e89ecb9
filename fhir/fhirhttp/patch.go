package fhirhttp

import (
	"mime"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// acceptPatch is the header of RFC 5789 section 3.1: the formats of PATCH.
var acceptPatch = []string{fhir.TypeJSONPatch + ", application/fhir+json, application/fhir+xml"}

// offers reports whether a method of the target leads to verb.
func (t *target) offers(verb fhir.Verb) bool {
	for _, r := range t.routes() {
		if r.verb == verb {
			return true
		}
	}
	return false
}

// readPatch reads the body of a PATCH into x.doc: a JSON Patch, which is an
// array, or a Parameters resource with a FHIRPath Patch (R4 section 3.1.0.6).
// The generic names of JSON say neither, so that both may come under them.
func (x *exchange) readPatch() error {
	h := x.r.Header.Get("Content-Type")
	mt, params, err := mime.ParseMediaType(h)
	switch {
	case h == "":
		return x.notPatch("Content-Type is missing")
	case err != nil || mt != fhir.TypeJSONPatch && fhirType(mt) == nil:
		return x.notPatch("Content-Type %q is no patch format of this service", printable(h))
	}
	if err := checkParams(params); err != nil {
		return err
	}
	if err := x.readBody(); err != nil {
		return err
	}
	if xmlType(mt) != nil {
		err = x.parseXML()
	} else {
		err = x.parseAny(&x.doc, x.body)
	}
	if err != nil {
		return err
	}
	kind := x.doc.Root().Kind()
	switch {
	case mt == fhir.TypeJSONPatch && kind != resource.Array:
		return fault.At(fault.Invalid, "structure", "", "a JSON Patch is an array of operations (RFC 6902)")
	case kind == resource.Array && (mt == "application/fhir+json" || mt == "application/json+fhir"):
		return fault.At(fault.Invalid, "structure", "", "a FHIRPath Patch is a Parameters resource; send a JSON Patch as %s", fhir.TypeJSONPatch)
	case kind != resource.Array && x.doc.Root().Get("resourceType").Is("Binary"):
		return fault.At(fault.Invalid, "invalid", "", "a Binary with a JSON Patch is for entries of a Bundle; send the patch itself")
	}
	return nil
}

// notPatch refuses a media type and names those that are taken (RFC 5789 section 2.2).
func (x *exchange) notPatch(format string, args ...any) error {
	x.w.Header()["Accept-Patch"] = acceptPatch
	return fault.New(fault.Unsupported, format+"; send "+acceptPatch[0], args...)
}
