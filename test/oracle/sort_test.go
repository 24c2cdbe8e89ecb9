package oracle

import (
	"cmp"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/spec/search"
)

// sort writes a _sort of one or two parameters that have an order.
func (w *world) sort(typ string) string {
	ps := w.reg.Params(typ)
	keys := ""
	for range 1 + w.r.IntN(2) {
		p := ps[w.r.IntN(len(ps))]
		if len(p.Parts) > 0 || p.Unsupported != "" || p.Kind == search.Reference || p.Kind == search.Composite || p.Kind == search.Special {
			continue
		}
		if keys != "" {
			keys += ","
		}
		keys += []string{"", "-"}[w.r.IntN(2)] + p.Code
	}
	if keys == "" {
		return ""
	}
	return "&_sort=" + keys
}

// place is what a resource is sorted by in one key.
type place struct {
	missing bool
	num     float64
	text    string
}

// checkOrder looks whether resources stand in the order that was asked for:
// what has no value first, and last when descending.
func (w *world) checkOrder(typ, raw string, keys []search.Sort, ids []string) {
	w.Helper()
	for i := 1; i < len(ids); i++ {
		a, b := w.byKey[fhir.Key{Type: typ, ID: ids[i-1]}], w.byKey[fhir.Key{Type: typ, ID: ids[i]}]
		for _, k := range keys {
			c := comparePlaces(placeOf(k, a.values), placeOf(k, b.values))
			if k.Desc {
				c = -c
			}
			if c > 0 {
				w.Fatalf("%s?%s: %s comes before %s: %v, %v", typ, raw, ids[i-1], ids[i], placeOf(k, a.values), placeOf(k, b.values))
			}
			if c < 0 {
				break
			}
		}
	}
}

func comparePlaces(a, b place) int {
	switch {
	case a.missing && b.missing:
		return 0
	case a.missing:
		return -1
	case b.missing:
		return 1
	}
	return cmp.Or(cmp.Compare(a.num, b.num), cmp.Compare(a.text, b.text))
}

// placeOf is the least value of a key, or the greatest when descending. A
// period counts by its start.
func placeOf(k search.Sort, v *search.Values) place {
	best := place{missing: true}
	add := func(p *search.Param, x place) {
		if c := comparePlaces(x, best); p == k.Param && (best.missing || k.Desc && c > 0 || !k.Desc && c < 0) {
			best = x
		}
	}
	for _, x := range v.Tokens {
		add(x.Param, place{text: x.Code})
	}
	for _, x := range v.Strings {
		add(x.Param, place{text: x.Norm[:min(len(x.Norm), 900)]}) // what PostgreSQL takes into an index
	}
	for _, x := range v.URIs {
		add(x.Param, place{text: x.URI})
	}
	for _, x := range v.Dates {
		add(x.Param, place{num: float64(x.Lo)})
	}
	for _, x := range v.Numbers {
		add(x.Param, place{num: x.Lo})
	}
	return best
}
