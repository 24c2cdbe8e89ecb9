package jmespath

import (
	"fmt"
	"strconv"
)

// Expr is a parsed expression. It may be used by many goroutines.
type Expr struct {
	text string
	root node
}

// String returns the expression as it was written.
func (e *Expr) String() string { return e.text }

// Projects reports whether the result is a projection: a list of matches, not
// one value that happens to be a list.
func (e *Expr) Projects() bool { return projects(e.root) }

const (
	maxLength = 8192
	maxDepth  = 100
)

// Parse reads an expression and checks its functions. The error is a
// *SyntaxError.
func Parse(text string) (*Expr, error) {
	if len(text) > maxLength {
		return nil, &SyntaxError{maxLength, "the expression is too long"}
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 1 {
		return nil, &SyntaxError{0, "the expression is empty"}
	}
	p := &parser{tokens: tokens}
	root, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tEOF {
		return nil, p.unexpected(t)
	}
	return &Expr{text, root}, nil
}

type parser struct {
	tokens []token
	i      int
	depth  int
}

func (p *parser) peek() token { return p.tokens[p.i] }

func (p *parser) next() token {
	t := p.tokens[p.i]
	if t.kind != tEOF {
		p.i++
	}
	return t
}

func (p *parser) unexpected(t token) error {
	if t.kind == tEOF {
		return &SyntaxError{t.pos, "the expression ends too early"}
	}
	return &SyntaxError{t.pos, "something is not expected here"}
}

func (p *parser) expect(k kind) error {
	if t := p.next(); t.kind != k {
		return p.unexpected(t)
	}
	return nil
}

// power says how strongly a token binds to what stands before it.
var power = map[kind]int{
	tPipe: 1, tOr: 2, tAnd: 3, tEQ: 5, tNE: 5, tLT: 5, tLE: 5, tGT: 5, tGE: 5,
	tFlatten: 9, tStar: 20, tFilter: 21, tDot: 40, tNot: 45, tBrace: 50, tOpen: 55, tParen: 60,
}

// projectionStop is the binding power below which a projection ends.
const projectionStop = 10

func (p *parser) expression(min int) (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, &SyntaxError{p.peek().pos, "the expression is nested too deeply"}
	}
	defer func() { p.depth-- }()
	left, err := p.prefix()
	for err == nil && min < power[p.peek().kind] {
		left, err = p.infix(left)
	}
	return left, err
}

// prefix reads what can begin an expression.
func (p *parser) prefix() (node, error) {
	t := p.next()
	switch t.kind {
	case tName:
		if p.peek().kind == tParen {
			return p.call(t)
		}
		return field{t.text}, nil
	case tQuotedName:
		if p.peek().kind == tParen {
			return nil, &SyntaxError{t.pos, "the name of a function has no quotes"}
		}
		return field{t.text}, nil
	case tLiteral:
		return literal{t.value}, nil
	case tAt:
		return current{}, nil
	case tNot:
		e, err := p.expression(power[tNot])
		return not{e}, err
	case tRef:
		return nil, &SyntaxError{t.pos, "&expression is only an argument of a function"}
	case tParen:
		e, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		return group{e}, p.expect(tParenClose)
	case tStar:
		return p.project(values{current{}}, power[tStar])
	case tFilter:
		return p.filter(current{})
	case tFlatten:
		return p.project(flatten{current{}}, power[tFlatten])
	case tBrace:
		return p.hash()
	case tOpen:
		switch k := p.peek().kind; {
		case k == tNumber || k == tColon:
			return p.index(current{})
		case k == tStar && p.tokens[p.i+1].kind == tClose:
			p.i += 2
			return p.project(elements{current{}}, power[tStar])
		}
		return p.list()
	}
	return nil, p.unexpected(t)
}

// infix reads what continues an expression.
func (p *parser) infix(left node) (node, error) {
	t := p.next()
	switch t.kind {
	case tDot:
		if p.peek().kind == tStar {
			p.next()
			return p.project(values{left}, power[tStar])
		}
		right, err := p.afterDot(power[tDot])
		return chain{left, right}, err
	case tPipe:
		right, err := p.expression(power[tPipe])
		return pipe{left, right}, err
	case tOr:
		right, err := p.expression(power[tOr])
		return or{left, right}, err
	case tAnd:
		right, err := p.expression(power[tAnd])
		return and{left, right}, err
	case tEQ, tNE, tLT, tLE, tGT, tGE:
		right, err := p.expression(power[t.kind])
		return comparison{t.kind, left, right}, err
	case tFlatten:
		return p.project(flatten{left}, power[tFlatten])
	case tFilter:
		return p.filter(left)
	case tOpen:
		if k := p.peek().kind; k == tNumber || k == tColon {
			return p.index(left)
		}
		if err := p.expect(tStar); err != nil {
			return nil, err
		}
		if err := p.expect(tClose); err != nil {
			return nil, err
		}
		return p.project(elements{left}, power[tStar])
	}
	return nil, p.unexpected(t)
}

// afterDot reads the right side of a dot.
func (p *parser) afterDot(min int) (node, error) {
	switch t := p.peek(); t.kind {
	case tName, tQuotedName, tStar:
		return p.expression(min)
	case tOpen:
		p.next()
		return p.list()
	case tBrace:
		p.next()
		return p.hash()
	default:
		return nil, p.unexpected(t)
	}
}

// project reads what is done with each item of a projection.
func (p *parser) project(of node, min int) (node, error) {
	var each node = current{}
	var err error
	switch t := p.peek(); {
	case power[t.kind] < projectionStop && power[t.kind] != 0 || t.kind == tEOF || t.kind == tClose ||
		t.kind == tParenClose || t.kind == tBraceClose || t.kind == tComma || t.kind == tColon:
	case t.kind == tDot:
		p.next()
		each, err = p.afterDot(min)
	case t.kind == tOpen || t.kind == tFilter:
		each, err = p.expression(min)
	default:
		err = p.unexpected(t)
	}
	return projection{of, each}, err
}

func (p *parser) filter(of node) (node, error) {
	cond, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if err := p.expect(tClose); err != nil {
		return nil, err
	}
	if p.peek().kind == tFlatten {
		return projection{filtered{of, cond}, current{}}, nil
	}
	return p.project(filtered{of, cond}, power[tFilter])
}

// index reads a number or a slice up to the closing bracket.
func (p *parser) index(of node) (node, error) {
	var parts [3]*int
	n := 0
	for {
		t := p.next()
		switch t.kind {
		case tNumber:
			v, err := strconv.ParseInt(t.text, 10, 32)
			if err != nil {
				return nil, &SyntaxError{t.pos, "the number is too large"}
			}
			if parts[n] != nil {
				return nil, p.unexpected(t)
			}
			i := int(v)
			parts[n] = &i
		case tColon:
			if n++; n > 2 {
				return nil, p.unexpected(t)
			}
		case tClose:
			if n == 0 {
				return item{of, *parts[0]}, nil
			}
			if parts[2] != nil && *parts[2] == 0 {
				return nil, &SyntaxError{t.pos, "the step of a slice cannot be zero"}
			}
			return p.project(sliced{of, parts}, power[tStar])
		default:
			return nil, p.unexpected(t)
		}
	}
}

// list reads a, b] of a multi-select list.
func (p *parser) list() (node, error) {
	var l multiList
	for {
		e, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, e)
		switch t := p.next(); t.kind {
		case tClose:
			return l, nil
		case tComma:
		default:
			return nil, p.unexpected(t)
		}
	}
}

// hash reads a: b, c: d} of a multi-select hash.
func (p *parser) hash() (node, error) {
	var h multiHash
	for {
		t := p.next()
		if t.kind != tName && t.kind != tQuotedName {
			return nil, p.unexpected(t)
		}
		if err := p.expect(tColon); err != nil {
			return nil, err
		}
		e, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		h.names, h.items = append(h.names, t.text), append(h.items, e)
		switch t := p.next(); t.kind {
		case tBraceClose:
			return h, nil
		case tComma:
		default:
			return nil, p.unexpected(t)
		}
	}
}

// call reads the arguments of a function.
func (p *parser) call(name token) (node, error) {
	f, ok := functions[name.text]
	if !ok {
		return nil, &SyntaxError{name.pos, fmt.Sprintf("there is no function %q", name.text)}
	}
	p.next() // the bracket
	c := call{name: name.text, f: f}
	if p.peek().kind == tParenClose {
		p.next()
	} else if err := p.arguments(&c); err != nil {
		return nil, err
	}
	if n := len(c.args); n < f.min || f.max >= 0 && n > f.max {
		return nil, &SyntaxError{name.pos, fmt.Sprintf("%s takes %s, not %d", name.text, f.arity(), n)}
	}
	for i, a := range c.args {
		if _, ref := a.(reference); ref != (i == f.expr) {
			return nil, &SyntaxError{name.pos, fmt.Sprintf("argument %d of %s: an &expression is expected there and nowhere else", f.expr+1, name.text)}
		}
	}
	return c, nil
}

func (p *parser) arguments(c *call) error {
	for {
		isRef := p.peek().kind == tRef
		if isRef {
			p.next()
		}
		e, err := p.expression(0)
		if err != nil {
			return err
		}
		if isRef {
			e = reference{e}
		}
		c.args = append(c.args, e)
		switch t := p.next(); t.kind {
		case tParenClose:
			return nil
		case tComma:
		default:
			return p.unexpected(t)
		}
	}
}

func (f function) arity() string {
	switch {
	case f.max < 0:
		return fmt.Sprintf("at least %d arguments", f.min)
	case f.max == 1:
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", f.max)
}

// projects reports whether n yields a projection.
func projects(n node) bool {
	switch n := n.(type) {
	case projection:
		return true
	case pipe:
		return projects(n.right)
	case chain:
		return projects(n.right)
	}
	return false
}
