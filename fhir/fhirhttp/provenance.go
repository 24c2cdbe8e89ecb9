package fhirhttp

import (
	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// withProvenance does a create, update or patch together with the creation of the
// Provenance in the X-Provenance header (R4 section 6.3.4.4), in one
// transaction. The target of the Provenance must be absent: it becomes the
// resource that is written.
func (x *exchange) withProvenance(header []string) (*fhir.Response, error) {
	if len(header) != 1 {
		return nil, fault.New(fault.Invalid, "X-Provenance may be given only once")
	}
	urn := newURN()
	body, err := x.provenance(header[0], urn)
	if err != nil {
		return nil, err
	}
	x.in.FullURL = urn
	prov := &fhir.Interaction{
		Verb: fhir.VerbCreate, Method: "POST", Type: "Provenance",
		Body: body, Base: x.in.Base, FullURL: newURN(), Strict: x.in.Strict,
	}
	answers, err := x.h.svc.Transaction(x.r.Context(), []*fhir.Interaction{&x.in, prov})
	if err != nil {
		return nil, err
	}
	return answers[0], nil
}

// provenance parses the header and adds the target.
func (x *exchange) provenance(header, urn string) (resource.Node, error) {
	x.tmp = append(x.tmp[:0], header...)
	if err := x.parseJSON(&x.extra, x.tmp); err != nil {
		e := fault.From(err)
		return resource.Node{}, fault.At(e.Kind, "invalid", "", "X-Provenance: %s", e.Msg)
	}
	root := x.extra.Root()
	switch {
	case !root.Get("resourceType").Is("Provenance"):
		return resource.Node{}, fault.At(fault.Invalid, "invalid", "", "X-Provenance does not hold a Provenance resource")
	case root.Get("target").Valid():
		return resource.Node{}, fault.At(fault.Invalid, "invalid", "Provenance.target", "X-Provenance must not have a target: the server sets it")
	}
	// The text is an object with at least one member, so it ends with a brace.
	start, end := root.Offsets()
	text := append([]byte(nil), x.tmp[start:end-1]...)
	text = append(text, `,"target":[{"reference":"`...)
	text = append(text, urn...)
	text = append(text, `"}]}`...)
	if err := x.parseJSON(&x.extra, text); err != nil {
		return resource.Node{}, err
	}
	return x.extra.Root(), nil
}
