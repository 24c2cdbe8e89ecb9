package fhir

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
	"github.com/hygeia-health/hygeia/spec/terminology"
)

// terms answers the terminology modifiers of a search from the ValueSets and
// CodeSystems that the service holds.
type terms struct {
	ctx context.Context
	s   *Service
}

var _ search.Terms = terms{}
var _ terminology.Source = terms{}

// Codes implements search.Terms.
func (t terms) Codes(canonical string) ([]search.Coding, error) {
	list, err := terminology.Expand(t, canonical)
	if err != nil {
		// The value sets that the standard binds codes to are known without a
		// resource; their codes name their system by themselves.
		if set, ok := r4.RequiredCodes(canonical); ok {
			var out []search.Coding
			for code := range set {
				out = append(out, search.Coding{Code: code})
			}
			slices.SortFunc(out, func(a, b search.Coding) int { return strings.Compare(a.Code, b.Code) })
			return out, nil
		}
		return nil, err
	}
	return codings(list), nil
}

func codings(list []terminology.Coding) []search.Coding {
	out := make([]search.Coding, len(list))
	for i, c := range list {
		out[i] = search.Coding(c)
	}
	return out
}

// Related implements search.Terms.
func (t terms) Related(c search.Coding, below bool) ([]search.Coding, error) {
	list, err := terminology.Related(t, terminology.Coding(c), below)
	return codings(list), err
}

// canonical finds a resource by its URL and version, or by Type/id.
func (t terms) canonical(typ, canonical string) (n resource.Node, ok bool, err error) {
	where := url.Values{"_count": {"1"}, "_sort": {"-_lastUpdated"}}
	if id, local := strings.CutPrefix(canonical, typ+"/"); local {
		where.Set("_id", id)
	} else {
		uri, version, _ := strings.Cut(canonical, "|")
		where.Set("url", search.Escape(uri))
		if version != "" {
			where.Set("version", search.Escape(version))
		}
	}
	q, _, err := t.s.reg.Parse([]string{typ}, nil, where, "", search.ParseOptions{Strict: true, Now: t.s.now()})
	if err != nil {
		return n, false, nil // a URL that cannot be searched for is not known
	}
	page, err := t.s.store.Search(t.ctx, q)
	if err != nil || len(page.Records) == 0 {
		return n, false, err
	}
	rec := &page.Records[0]
	d := &resource.Doc{}
	if err := d.Parse(resource.AppendResource(nil, resource.Header{Type: rec.Type, ID: rec.ID}, rec.Stored), resource.Options{}); err != nil {
		return n, false, err
	}
	return d.Root(), true, nil
}

// ValueSet implements terminology.Source.
func (t terms) ValueSet(canonical string) (resource.Node, bool, error) {
	return t.canonical("ValueSet", canonical)
}

// CodeSystem implements terminology.Source.
func (t terms) CodeSystem(canonical string) (resource.Node, bool, error) {
	return t.canonical("CodeSystem", canonical)
}
