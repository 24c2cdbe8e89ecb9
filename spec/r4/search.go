package r4

import (
	"slices"
	"strings"
	"sync"
)

// SearchParam is one SearchParameter resource of the R4 package.
type SearchParam struct {
	ID         string
	URL        string
	Code       string   // the name in a URL: "value-quantity"
	Type       string   // number, date, string, token, reference, composite, quantity, uri, special
	Expression string   // FHIRPath; "" for a few (_text, _content, _query, _filter)
	Base       []string // resource types, maybe Resource or DomainResource
	Target     []string // references: the resource types that they may point to
	Components []Component
}

// Component is one part of a composite search parameter.
type Component struct {
	Definition string // URL of the SearchParam of the part
	Expression string // relative to the expression of the composite
}

// CompartmentDef is one compartment (http://hl7.org/fhir/R4/compartmentdefinition.html).
type CompartmentDef struct {
	Code string // "Patient"
	// Resources has an entry for each resource type in the compartment: the
	// codes of its reference parameters that lead there. "{def}" stands for the
	// resource itself.
	Resources map[string][]string
}

// SearchParams returns all search parameters, sorted by URL.
func SearchParams() []*SearchParam { return load().params }

// SearchParamByURL returns the search parameter with a canonical URL, or nil.
func SearchParamByURL(url string) *SearchParam {
	ps := load().params
	i, ok := slices.BinarySearchFunc(ps, url, func(p *SearchParam, u string) int { return strings.Compare(p.URL, u) })
	if !ok {
		return nil
	}
	return ps[i]
}

// SearchParamsFor returns the search parameters of a concrete resource type,
// with those of Resource and DomainResource as far as it is one, sorted by
// code. It is nil for other names. Left out are the three examples that the
// package has among its definitions (they repeat _id and Condition.subject).
func SearchParamsFor(resourceType string) []*SearchParam {
	return paramsByType()[resourceType]
}

var paramsByType = sync.OnceValue(func() map[string][]*SearchParam {
	d := load()
	byBase := make(map[string][]*SearchParam)
	for _, p := range d.params {
		if p.ID == "example" || strings.HasPrefix(p.ID, "example-") {
			continue
		}
		for _, b := range p.Base {
			byBase[b] = append(byBase[b], p)
		}
	}
	out := make(map[string][]*SearchParam, len(d.resources))
	for _, name := range d.resources {
		list := slices.Concat(byBase[name], byBase["Resource"])
		if d.types[name].Base == "DomainResource" {
			list = append(list, byBase["DomainResource"]...)
		}
		slices.SortStableFunc(list, func(a, b *SearchParam) int { return strings.Compare(a.Code, b.Code) })
		out[name] = slices.Clip(list)
	}
	return out
})

// Compartment returns the compartment of a resource type (Patient, Encounter,
// RelatedPerson, Practitioner or Device), or nil.
func Compartment(name string) *CompartmentDef { return load().compartments[name] }

// Compartments returns the names of the compartments, sorted.
func Compartments() []string { return load().compartmentNames }

// RequiredCodes returns the codes of a value set that a code element is bound
// to with strength required. The URL may have a version. It returns false when
// the value set is not bound so, or when the R4 package does not list its
// codes (mime types, currencies).
func RequiredCodes(valueSetURL string) (set map[string]struct{}, ok bool) {
	url, _, _ := strings.Cut(valueSetURL, "|")
	set, ok = load().codes[url]
	return set, ok
}
