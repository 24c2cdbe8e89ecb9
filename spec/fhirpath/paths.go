package fhirpath

// Path is one branch of an expression that is only a union of element paths,
// such as Patient.telecom.where(system='phone').
type Path struct {
	// Type is the name that the path starts with ("Patient", "Resource");
	// "%resource" for a path from there; "" for a path relative to the context.
	Type  string
	Steps []Step
}

// Step goes from an element to those of one name below it, and keeps some.
type Step struct {
	Name string // the element: "value", without the type of a choice
	// As keeps values of one type: (x as Quantity), x.as(Quantity) and
	// x.ofType(Quantity) alike. It is the FHIR name: as(DateTime), which one
	// search parameter of R4 has, is dateTime here.
	As string
	// WhereName and WhereValue keep elements with a child of a certain value:
	// where(system='phone').
	WhereName, WhereValue string
	// ResolveIs keeps references to one type of resource: where(resolve() is Patient).
	ResolveIs string
	// Extension keeps extensions with one url: extension('http://...'); Name is
	// "extension" then.
	Extension string
}

// Paths returns the branches of the expression when each of them is a simple
// path. It returns false when a branch needs Eval.
func (e *Expr) Paths() ([]Path, bool) {
	return appendPaths(nil, e.root)
}

func appendPaths(dst []Path, a ast) ([]Path, bool) {
	if b, ok := a.(*binary); ok && b.op == "|" {
		dst, ok = appendPaths(dst, b.l)
		if !ok {
			return nil, false
		}
		return appendPaths(dst, b.r)
	}
	var p Path
	if !p.read(a) {
		return nil, false
	}
	return append(dst, p), true
}

// read fills p from a; it reports whether a is a simple path.
func (p *Path) read(a ast) bool {
	switch x := a.(type) {
	case *external:
		p.Type = "%resource"
		return x.name == "resource"
	case *member:
		if x.recv == nil {
			if isTypeLike(x.name) {
				p.Type = x.name
				return true
			}
		} else if !p.read(x.recv) {
			return false
		}
		p.Steps = append(p.Steps, Step{Name: x.name})
		return true
	case *typeOp:
		return x.op == "as" && p.read(x.x) && p.as(x.typ)
	case *call:
		return p.readCall(x)
	}
	return false
}

func (p *Path) readCall(x *call) bool {
	if len(x.args) != 1 || x.recv != nil && !p.read(x.recv) {
		return false
	}
	arg := x.args[0]
	switch x.name {
	case "as", "ofType":
		typ, ok := asTypeName(arg)
		return ok && p.as(typ)
	case "extension":
		url, ok := stringLiteral(arg)
		p.Steps = append(p.Steps, Step{Name: "extension", Extension: url})
		return ok && url != ""
	case "where":
		return p.where(arg)
	}
	return false
}

func (p *Path) as(t typeName) bool {
	s := p.last()
	if s == nil || s.As != "" || t.space == "System" {
		return false
	}
	s.As = fhirName(t.name)
	return true
}

func (p *Path) where(cond ast) bool {
	s := p.last()
	if s == nil || s.WhereName != "" || s.ResolveIs != "" {
		return false
	}
	switch c := cond.(type) {
	case *typeOp:
		f, ok := c.x.(*call)
		if !ok || c.op != "is" || f.name != "resolve" || f.recv != nil || len(f.args) != 0 {
			return false
		}
		s.ResolveIs = c.typ.name
		return true
	case *binary:
		m, ok := c.l.(*member)
		if !ok || c.op != "=" || m.recv != nil || isTypeLike(m.name) {
			return false
		}
		s.WhereName = m.name
		s.WhereValue, ok = stringLiteral(c.r)
		return ok
	}
	return false
}

func (p *Path) last() *Step {
	if len(p.Steps) == 0 {
		return nil
	}
	return &p.Steps[len(p.Steps)-1]
}

func stringLiteral(a ast) (string, bool) {
	l, ok := a.(*literal)
	if !ok || l.val.kind != kindString {
		return "", false
	}
	return l.val.s, true
}

// isTypeLike reports whether a name at the start of a path is that of a type:
// no element of FHIR begins with a capital letter, and every resource type does.
func isTypeLike(name string) bool { return name != "" && name[0] >= 'A' && name[0] <= 'Z' }

// fhirName maps the System name of a primitive type to the FHIR one of the
// same meaning, where only the capital letter differs. R4 writes
// value.as(DateTime) in the definition of a search parameter.
func fhirName(name string) string {
	switch name {
	case "Boolean":
		return "boolean"
	case "String":
		return "string"
	case "Integer":
		return "integer"
	case "Decimal":
		return "decimal"
	case "Date":
		return "date"
	case "DateTime":
		return "dateTime"
	case "Time":
		return "time"
	}
	return name
}
