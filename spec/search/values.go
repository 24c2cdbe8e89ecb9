package search

// Values are the index entries of one resource. Extract appends to them; call
// Reset to use them again. Times are milliseconds since 1970-01-01T00:00Z, both
// ends inclusive. Strings may share memory with the parsed text, so a Values
// lives no longer than the Doc it came from, unless cloned.
type Values struct {
	// Generation is that of the Registry that found them.
	Generation int64
	Tokens     []TokenValue
	References []ReferenceValue
	Dates      []DateValue
	Numbers    []NumberValue // number and quantity
	Strings    []StringValue
	URIs       []URIValue
	Composites []CompositeValue
}

// TokenValue is one code of a token parameter.
type TokenValue struct {
	Param  *Param
	System string // "" = none
	Code   string // "" when the element has only text
	Text   string // display or text, for :text; may be empty
}

// ReferenceValue is one reference. Local references have Type and ID; a bare
// urn:, an absolute URL of another server or a canonical has only URL.
type ReferenceValue struct {
	Param *Param
	Type  string
	ID    string
	URL   string
}

// DateValue is one instant or period as [Lo, Hi]. An open end is MinTime or MaxTime.
type DateValue struct {
	Param  *Param
	Lo, Hi int64
}

// The ends of an open period: years 0001 and 9999.
const (
	MinTime int64 = -62135596800000
	MaxTime int64 = 253402300799999
)

// NumberValue is one number or quantity. Lo = Hi = the value; ranges have both ends.
type NumberValue struct {
	Param  *Param
	Lo, Hi float64
	System string // quantities only
	Code   string // the coded unit
	Unit   string // the human unit
}

// StringValue is one string: Norm is Fold(Text).
type StringValue struct {
	Param *Param
	Text  string
	Norm  string
}

// URIValue is one uri, exact and case-sensitive.
type URIValue struct {
	Param *Param
	URI   string
}

// CompositeValue is one combination of parts that come from the same element.
// Parts[i] holds all values of component i; any of them matches. The Param
// inside the parts is Components[i].Param.
type CompositeValue struct {
	Param *Param
	Parts []Values
}

// Reset empties v and keeps its memory.
func (v *Values) Reset() {
	v.Tokens, v.References, v.Dates = v.Tokens[:0], v.References[:0], v.Dates[:0]
	v.Numbers, v.Strings, v.URIs, v.Composites = v.Numbers[:0], v.Strings[:0], v.URIs[:0], v.Composites[:0]
}

// Cap returns for how many values there is memory.
func (v *Values) Cap() int {
	return cap(v.Tokens) + cap(v.References) + cap(v.Dates) + cap(v.Numbers) + cap(v.Strings) + cap(v.URIs) + cap(v.Composites)
}
