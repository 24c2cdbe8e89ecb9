package search

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// token makes the entries of R4 section 3.1.1.4.10.
func (x *extractor) token(p *Param, o op, n resource.Node) {
	switch o {
	case opTokenCode:
		switch n.Kind() {
		case resource.String, resource.Bool, resource.Number:
			x.addToken(TokenValue{Param: p, Code: alias(n)})
		}
	case opTokenCoding:
		x.addToken(coding(p, n))
	case opTokenConcept:
		x.concept(p, n)
	case opTokenID:
		x.identifier(p, n)
	case opTokenContact:
		x.addToken(TokenValue{Param: p, System: text(n.Get("system")), Code: text(n.Get("value"))})
	}
}

// identifier makes the entry of an Identifier, and those for :of-type.
func (x *extractor) identifier(p *Param, n resource.Node) {
	t := TokenValue{Param: p}
	var types resource.Node
	for c := n.First(); c.Valid(); c = c.Next() {
		switch string(c.Key()) {
		case "system":
			t.System = text(c)
		case "value":
			t.Code = text(c)
		case "type":
			t.Text, types = text(c.Get("text")), c.Get("coding")
		}
	}
	x.addToken(t)
	if p.OfType == nil || t.Code == "" || x.part {
		return
	}
	for c := types.First(); c.Valid(); c = c.Next() {
		if code := text(c.Get("code")); code != "" {
			x.addToken(TokenValue{Param: p.OfType, System: text(c.Get("system")), Code: code + "|" + t.Code})
		}
	}
}

func (x *extractor) addToken(t TokenValue) {
	if t.Code != "" || t.System != "" || t.Text != "" {
		x.v.Tokens = append(x.v.Tokens, t)
	}
}

func coding(p *Param, n resource.Node) TokenValue {
	t := TokenValue{Param: p}
	for c := n.First(); c.Valid(); c = c.Next() {
		switch string(c.Key()) {
		case "system":
			t.System = text(c)
		case "code":
			t.Code = text(c)
		case "display":
			t.Text = text(c)
		}
	}
	return t
}

// concept makes an entry of each coding. The text of the concept goes to the
// codings without a display; it gets an entry of its own when that would lose it.
func (x *extractor) concept(p *Param, n resource.Node) {
	from := len(x.v.Tokens)
	var words string
	for c := n.First(); c.Valid(); c = c.Next() {
		switch string(c.Key()) {
		case "coding":
			if c.Kind() == resource.Array {
				for item := c.First(); item.Valid(); item = item.Next() {
					x.addToken(coding(p, item))
				}
			}
		case "text":
			words = text(c)
		}
	}
	if words == "" {
		return
	}
	kept := false
	for i := from; i < len(x.v.Tokens); i++ {
		if t := &x.v.Tokens[i]; t.Text == "" || t.Text == words {
			t.Text = words
			kept = true
		}
	}
	if !kept {
		x.v.Tokens = append(x.v.Tokens, TokenValue{Param: p, Text: words})
	}
}

// stringParts makes the entries of R4 section 3.1.1.4.8: for names and
// addresses one of each part.
func (x *extractor) stringParts(p *Param, o op, n resource.Node) {
	if o == opString {
		x.addString(p, text(n))
		return
	}
	for c := n.First(); c.Valid(); c = c.Next() {
		switch string(c.Key()) {
		case "family", "given", "prefix", "suffix":
			if o == opStringName {
				x.eachString(p, c)
			}
		case "line", "city", "district", "state", "postalCode", "country":
			if o == opStringAddress {
				x.eachString(p, c)
			}
		case "text":
			x.eachString(p, c)
		}
	}
}

func (x *extractor) eachString(p *Param, n resource.Node) {
	if n.Kind() != resource.Array {
		x.addString(p, text(n))
		return
	}
	for c := n.First(); c.Valid(); c = c.Next() {
		x.addString(p, text(c))
	}
}

func (x *extractor) addString(p *Param, s string) {
	if s != "" {
		x.v.Strings = append(x.v.Strings, StringValue{p, s, Fold(s)})
	}
}

// date makes the entries of R4 section 3.1.1.4.7. A Timing counts with its
// outer limits only, as the standard says.
func (x *extractor) date(p *Param, o op, n resource.Node) {
	var s span
	var ok bool
	switch o {
	case opDate:
		s, ok = parseDate(text(n))
	case opDatePeriod:
		s, ok = period(n)
	case opDateTiming:
		s, ok = timing(n)
	}
	if ok {
		x.v.Dates = append(x.v.Dates, DateValue{p, s.lo, s.hi})
	}
}

func period(n resource.Node) (span, bool) {
	out := span{lo: MinTime, hi: MaxTime}
	start, okStart := parseDate(text(n.Get("start")))
	if okStart {
		out.lo = start.lo
	}
	end, okEnd := parseDate(text(n.Get("end")))
	if okEnd {
		out.hi = end.hi
	}
	if out.lo > out.hi { // a period that ends before it begins
		out.lo, out.hi = end.lo, start.hi
	}
	return out, okStart || okEnd
}

func timing(n resource.Node) (span, bool) {
	out, found := period(n.Get("repeat").Get("boundsPeriod"))
	for c := n.Get("event").First(); c.Valid(); c = c.Next() {
		s, ok := parseDate(text(c))
		if !ok {
			continue
		}
		if !found {
			out, found = s, true
			continue
		}
		out.lo, out.hi = min(out.lo, s.lo), max(out.hi, s.hi)
	}
	return out, found
}

// number makes the entries of R4 sections 3.1.1.4.6 and 3.1.1.4.11.
func (x *extractor) number(p *Param, o op, n resource.Node) {
	e := NumberValue{Param: p}
	ok := false
	switch o {
	case opNumber:
		e.Lo, ok = float(n)
		e.Hi = e.Lo
	case opMoney:
		e.Lo, ok = float(n.Get("value"))
		e.Hi = e.Lo
		if e.Code = text(n.Get("currency")); e.Code != "" {
			e.System = "urn:iso:std:iso:4217"
		}
	case opQuantity:
		ok = e.quantity(n)
	case opNumberRange, opQuantityRange:
		ok = e.quantityRange(n)
	}
	if !ok {
		return
	}
	if o == opNumberRange {
		e.System, e.Code, e.Unit = "", "", ""
	}
	x.v.Numbers = append(x.v.Numbers, e)
}

// quantity fills e from a Quantity. A comparator opens one end: "<5" is all that is below.
func (e *NumberValue) quantity(n resource.Node) bool {
	ok := false
	comparator := ""
	for c := n.First(); c.Valid(); c = c.Next() {
		switch string(c.Key()) {
		case "value":
			e.Lo, ok = float(c)
			e.Hi = e.Lo
		case "comparator":
			comparator = text(c)
		case "system":
			e.System = text(c)
		case "code":
			e.Code = text(c)
		case "unit":
			e.Unit = text(c)
		}
	}
	switch comparator {
	case "<":
		e.Lo, e.Hi = -math.MaxFloat64, previous(e.Hi)
	case "<=":
		e.Lo = -math.MaxFloat64
	case ">":
		e.Lo, e.Hi = next(e.Lo), math.MaxFloat64
	case ">=":
		e.Hi = math.MaxFloat64
	}
	return ok
}

func (e *NumberValue) quantityRange(n resource.Node) bool {
	var low, high NumberValue
	hasLow, hasHigh := low.quantity(n.Get("low")), high.quantity(n.Get("high"))
	switch {
	case hasLow:
		e.System, e.Code, e.Unit = low.System, low.Code, low.Unit
	case hasHigh:
		e.System, e.Code, e.Unit = high.System, high.Code, high.Unit
	default:
		return false
	}
	e.Lo, e.Hi = -math.MaxFloat64, math.MaxFloat64
	if hasLow {
		e.Lo = low.Lo
	}
	if hasHigh {
		e.Hi = high.Hi
	}
	if e.Lo > e.Hi { // a range that ends before it begins, as in period
		e.Lo, e.Hi = e.Hi, e.Lo
	}
	return true
}

// float reads a JSON number. One beyond the range of a double is the largest
// double: it must sort above all others, and its text is kept in the resource.
func float(n resource.Node) (float64, bool) {
	if n.Kind() != resource.Number {
		return 0, false
	}
	f, err := strconv.ParseFloat(alias(n), 64)
	if math.IsInf(f, 0) {
		return math.Copysign(math.MaxFloat64, f), true
	}
	return f, err == nil
}

// reference makes the entries of R4 section 3.1.1.4.12.
func (x *extractor) reference(p *Param, o op, is string, n resource.Node) {
	var ref, typ string
	switch {
	case n.Kind() == resource.String:
		ref = text(n)
	case o == opInline:
		x.inline(p, n)
		return
	default:
		for c := n.First(); c.Valid(); c = c.Next() {
			switch string(c.Key()) {
			case "reference":
				ref = text(c)
			case "type":
				typ = text(c)
			case "identifier":
				if p.Identifier != nil && !x.part {
					x.addToken(TokenValue{Param: p.Identifier, System: text(c.Get("system")), Code: text(c.Get("value"))})
				}
			}
		}
	}
	if ref == "" {
		return
	}
	if ref[0] == '#' {
		if o == opReference && !x.part && len(ref) > 1 {
			x.locals = append(x.locals, local{p, ref[1:], is})
		}
		return
	}
	e := x.locate(p, ref, o == opReference)
	if is != "" && e.Type != is && (e.Type != "" || typ != is && TypeInURL(e.URL) != is) {
		return
	}
	x.v.References = append(x.v.References, e)
}

// inline takes a resource for a reference to it, if it is of a type that p
// points to: the first entry of a Bundle is only in documents a Composition.
func (x *extractor) inline(p *Param, n resource.Node) {
	typ, id := text(n.Get("resourceType")), text(n.Get("id"))
	if id != "" && (len(p.Targets) == 0 || slices.Contains(p.Targets, typ)) {
		x.v.References = append(x.v.References, ReferenceValue{p, typ, id, ""})
	}
	if len(p.Targets) == 0 || slices.Contains(p.Targets, typ) {
		x.inlines = append(x.inlines, inline{p, n})
	}
}

// locate decides what a reference points to. A bare id, which is not valid but
// found in the wild, is taken for one of the only type that p may point to; its
// Type is empty when there are several.
func (x *extractor) locate(p *Param, ref string, bare bool) ReferenceValue {
	if x.resolve != nil {
		if typ, id, ok := x.resolve(ref); ok {
			return ReferenceValue{p, typ, id, ""}
		}
	}
	if typ, id, ok := parseLocal(ref); ok {
		return ReferenceValue{p, typ, id, ""}
	}
	if bare && isID(ref) {
		return ReferenceValue{p, p.onlyTarget(), ref, ""}
	}
	return ReferenceValue{Param: p, URL: ref}
}

// onlyTarget returns the type that every reference of p points to, or "".
func (p *Param) onlyTarget() string {
	switch {
	case p.PartTarget != "":
		return p.PartTarget
	case len(p.Targets) == 1:
		return p.Targets[0]
	}
	return ""
}

// parseLocal reads Type/id and Type/id/_history/version.
func parseLocal(ref string) (typ, id string, ok bool) {
	if ref == "" || ref[0] < 'A' || ref[0] > 'Z' {
		return "", "", false
	}
	typ, id, ok = strings.Cut(ref, "/")
	if !ok || !r4.IsResource(typ) {
		return "", "", false
	}
	id, version, versioned := strings.Cut(id, "/")
	if versioned {
		version, ok = strings.CutPrefix(version, "_history/")
		if !ok || !isID(version) {
			return "", "", false
		}
	}
	return typ, id, isID(id)
}

// TypeInURL returns the resource type in a URL of the form .../Type/id, or "".
func TypeInURL(url string) string {
	if i := strings.Index(url, "/_history/"); i >= 0 {
		url = url[:i]
	}
	i := strings.LastIndexByte(url, '/')
	if i < 0 {
		return ""
	}
	typ := url[strings.LastIndexByte(url[:i], '/')+1 : i]
	if !r4.IsResource(typ) {
		return ""
	}
	return typ
}

// isID tests for the data type id: 1 to 64 letters, digits, "-" and ".".
func isID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}
