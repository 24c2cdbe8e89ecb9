package fhirtest

import (
	"strings"

	"github.com/hygeia-health/hygeia/spec/search"
)

// clone copies the index entries with their text, because the original may
// share memory with the parsed resource and is used again.
func clone(v *search.Values) *search.Values {
	if v == nil {
		return &search.Values{}
	}
	c := &search.Values{}
	s := strings.Clone
	for _, x := range v.Tokens {
		c.Tokens = append(c.Tokens, search.TokenValue{Param: x.Param, System: s(x.System), Code: s(x.Code), Text: s(x.Text)})
	}
	for _, x := range v.References {
		c.References = append(c.References, search.ReferenceValue{Param: x.Param, Type: s(x.Type), ID: s(x.ID), URL: s(x.URL)})
	}
	c.Dates = append(c.Dates, v.Dates...)
	for _, x := range v.Numbers {
		x.System, x.Code, x.Unit = s(x.System), s(x.Code), s(x.Unit)
		c.Numbers = append(c.Numbers, x)
	}
	for _, x := range v.Strings {
		c.Strings = append(c.Strings, search.StringValue{Param: x.Param, Text: s(x.Text), Norm: s(x.Norm)})
	}
	for _, x := range v.URIs {
		c.URIs = append(c.URIs, search.URIValue{Param: x.Param, URI: s(x.URI)})
	}
	for _, x := range v.Composites {
		y := search.CompositeValue{Param: x.Param}
		for i := range x.Parts {
			y.Parts = append(y.Parts, *clone(&x.Parts[i]))
		}
		c.Composites = append(c.Composites, y)
	}
	return c
}
