package search

// marks are the lengths of the slices of a Values.
type marks struct {
	tokens, references, dates, numbers, strings, uris int
}

func (x *extractor) mark() marks {
	v := x.v
	return marks{len(v.Tokens), len(v.References), len(v.Dates), len(v.Numbers), len(v.Strings), len(v.URIs)}
}

// dedupe removes the entries after m that are there twice.
func (x *extractor) dedupe(m marks) {
	v := x.v
	v.Tokens = unique(v.Tokens, m.tokens)
	v.References = unique(v.References, m.references)
	v.Dates = unique(v.Dates, m.dates)
	v.Numbers = unique(v.Numbers, m.numbers)
	v.Strings = unique(v.Strings, m.strings)
	v.URIs = unique(v.URIs, m.uris)
}

// few is the length up to which comparing every pair is cheaper than a map.
const few = 32

// unique removes duplicates from list[from:] in place and keeps the order.
func unique[T comparable](list []T, from int) []T {
	if len(list)-from > few {
		return uniqueByMap(list, from)
	}
	out := list[:from]
next:
	for _, e := range list[from:] {
		for _, seen := range out[from:] {
			if e == seen {
				continue next
			}
		}
		out = append(out, e)
	}
	return out
}

func uniqueByMap[T comparable](list []T, from int) []T {
	seen := make(map[T]struct{}, len(list)-from)
	out := list[:from]
	for _, e := range list[from:] {
		if _, ok := seen[e]; ok {
			continue
		}
		seen[e] = struct{}{}
		out = append(out, e)
	}
	return out
}
