package fhirpath

// ast is one part of a parsed expression. The concrete types are the pointers
// below; each carries the byte offset of its first own token.
type ast interface{ offset() int }

type (
	// literal is a constant; the empty collection {} has val.kind == kindNone.
	literal struct {
		pos int
		val Value
	}
	// variable is $this, $index or $total.
	variable struct {
		pos  int
		name string
	}
	// external is an environment variable: %resource.
	external struct {
		pos  int
		name string
	}
	// member is recv.name; recv is nil at the start of a path, where the
	// context is meant.
	member struct {
		pos  int
		recv ast
		name string
	}
	// call is recv.name(args), recv nil as in member.
	call struct {
		pos  int
		recv ast
		name string
		args []ast
	}
	// index is recv[at].
	index struct {
		pos  int
		recv ast
		at   ast
	}
	// unary is + or -.
	unary struct {
		pos int
		op  string
		x   ast
	}
	// binary is any infix operator but is and as.
	binary struct {
		pos  int
		op   string
		l, r ast
	}
	// typeOp is "x is T" or "x as T".
	typeOp struct {
		pos int
		op  string
		x   ast
		typ typeName
	}
)

// typeName is a type specifier; space is "", "System" or "FHIR".
type typeName struct{ space, name string }

// String returns the specifier as it is written.
func (t typeName) String() string {
	if t.space == "" {
		return t.name
	}
	return t.space + "." + t.name
}

func (x *literal) offset() int  { return x.pos }
func (x *variable) offset() int { return x.pos }
func (x *external) offset() int { return x.pos }
func (x *member) offset() int   { return x.pos }
func (x *call) offset() int     { return x.pos }
func (x *index) offset() int    { return x.pos }
func (x *unary) offset() int    { return x.pos }
func (x *binary) offset() int   { return x.pos }
func (x *typeOp) offset() int   { return x.pos }

// asTypeName reads an argument of is(), as() and ofType() as a type specifier:
// these functions take Quantity or FHIR.Quantity, which parses as a path.
func asTypeName(a ast) (typeName, bool) {
	m, ok := a.(*member)
	if !ok {
		return typeName{}, false
	}
	if m.recv == nil {
		return typeName{name: m.name}, true
	}
	q, ok := m.recv.(*member)
	if !ok || q.recv != nil {
		return typeName{}, false
	}
	return typeName{space: q.name, name: m.name}, true
}
