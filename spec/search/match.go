package search

import (
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// Subject is a resource as Match sees it: its name, when it was last updated,
// and its index entries.
type Subject struct {
	Type, ID string
	Millis   int64
	Values   *Values
	Doc      func() resource.Node // the resource itself, for _text and _content
}

// Others gives Match the other resources, which decide about chains.
type Others interface {
	// Find returns a current resource.
	Find(typ, id string) (Subject, bool)
	// Each calls yield for the current resources of a type, of any type if it is
	// "", until it returns false.
	Each(typ string, yield func(Subject) bool)
}

// Match reports whether a resource is an answer to q. It looks at every entry
// of every clause, and for chains at every other resource: it is the model that
// the indexes of a store are tested against. Sort, Count, Includes and After
// have no part in it. With nil others a chain never leaves the resource.
func Match(q *Query, s Subject, others Others) bool {
	if len(q.Types) > 0 && !slices.Contains(q.Types, s.Type) {
		return false
	}
	if q.Compartment != nil && !q.Compartment.holds(s.Type, s.ID, s.Values) {
		return false
	}
	if q.Access != nil && !q.Access.Allows(s) {
		return false
	}
	return all(q.Clauses(s.Type, func(*Param) bool { return true }), s, others)
}

func all(list []*Clause, s Subject, others Others) bool {
	for _, c := range list {
		if !c.matches(s, others) {
			return false
		}
	}
	return true
}

func (c *CompartmentRef) holds(typ, id string, v *Values) bool {
	if c.Self && typ == c.Type && id == c.ID {
		return true
	}
	for _, p := range c.Params[typ] {
		for _, l := range p.leaves(nil, "") {
			for _, r := range v.References {
				if l.owns(r.Param) && l.points(r) && r.Type == c.Type && r.ID == c.ID {
					return true
				}
			}
		}
	}
	return false
}

// leaf is a parameter that entries are extracted for, with the only type of
// reference that counts ("" = any).
type leaf struct {
	param  *Param
	target string
}

// leaves resolves Param.Parts down to what is extracted.
func (p *Param) leaves(dst []leaf, target string) []leaf {
	if p.PartTarget != "" {
		target = p.PartTarget
	}
	if len(p.Parts) == 0 {
		return append(dst, leaf{p, target})
	}
	for _, part := range p.Parts {
		dst = part.leaves(dst, target)
	}
	return dst
}

func (l leaf) owns(p *Param) bool { return l.param == p }

// holds is owns for :missing, where also what stands behind a modifier counts: a
// reference by identifier only is not missing.
func (l leaf) holds(p *Param) bool { return l.param == p || p.Of == l.param }

// points reports whether a reference has the type that the leaf asks for.
func (l leaf) points(r ReferenceValue) bool {
	return l.target == "" || r.Type == l.target || r.Type == "" && TypeInURL(r.URL) == l.target
}

func (c *Clause) matches(s Subject, others Others) bool { return c.test(s, others) != c.Negate }

func (c *Clause) test(s Subject, others Others) bool {
	part := func(c *Clause) bool { return c.matches(s, others) }
	switch {
	case len(c.Any) > 0:
		return slices.ContainsFunc(c.Any, part)
	case len(c.All) > 0:
		return !slices.ContainsFunc(c.All, func(c *Clause) bool { return !part(c) })
	case c.Contained != nil:
		return c.Contained.holds(s)
	case c.Has != nil:
		return others != nil && c.Has.holds(s, others)
	case len(c.Chain) > 0:
		return c.follows(s, others)
	}
	if c.Modifier == "missing" && c.Field != FieldParam {
		return !c.Missing
	}
	switch c.Field {
	case FieldID:
		return c.any(func(w Value) bool { return w.Code == s.ID }) != (c.Modifier == "not")
	case FieldType:
		return c.any(func(w Value) bool { return w.Code == s.Type }) != (c.Modifier == "not")
	case FieldText, FieldContent:
		return s.Doc != nil && c.any(func(w Value) bool { return hasWords(s.Doc(), c.Field == FieldContent, w.Words) })
	case FieldLastUpdated:
		return c.any(func(w Value) bool { return matchDate(w, DateValue{Lo: s.Millis, Hi: s.Millis}) })
	}
	p := c.paramOf(s.Type)
	if p == nil {
		return false
	}
	leaves, v := p.leaves(nil, ""), s.Values
	switch c.Modifier {
	case "missing":
		return present(leaves, v) != c.Missing
	case "not":
		return !c.any(func(w Value) bool { return anyEntry(p.Kind, "", leaves, w, v) })
	}
	return c.any(func(w Value) bool { return anyEntry(p.Kind, c.Modifier, leaves, w, v) })
}

// paramOf returns the parameter of the clause for a type, or nil.
func (c *Clause) paramOf(typ string) *Param {
	i := slices.IndexFunc(c.Params, func(p *Param) bool { return p.Type == typ })
	if i < 0 {
		return nil
	}
	return c.Params[i]
}

func owns(v *Values, mark *Param) bool {
	return slices.ContainsFunc(v.Tokens, func(e TokenValue) bool { return e.Param == mark })
}

// follows reports whether a reference of s leads to what one of the
// alternatives of a chain describes.
func (c *Clause) follows(s Subject, others Others) bool {
	p := c.paramOf(s.Type)
	if p == nil {
		return false
	}
	leaves := p.leaves(nil, "")
	for _, in := range c.Insides(s.Type, func(mark *Param) bool { return owns(s.Values, mark) }) {
		if in.matches(s, others) {
			return true
		}
	}
	return slices.ContainsFunc(s.Values.References, func(r ReferenceValue) bool {
		return r.Type != "" && ownsReference(leaves, r) && slices.ContainsFunc(c.Chain, func(alt Chain) bool {
			if alt.Target != r.Type {
				return false
			}
			if others == nil {
				return false
			}
			o, ok := others.Find(r.Type, r.ID)
			return ok && alt.Next.matches(o, others)
		})
	})
}

// holds reports whether a resource of the type refers to s and fulfils the rest.
func (h *Has) holds(s Subject, others Others) bool {
	found := false
	var leaves []leaf
	if h.Ref != nil {
		leaves = h.Ref.leaves(nil, "")
	}
	others.Each(h.Type, func(o Subject) bool {
		found = slices.ContainsFunc(o.Values.References, func(r ReferenceValue) bool {
			return r.Type == s.Type && r.ID == s.ID && ownsReference(leaves, r)
		}) && (h.Next == nil || h.Next.matches(o, others))
		return !found
	})
	return found
}

// Refers reports whether a reference of a resource counts for an include: it is
// one of its parameters and points to the target.
func (i *Include) Refers(from string, r ReferenceValue) bool {
	if r.Type == "" || i.Target != "" && r.Type != i.Target || i.Source != "*" && i.Source != from {
		return false
	}
	return i.Source == "*" || slices.ContainsFunc(i.Params, func(p *Param) bool {
		return ownsReference(p.leaves(nil, ""), r)
	})
}

func (c *Clause) any(f func(Value) bool) bool { return slices.ContainsFunc(c.Values, f) }

// owner reports whether entries of p belong to one of the leaves. A nil list
// owns every entry: those of one component of a composite.
func owner(leaves []leaf, p *Param) bool {
	return leaves == nil || slices.ContainsFunc(leaves, func(l leaf) bool { return l.owns(p) })
}

// present reports whether there is any entry.
func present(leaves []leaf, v *Values) bool {
	return slices.ContainsFunc(v.Tokens, func(e TokenValue) bool {
		return slices.ContainsFunc(leaves, func(l leaf) bool { return l.holds(e.Param) })
	}) ||
		slices.ContainsFunc(v.References, func(e ReferenceValue) bool { return ownsReference(leaves, e) }) ||
		slices.ContainsFunc(v.Dates, func(e DateValue) bool { return owner(leaves, e.Param) }) ||
		slices.ContainsFunc(v.Numbers, func(e NumberValue) bool { return owner(leaves, e.Param) }) ||
		slices.ContainsFunc(v.Strings, func(e StringValue) bool { return owner(leaves, e.Param) }) ||
		slices.ContainsFunc(v.URIs, func(e URIValue) bool { return owner(leaves, e.Param) }) ||
		slices.ContainsFunc(v.Composites, func(e CompositeValue) bool { return owner(leaves, e.Param) })
}

func ownsReference(leaves []leaf, r ReferenceValue) bool {
	return leaves == nil || slices.ContainsFunc(leaves, func(l leaf) bool { return l.owns(r.Param) && l.points(r) })
}

// anyEntry reports whether an entry of the leaves matches w.
func anyEntry(k Kind, modifier string, leaves []leaf, w Value, v *Values) bool {
	switch k {
	case Token:
		return slices.ContainsFunc(v.Tokens, func(e TokenValue) bool {
			return owner(leaves, e.Param) && matchToken(modifier, w, e)
		})
	case String:
		return slices.ContainsFunc(v.Strings, func(e StringValue) bool {
			return owner(leaves, e.Param) && matchString(modifier, w, e)
		})
	case Reference:
		return slices.ContainsFunc(v.References, func(e ReferenceValue) bool {
			return ownsReference(leaves, e) && matchReference(w, e)
		})
	case Date:
		return slices.ContainsFunc(v.Dates, func(e DateValue) bool { return owner(leaves, e.Param) && matchDate(w, e) })
	case Number:
		return slices.ContainsFunc(v.Numbers, func(e NumberValue) bool { return owner(leaves, e.Param) && matchNumber(w, e) })
	case Quantity:
		return slices.ContainsFunc(v.Numbers, func(e NumberValue) bool {
			return owner(leaves, e.Param) && matchQuantity(w, e)
		})
	case URI:
		return slices.ContainsFunc(v.URIs, func(e URIValue) bool { return owner(leaves, e.Param) && matchURIBy(modifier, w.Text, e.URI) })
	case Special:
		return slices.ContainsFunc(v.Numbers, func(e NumberValue) bool {
			return owner(leaves, e.Param) && Distance(w.Num, w.NumLo, e.Lo, e.Hi) <= w.NumHi
		})
	case Composite:
		return slices.ContainsFunc(v.Composites, func(e CompositeValue) bool {
			return owner(leaves, e.Param) && matchComposite(w, e)
		})
	}
	return false
}

// matchToken compares as R4 section 3.1.1.4.10 says; codes are case-sensitive.
func matchToken(modifier string, w Value, e TokenValue) bool {
	if modifier == "text" {
		return e.Text != "" && strings.HasPrefix(Fold(e.Text), w.Norm)
	}
	if w.HasSystem && w.System != e.System {
		return false
	}
	if w.HasCode {
		return w.Code == e.Code
	}
	return w.HasSystem
}

// matchString compares as R4 section 3.1.1.4.8 says: by default the beginning,
// without regard to case and accents.
func matchString(modifier string, w Value, e StringValue) bool {
	switch modifier {
	case "equals":
		return e.Norm == w.Norm
	case "gt":
		return e.Norm > w.Norm
	case "ge":
		return e.Norm >= w.Norm
	case "lt":
		return e.Norm < w.Norm
	case "le":
		return e.Norm <= w.Norm
	case "ends":
		return strings.HasSuffix(e.Norm, w.Norm)
	case "exact":
		return e.Text == w.Text
	case "contains":
		return strings.Contains(e.Norm, w.Norm)
	}
	return strings.HasPrefix(e.Norm, w.Norm)
}

func matchReference(w Value, e ReferenceValue) bool {
	if w.Text != "" {
		return e.URL != "" && matchURI(w.Text, e.URL)
	}
	return e.ID == w.Code && (w.RefType == "" || w.RefType == e.Type)
}

// matchURI compares exactly, but for the version and the fragment of a canonical
// (url|version#fragment): a search without them finds all.
func matchURI(want, have string) bool {
	return have == want || slices.Contains(Shorter(have), want)
}

// Shorter returns the shorter names that a canonical is found by, too: url|version
// without its fragment, and url without its version. What has no version is a plain
// URI, whose fragment belongs to it.
func Shorter(uri string) []string {
	url, version, ok := strings.Cut(uri, "|")
	if !ok {
		return nil
	}
	if i := strings.IndexByte(version, '#'); i >= 0 {
		return []string{uri[:len(url)+1+i], url}
	}
	return []string{url}
}

// matchURIBy compares with a modifier. Above and below go by the text of URLs,
// from left to right (R4 section 3.1.1.4.9); a urn has no such order.
func matchURIBy(modifier, want, have string) bool {
	switch modifier {
	case "below":
		return !isURN(have) && strings.HasPrefix(have, want)
	case "above":
		return !isURN(have) && strings.HasPrefix(want, have)
	}
	return matchURI(want, have)
}

func isURN(s string) bool { return strings.HasPrefix(s, "urn:") }

// matchDate is the table at Op.
func matchDate(w Value, e DateValue) bool {
	switch w.Op {
	case OpEq:
		return w.Lo <= e.Lo && e.Hi <= w.Hi
	case OpNe:
		return e.Lo < w.Lo || e.Hi > w.Hi
	case OpLt:
		return e.Lo < w.Lo
	case OpLe:
		return e.Lo <= w.Hi
	case OpGt:
		return e.Hi > w.Hi
	case OpGe:
		return e.Hi >= w.Lo
	case OpSa:
		return e.Lo > w.Hi
	case OpEb:
		return e.Hi < w.Lo
	case OpAp, OpOverlap:
		return e.Lo <= w.Hi && e.Hi >= w.Lo
	}
	return false
}

// matchNumber is the table at Op.
func matchNumber(w Value, e NumberValue) bool {
	switch w.Op {
	case OpEq:
		return w.NumLo <= e.Lo && e.Hi < w.NumHi
	case OpNe:
		return e.Lo < w.NumLo || e.Hi >= w.NumHi
	case OpLt:
		return e.Lo < w.Num
	case OpLe:
		return e.Lo <= w.Num
	case OpGt:
		return e.Hi > w.Num
	case OpGe:
		return e.Hi >= w.Num
	case OpSa:
		return e.Lo > w.Num
	case OpEb:
		return e.Hi < w.Num
	case OpAp:
		return e.Lo < w.NumHi && e.Hi >= w.NumLo
	}
	return false
}

// matchUnit compares the unit: with a system the coded one, else either form.
func matchUnit(w Value, e NumberValue) bool {
	if w.HasSystem && w.System != e.System {
		return false
	}
	if !w.HasCode {
		return true
	}
	return w.Code == e.Code || !w.HasSystem && w.Code == e.Unit
}

// matchComposite asks each part of one element for any value that matches.
func matchComposite(w Value, e CompositeValue) bool {
	for i := range w.Parts {
		if !anyEntry(e.Param.Components[i].Param.Kind, "", nil, w.Parts[i], &e.Parts[i]) {
			return false
		}
	}
	return len(w.Parts) == len(e.Parts)
}
