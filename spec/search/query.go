package search

// Query is a parsed search. Every name in it is resolved and every value is
// normalised; a store needs no further look at the URL.
type Query struct {
	Types       []string // empty = all types (system search)
	Compartment *CompartmentRef
	Where       []*Clause // all must hold
	Sort        []Sort
	Count       int // page size; 0 with Total set = count only
	Total       Total
	After       string // the store's opaque cursor from a previous page; "" = first page
}

// CompartmentRef restricts a search to a compartment (R4 section 2.37).
type CompartmentRef struct {
	Type string // "Patient"
	ID   string
	// Params lists, for each type searched, the reference parameters that put a
	// resource in the compartment. Self is true when the focal resource itself
	// belongs to the result.
	Params map[string][]*Param
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
type Sort struct {
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
	FieldType                     // _type in a system search with clauses; normally folded into Query.Types
)

// Clause is one parameter with its values; the values are alternatives (OR).
// In a search over several types Params has one entry per type that defines
// the code; a resource is tested with the entry of its own type.
type Clause struct {
	Field    Field
	Name     string // as written, with modifier: "code:not"; for messages and the self link
	Params   []*Param
	Modifier string // "", "exact", "contains", "missing", "not", "text", "in", ..., "identifier"
	Missing  bool   // with Modifier "missing": the wanted value
	Values   []Value
	Chain    *Chain // a chained clause: Values is empty, Chain holds the rest
	Has      *Has
}

// Chain follows a reference parameter to other resources: subject:Patient.name=x.
type Chain struct {
	Target string // resource type at the far end; one Clause is made per possible type
	Next   *Clause
}

// Has is a reverse chain: _has:Observation:patient:code=x.
type Has struct {
	Type string   // the resources that refer to us
	Ref  []*Param // their reference parameter
	Next *Clause
}

// Op is a comparison prefix.
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
)

// Value is one alternative of a clause. Which fields count depends on the kind
// of the parameter:
//
//	token      System, Code, HasSystem (sys|code; |code has HasSystem and System ""), HasCode (false for "sys|")
//	string     Text (as written), Norm (folded)
//	uri        Text
//	reference  RefType (may be ""), Code = id; or Text = absolute URL that is not ours
//	date       Op, Lo, Hi (milliseconds, the implicit range of the literal)
//	number     Op, NumLo, NumHi (implicit precision range [lo, hi)), Num (the exact value)
//	quantity   as number, with HasSystem, System, HasCode, Code
//	composite  Parts, one Value per component
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
	Parts     []Value
}
