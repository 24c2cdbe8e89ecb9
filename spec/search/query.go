package search

// Query is a parsed search. Every name in it is resolved and every value is
// normalised; a store needs no further look at the URL.
type Query struct {
	Types       []string // empty = all types (system search)
	Compartment *CompartmentRef
	Access      *Access    // nil = everything can be seen
	Where       []*Clause  // all must hold
	Contained   *Contained // set for a search of contained resources, which has its clauses
	Sort        []Sort
	Count       int // page size; 0 with Total set = count only
	Total       Total
	Includes    []Include
	// IncludeCount limits the resources that Includes add to one page, 0 = no
	// limit; IncludeAfter is the store's cursor to the others.
	IncludeCount int
	IncludeAfter string
	// Owner binds page tokens: one that was made for somebody else is refused.
	Owner   string
	Explain bool   // _explain=true: say how the page was found
	After   string // the store's opaque cursor from a previous page; "" = first page
}

// CompartmentRef restricts a search to a compartment (R4 section 2.37).
type CompartmentRef struct {
	Type string // "Patient"
	ID   string
	// Params lists, for each type searched, the reference parameters that put a
	// resource in the compartment. Self is true when the focal resource itself
	// belongs to the result.
	Params map[string][]*Param
	Self   bool
}

// Total says whether the number of all matches is wanted (_total).
type Total uint8

// The values of _total.
const (
	TotalNone Total = iota
	TotalEstimate
	TotalAccurate
)

// Sort is one key of _sort. Param nil means the special keys by Special: "_lastUpdated" or "_id".
//
// With Via the key is that of the resource of type Target that the reference
// parameter leads to (_sort=patient.birthdate); of several, the first in the order.
type Sort struct {
	Via     *Param
	Target  string
	Param   *Param
	Special string
	Desc    bool
}

// Field says what a clause tests: an indexed parameter or a property of the resource's own row.
type Field uint8

// The fields.
const (
	FieldParam       Field = iota // Clause.Params
	FieldID                       // _id: Values hold Code
	FieldLastUpdated              // _lastUpdated: Values hold Op, Lo, Hi
	FieldText                     // _text: Values hold Words, tested against the narrative
	FieldContent                  // _content: the same against all text
	FieldType                     // _type in a system search with clauses; normally folded into Query.Types
)

// Clause is one parameter with its values; the values are alternatives (OR).
// In a search over several types Params has one entry per type that defines
// the code; a resource is tested with the entry of its own type.
type Clause struct {
	Field    Field
	Name     string // as written, with modifier: "code:not"; for messages and the self link
	Params   []*Param
	Modifier string // "", "equals", "ends", "gt", "ge", "lt" and "le" (strings of _filter), "exact", "contains", "missing", "not", "text", "in", ..., "identifier"; a :[Type] is in Value.RefType instead
	Missing  bool   // with Modifier "missing": the wanted value
	Values   []Value
	// Chain, if not empty, follows the reference parameter to other resources;
	// Values is empty then. The clause holds when one reference leads to a
	// resource that one of the alternatives describes.
	Chain []Chain
	Has   *Has // a reverse chain; Params and Values are empty
	// Any and All are groups of clauses (_filter): one of Any, or each of All,
	// holds. Negate turns the answer of the whole clause round.
	Any, All []*Clause
	Negate   bool
	// Contained asks for what a resource contains; the Values stand for that it
	// contains anything of the type.
	Contained *Contained
	path      string // what leads to the parameter: its code, or the reference that is followed
}

// Chain is one alternative of a chained parameter (subject:Patient.name=x, R4
// section 3.1.1.4.13): the resource referred to is of type Target and Next
// holds for it. There is one for each type that the reference may point to and
// that has the parameter.
type Chain struct {
	Target string
	Next   *Clause
}

// Has is a reverse chain (R4 section 3.1.1.4.14), _has:Observation:patient:code=x:
// a resource of Type for which Next holds refers to us by Ref.
//
// Type "" is any type, Ref nil any reference, Next nil no further condition.
type Has struct {
	Type string
	Ref  *Param
	Next *Clause
}

// Include is one _include or _revinclude (R4 section 3.1.1.5.5).
type Include struct {
	Reverse bool   // _revinclude
	Iterate bool   // :iterate or :recurse: also for resources that were included
	Source  string // the type that holds the reference; "*" = all
	Code    string // the reference parameter; "*" = all
	Target  string // the type referred to; "" = all
	// Params are the reference parameters that count, resolved from Source and
	// Code; nil when Source is "*".
	Params []*Param
}

// Op is a comparison prefix (R4 section 3.1.1.4.4).
//
// A resource holds the range [s, e] (dates: DateValue, numbers: NumberValue,
// where mostly s = e); the search value holds the range [a, b] of its literal
// (dates: Lo, Hi inclusive; numbers: NumLo inclusive, NumHi exclusive) and for
// numbers also the exact value n. A value of the resource matches when
//
//	       dates                  numbers and quantities
//	eq     a <= s and e <= b      a <= s and e < b
//	ne     s < a or e > b         s < a or e >= b
//	lt     s < a                  s < n
//	le     s <= b                 s <= n
//	gt     e > b                  e > n
//	ge     e >= a                 e >= n
//	sa     s > b                  s > n
//	eb     e < a                  e < n
//	ap     s <= b and e >= a      s < b and e >= a
//
// For ap the range has been widened by Parse: dates by a tenth of the distance
// to now, numbers by a tenth of the value. A literal finer than a millisecond
// may have a > b by one; the rules above still hold.
type Op uint8

// The prefixes of R4; OpEq is the default.
const (
	OpEq Op = iota
	OpNe
	OpLt
	OpGt
	OpLe
	OpGe
	OpSa
	OpEb
	OpAp
	// OpOverlap replaces OpEq for dates when ParseOptions.DateOverlap is set:
	// s <= b and e >= a, like OpAp without widening.
	OpOverlap
)

// Value is one alternative of a clause. Which fields count depends on the kind
// of the parameter:
//
//	token      System, Code, HasSystem (sys|code; |code has HasSystem and System ""), HasCode (false for "sys|")
//	string     Text (as written), Norm (folded)
//	uri        Text, matched like the URL of a reference
//	reference  RefType (may be ""), Code = id; or Text = a URL that is not ours: it
//	           matches ReferenceValue.URL, or one of its Shorter forms, when equal
//	date       Op, Lo, Hi (milliseconds, the implicit range of the literal)
//	number     Op, NumLo, NumHi (implicit precision range [lo, hi)), Num (the exact value)
//	quantity   as number, with HasSystem, System, HasCode, Code; without HasSystem
//	           the Code matches the coded unit or the human unit
//	composite  Parts, one Value per component
//	special    near: Num, NumLo = latitude and longitude in degrees, NumHi = distance in kilometres
//	_text      Words: each must be there, as a whole word or words in this order
type Value struct {
	Op        Op
	System    string
	Code      string
	HasSystem bool
	HasCode   bool
	Text      string
	Norm      string
	RefType   string
	Lo, Hi    int64
	Num       float64
	NumLo     float64
	NumHi     float64
	Convert   bool // a quantity in a unit of UCUM, which also matches in other units
	Parts     []Value
	Words     []string
}
