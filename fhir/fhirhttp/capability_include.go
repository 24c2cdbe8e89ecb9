package fhirhttp

import (
	"slices"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// offered lists the parameters of a type that can be searched by.
func offered(reg *search.Registry, typ string) (out []*search.Param) {
	for _, p := range reg.Params(typ) {
		if p.Unsupported == "" && !reg.Disabled(p.URL) {
			out = append(out, p)
		}
	}
	return out
}

// includes lists the values of _include for a type.
func includes(reg *search.Registry, typ string) []string {
	out := []string{"*", typ + ":*"}
	for _, p := range offered(reg, typ) {
		if p.Kind == search.Reference {
			out = append(out, typ+":"+p.Code)
		}
	}
	return out
}

// revIncludes lists the values of _revinclude for a type: the references of
// other types that name it as a target.
func (h *handler) revIncludes(typ string) []string {
	out := []string{"*"}
	for _, from := range r4.ResourceTypes() {
		for _, p := range offered(h.opt.Search, from) {
			if p.Kind == search.Reference && slices.Contains(p.Targets, typ) {
				out = append(out, from+":"+p.Code)
			}
		}
	}
	return out
}

// appendNames appends a list of strings.
func appendNames(b []byte, names []string) []byte {
	b = append(b, '[')
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = resource.AppendString(b, n)
	}
	return append(b, ']')
}

// standardParams lists the parameters of R4, each once.
func (h *handler) standardParams() []fhir.Param {
	at := map[string]int{}
	var out []fhir.Param
	for _, t := range r4.ResourceTypes() {
		for _, p := range h.opt.Search.Params(t) {
			if p.Custom || p.Unsupported != "" {
				continue
			}
			i, ok := at[p.URL]
			if !ok {
				i = len(out)
				at[p.URL] = i
				out = append(out, fhir.Param{URL: p.URL, Code: p.Code, Complete: true})
			}
			out[i].Types = append(out[i].Types, t)
		}
	}
	return out
}
