package fhirpath

// Expr is a compiled expression. It is immutable and may be used by many
// goroutines at once.
type Expr struct {
	src  string
	root ast
}

// Compile parses an expression and turns it into an Expr. The error is a
// *SyntaxError.
func Compile(expr string) (*Expr, error) {
	root, err := parse(expr)
	if err != nil {
		return nil, err
	}
	return &Expr{src: expr, root: root}, nil
}

// String returns the text of the expression.
func (e *Expr) String() string { return e.src }
