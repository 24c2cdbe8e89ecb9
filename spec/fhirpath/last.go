package fhirpath

// Last splits an expression that ends with the name of an element, such as
// Patient.contact[0].telecom, into what stands before the name and the name. A
// name that stands alone is an element of the context, which before then
// returns. It is false for all other expressions, Patient and telecom.first()
// among them.
//
// This is how FHIRPath Patch finds a list that may still be empty.
func (e *Expr) Last() (before *Expr, name string, ok bool) {
	m, ok := e.root.(*member)
	if !ok || m.recv == nil && isTypeLike(m.name) {
		return nil, "", false
	}
	if m.recv == nil {
		return &Expr{src: "$this", root: &variable{name: "$this"}, run: this}, m.name, true
	}
	c := &compiler{src: e.src}
	run, err := c.compile(m.recv)
	if err != nil {
		return nil, "", false // not possible: it was compiled before
	}
	return &Expr{src: e.src, root: m.recv, run: run}, m.name, true
}

// TypeName returns the name that a path starts with when the expression is
// nothing but that name: "Patient".
func (e *Expr) TypeName() (string, bool) {
	m, ok := e.root.(*member)
	if !ok || m.recv != nil || !isTypeLike(m.name) {
		return "", false
	}
	return m.name, true
}
